"""``python -m tests.bench.analysis --runs 2000 --table 7.2``: tables and plots of how good the verdicts are."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from tests.bench.analysis.measure import Setting
from tests.bench.analysis.sheet import Sheet
from tests.bench.analysis.tables import TABLES

TUNING, FINAL = 1, 77_031
"""Seeds: what the engine was tuned with, and what nobody had looked at before it was done."""
_REPORT = "analysis-figures"
_INTRODUCTION = f"""# How good the verdicts are, in figures

Simulated: releases in known worlds, judged by the code of the operator, and beside it by the rules of Kayenta, Flagger
and Argo Rollouts as they stand in their code. `make bench-analysis` writes this page. The final figures are from a
seed ({FINAL}) that was not used while the engine was made; the worlds stand in `tests/bench/analysis/worlds.py`, the
others' rules in `tests/bench/analysis/rivals.py`. No production traffic was at hand: what is simulated is a guess at
reality, and a small one.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; the number of bars missed is told, and with ``--strict`` fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.analysis", description=__doc__)
    parser.add_argument("--table", action="append", choices=[*TABLES], help="one or several; default: all")
    parser.add_argument("--runs", type=int, default=2000, help="releases in each cell (default 2000)")
    parser.add_argument("--cores", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seed", type=int, default=TUNING, help=f"default {TUNING}, the one for tuning")
    parser.add_argument("--final", action="store_true", help=f"the seed of the final figures, {FINAL}")
    parser.add_argument("--docs", type=Path, help="write the report and its plots into this folder")
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    given = parser.parse_args(arguments)
    setting = Setting(given.runs, FINAL if given.final else given.seed, given.cores)
    missed = 0
    for name in given.table or TABLES:
        began = time.monotonic()
        print(f"table {name}, seed {setting.seed}, {setting.runs} runs a cell", file=sys.stderr, flush=True)
        sheet = TABLES[name](setting)
        missed += sum(not bar.met for bar in sheet.bars)
        print(sheet.markdown({}), flush=True)
        print(f"\n{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if given.docs:
            write(given.docs, sheet, f"Seed {setting.seed}, {setting.runs} runs in each cell.")
    print(f"{missed} bars missed", file=sys.stderr)
    return int(missed > 0 and given.strict)


def write(folder: Path, sheet: Sheet, made: str) -> None:
    """The table's section of the report, in the place of the one it had; and its plots."""
    report = folder / f"{_REPORT}.md"
    sections = _sections(report.read_text(encoding="utf-8")) if report.exists() else {}
    links = {}
    for number, (what, svg) in enumerate(sheet.plots.items()):
        file = folder / f"{_REPORT}-{sheet.name}{f'-{number}' if number else ''}.svg"
        file.write_text(svg, encoding="utf-8")
        links[what] = file.name
    sections[sheet.name] = f"{sheet.markdown(links)}\n\n{made}\n"
    ordered = [f"<!-- table {name} -->\n{sections[name]}" for name in TABLES if name in sections]
    report.write_text("\n".join([_INTRODUCTION, *ordered]), encoding="utf-8")


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"<!-- table (\S+) -->\n", text)
    return {name: body.rstrip("\n") + "\n" for name, body in zip(parts[1::2], parts[2::2], strict=True)}


if __name__ == "__main__":
    sys.exit(main())

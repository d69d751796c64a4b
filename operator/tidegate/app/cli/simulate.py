"""``tidegate simulate``: what a release would do, when, at whose cost, and how often it would be wrong. No cluster."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.app.cli import releases
from tidegate.app.cli.manifests import Wrong

if TYPE_CHECKING:
    from tidegate.simulation.many import Quantiles, Summary
    from tidegate.simulation.scenario import Scenario
    from tidegate.simulation.story import Setting, Story

MOST_RUNS = 100_000
_TOLD_EVERY = 50


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("simulate", help="what a release would do, and how often it would be wrong")
    releases.describe(parser)
    parser.add_argument(
        "--regression",
        action="append",
        default=[],
        metavar="WHAT",
        help="what the candidate does worse: 5x@20m, +2%%@0s, 10%%@5m, latency:1.4x@10m; with ~30m it grows so long",
    )
    parser.add_argument(
        "--outage", action="append", default=[], metavar="WHAT", help="service:50%%@10m+5m, or prometheus@20m+10m"
    )
    parser.add_argument(
        "--recorded", action="append", default=[], metavar="FILE", help="answers of Prometheus, instead"
    )
    parser.add_argument("--stable", metavar="REGEX", help="of a recording: the label that stable's series have")
    parser.add_argument("--candidate", metavar="REGEX", help="and the candidate's")
    parser.add_argument(
        "--runs", type=int, default=1000, metavar="N", help="releases that are simulated (default 1000)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first of them (default 1)")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, metavar="N", help="default: all")
    parser.add_argument("--svg", metavar="FILE", help="write the plots there")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate; the exit code is 1 where that cannot be."""
    return releases.tell(_answer, args)


def _answer(args: argparse.Namespace) -> str:
    from tidegate.simulation import plots, story
    from tidegate.simulation.scenario import as_read, measured, read

    for name, value, most in (("runs", args.runs, MOST_RUNS), ("cores", args.cores, 256)):
        if not 1 <= value <= most:
            raise Wrong(f"--{name} {value}: give a number from 1 to {most}")
    if args.seed < 0:
        raise Wrong(f"--seed {args.seed}: give 0 or more")
    kind, name, spec = releases.release(args.filename, args.name)
    if not spec.analysis.metrics:
        raise Wrong(f"{args.filename}: spec.analysis.metrics is empty: nothing is measured, and steps only bake")
    _go_together(args)
    if args.recorded:
        return _replay(args, story.Setting(kind, name, spec, read({"traffic": 1})))
    fields = releases.said(args)
    for option, field in (("regression", "regressions"), ("outage", "outages")):
        if given := getattr(args, option):
            fields[field] = given
    scenario = as_read(spec.analysis, read(fields))
    measured(spec.analysis, scenario)
    setting = story.Setting(kind, name, spec, scenario)
    told, summaries = story.told(setting, args.seed), _many(setting, args)
    if args.svg:
        _write(args.svg, plots.svg(told, summaries))
    if args.output == "json":
        return json.dumps(_as_json(setting, told, summaries), indent=2) + "\n"
    return "\n".join([*_head(setting), "", *_one(told, args.seed), "", *_all(summaries, args)]) + "\n"


def _go_together(args: argparse.Namespace) -> None:
    """A recording has its own traffic, and options that nobody asks would be taken for what was simulated."""
    for option in ("stable", "candidate"):
        if getattr(args, option) and not args.recorded:
            raise Wrong(f"--{option}: is for --recorded: give it, or leave this out")
    drawn = ("scenario", "regression", "outage", "ratio", "traffic", "base", "latency", "pod_noise", "pods", "scrape")
    for option in (*drawn, "counters"):
        if args.recorded and getattr(args, option) not in (None, []):
            raise Wrong(f"--{option.replace('_', '-')}: a recording has its own: leave out this, or --recorded")


def _many(setting: Setting, args: argparse.Namespace) -> list[tuple[str, Summary]]:
    """Of the scenario; and where the candidate does something worse, of one that does not."""
    from dataclasses import replace

    from tidegate.simulation.many import many

    seeds = range(args.seed, args.seed + args.runs)
    settings = [("as described", setting)]
    if setting.scenario.regressions:
        settings.append(("with a candidate like stable", replace(setting, scenario=setting.scenario.healthy)))
    found = []
    for name, one in settings:
        found.append((name, many(one, seeds, args.cores, _progress(name, args.runs))))
    return found


def _progress(name: str, runs: int) -> Any:
    def told(done: int) -> None:
        if sys.stderr.isatty() and (done % _TOLD_EVERY == 0 or done == runs):
            sys.stderr.write(f"\r{name}: {done:,} of {runs:,}" + ("\n" if done == runs else ""))
            sys.stderr.flush()

    return told


def _replay(args: argparse.Namespace, setting: Setting) -> str:
    from tidegate.simulation import plots, recording, story

    if not (args.stable and args.candidate):
        missing = "stable" if not args.stable else "candidate"
        raise Wrong(
            f"--{missing}: is needed with --recorded: a regular expression of a label's value that tells its series,"
            " such as checkout-6fcbd-.* of pods"
        )
    series = recording.read(args.recorded)
    found = recording.Recording(setting.spec.analysis, series, args.stable, args.candidate)
    told = story.replayed(setting, found)
    if args.svg:
        _write(args.svg, plots.svg(told, []))
    if args.output == "json":
        return json.dumps({"release": _release(setting), "one": _story_as_json(told)}, indent=2) + "\n"
    lines = [f"{_title(setting)}", f"recorded: {', '.join(args.recorded)}, {plots.minutes(found.ends)}"]
    return "\n".join([*lines, "", *_one(told, None)]) + "\n"


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Wrong(f"--svg {name}: {error.strerror}") from None


def _title(setting: Setting) -> str:
    return f"{setting.kind} {setting.name}: {releases.steps(setting.spec)}"


def _head(setting: Setting) -> list[str]:
    scenario = setting.scenario
    lines = [_title(setting), f"scenario: {_scenario(scenario)}"]
    if scenario.latency is None:
        lines.append("latency is not simulated: give --latency, such as 80ms, where a histogram is exposed")
    if setting.spec.asked or setting.spec.health.checks:
        lines.append("gates are taken to say yes at once, and health checks to pass")
    return lines


def _scenario(scenario: Scenario) -> str:
    from tidegate.api.base import format_duration

    parts = [f"{scenario.traffic.rps:,.12g} requests/s", f"{100 * scenario.base:.4g} % errors"]
    if scenario.traffic.daily:
        parts[0] += f" (±{100 * scenario.traffic.daily:.4g} % over the day)"
    if scenario.latency:
        parts.append(f"median {format_duration(scenario.latency.median)}")
    parts += [f"{name} {100 * share:.4g} %" for name, share in scenario.ratios.items()]
    for one in scenario.regressions:
        grows = f", growing for {format_duration(one.over)}" if one.over else ""
        parts.append(f"the candidate's {one.of} {one.size} from {format_duration(one.at)} on{grows}")
    for out in scenario.outages:
        parts.append(f"{out.of} out at {format_duration(out.at)} for {format_duration(out.lasts)}")
    if scenario.pod_noise:
        parts.append(f"pods vary by {100 * scenario.pod_noise:.4g} %")
    if scenario.pod_offset:
        parts.append(f"pods differ by {100 * scenario.pod_offset:.4g} %")
    return ", ".join([*parts, f"{scenario.pods} pods", f"scraped every {format_duration(scenario.scrape)}"])


def _one(story: Story, seed: int | None) -> list[str]:
    from tidegate.simulation import plots

    rows = [("TIME", "WEIGHT", "WHAT")]
    rows += [(plots.minutes(one.at), f"{one.weight} %", one.what) for one in story.happenings]
    truth = story.truth
    of_candidate = f"{truth.candidate_failed:,.0f} of the candidate's {truth.candidate_requests:,.0f} requests failed"
    return [
        f"one release{'' if seed is None else f', seed {seed}'}: {story.end} after {plots.minutes(story.at)}",
        *(f"  {line}" for line in releases.table(rows)),
        f"  by then {of_candidate}: {round(truth.excess):+,} to what stable would have failed",
        "",
        *plots.of_story(story),
    ]


_ALWAYS = ("promoted", "reverted")
"""Ends that are told of though no release has them."""


def _all(summaries: list[tuple[str, Summary]], args: argparse.Namespace) -> list[str]:
    from tidegate.simulation import plots
    from tidegate.simulation.story import End

    ends = [end for end in End if end in _ALWAYS or any(summary.ended(end).count for _, summary in summaries)]
    rows: list[list[str]] = [["", *(name for name, _ in summaries)]]
    rows += [[str(end), *(_percent(summary.ended(end)) for _, summary in summaries)] for end in ends]
    for end in ends:
        whens = [summary.when(end) for _, summary in summaries]
        rows += [[f"{end} after", *(_quantiles(when, plots.minutes) for when in whens)]] if any(whens) else []
    rows.append(["requests to the candidate", *(_quantiles(summary.touched, _count) for _, summary in summaries)])
    rows.append(["failed requests", *(_quantiles(summary.failed, _count) for _, summary in summaries)])
    rows.append(["… the candidate's doing", *(_quantiles(summary.excess, _count) for _, summary in summaries)])
    wrong = [f"{_percent(summary.wrong)} {'promoted' if summary.worse else 'reverted'}" for _, summary in summaries]
    rows.append(["wrong", *wrong])
    plural = "s" if args.runs > 1 else ""
    lines = [
        f"{args.runs:,} release{plural}, seeds {args.seed} to {args.seed + args.runs - 1}: median (5 % … 95 %)",
        *(f"  {line}" for line in releases.table(rows)),
    ]
    if End.HELD in ends:
        lines.append("  held: somebody is called; looks go on, and what comes later may end it by itself")
    for name, summary in summaries:
        lines += ["", f"when they ended, {name}", *plots.of_many(summary)]
    return lines


def _percent(share: Any) -> str:
    low, high = share.interval
    return f"{100 * share.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _quantiles(found: Quantiles | None, tell: Any) -> str:
    return "–" if found is None else f"{tell(found.median)} ({tell(found.low)} … {tell(found.high)})"


def _count(value: float) -> str:
    return f"{round(value):,}"


def _release(setting: Setting) -> dict[str, Any]:
    plan = [{"weight": one.weight, "bakeSeconds": one.bake.total_seconds()} for one in setting.spec.plan()]
    return {"kind": setting.kind, "name": setting.name, "steps": plan}


def _as_json(setting: Setting, story: Story, summaries: list[tuple[str, Summary]]) -> dict[str, Any]:
    keys = ("asDescribed", "likeStable")
    return {
        "release": _release(setting),
        "scenario": setting.scenario.wire(),
        "one": _story_as_json(story),
        "many": {key: _summary_as_json(summary) for key, (_, summary) in zip(keys, summaries, strict=False)},
    }


def _story_as_json(story: Story) -> dict[str, Any]:
    truth = story.truth
    return {
        "end": story.end.value,
        "seconds": story.at,
        "step": story.step,
        "weight": story.weight,
        "why": story.why,
        "extensions": story.extended,
        "requests": {"stable": truth.stable_requests, "candidate": truth.candidate_requests},
        "failed": {"stable": truth.stable_failed, "candidate": truth.candidate_failed, "excess": truth.excess},
        "happenings": [{"seconds": one.at, "weight": one.weight, "what": one.what} for one in story.happenings],
        "looks": [
            {"seconds": one.at, "weight": one.weight, "evidence": one.evidence, "verdict": one.verdict.value}
            for one in story.sights
        ],
    }


def _summary_as_json(summary: Summary) -> dict[str, Any]:
    from tidegate.simulation.story import End

    def quantiles(found: Quantiles | None) -> dict[str, float] | None:
        return None if found is None else {"median": found.median, "p5": found.low, "p95": found.high}

    ends = {end.value: {"share": summary.ended(end).share, "seconds": quantiles(summary.when(end))} for end in End}
    wrong = summary.wrong
    return {
        "runs": len(summary.stories),
        "ends": ends,
        "beyondLimits": summary.worse,
        "wrong": {"share": wrong.share, "interval": list(wrong.interval)},
        "candidateRequests": quantiles(summary.touched),
        "failed": quantiles(summary.failed),
        "excess": quantiles(summary.excess),
    }

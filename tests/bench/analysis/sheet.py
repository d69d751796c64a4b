"""A table of the report: its figures, and the bars that they are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.analysis.measure import bounds
from tests.bench.bars import Row


def _cells(bar: Row) -> list[str]:
    """A bar for a reader; what is more is how exact the figure is, and where it was found."""
    unit = f" {bar.unit}" if bar.unit else ""
    found = f"{bar.figure:.3g}{unit}"
    return [bar.what, f"≤ {bar.most:g}{unit}", found, bar.more, "yes" if bar.met else "**no**"]


BAR_HEAD = ("what", "bar", "measured", "how exactly, and where", "met")


@dataclass(frozen=True)
class Sheet:
    """One table."""

    name: str
    """As the command line calls it."""
    title: str
    text: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    bars: Sequence[Row] = ()
    plots: Mapping[str, str] = field(default_factory=dict)
    """SVG, by what it shows."""

    def markdown(self, links: Mapping[str, str]) -> str:
        """The section; ``links`` are the files of the plots."""
        parts = [f"## {self.title}", self.text]
        if self.bars:
            parts.append(grid(BAR_HEAD, [_cells(bar) for bar in self.bars]))
        parts += [f"![{what}]({file})" for what, file in links.items()]
        parts.append(grid(self.head, self.rows))
        return "\n\n".join(parts)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    """Short, and no finer than it is worth."""
    hundred = 100 * share
    return (
        "0"
        if hundred == 0
        else f"{hundred:.2f}"
        if hundred < 1
        else f"{hundred:.1f}"
        if hundred < 10
        else f"{hundred:.0f}"
    )


def share_bar(what: str, most: float, share: float, runs: int, *where: str) -> Row:
    """A share of so many runs, held against so many percent: with how exactly it is known, and where it was found."""
    low, high = bounds(share * runs, runs)
    return Row(what, most, 100 * share, "%", "; ".join([f"{percent(low)} to {percent(high)} %", *where]))


def minutes(delay: float) -> str:
    """Of a delay in the middle of the runs."""
    return "–" if delay == float("inf") else f"{delay:g} m"


def count(number: float) -> str:
    """Of requests."""
    return f"{number:.0f}" if number < 1000 else f"{number / 1000:.1f}k"

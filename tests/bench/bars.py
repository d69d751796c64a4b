"""The bars, and what was measured against them: a bar that is missed is marked, and fails the bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A figure that may be so much at most."""

    what: str
    most: float
    figure: float
    unit: str = ""
    more: str = ""
    """What was measured beside it, and has no bar."""

    @property
    def met(self) -> bool:
        """Whether the bar was kept."""
        return self.figure <= self.most

    @property
    def bar(self) -> str:
        """For a reader."""
        return f"≤ {self.most:g} {self.unit}".rstrip() if self.most else "0"

    @property
    def measured(self) -> str:
        """For a reader. A figure without a unit is a count."""
        figure = f"{self.figure:.2f} {self.unit}" if self.unit else f"{self.figure:.0f}"
        return f"{figure} {self.more}".rstrip()


def table(rows: Sequence[Row]) -> str:
    """All of them, with those that were missed marked."""
    cells = [("what", "bar", "measured", "")]
    cells += [(row.what, row.bar, row.measured, "" if row.met else "MISSED") for row in rows]
    width = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        " | ".join(cell.ljust(size) for cell, size in zip(line, width, strict=True)).rstrip(" |") for line in cells
    )

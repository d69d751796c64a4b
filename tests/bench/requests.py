"""The requests of a measurement: how many there are to be, and which failed."""

from __future__ import annotations

import sys

from tests.cluster.waiting import wait_until
from tests.rig.load import Load, Result

ENOUGH = 20_000


def failed(result: Result, since: float, *, but: str = "") -> int:
    """How many requests failed; what and when is told at once (seconds after ``since``)."""
    found = result.failed(but=but)
    for key, count in found.items():
        first, last = result.first[key] - since, result.last[key] - since
        sys.stderr.write(f"  {count} x {key} from {first:.2f} to {last:.2f} s\n")
    return sum(found.values())


def until(load: Load, total: int = ENOUGH) -> None:
    """Wait until there were so many."""
    wait_until(f"{total} requests", lambda: None if (n := load.counts().total()) >= total else str(n), 300)

"""Wait for what must become true, and say what was seen instead if it does not."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.cluster.interface import AttemptFailed, ClusterFailed

PAUSE = 0.05


def wait_until(what: str, probe: Callable[[], str | None], seconds: float, *, pause: float = PAUSE) -> None:
    """Call `probe` until it returns None; until then it returns what it sees instead, or fails in an attempt to see.

    A probe that starts a process wants a longer `pause`: two cores are soon busy with nothing but looking.
    """
    deadline = time.monotonic() + seconds
    while (seen := _look(probe)) is not None:
        if time.monotonic() > deadline:
            raise ClusterFailed(f"{what}: not within {seconds:g} s; seen last: {seen}")
        time.sleep(pause)


def _look(probe: Callable[[], str | None]) -> str | None:
    try:
        return probe()
    except AttemptFailed as error:
        return str(error)

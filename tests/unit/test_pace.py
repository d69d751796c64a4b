"""Releases of which nothing is expected are looked at each second, and hundreds of them in their turn."""

from __future__ import annotations

from tidegate.engine.pace import MOST, STEADY, Pace
from tidegate.engine.subject import Subject
from tidegate.ports.cluster import CANARY_RELEASES


def release(number: int) -> Subject:
    return Subject(CANARY_RELEASES, "shop", f"app-{number}")


def test_a_few_are_looked_at_each_second() -> None:
    pace = Pace()
    assert {pace.next(release(number), watched=True) for number in range(MOST)} == {STEADY}


def test_of_hundreds_no_more_are_looked_at_in_a_second() -> None:
    pace = Pace()
    for number in range(500):
        pace.next(release(number), watched=True)
    assert pace.next(release(0), watched=True) == 500 / MOST
    for number in range(10, 500):
        assert pace.next(release(number), watched=False) is None
    assert pace.next(release(0), watched=True) == STEADY

"""How many different keys, within some percent, from one to millions."""

from __future__ import annotations

import pytest

from tidegate.flags.distinct import Distinct


@pytest.mark.parametrize(("count", "within"), [(0, 0.0), (1, 0.01), (1000, 0.02), (50_000, 0.02), (250_000, 0.07)])
def test_near_enough(count: int, within: float) -> None:
    distinct = Distinct()
    for number in range(count):
        distinct.add(f"user-{number}")
        distinct.add(f"user-{number // 2}")
    estimate = distinct.estimate
    assert estimate is not None
    assert abs(estimate - count) <= within * count


def test_more_than_can_be_told_is_not_told_wrong() -> None:
    distinct = Distinct()
    distinct._set, distinct._few_set = 1 << 16, 1 << 14
    assert distinct.estimate is None

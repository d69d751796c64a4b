"""What is counted of durations, from buckets that no instant has seen together."""

from __future__ import annotations

import math

import pytest

from tidegate.core.verdict.histogram import slower


@pytest.mark.parametrize("duration", [0.05, 0.1, 0.2, 0.3, 9.0])
def test_a_bucket_that_was_scraped_a_request_later_takes_none_away(duration: float) -> None:
    assert slower({0.1: 81.0, 0.3: 82.0, math.inf: 81.0}, duration) >= 0.0


def test_beyond_the_last_finite_edge_all_count() -> None:
    assert slower({0.1: 60.0, math.inf: 81.0}, 0.1) == 21.0
    assert slower({0.1: 60.0, math.inf: 81.0}, 0.5) == 21.0

"""Where the ratio truly is, as it is kept from look to look."""

from __future__ import annotations

import json

import numpy as np

from tidegate.core.verdict.kernel import Poll, Tally
from tidegate.core.verdict.ratio import RatioBand


def test_thousands_of_looks_with_an_event_at_most_do_not_wear_the_interval_away() -> None:
    rng = np.random.default_rng(3)
    kept = exact = RatioBand.new()
    past, kappa = Poll(), 0.05
    for _ in range(2000):
        c, s = float(rng.random() < 0.3 * kappa), float(rng.random() < 0.3)
        poll = Poll(Tally(c, 100 * kappa), Tally(s, 100))
        kept, exact = RatioBand.load(json.loads(json.dumps(kept.after(poll, past).dump()))), exact.after(poll, past)
        past = past + poll
    assert np.allclose((kept.above, kept.below), (exact.above, exact.below), atol=0.05)

"""Where the ratio of two event rates truly is: an interval that holds at every look. For people, not for verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tidegate.core.verdict.kernel import Poll

_RATIOS = np.geomspace(0.1, 50, 25)
_EACH: tuple[float, ...] = tuple(_RATIOS.tolist())
_LEAST_EFFECT = 1.3
_LEAST_BETS = np.stack((_RATIOS * _LEAST_EFFECT, np.full(len(_RATIOS), -np.inf)))
_MOST_BETS = np.stack((np.full(len(_RATIOS), np.inf), _RATIOS / _LEAST_EFFECT))
"""A row for each of the two sides: what bets on the true ratio are at least, and at most."""
_DIGITS = 5
"""An event of stable's may be worth a thousandth, and a release has thousands of looks, each of which is rounded."""


@dataclass(frozen=True)
class RatioBand:
    """For each ratio of a grid: the log evidence that the true one is above it, and that it is below."""

    above: tuple[float, ...]
    below: tuple[float, ...]

    @staticmethod
    def new() -> RatioBand:
        """Nothing is known."""
        nothing = (0.0,) * len(_RATIOS)
        return RatioBand(nothing, nothing)

    def after(self, poll: Poll, past: Poll, phi: float = 1.0) -> RatioBand:
        """With one more poll, tempered by ``phi``; its bets are on the ratio of the ``past`` polls. Both arms have
        requests.

        The e-value of ``kernel.against_stable`` without delta, whose best tilt needs no base rate.
        """
        guess = past.candidate.rate / past.stable.rate
        bets = np.minimum(np.maximum(guess, _LEAST_BETS), _MOST_BETS)
        tilt = (bets - _RATIOS) / (_RATIOS * (1 + poll.kappa * bets))
        log_e = poll.candidate.events * np.log1p(tilt) + poll.stable.events * np.log1p(-_RATIOS * poll.kappa * tilt)
        above, below = np.round(np.array((self.above, self.below)) + log_e / phi, _DIGITS).tolist()
        return RatioBand(tuple(above), tuple(below))

    def interval(self, alpha: float) -> tuple[float, float] | None:
        """From, to; None as long as nothing is excluded. At the ends of the grid: or less, or more."""
        bar = math.log(2 / alpha)
        low = max((ratio for ratio, e in zip(_EACH, self.above, strict=True) if e >= bar), default=None)
        high = min((ratio for ratio, e in zip(_EACH, self.below, strict=True) if e >= bar), default=None)
        if low is None and high is None:
            return None
        interval = _EACH[0] if low is None else low, _EACH[-1] if high is None else high
        return interval if interval[0] < interval[1] else None

    def dump(self) -> list[tuple[float, ...]]:
        """As JSON."""
        return [self.above, self.below]

    @staticmethod
    def load(data: list[list[float]]) -> RatioBand:
        """The inverse of ``dump``."""
        above, below = data
        return RatioBand(tuple(above), tuple(below))

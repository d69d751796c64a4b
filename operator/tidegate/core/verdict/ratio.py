"""Where the ratio of two event rates truly is: an interval that holds at every look. For people, not for verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tidegate.core.verdict.kernel import Poll

_RATIOS = np.geomspace(0.1, 50, 25)
_EACH: tuple[float, ...] = tuple(_RATIOS.tolist())
_LEAST_EFFECT = 1.3


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
        bets = np.maximum(guess, _RATIOS * _LEAST_EFFECT), np.minimum(guess, _RATIOS / _LEAST_EFFECT)
        sides = []
        for so_far, bet in zip((self.above, self.below), bets, strict=True):
            tilt = (bet - _RATIOS) / (_RATIOS * (1 + poll.kappa * bet))
            log_e = poll.candidate.events * np.log1p(tilt) + poll.stable.events * np.log1p(-_RATIOS * poll.kappa * tilt)
            sides.append(tuple((np.array(so_far) + log_e / phi).tolist()))
        return RatioBand(*sides)

    def interval(self, alpha: float) -> tuple[float, float] | None:
        """From, to; None as long as nothing is excluded. At the ends of the grid: or less, or more."""
        bar = math.log(2 / alpha)
        low = max((ratio for ratio, e in zip(_EACH, self.above, strict=True) if e >= bar), default=None)
        high = min((ratio for ratio, e in zip(_EACH, self.below, strict=True) if e >= bar), default=None)
        if low is None and high is None:
            return None
        interval = _EACH[0] if low is None else low, _EACH[-1] if high is None else high
        return interval if interval[0] < interval[1] else None

    def dump(self) -> list[list[float]]:
        """As JSON. An event of stable's may be worth a thousandth, and a release has thousands of looks, each of which
        is rounded."""
        return [[round(e, 5) for e in side] for side in (self.above, self.below)]

    @staticmethod
    def load(data: list[list[float]]) -> RatioBand:
        """The inverse of ``dump``."""
        above, below = data
        return RatioBand(tuple(above), tuple(below))

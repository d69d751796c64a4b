"""What the candidate has had beyond its share, over the whole release: for the end of a bake.

Evidence that holds at every look is dear: where traffic is thin, a candidate twice as bad may go through all its bakes
before it fails. The end of a bake is no look among many: who has been seen to be near the limit or beyond it, and is
not as stable by any chance, does not go on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tidegate.core.verdict.kernel import Boundary, Poll

_NEAR = 0.9
"""How much of what is tolerated is too near to the limit for a candidate that differs."""
_DIFFERS = 2.7
"""Standard deviations from stable's rate: by chance one in 290 at one end of a bake. There are about a dozen ends, of
which those that follow each other have most of what they saw in common."""


@dataclass(frozen=True)
class Surplus:
    """Sums over looks, each of which compares at its own shares of traffic (Mantel and Haenszel 1959): weights that
    change do not show as a difference."""

    candidate: float = 0.0
    stable: float = 0.0
    """The two arms' events, weighted alike: their quotient is the ratio of the rates."""
    events: float = 0.0
    """The candidate's beyond its share of both arms' events..."""
    variance: float = 0.0
    """...and how far chance takes that, as far as it is known to vary."""

    def after(self, poll: Poll, phi: float) -> Surplus:
        """With one more look, at which both arms had requests."""
        c, s = poll.candidate, poll.stable
        share, together = c.requests / (c.requests + s.requests), c.events + s.events
        return Surplus(
            self.candidate + c.events * (1 - share),
            self.stable + s.events * share,
            self.events + c.events - share * together,
            self.variance + phi * share * (1 - share) * together,
        )

    def speaks_against(self, boundary: Boundary, *, rising: bool) -> bool:
        """Whether the candidate is near the boundary or beyond it, and is not as stable."""
        limit = 1 + _NEAR * (boundary.rho - 1)
        if rising:
            return self.candidate > limit * self.stable and self.events > _DIFFERS * math.sqrt(self.variance)
        return self.candidate < limit * self.stable and -self.events > _DIFFERS * math.sqrt(self.variance)

    def dump(self) -> list[float]:
        """As JSON, events rounded to what scores by interpolation are worth."""
        return [round(one, 9) for one in (self.candidate, self.stable, self.events, self.variance)]

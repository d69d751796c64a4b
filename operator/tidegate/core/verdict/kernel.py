"""One e-value for everything: what a poll's counts say against a null hypothesis. ANALYSIS.md §2.

A null is a boundary on the candidate's event rate ``p_c``: ``rho * p_s + delta``, with ``p_s`` stable's rate, or the
limit ``delta`` alone where ``rho`` is 0. Nothing is assumed of the rates: they may move in any way and together.

An *effect* is an alternative, as a factor on the boundary: above 1 the candidate is worse than allowed and the
e-value speaks for failing (null: at or below the boundary); below 1 it speaks for passing (null: at or above). For
each effect a *tilt* A is chosen from the past alone; under the null the e-value's expectation is at most 1 for every
tilt, so the choice is about power and never about validity. Bets with several effects are arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GROSS_RHO, GROSS_DELTA = 3.0, 0.30
"""The gross breaker's boundary: three times stable's error ratio plus 30 % of all requests.

At 40 %, as the study had it, a candidate that fails half of its requests takes three times as many to be told; below
30 %, a single poll's burst on one pod would do.
"""

_EDGE = 1 - 1e-9
"""Tilts stay this close inside the open interval in which the logarithms exist."""
_LEAST_RATE = 1e-6
"""Stable's rate is not believed to be below: one single error would refute it with all too much weight."""


@dataclass(frozen=True)
class Tally:
    """How many requests, and how many of them were events. Events may be fractional where a request scores in [0,
    1]."""

    events: float = 0.0
    requests: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.events + other.events, self.requests + other.requests)

    @property
    def rate(self) -> float:
        """Smoothed, so that it exists with no requests and is never 0 or 1."""
        return (self.events + 0.5) / (self.requests + 1)

    @property
    def share(self) -> float | None:
        """Events per request, as counted; None without requests."""
        return self.events / self.requests if self.requests else None


@dataclass(frozen=True)
class Poll:
    """What both arms did over the same time."""

    candidate: Tally = Tally()
    stable: Tally = Tally()

    def __add__(self, other: Poll) -> Poll:
        return Poll(self.candidate + other.candidate, self.stable + other.stable)

    @property
    def kappa(self) -> float:
        """The candidate's requests per request of stable."""
        return self.candidate.requests / self.stable.requests


@dataclass(frozen=True)
class Boundary:
    """The null's boundary on the candidate's event rate: ``rho * p_s + delta``."""

    rho: float
    delta: float

    def at(self, stable_rate: float) -> float:
        """The boundary, given stable's rate."""
        return self.rho * stable_rate + self.delta


def against_stable(poll: Poll, boundary: Boundary, effects: Floats, p: float) -> Floats:
    """Log e-values of a comparison with stable; ``p`` is stable's rate as past polls have it. Both arms have
    requests.

        log e = x_c log(1 + A) + x_s log(1 - rho kappa A) - A n_c delta

    Valid: E[(1+A)^x_c] <= exp(n_c p_c A) and E[(1-rho kappa A)^x_s] <= exp(-n_s p_s rho kappa A), for Bernoulli and
    Poisson events alike (1 + u <= e^u), so E[e] <= exp(A n_c (p_c - rho p_s - delta)): at most 1 for A > 0 when p_c
    <= rho p_s + delta, for A < 0 when p_c >= rho p_s + delta. Fractional events: by convexity.
    """
    share = boundary.rho * poll.kappa
    tilt = _two_arm_tilt(boundary, poll.kappa, effects, max(p, _LEAST_RATE))
    c, s = poll.candidate, poll.stable
    log_e: Floats = c.events * np.log1p(tilt) + s.events * np.log1p(-share * tilt) - tilt * c.requests * boundary.delta
    return log_e


def _two_arm_tilt(boundary: Boundary, kappa: float, effects: Floats, p: float) -> Floats:
    """The tilt that grows fastest on average when p_c is ``effects`` times the boundary and p_s is ``p``.

    The root of p_c/(1+A) - rho p/(1 - rho kappa A) - delta = 0, in the form without cancellation.
    """
    rho, delta = boundary.rho, boundary.delta
    p_c = effects * boundary.at(p)
    a = delta * rho * kappa
    minus_b = rho * kappa * p_c + rho * p + delta - a
    tilt = 2 * (p_c - boundary.at(p)) / (minus_b + np.sqrt(minus_b**2 - 4 * a * (p_c - boundary.at(p))))
    inside: Floats = np.minimum(np.maximum(tilt, -_EDGE), _EDGE / (rho * kappa))
    return inside


def against_limit(candidate: Tally, limit: float, effects: Floats) -> Floats:
    """Log e-values of a comparison with an absolute limit on the event rate, 0 < limit < 1: stable plays no part.

    The exact Bernoulli form: a request's factor is 1 + A (y - limit), of expectation 1 + A (p_c - limit).
    """
    p_c = np.minimum(effects * limit, 1 - (1 - limit) * 1e-2)
    tilt = (p_c - limit) / (limit * (1 - limit))
    return _bernoulli(candidate, limit, tilt)


def _bernoulli(candidate: Tally, delta: float, tilt: Floats) -> Floats:
    """Sum of log(1 + A (y - delta)) over requests with score y; at most that for fractional scores (concavity)."""
    events = min(candidate.events, candidate.requests)
    log_e: Floats = events * np.log1p(tilt * (1 - delta)) + (candidate.requests - events) * np.log1p(-tilt * delta)
    return log_e


def gross(poll: Poll, effects: Floats, p: float) -> Floats:
    """Log e-values against p_c <= 3 p_s + 0.3: to be quick where half of the requests fail. Both arms have some.

        log e = x_c log(1 + A (1-delta)) + (n_c - x_c) log(1 - A delta) + x_s log(1 - rho kappa A)

    for 0 < A < 1/delta, rho kappa A < 1. Valid: a candidate request's factor has expectation 1 + A (p_c - delta) <=
    exp(A (p_c - delta)), a stable one's 1 - p_s rho kappa A <= exp(-p_s rho kappa A); with n_c = kappa n_s the
    product is at most exp(n_c A (p_c - delta - rho p_s)), which is at most 1 when p_c <= rho p_s + delta. Unlike
    ``against_stable`` it also uses the requests that went well, which count when half of them do not.
    """
    boundary = GROSS_RHO * p + GROSS_DELTA
    tilt = _gross_tilt(np.minimum(effects * boundary, 0.98), poll.kappa, max(p, _LEAST_RATE))
    stable: Floats = poll.stable.events * np.log1p(-GROSS_RHO * poll.kappa * tilt)
    return _bernoulli(poll.candidate, GROSS_DELTA, tilt) + stable


def _gross_tilt(p_c: Floats, kappa: float, p_s: float) -> Floats:
    """The tilt that grows fastest on average under the alternative (p_c, p_s); 0, no bet, where none grows.

    The root of p_c (1-delta)/(1 + A (1-delta)) - (1-p_c) delta/(1 - A delta) - p_s rho/(1 - rho kappa A): over a common
    denominator, a quadratic.
    """
    delta, well, share = GROSS_DELTA, 1 - GROSS_DELTA, GROSS_RHO * kappa
    gains, losses, costs = p_c * well, (1 - p_c) * delta, p_s * GROSS_RHO
    least = np.maximum(gains - losses - costs, 0)
    a = gains * delta * share + losses * well * share + costs * well * delta
    minus_b = gains * (delta + share) + losses * (well - share) + costs * (well - delta)
    tilt = 2 * least / (minus_b + np.sqrt(np.maximum(minus_b**2 - 4 * a * least, 0)))
    inside: Floats = np.minimum(tilt, _EDGE * np.minimum(1 / delta, 1 / share))
    return inside


def divergence(p: float, q: float) -> float:
    """KL divergence of two Bernoulli rates in nats: the evidence a request gives for ``p`` against ``q``."""
    return float(divergences(p, np.array([q]))[0])


def divergences(p: float, q: Floats) -> Floats:
    """The same against each of several rates."""
    p, q = min(max(p, 1e-12), 1 - 1e-12), np.minimum(np.maximum(q, 1e-12), 1 - 1e-12)
    nats: Floats = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return nats

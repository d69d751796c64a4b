"""The evidence on one metric: its tests, and their processes from poll to poll. ANALYSIS.md §2.1, §3.3, §4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

from tidegate.core.verdict import gauge, kernel
from tidegate.core.verdict.gauge import Block
from tidegate.core.verdict.kernel import Boundary, Floats, Poll, Tally
from tidegate.core.verdict.mixture import CAP, FailProcess, Pace, PassProcess
from tidegate.core.verdict.ratio import RatioBand
from tidegate.core.verdict.surplus import Surplus

BETA = 0.05
"""The chance that a step passes, wrongly, by evidence: of a candidate exactly at its limit."""
LEANING = math.log(1.5)
"""Evidence for failing beyond this speaks against a step's end, short of failing it."""


class Check(StrEnum):
    """What the candidate is held against."""

    Relative = "relative"
    """Stable, over the same time."""
    Absolute = "absolute"
    """A limit of its own."""
    Gross = "gross"
    """Stable, by a margin so wide that one poll may decide."""


_WORSE = {
    Check.Relative: np.array([1.15, 1.35, 1.6, 2, 2.7, 4, 7, 15, 40, 150, 1000]),
    Check.Absolute: np.array([1.1, 1.25, 1.5, 2, 3, 5, 10, 19]),
    Check.Gross: np.array([1.25, 2, 4]),
}
_LESS = np.array([0.97, 0.93, 0.87, 0.8, 0.7, 0.5, 0.25, 0.05])
_BETTER = {
    Check.Relative: np.array([0.93, 0.85, 0.75, 0.65, 0.5, 0.3, 0.1]),
    Check.Absolute: np.array([0.9, 0.75, 0.5, 0.25, 0.05]),
}
_MORE = np.array([1.02, 1.05, 1.1, 1.2, 1.4, 2])
"""The effects bet on, as factors on the boundary: where more is worse; and where less is."""

_GROSS_PRIOR = tuple(math.log(share) for share in (0.5, 0.25, 0.25))
"""Half on the hardest: that most requests fail shows anyway."""
_GROSS_REQUESTS = 10.0
"""Requests of the candidate for each unit by which the gross breaker is tempered at most: as many as would decide if
they all failed. Untempered, one cluster of errors among few requests would do, or one pod's bad minute among many; by
more, that all requests fail would take a second poll."""
WORSE_THAN_STABLE = Boundary(rho=1.0, delta=1e-5)
"""What is beyond a limit of its own fails only if it is worse than stable, too: an outage that both share is nobody's
fault."""

_DECAY, _PRIOR_REQUESTS = 0.97, 200.0


@dataclass(frozen=True)
class Rule:
    """What a metric is held to. A test is configured where its boundary is given."""

    relative: Boundary | None
    """The candidate's rate may be up to this..."""
    margin: float
    """...and to pass must be proven to be less than with this much instead of the boundary's delta."""
    absolute: float | None
    """The limit on the candidate's rate, above 0 and below 1."""
    breaker: bool
    """Whether the gross breaker watches: only where an event is a failed request."""
    banded: bool
    """Whether the interval of the ratio is told: not where the arms' events are not the same, as with latency."""
    usual: float
    """Stable's rate, as long as nothing is known of it."""
    level: bool = False
    """Whether it is a gauge, of which blocks are seen and no requests."""
    rising: bool = True
    """Whether more events are worse; if not, an event is what ought to happen, and the relative boundary is the least
    there may be."""

    @property
    def tests(self) -> tuple[Check, ...]:
        """The tests that are configured."""
        wanted = (
            (Check.Relative, self.relative is not None),
            (Check.Absolute, self.absolute is not None),
            (Check.Gross, self.breaker),
        )
        return tuple(test for test, is_wanted in wanted if is_wanted)

    def worse(self, test: Check) -> Floats:
        """The effects that failing bets on; of a gauge, what it stakes."""
        if self.level:
            return gauge.STAKES
        return _WORSE[test] if self.rising else _LESS

    def better(self, test: Check) -> Floats:
        """The effects that passing bets on."""
        return _BETTER[test] if self.rising else _MORE

    @cached_property
    def to_pass(self) -> Boundary | None:
        """The relative boundary that the candidate must be proven to stay below."""
        return replace(self.relative, delta=self.margin) if self.relative else None


@dataclass(frozen=True)
class Counts:
    """What a look counted for one metric. The tests may score requests differently, as with two latency limits."""

    relative: Poll = Poll()
    absolute: Poll = Poll()

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.relative + other.relative, self.absolute + other.absolute)

    @property
    def seen(self) -> float:
        """How many of the candidate's requests a test learnt from."""
        return max(self.relative.candidate.requests, self.absolute.candidate.requests)


@dataclass(frozen=True)
class Evidence:
    """All that the tests of one metric know."""

    stable_events: float
    stable_requests: float
    """Stable's past, fading: what its rate is expected to be with the next poll."""
    failing: Mapping[Check, FailProcess]
    passing: Mapping[Check, PassProcess]
    band: RatioBand | None
    surplus: Surplus = Surplus()
    total: Counts = Counts()
    """Since the warm-up."""
    step: Counts = Counts()
    """Since the step began."""

    @staticmethod
    def new(rule: Rule) -> Evidence:
        """Before the first poll."""
        return Evidence(
            stable_events=_PRIOR_REQUESTS * rule.usual,
            stable_requests=_PRIOR_REQUESTS,
            failing={test: FailProcess.new(len(rule.worse(test))) for test in rule.tests},
            passing=_unproven(rule),
            band=RatioBand.new() if rule.banded else None,
        )

    def expecting(self, lifetime: Tally) -> Evidence:
        """With stable's rate over all that it served before; before the first poll."""
        return replace(self, stable_events=_PRIOR_REQUESTS * lifetime.rate) if lifetime.requests else self

    def stepped(self, rule: Rule, pace: Pace) -> Evidence:
        """The next step begins: failing goes on, passing starts anew."""
        return replace(
            self,
            failing={test: process.stepped(pace) for test, process in self.failing.items()},
            passing=_unproven(rule),
            step=Counts(),
        )

    @property
    def stable_rate(self) -> float:
        """What stable's rate is expected to be with the next poll."""
        return self.stable_events / self.stable_requests

    def after(self, counts: Counts, rule: Rule, pace: Pace, caps: Mapping[Check, float], phi: float = 1.0) -> Evidence:
        """With one more poll. A test that lacks an arm's requests learns nothing from it.

        ``phi`` is how much more counts vary than chance explains, from the past alone.
        """
        p = self.stable_rate
        stable = counts.relative.stable
        informed = [test for test in rule.tests if _informs(test, counts)]
        failing = {
            test: self.failing[test].after(
                _against(test, counts, rule, p).tolist(),
                _log_prior(test, rule),
                pace,
                cap=caps[test],
                phi=_gross_phi(counts, phi) if test is Check.Gross else phi,
            )
            for test in informed
        }
        passing = {
            test: self.passing[test].after(
                _log_e(test, counts, rule.to_pass, rule.absolute, rule.better(test), p).tolist(),
                cap=-CAP * math.log(BETA),
                phi=phi,
            )
            for test in informed
            if test in self.passing
        }
        band, surplus = self.band, self.surplus
        if rule.relative is not None and _informs(Check.Relative, counts):
            surplus = surplus.after(counts.relative, phi)
            band = band.after(counts.relative, self.total.relative, phi) if band is not None else None
        return Evidence(
            stable_events=_DECAY * self.stable_events + stable.events,
            stable_requests=_DECAY * self.stable_requests + stable.requests,
            failing={**self.failing, **failing},
            passing={**self.passing, **passing},
            band=band,
            surplus=surplus,
            total=self.total + counts,
            step=self.step + counts,
        )

    def after_block(self, block: Block, rule: Rule, pace: Pace, caps: Mapping[Check, float]) -> Evidence:
        """With one more block of a gauge."""
        found = {
            Check.Relative: gauge.against_stable(block, rule.relative.rho) if rule.relative else None,
            Check.Absolute: gauge.against_limit(block, rule.absolute) if rule.absolute else None,
        }
        failing = {
            test: self.failing[test].after(log_e.tolist(), _log_prior(test, rule), pace, cap=caps[test])
            for test, log_e in found.items()
            if log_e is not None
        }
        return replace(self, failing={**self.failing, **failing})

    def proven(self, rule: Rule) -> bool:
        """Whether this step's candidate is shown to be within every limit, with two polls at least of each test.

        The comparison with stable is not asked for where stable has no requests in the step: the limits are.
        """
        asked = [test for test in self.passing if test is Check.Absolute or self.step.relative.stable.requests > 0]
        return bool(asked) and all(
            self.passing[test].polls >= 2 and self.passing[test].log_m >= -math.log(BETA) and self.within(test, rule)
            for test in asked
        )

    def within(self, test: Check, rule: Rule) -> bool:
        """Whether the rates, as they are seen in this step, are within the limit."""
        if test is Check.Absolute:
            return rule.absolute is None or self.step.absolute.candidate.rate <= rule.absolute
        poll, boundary = self.step.relative, rule.to_pass
        if boundary is None:
            return True
        limit = boundary.at(poll.stable.rate)
        return poll.candidate.rate <= limit if rule.rising else poll.candidate.rate >= limit

    def leans(self, rule: Rule) -> bool:
        """Whether some test's evidence speaks for failing, or all that was seen in the release does."""
        surplus = rule.relative is not None and self.surplus.speaks_against(rule.relative, rising=rule.rising)
        return surplus or any(process.log_m > LEANING for process in self.failing.values())

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "past": [self.stable_events, self.stable_requests],
            "fail": {test.value: process.dump() for test, process in self.failing.items()},
            "pass": {test.value: process.dump() for test, process in self.passing.items()},
            "band": self.band.dump() if self.band else None,
            "surplus": self.surplus.dump(),
            "total": _flat(self.total),
            "step": _flat(self.step),
        }

    @staticmethod
    def load(data: Mapping[str, Any]) -> Evidence:
        """The inverse of ``dump``."""
        events, requests = data["past"]
        return Evidence(
            stable_events=events,
            stable_requests=requests,
            failing={Check(name): FailProcess.load(state) for name, state in data["fail"].items()},
            passing={Check(name): PassProcess.load(state) for name, state in data["pass"].items()},
            band=RatioBand.load(data["band"]) if data["band"] else None,
            surplus=Surplus(*data["surplus"]),
            total=_counts(data["total"]),
            step=_counts(data["step"]),
        )


def _unproven(rule: Rule) -> dict[Check, PassProcess]:
    tests = () if rule.level else rule.tests
    return {test: PassProcess.new(len(rule.better(test))) for test in tests if test in _BETTER}


def _log_prior(test: Check, rule: Rule) -> Sequence[float]:
    effects = len(rule.worse(test))
    return _GROSS_PRIOR if test is Check.Gross else (-math.log(effects),) * effects


def _informs(test: Check, counts: Counts) -> bool:
    """Whether the poll has requests of every arm that the test compares."""
    if test is Check.Absolute:
        return counts.absolute.candidate.requests > 0
    return counts.relative.candidate.requests > 0 and counts.relative.stable.requests > 0


def _gross_phi(counts: Counts, phi: float) -> float:
    return max(1.0, min(phi, counts.relative.candidate.requests / _GROSS_REQUESTS))


def _against(test: Check, counts: Counts, rule: Rule, p: float) -> Floats:
    """The log e-values for failing. Of a limit where stable is asked as well: the lesser of two, each of which is valid
    under its null at every look, so it is valid where either holds, and where they hold by turns."""
    effects = rule.worse(test)
    log_e = _log_e(test, counts, rule.relative, rule.absolute, effects, p)
    if test is Check.Absolute and counts.absolute.stable.requests > 0:
        worse = kernel.against_stable(counts.absolute, WORSE_THAN_STABLE, effects, p)
        return np.minimum(log_e, worse)
    return log_e


def _log_e(
    test: Check, counts: Counts, boundary: Boundary | None, limit: float | None, effects: Floats, p: float
) -> Floats:
    """The log e-values of a poll for a configured test."""
    if test is Check.Gross:
        return kernel.gross(counts.relative, effects, p)
    if test is Check.Absolute:
        assert limit is not None
        return kernel.against_limit(counts.absolute.candidate, limit, effects)
    assert boundary is not None
    return kernel.against_stable(counts.relative, boundary, effects, p)


def _flat(counts: Counts) -> list[float]:
    """Four numbers of each poll, of two that are alike once; events rounded to what scores by interpolation are
    worth."""
    polls = (counts.relative,) if counts.relative == counts.absolute else (counts.relative, counts.absolute)
    tallies = [tally for poll in polls for tally in (poll.candidate, poll.stable)]
    return [round(number, 9) for tally in tallies for number in (tally.events, tally.requests)]


def _counts(flat: list[float]) -> Counts:
    tallies = [Tally(events, requests) for events, requests in zip(flat[::2], flat[1::2], strict=True)]
    polls = [Poll(candidate, stable) for candidate, stable in zip(tallies[::2], tallies[1::2], strict=True)]
    return Counts(polls[0], polls[-1])

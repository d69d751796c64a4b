"""From the evidence on all metrics to one verdict. ANALYSIS.md §5."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from tidegate.core.verdict.evidence import BETA, Check, Evidence, Rule
from tidegate.core.verdict.kernel import Boundary, Poll, Tally, divergence, divergences
from tidegate.core.verdict.mixture import CAP, harder, log_sum

GROSS_WEIGHT = 0.1
_LIMIT_CAP = 0.35
"""As ``CAP``, for limits of the candidate's own, which take three polls: two that are out of step with stable's, in an
outage that both share, show it beyond its limit and far worse than stable."""
_PATIENCE = 1.5
"""A sequential test needs this much more than the best test that knows the truth."""
_WAY = np.linspace(0, 1, 40)


class Family(StrEnum):
    """What sort of thing a metric measures: families share the weight, not their members."""

    Errors = "errors"
    Latency = "latency"
    Business = "business"
    """What ought to happen, and happens less."""
    Other = "other"


_WEIGHTS = {Family.Errors: 0.35, Family.Latency: 0.25, Family.Business: 0.1, Family.Other: 0.1}
_ABSOLUTE_WEIGHT = 0.1

Key = tuple[str, Check]
"""A test of a metric: (the metric's name, the test)."""


@dataclass(frozen=True)
class Plan:
    """Of every test: its weight in the sum, 1 altogether, and how far one poll may take it, in nats."""

    alpha: float
    weights: Mapping[Key, float]
    caps: Mapping[Key, float]

    @staticmethod
    def of(metrics: Mapping[str, tuple[Family, Rule]], alpha: float) -> Plan:
        """Fixed before the first poll, so that the weighted sum of the evidence is evidence."""
        keys = [((name, test), family) for name, (family, rule) in metrics.items() for test in rule.tests]
        shares = Counter(_share(key[1], family) for key, family in keys)
        raw = {key: _raw_weight(key[1], family) / shares[_share(key[1], family)] for key, family in keys}
        rest = sum(weight for (_, test), weight in raw.items() if test is not Check.Gross)
        for_rest = 1 - GROSS_WEIGHT if any(test is Check.Gross for _, test in raw) else 1.0
        weights = {key: weight if key[1] is Check.Gross else weight / rest * for_rest for key, weight in raw.items()}
        return Plan(alpha, weights, _caps(weights, alpha))

    def caps_of(self, metric: str) -> dict[Check, float]:
        """The caps of one metric's tests."""
        return {test: cap for (name, test), cap in self.caps.items() if name == metric}

    def bar(self, key: Key) -> float:
        """The log evidence with which the test would fail the release alone."""
        return -math.log(self.alpha * self.weights[key])


def _share(test: Check, family: Family) -> str:
    """Within what a test shares weight."""
    return family.value if test is Check.Relative else test.value


def _raw_weight(test: Check, family: Family) -> float:
    if test is Check.Gross:
        return GROSS_WEIGHT
    return _ABSOLUTE_WEIGHT if test is Check.Absolute else _WEIGHTS[family]


def _caps(weights: Mapping[Key, float], alpha: float) -> dict[Key, float]:
    """How far a poll may take each test on its way to failing; less where so many tests at their caps would fail
    together in one poll."""
    alone = {key: -_cap(key[1]) * math.log(alpha * weight) for key, weight in weights.items()}
    capped = [math.log(weights[key]) + cap for key, cap in alone.items() if math.isfinite(cap)]
    together = log_sum(capped) if capped else 0.0
    excess = max(0.0, together + 0.1 + math.log(alpha))
    return {key: cap - excess for key, cap in alone.items()}


def _cap(test: Check) -> float:
    if test is Check.Gross:
        return math.inf
    return _LIMIT_CAP if test is Check.Absolute else CAP


@dataclass(frozen=True)
class Outcome:
    """Whether the release failed, and by which test."""

    failed: bool
    blamed: Key | None

    def failed_by(self, metric: str) -> bool:
        """Whether the release failed, and this metric gave the most evidence."""
        return self.failed and self.blamed is not None and self.blamed[0] == metric


def judge(plan: Plan, evidence: Mapping[str, Evidence]) -> Outcome:
    """Fail when the weighted sum of all evidence reaches 1/alpha. The caller makes it last: there is no way back."""
    terms = {key: math.log(weight) + evidence[key[0]].failing[key[1]].log_m for key, weight in plan.weights.items()}
    total = log_sum(list(terms.values())) if terms else -math.inf
    return Outcome(total >= -math.log(plan.alpha), max(terms, key=lambda key: terms[key], default=None))


def progress(plan: Plan, metric: str, evidence: Evidence) -> float:
    """How far the metric's evidence is on its way to failing: 0 to 1."""
    ways = [process.log_m / plan.bar((metric, test)) for test, process in evidence.failing.items()]
    return min(1.0, max(0.0, *ways))


def needed(plan: Plan, metric: str, rule: Rule, evidence: Evidence, phi: float = 1.0) -> int | None:
    """About how many more candidate requests conclude, if rates stay as they are in this step; None: no idea.

    1.5 log(1/level) / D, minus those seen, D being the evidence of a request for the best of all tests, divided as
    ``phi`` divides it. To fail takes one test beyond its limit, to pass takes all of them.
    """
    to_fail: list[float] = []
    to_pass: list[float] = []
    for test in evidence.passing:
        poll = evidence.step.absolute if test is Check.Absolute else evidence.step.relative
        if poll.candidate.requests == 0 or (test is Check.Relative and poll.stable.requests == 0):
            continue
        beyond = not evidence.within(test, rule)
        information = _information(test, rule, poll, beyond=beyond)
        if information <= 0:
            return None
        level = plan.bar((metric, test)) if beyond else -math.log(BETA)
        divisor = phi if beyond else harder(phi)
        missing = _PATIENCE * level * divisor / information - poll.candidate.requests
        (to_fail if beyond else to_pass).append(max(missing, 1.0))
    missing_most = min(to_fail) if to_fail else max(to_pass, default=None)
    return None if missing_most is None or missing_most > 1e9 else _two_digits(missing_most)


def to_fail(
    plan: Plan, key: Key, boundary: Boundary, candidate: float, stable: float, many: float, phi: float
) -> float:
    """About how many of the candidate's requests fail it, at these rates and with ``many`` of stable's to each."""
    return _PATIENCE * plan.bar(key) * phi / information(boundary, candidate, stable, many)


def _information(test: Check, rule: Rule, poll: Poll, *, beyond: bool) -> float:
    """Nats per candidate request against the nearest point of the null."""
    if test is Check.Absolute:
        assert rule.absolute is not None
        return divergence(poll.candidate.rate, rule.absolute)
    boundary = rule.relative if beyond else rule.to_pass
    assert boundary is not None
    return _nearest(poll.candidate, poll.stable, boundary)


def _nearest(candidate: Tally, stable: Tally, boundary: Boundary) -> float:
    return information(boundary, candidate.rate, stable.rate, stable.requests / candidate.requests)


def information(boundary: Boundary, candidate: float, stable: float, many: float) -> float:
    """Nats per candidate request that any test can have of these rates, with ``many`` of stable's requests to each.

    min over stable's rate q of KL(p_c || boundary(q)) + many KL(p_s || q): between the two rates' own q.
    """
    own = (candidate - boundary.delta) / boundary.rho
    ends = sorted((min(max(own, 1e-9), 1 - 1e-9), stable))
    q = ends[0] * (ends[1] / ends[0]) ** _WAY
    return float((divergences(candidate, boundary.rho * q + boundary.delta) + many * divergences(stable, q)).min())


def _two_digits(count: float) -> int:
    """Rounded, as an estimate should be."""
    return int(round(count, 1 - math.floor(math.log10(count)))) if count >= 100 else math.ceil(count)

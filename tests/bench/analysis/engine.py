"""The engine in a world: its own functions, look by look, run by run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.bench.analysis.worlds import Trace
from tidegate.api.analysis import AnalysisSpec, MetricSpec, Preset
from tidegate.core import metric as held
from tidegate.core.verdict import decision
from tidegate.core.verdict.decision import Plan
from tidegate.core.verdict.dispersion import Dispersion
from tidegate.core.verdict.evidence import Counts, Evidence, Rule
from tidegate.core.verdict.kernel import Poll, Tally
from tidegate.core.verdict.mixture import Pace

NEVER = -1
"""Instead of a look."""


@dataclass(frozen=True)
class Judge:
    """How one metric is judged."""

    rule: Rule
    plan: Plan
    name: str = "errors"
    tempered: bool = True
    """By what stable's pods differ. Else as if all that they did were chance."""

    @staticmethod
    def of(metric: MetricSpec, confidence: float = 0.95) -> Judge:
        """As the operator judges a release with this metric alone."""
        spec = AnalysisSpec(metrics=(metric,), confidence=confidence)
        return Judge(held.rule(metric), held.plan(spec), metric.name)


def errors(increase: float | None = 0.5, limit: str | None = None, confidence: float = 0.95) -> Judge:
    """The preset for errors."""
    metric = MetricSpec(name="errors", preset=Preset.ErrorRatio, max_increase=increase, max=limit)
    return Judge.of(metric, confidence)


def polls(trace: Trace, run: int) -> Iterator[Counts]:
    """What the looks of a run counted."""
    arms = (*trace.candidate.totals, *trace.stable.totals)
    for x_c, n_c, x_s, n_s in zip(*(arm[run].tolist() for arm in arms), strict=True):
        poll = Poll(Tally(x_c, n_c), Tally(x_s, n_s))
        yield Counts(poll, poll)


def pods(trace: Trace, run: int) -> Iterator[dict[str, Tally]]:
    """What each of stable's pods did at the looks of a run."""
    for requests, events in zip(trace.stable.requests[run].tolist(), trace.stable.events[run].tolist(), strict=True):
        yield {f"{pod:04}": Tally(x, n) for pod, (n, x) in enumerate(zip(requests, events, strict=True))}


def before(trace: Trace, run: int) -> Tally:
    """Stable's history as one tally."""
    return Tally(float(trace.past.events[run].sum()), float(trace.past.requests[run].sum()))


def walk(judge: Judge, trace: Trace, run: int, *, proving: bool = False) -> Iterator[tuple[Evidence, bool]]:
    """The evidence after each look of a run, as ``core.analysis`` gathers it, and whether so many pods may prove
    anything. Without the interval, which is for people; and with evidence for passing only where somebody wants it
    ``proving``: it takes half of the time."""
    looks, many = trace.candidate.requests.shape[1:]
    pace = Pace(looks, len(trace.steps) + 1)
    caps = judge.plan.caps_of(judge.name)
    evidence = replace(Evidence.new(judge.rule).expecting(before(trace, run)), band=None)
    dispersion = Dispersion().after_history(trace.past.requests[run], trace.past.events[run])
    for look, (counts, told) in enumerate(zip(polls(trace, run), pods(trace, run), strict=True)):
        if look in trace.steps:
            evidence = evidence.stepped(judge.rule, pace)
        if not proving:
            evidence = replace(evidence, passing={})
        phi = 1.0
        if judge.tempered:
            phi = dispersion.phi(evidence.stable_rate * counts.relative.candidate.requests / many)
            dispersion = dispersion.after(told, counts.relative)
        evidence = evidence.after(counts, judge.rule, pace, caps, phi)
        yield evidence, not judge.tempered or dispersion.vouched_by(many)


def ended(judge: Judge, trace: Trace, run: int, *, proving: bool = False) -> tuple[int, int]:
    """The looks with which a run failed and passed, one of them at most; ``NEVER`` for the others."""
    for look, (evidence, vouched) in enumerate(walk(judge, trace, run, proving=proving)):
        if decision.judge(judge.plan, {judge.name: evidence}).failed:
            return look, NEVER
        if proving and vouched and evidence.proven(judge.rule) and not evidence.leans(judge.rule):
            return NEVER, look
    return NEVER, NEVER

"""The analysis of a release or a flag, look by look: pure functions of the spec, the last status and the answers.

``begin`` when the candidate first gets traffic; then, at each ``next_look``, ask the ``queries`` and ``look``. The
status is all that is kept; its journal holds the evidence and the counters last read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, MetricSpec, OnFail, Preset, Reason, Source, Verdict
from tidegate.core import answered, caveat, findings, history, sourcing
from tidegate.core import questions as ask
from tidegate.core.answered import Question, Reads, Reply, Trouble
from tidegate.core.arms import Arms, Side
from tidegate.core.counters import (
    Answer,
    Counted,
    Growth,
    Ledger,
    Partly,
    Series,
    count,
    evened,
    scrape_period,
)
from tidegate.core.metric import Journal, Known, cuts, plan, rule
from tidegate.core.verdict import decision, gauge, histogram
from tidegate.core.verdict.decision import Plan
from tidegate.core.verdict.evidence import Counts, Evidence
from tidegate.core.verdict.kernel import Poll, Tally
from tidegate.core.verdict.latency import Cuts, Latency, tally
from tidegate.core.verdict.mixture import Pace

__all__ = [
    "Arms",
    "before",
    "begin",
    "caveats",
    "forgiven",
    "is_first",
    "look",
    "look_at",
    "next_look",
    "plans",
    "queries",
]

_LEARNING = 10.0
"""Seconds in which looks are close: until two samples have shown when scrapes come, and where pods are read."""
_AFTER_SCRAPE = 0.15
"""Seconds from the time of a sample until it can be read."""
_PUNCTUAL = 0.02
"""A look that is so many seconds early is in time: statuses keep milliseconds, and timers are not exact."""
_MILLISECOND = 0.001


def begin(spec: AnalysisSpec, arms: Arms, now: datetime, planned_looks: int, steps: int) -> AnalysisStatus:
    """The candidate gets its first traffic. ``planned_looks`` are the looks of all steps with their extensions."""
    journal = Journal(
        compared=arms.names,
        started=round(now.timestamp() * 1000),
        pace=Pace(planned_looks, steps),
        metrics={metric.name: Known.nothing(metric) for metric in spec.metrics},
    )
    return AnalysisStatus(
        verdict=Verdict.Inconclusive,
        reason=Reason.WarmingUp,
        message="not looked at yet",
        looked_at=now,
        journal=journal.dump(spec),
    )


def queries(spec: AnalysisSpec, arms: Arms, status: AnalysisStatus | None = None) -> tuple[str, ...]:
    """The distinct PromQL queries whose answers a look takes: the same ones at every look that found whose counters
    there are. Without the last ``status``, those for all that it might be, whose answers do as well.

    The first look that is answered after ``begin``, which has made the ``status``, also takes what stable did before.
    Where the rest is answered and that is not, it is done without.
    """
    sources = Journal.sources(status.journal, spec, arms.names) if status and status.journal else {}
    texts = [
        question.asked
        for metric in spec.metrics
        for side in sourcing.sides(metric)
        for question in ask.questions(spec, metric, arms, side, sources.get(metric.name))
    ]
    if status is not None and is_first(status):
        texts += before(spec, arms)
    return tuple(dict.fromkeys(texts))


def before(spec: AnalysisSpec, arms: Arms) -> tuple[str, ...]:
    """The queries that tell what stable did before."""
    return tuple(question.asked for metric in spec.metrics for question in ask.history(spec, metric, arms))


def caveats(spec: AnalysisSpec, arms: Arms, answers: Mapping[str, Answer], now: datetime) -> dict[str, str]:
    """By metric, what the first look of a release that begins now would tell of stable's pods. ``answers`` are of both
    ``queries`` and ``before``."""
    journal = Journal.load(begin(spec, arms, now, 1, 1).journal, spec)
    view = _View(spec, arms, answers, now, journal, plans(spec))
    known = {one.name: _with_history(view, one, _of_source(view, one)) for one in spec.metrics}
    return {name: one.caveat for name, one in known.items() if one.caveat}


def is_first(status: AnalysisStatus) -> bool:
    """Whether no look has been answered yet: none was taken, or all were while Prometheus was away."""
    return all(metric.reason is Reason.QueryFailed for metric in status.metrics)


def look(
    spec: AnalysisSpec,
    status: AnalysisStatus,
    arms: Arms,
    answers: Mapping[str, Answer],
    now: datetime,
    *,
    step_changed: bool,
) -> AnalysisStatus:
    """What the answers add, and what is to be concluded.

    ``step_changed``: this is the first look of another step than the last one was of. A failed analysis stays failed.
    Evidence of other arms than those compared now is void.
    """
    if status.verdict is Verdict.Fail:
        return status.model_copy(update={"looked_at": now})
    journal = Journal.load(status.journal, spec)
    if journal.compared != arms.names:
        anew = begin(spec, arms, now, journal.pace.polls, journal.pace.steps)
        journal = Journal.load(anew.journal, spec)
    view = _View(spec, arms, answers, now, journal, plans(spec))
    view = view.knowing({metric.name: _of_source(view, metric) for metric in spec.metrics})
    if is_first(status):
        view = view.knowing(
            {one.name: _with_history(view, one, view.journal.metrics[one.name]) for one in spec.metrics}
        )
    replies = {one.name: view.told(one, view.journal.metrics[one.name].source) for one in spec.metrics}
    metrics = {}
    for metric in spec.metrics:
        known = _stepped(view, metric) if step_changed else view.journal.metrics[metric.name]
        metrics[metric.name] = _measured(view, metric, known, replies[metric.name])
    journal = replace(_clocked(view, replies), metrics=metrics)
    told = status.caveat or "; ".join(one.caveat for one in metrics.values() if one.caveat) or None
    status, journal = _concluded(view, journal)
    return status.model_copy(update={"caveat": told, "journal": journal.dump(spec)})


def look_at(
    spec: AnalysisSpec,
    tests: Mapping[OnFail, Plan],
    journal: Journal,
    arms: Arms,
    counted: Mapping[str, Mapping[Side, Counted] | Trouble],
    now: datetime,
    *,
    step_changed: bool,
    history: Mapping[str, Answer] | None = None,
) -> tuple[AnalysisStatus, Journal]:
    """A look where somebody else has counted, metric by metric, what the counters grew by: for who takes many looks at
    counters of his own making, such as a simulation.

    ``history`` are the answers that the first look takes beside. His counters are the best that a metric may go by.
    What is kept stays a value, and the status says no more than what is decided upon.
    """
    view = _View(spec, arms, history or {}, now, journal, tests)
    if history is not None:
        begun = {
            one.name: replace(journal.metrics[one.name], source=sourcing.classic(one, arms)) for one in spec.metrics
        }
        view = view.knowing(begun)
        view = view.knowing({one.name: _with_history(view, one, begun[one.name]) for one in spec.metrics})
    metrics = {}
    for metric in spec.metrics:
        known = _stepped(view, metric) if step_changed else view.journal.metrics[metric.name]
        found = counted[metric.name]
        if isinstance(found, Trouble):
            metrics[metric.name] = replace(known, trouble=found)
        else:
            metrics[metric.name] = _learnt(view, metric, known, found)
    status, journal = _concluded(view, replace(view.journal, metrics=metrics), brief=True)
    return status.model_copy(update={"journal": journal.heading()}), journal


def forgiven(spec: AnalysisSpec, status: AnalysisStatus) -> AnalysisStatus:
    """Somebody has decided that the release goes on, whatever metrics pause it: these begin anew."""
    if not status.held_by:
        return status
    journal = Journal.load(status.journal, spec)
    known = {metric.name: journal.metrics[metric.name].forgiven(metric) for metric in spec.metrics}
    return status.model_copy(update={"held_by": (), "journal": replace(journal, metrics=known).dump(spec)})


def next_look(spec: AnalysisSpec, status: AnalysisStatus) -> datetime:
    """When to look again: about every interval, and right after a scrape, so that what it shows is seen at once.

    When the next sample is due is learnt from the last ones. A scrape that is a little late is waited for. Where we
    scrape ourselves, a look is a scrape.
    """
    started, sampled, scraped = Journal.times(status.journal)
    looked, interval = status.looked_at.timestamp(), spec.interval.total_seconds()
    if spec.source is Source.Pods:
        return status.looked_at + timedelta(seconds=_until_read(spec, looked - started / 1000))
    if sampled is None or scraped is None:
        young = looked * 1000 - started < _LEARNING * 1000
        return status.looked_at + timedelta(seconds=min(interval, 1.0) if young else interval)
    period, due = scraped / 1000, sampled / 1000 + _AFTER_SCRAPE
    passed = looked - due + _PUNCTUAL
    if interval >= 2 * period:
        wait = due + math.floor((passed + interval) / period) * period - looked
    elif 0 <= passed - period < min(1.0, period / 4):
        wait = 0.25
    else:
        wait = due + (math.floor(passed / period) + 1) * period - looked
    return status.looked_at + timedelta(seconds=wait if 0 < wait <= 1.25 * interval else interval)


def _until_read(spec: AnalysisSpec, age: float) -> float:
    """Seconds until pods are read again, of an analysis that is so old.

    At once at the beginning: what grows is told from there on. When it begins to count looks are close, as what was
    broken all along shows then.
    """
    counts = age - spec.warmup.total_seconds()
    if age < _MILLISECOND:
        return 0.0
    return spec.interval.total_seconds() / (2 if 0 <= counts < _LEARNING else 1)


@dataclass(frozen=True)
class _View:
    """All that a look goes by."""

    spec: AnalysisSpec
    arms: Arms
    answers: Mapping[str, Answer]
    now: datetime
    journal: Journal
    plans: Mapping[OnFail, Plan]
    """Of what reverts the release, and of what pauses it."""

    def knowing(self, metrics: Mapping[str, Known]) -> _View:
        """The same, where this is known of the metrics."""
        return replace(self, journal=replace(self.journal, metrics=metrics))

    @property
    def started(self) -> float:
        return self.journal.started / 1000

    def plan(self, metric: MetricSpec) -> Plan:
        """Whose part the metric is."""
        return self.plans[metric.fails_by]

    @property
    def opens(self) -> float:
        """From when on evidence counts."""
        return self.started + self.spec.warmup.total_seconds()

    def told(self, metric: MetricSpec, source: str | None) -> dict[Side, tuple[Reply, ...]]:
        """What was answered of each arm of a metric that goes by these counters."""
        return {
            side: ask.told(self.spec, metric, self.arms, side, source, self.answers) for side in sourcing.sides(metric)
        }

    def reaches_start(self, question: Question) -> bool:
        """Whether the samples asked for would show a series that is older than the analysis."""
        return not question.single and self.now.timestamp() - ask.window(self.spec) <= self.started

    def stale(self, ledger: Ledger) -> bool:
        """Whether the newest sample is older than failed scrapes explain."""
        return self.now.timestamp() - ledger.newest > 2 * ask.window(self.spec)


def plans(spec: AnalysisSpec) -> dict[OnFail, Plan]:
    """The weights of all tests, by what is done when they fail."""
    return {on_fail: plan(spec, on_fail) for on_fail in OnFail}


def _clocked(view: _View, told: Mapping[str, Mapping[Side, tuple[Reply, ...]]]) -> Journal:
    """The journal, with when samples come."""
    scraped = [
        reply.series
        for of_metric in told.values()
        for of_side in of_metric.values()
        for reply in of_side
        if not reply.question.single
    ]
    newest = max((series.samples[-1][0] for answer in scraped for series in answer if series.samples), default=None)
    period = scrape_period(scraped)
    return replace(
        view.journal,
        sampled=view.journal.sampled if newest is None else round(newest * 1000),
        period=view.journal.period if period is None else round(period * 1000),
    )


def _of_source(view: _View, metric: MetricSpec) -> Known:
    """What is known of a metric, with whose counters it goes by, once that is seen.

    Evidence from other counters than those that it may go by now is void: they count the same requests again.
    """
    known = view.journal.metrics[metric.name]
    if known.source is not None and known.source not in sourcing.sources(metric, view.arms):
        known = Known.nothing(metric)
    if known.source is not None:
        return known
    patience = max(view.spec.warmup.total_seconds(), ask.window(view.spec))
    patient = view.now.timestamp() < view.started + patience
    choice = ask.choose(view.spec, metric, view.arms, view.answers, patient=patient)
    return replace(known, source=choice.source, settled=choice.settled, trouble=choice.trouble)


def _stepped(view: _View, metric: MetricSpec) -> Known:
    """The metric at the beginning of another step."""
    known = view.journal.metrics[metric.name]
    evidence = known.evidence.stepped(rule(metric), view.journal.pace)
    return replace(known, evidence=evidence, latency=known.latency.stepped(), levels=known.levels.stepped())


def _measured(view: _View, metric: MetricSpec, known: Known, told: Mapping[Side, tuple[Reply, ...]]) -> Known:
    """The metric with what both arms' counters grew by; with no evidence but the trouble where one cannot be read."""
    found = known.trouble or _trouble(view, known, told)
    if found:
        return replace(known, trouble=found, ledgers=_absences(known, told))
    if metric.gauge is not None:
        return _levelled(view, metric, known, told)
    counted = {side: _count(view, known.ledgers[side], side, told.get(side, ())) for side in Side}
    if len({counted[side].ledger.newest > known.ledgers[side].newest for side in told}) > 1:
        # One arm was scraped and the other not yet: what the one grew by waits. Else looks that are closer than
        # scrapes would see now one arm, now the other, and compare nothing.
        return replace(known, trouble=None)
    return _learnt(view, metric, known, counted)


def _learnt(view: _View, metric: MetricSpec, known: Known, counted: Mapping[Side, Counted]) -> Known:
    """The metric with the evidence of what was counted."""
    evidence, latency, dispersion = known.evidence, known.latency, known.dispersion
    first = not known.ledgers[Side.Stable].marks
    if metric.preset is Preset.Latency:
        counts, latency = _durations(cuts(metric), latency, counted, first=first)
    else:
        polls = {side: _events(counted[side].growths.values()) for side in Side}
        poll = Poll(candidate=polls[Side.Candidate], stable=polls[Side.Stable])
        counts = Counts(poll, poll)
        evidence = evidence.expecting(_events(counted[Side.Stable].before)) if first else evidence
    if counts != Counts():
        caps = view.plan(metric).caps_of(metric.name)
        requests = counts.relative.candidate.requests
        phi = _phi(view, metric, known, counted[Side.Candidate], requests, evidence.stable_rate)
        evidence = evidence.after(counts, rule(metric), view.journal.pace, caps, phi)
        # Only now: what a look shows must not decide what it is worth.
        dispersion = dispersion.after(_pods(view, metric, known, counted[Side.Stable], latency), counts.relative)
    return replace(
        known,
        dispersion=dispersion,
        evidence=evidence,
        ledgers={side: counted[side].ledger for side in Side},
        latency=latency,
        trouble=None,
    )


def _levelled(view: _View, metric: MetricSpec, known: Known, told: Mapping[Side, tuple[Reply, ...]]) -> Known:
    """A gauge with what both arms' levels are now."""
    now = view.now.timestamp()
    if now < view.opens:
        return replace(known, trouble=None)
    means = {side: _mean(reply.series) for side, (reply,) in told.items()}
    candidate = means[Side.Candidate] or 0.0
    levels, block = known.levels.after(candidate, means.get(Side.Stable), now)
    evidence = known.evidence
    if block is not None:
        pace = view.journal.pace
        lasts = max(gauge.BLOCK / view.spec.interval.total_seconds(), gauge.LEAST_LOOKS)
        in_blocks = Pace(math.ceil(pace.polls / lasts), pace.steps)
        evidence = evidence.after_block(block, rule(metric), in_blocks, view.plan(metric).caps_of(metric.name))
    return replace(known, evidence=evidence, levels=levels, trouble=None)


def _mean(answer: tuple[Series, ...]) -> float | None:
    """Of all series, each as it is now."""
    levels = [one.samples[-1][1] for one in answer if one.samples]
    return sum(levels) / len(levels) if levels else None


def _absences(known: Known, told: Mapping[Side, tuple[Reply, ...]]) -> dict[Side, Ledger]:
    """The ledgers, with a note of the arms that have no series yet: those that come are newly born."""
    ledgers = dict(known.ledgers)
    for side, replies in told.items():
        if replies and all(reply.answer == () for reply in replies):
            ledgers[side] = replace(ledgers[side], answered=True)
    return ledgers


def _trouble(view: _View, known: Known, told: Mapping[Side, tuple[Reply, ...]]) -> Trouble | None:
    """Why the metric cannot be measured now, if it cannot."""
    for side, replies in told.items():
        if not replies:
            return Trouble(Reason.NoSeries, sourcing.unroutable(view.arms))
        for reply in replies:
            found, question = answered.trouble(reply), reply.question
            if found:
                return found
            # Its events may never have happened to one arm; a name that is wrong finds them in neither.
            one_arm_will_do = question.reads is Reads.Of
            alike = [other for others in told.values() for other in others if other.question.reads is question.reads]
            if reply.series or (one_arm_will_do and any(other.series for other in alike)):
                continue
            ledger = known.ledgers[side]
            if not ledger.marks:
                return answered.unanswered(question)
            if view.stale(ledger):
                return Trouble(Reason.Stale, f"no new samples of {question.text}: {question.remedy}")
    return None


def _count(view: _View, ledger: Ledger, side: Side, replies: tuple[Reply, ...]) -> Counted:
    """What one arm's counters grew by. New processes of the candidate began to count within this release."""
    columned = evened([(one.question.single, list(answered.columned(one))) for one in replies])
    reaches = all(view.reaches_start(reply.question) for reply in replies)
    newborn = side is Side.Candidate and (ledger.answered or reaches)
    return count(ledger, columned, opens=view.opens, born_at_zero=newborn)


def _event(growth: Growth) -> Tally:
    return Tally(growth.get(Reads.Of, 0.0), growth.get(Reads.To, 0.0))


def _events(growths: Collection[Growth]) -> Tally:
    return Tally(*(sum([growth.get(column, 0.0) for growth in growths]) for column in (Reads.Of, Reads.To)))


def _tally_of(metric: MetricSpec, latency: Latency) -> Callable[[Growth], Tally] | None:
    """How stable's requests and events are told from what its counters grew by; None: what is slow is not known."""
    slow = latency.slow
    if metric.preset is not Preset.Latency:
        return _event
    return None if slow is None else lambda growth: tally((histogram.from_columns(growth),), slow)


def _pods(view: _View, metric: MetricSpec, known: Known, stable: Counted, latency: Latency) -> dict[str, Tally]:
    """What each of stable's pods did; nothing where they are not told apart."""
    of_pod = _tally_of(metric, latency)
    if of_pod is None or not sourcing.by_pods(metric, view.arms, known.source):
        return {}
    return {key: of_pod(growth) for key, growth in stable.growths.items()}


def _with_history(view: _View, metric: MetricSpec, known: Known) -> Known:
    """With what stable's pods did before the release. What is not there, or cannot be read, is done without."""
    asked = ask.history_of(view.spec, metric, view.arms, known.source, view.answers)
    replies = answered.replies(asked, view.answers)
    if any(answered.trouble(reply) for reply in replies):
        return known
    columned = [pair for reply in replies for pair in answered.columned(reply)]
    looks = ask.history_looks(view.spec, metric)
    pods = history.growths(columned, view.started, view.spec.interval.total_seconds(), looks)
    before = known.latency
    if metric.preset is Preset.Latency:
        # Slow is what was slow then: the candidate may have no requests yet, so that no cut is made.
        buckets = (histogram.from_columns({le: float(grown.sum()) for le, grown in pod.items()}) for pod in pods)
        before = replace(before, slow=histogram.quantile(histogram.merged(buckets), metric.level))
    of_pod = _tally_of(metric, before)
    if not pods or of_pod is None:
        return known
    requests, events = history.tallied(pods, looks, of_pod)
    dispersion = known.dispersion.after_history(requests, events)
    told = caveat.told(
        metric.name,
        rule(metric),
        view.plan(metric),
        dispersion.phi(),
        history.names(columned),
        requests,
        events,
        view.spec.interval.total_seconds(),
    )
    return replace(known, dispersion=dispersion, caveat=told)


def _phi(view: _View, metric: MetricSpec, known: Known, candidate: Counted, requests: float, p: float) -> float:
    """By what this look's evidence is divided. ``p`` is stable's rate, from the past."""
    if not sourcing.needs_stable(metric):
        return 1.0
    pods = sum(any(growth.values()) for growth in candidate.growths.values())
    # A router's instances are no pods: how many of these answer for the candidate is not known.
    told_apart = pods and sourcing.by_pods(metric, view.arms, known.source)
    return known.dispersion.phi(p * requests / pods if told_apart else 0.0)


def _durations(slow: Cuts, latency: Latency, counted: Mapping[Side, Counted], *, first: bool) -> tuple[Counts, Latency]:
    """Slow requests of both arms, by cuts from before them; and what is remembered for the next cuts."""
    stable, candidate = histogram.of_arms(*(counted[side].growths.values() for side in Side))
    if first:
        latency = latency.starting_from(histogram.of_arm(counted[Side.Stable].before))
    latency = latency.cut(slow)
    return latency.counts(slow, stable, candidate), latency.grown(stable, candidate)


def _share(evidence: Iterable[Evidence]) -> float | None:
    """Of the metric that has seen most; the comparison alone counts both arms."""
    polls = [one.step.relative for one in evidence]
    most = max(polls, key=lambda poll: poll.candidate.requests + poll.stable.requests, default=Poll())
    seen = most.candidate.requests + most.stable.requests
    return round(100 * most.candidate.requests / seen, 1) if seen else None


def _concluded(view: _View, journal: Journal, *, brief: bool = False) -> tuple[AnalysisStatus, Journal]:
    """The status but for its journal, and that: the verdict on each metric, and on all of them. ``brief``: in no
    words."""
    evidence = {name: metric.evidence for name, metric in journal.metrics.items()}
    outcomes = {on_fail: decision.judge(one, evidence) for on_fail, one in view.plans.items()}
    pausing = outcomes[OnFail.Pause]
    kept = {
        name: replace(known, failed=known.failed or pausing.failed_by(name)) for name, known in journal.metrics.items()
    }
    journal = replace(journal, metrics=kept)
    warming = view.now.timestamp() < view.opens
    metrics = tuple(
        findings.in_brief(metric, kept[metric.name], outcomes[metric.fails_by], view.arms, warming=warming)
        if brief
        else findings.of_metric(
            view.plan(metric), metric, kept[metric.name], outcomes[metric.fails_by], view.arms, warming=warming
        )
        for metric in view.spec.metrics
    )
    reverting = [metric for metric in view.spec.metrics if metric.fails_by is OnFail.Revert]
    leans = outcomes[OnFail.Revert].failed or any(evidence[one.name].leans(rule(one)) for one in reverting)
    verdict, reason, message = findings.overall(view.spec, journal.metrics, metrics)
    lacks = dict.fromkeys(answer.lacks for answer in view.answers.values() if isinstance(answer, Partly))
    status = AnalysisStatus(
        verdict=verdict,
        reason=reason,
        message="; ".join((message, *lacks)),
        leans_to_failing=leans,
        held_by=tuple(metric.name for metric in view.spec.metrics if kept[metric.name].failed),
        looked_at=view.now,
        requests=round(max((one.total.seen for one in evidence.values()), default=0)),
        share=_share(evidence.values()),
        step_requests=round(max((one.step.seen for one in evidence.values()), default=0)),
        metrics=metrics,
    )
    return status, journal

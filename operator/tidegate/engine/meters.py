"""Tidegate's own metrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.api import analysis
from tidegate.api.conditions import Reason
from tidegate.api.flagstatus import FlagPhase, FlagStatus
from tidegate.api.flagwords import FlagCondition, FlagReason
from tidegate.api.releasestatus import Phase, ReleaseRecord, ReleaseStatus
from tidegate.core import clamp
from tidegate.ports.cluster import FEATURE_FLAGS

_RELEASE = ("kind", "namespace", "name")
_FLAG = ("namespace", "name")
_UNANSWERED = frozenset({analysis.Reason.QueryFailed, analysis.Reason.Stale})
"""Why nothing is known of what is counted; others are of what there is to count."""
DEBT = (FlagCondition.STALE, FlagCondition.UNUSED)
"""Conditions by which somebody is asked to remove a flag."""


class Meters:
    """What the operator counts of itself and of the releases."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._releases = _Releases()
        self.registry.register(self._releases)
        self._analyses = _Analyses()
        self.registry.register(self._analyses)
        self._ended = Counter(
            "tidegate_releases_ended",
            "Releases that ended, by outcome",
            (*_RELEASE, "outcome", "reason"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "tidegate_release_duration_seconds",
            "From the start of a release to its end",
            ("kind", "outcome"),
            buckets=(10, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400),
            registry=self.registry,
        )
        self._reconcile = Histogram(
            "tidegate_reconcile_duration_seconds",
            "From observing a release to having acted",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self._review = Histogram(
            "tidegate_review_duration_seconds",
            "Answering the API server what to make of a write, where the gate is a webhook",
            ("kind",),
            buckets=(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1),
            registry=self.registry,
        )
        self.errors = Counter(
            "tidegate_reconcile_errors", "Reconciles that failed, by cause", ("cause",), registry=self.registry
        )
        self.requests = Counter(
            "tidegate_api_requests", "Requests to the API server", ("verb", "resource", "code"), registry=self.registry
        )
        self.leader = Gauge("tidegate_leader", "1 while this replica is the one that works", registry=self.registry)
        self.queue = Gauge("tidegate_queue_length", "Releases that wait for a worker", registry=self.registry)
        self.audit = Gauge(
            "tidegate_audit_timestamp_seconds", "When the last full list was taken", registry=self.registry
        )
        self.drift = Counter(
            "tidegate_audit_corrections",
            "Objects that a full list knew better than the watches",
            registry=self.registry,
        )

        self._flags = _Flags()
        self.registry.register(self._flags)
        self._turned_off = Counter(
            "tidegate_flag_turned_off",
            "Times that a flag was turned off by its analysis or a request",
            (*_FLAG, "reason"),
            registry=self.registry,
        )
        self._gate = Gauge(
            "tidegate_gate_problem", "1 for what is wrong with the gate", ("reason",), registry=self.registry
        )
        self.gate(None)

    def leads_no_more(self) -> None:
        """Another replica works, and knows from now on what is answered."""
        self.leader.set(0)
        self._analyses.clear()

    def gate(self, problem: Reason | None) -> None:
        """Show what is wrong with the gate, if anything is."""
        for reason in (Reason.GATE_MISSING, Reason.GATE_CHANGED, Reason.GATE_FOREIGN):
            self._gate.labels(reason.value).set(1 if reason is problem else 0)

    def requested(self, verb: str, resource: str, code: int) -> None:
        """Count a request to the API server."""
        self.requests.labels(verb, resource, code).inc()

    def release(self, kind: str, namespace: str, name: str, status: ReleaseStatus) -> None:
        """Show where a release stands."""
        weight = status.traffic.weight if status.traffic else 0
        self._releases.standing[kind, namespace, name] = (status.phase, weight)
        self._analyses.told(kind, namespace, name, status.analysis if status.step else None)
        self._releases.unreadable.discard((kind, namespace, name))

    def unreadable(self, kind: str, namespace: str, name: str) -> None:
        """Show a release that is left to another version: where it stands is not known."""
        self.forget(kind, namespace, name)
        self._releases.unreadable.add((kind, namespace, name))

    def ended(self, kind: str, namespace: str, name: str, record: ReleaseRecord) -> None:
        """Count a release that ended."""
        self._ended.labels(kind, namespace, name, record.outcome.value, record.reason).inc()
        took = (record.finished_at - record.started_at).total_seconds()
        self._duration.labels(kind, record.outcome.value).observe(took)

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """A release that is gone is shown no more."""
        self._releases.standing.pop((kind, namespace, name), None)
        self._analyses.told(kind, namespace, name, None)
        self._releases.unreadable.discard((kind, namespace, name))

    def flag(self, namespace: str, name: str, status: FlagStatus) -> None:
        """Show where a flag stands."""
        holding = {one.type for one in status.conditions if one.status == "True"}
        milli = status.rollout.milli if status.rollout else None
        debt = tuple(kind for kind in DEBT if kind in holding)
        self._flags.standing[namespace, name] = (status.phase, milli, debt)
        self._analyses.told(FEATURE_FLAGS.name, namespace, name, status.analysis)

    def turned_off(self, namespace: str, name: str, reason: FlagReason) -> None:
        """Count a flag that was turned off."""
        self._turned_off.labels(namespace, name, reason.value).inc()

    def forget_flag(self, namespace: str, name: str) -> None:
        """A flag that is gone is shown no more."""
        self._flags.standing.pop((namespace, name), None)
        self._analyses.told(FEATURE_FLAGS.name, namespace, name, None)

    def reviewed(self, kind: str, seconds: float) -> None:
        """Time of one answer to the API server."""
        self._review.labels(kind if kind in clamp.CLAMPS else "other").observe(seconds)

    def reconciled(self, seconds: float) -> None:
        """Time of one reconcile."""
        self._reconcile.observe(seconds)


class _Releases(Collector):
    """Where each release stands, made into series when somebody asks: as objects, 500 releases' would take 8 MB."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, str, str], tuple[Phase, int]] = {}
        self.unreadable: set[tuple[str, str, str]] = set()

    def collect(self) -> Iterator[Metric]:
        """The series."""
        phases = GaugeMetricFamily(
            "tidegate_release_phase", "1 for the phase that a release is in", labels=(*_RELEASE, "phase")
        )
        weights = GaugeMetricFamily(
            "tidegate_release_weight", "The candidate's share of requests in percent", labels=_RELEASE
        )
        unreadable = GaugeMetricFamily(
            "tidegate_release_unreadable", "1 for a release whose status is of another version", labels=_RELEASE
        )
        for key in self.unreadable:
            unreadable.add_metric(key, 1)
        for key, (standing, weight) in self.standing.items():
            for phase in Phase:
                phases.add_metric([*key, phase.value], phase is standing)
            weights.add_metric(key, weight)
        yield phases
        yield weights
        yield unreadable


class _Analyses(Collector):
    """How many analyses there are that get no answer, whatever of: where Prometheus is away, that is one alert."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], bool] = {}

    def told(self, kind: str, namespace: str, name: str, found: analysis.AnalysisStatus | None) -> None:
        """How far the analysis of a release or a flag is; None: it has none."""
        if found is None or not found.journal:
            self._known.pop((kind, namespace, name), None)
        else:
            self._known[kind, namespace, name] = found.reason in _UNANSWERED

    def clear(self) -> None:
        """None is known any more."""
        self._known.clear()

    def collect(self) -> Iterator[Metric]:
        """The series; both are 0 of a replica that only stands by."""
        yield GaugeMetricFamily("tidegate_analyses", "Analyses under way", value=len(self._known))
        yield GaugeMetricFamily(
            "tidegate_analyses_unanswered",
            "Analyses whose queries fail, or are answered in part or by old samples: what they are of is held",
            value=sum(self._known.values()),
        )


class _Flags(Collector):
    """Where each flag stands, made into series when somebody asks."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, str], tuple[FlagPhase, int | None, tuple[FlagCondition, ...]]] = {}

    def collect(self) -> Iterator[Metric]:
        """The series."""
        phases = GaugeMetricFamily("tidegate_flag_phase", "1 for the phase that a flag is in", labels=(*_FLAG, "phase"))
        shares = GaugeMetricFamily("tidegate_flag_percentage", "How much of everybody a rollout has", labels=_FLAG)
        debts = GaugeMetricFamily(
            "tidegate_flag_debt", "1 for a flag that somebody is asked to remove: Stale, Unused", labels=(*_FLAG, "why")
        )
        for key, (standing, milli, debt) in self.standing.items():
            for phase in FlagPhase:
                phases.add_metric([*key, phase.value], phase is standing)
            if milli is not None:
                shares.add_metric(key, milli / 1000)
            for why in DEBT:
                debts.add_metric([*key, why.value], why in debt)
        yield phases
        yield shares
        yield debts

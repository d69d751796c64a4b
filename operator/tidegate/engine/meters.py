"""Tidegate's own metrics, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tidegate.api.conditions import Reason
from tidegate.api.release import Phase, ReleaseRecord, ReleaseStatus

_RELEASE = ("kind", "namespace", "name")


class Meters:
    """What the operator counts of itself and of the releases."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._phase = Gauge(
            "tidegate_release_phase",
            "1 for the phase that a release is in",
            (*_RELEASE, "phase"),
            registry=self.registry,
        )
        self._weight = Gauge(
            "tidegate_release_weight", "The candidate's share of requests in percent", _RELEASE, registry=self.registry
        )
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

        self._gate = Gauge(
            "tidegate_gate_problem", "1 for what is wrong with the gate", ("reason",), registry=self.registry
        )
        self.gate(None)

    def gate(self, problem: Reason | None) -> None:
        """Show what is wrong with the gate, if anything is."""
        for reason in (Reason.GATE_MISSING, Reason.GATE_CHANGED, Reason.GATE_FOREIGN):
            self._gate.labels(reason.value).set(1 if reason is problem else 0)

    def release(self, kind: str, namespace: str, name: str, status: ReleaseStatus) -> None:
        """Show where a release stands."""
        for phase in Phase:
            self._phase.labels(kind, namespace, name, phase.value).set(1 if status.phase is phase else 0)
        self._weight.labels(kind, namespace, name).set(status.traffic.weight if status.traffic else 0)

    def ended(self, kind: str, namespace: str, name: str, record: ReleaseRecord) -> None:
        """Count a release that ended."""
        self._ended.labels(kind, namespace, name, record.outcome.value, record.reason).inc()
        took = (record.finished_at - record.started_at).total_seconds()
        self._duration.labels(kind, record.outcome.value).observe(took)

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """A release that is gone is shown no more."""
        for phase in Phase:
            self._phase.remove(kind, namespace, name, phase.value)
        self._weight.remove(kind, namespace, name)

    def reconciled(self, seconds: float) -> None:
        """Time of one reconcile."""
        self._reconcile.observe(seconds)

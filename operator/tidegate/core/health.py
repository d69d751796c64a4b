"""The fast path beside the metrics: what the kubelet says of candidate pods.

No query and no statistics: a crash loop, an image that cannot be had, a readiness probe that fails.
"""

from __future__ import annotations

from datetime import timedelta
from statistics import median

from tidegate.api.conditions import Reason
from tidegate.core.draft import Draft
from tidegate.core.observed import Pod

FLAP = timedelta(seconds=5)
"""Pods that were ready may be unready for this long: the kubelet has by then seen failureThreshold probes fail."""
PATIENCE = timedelta(seconds=30)
"""A pod may always take this long to become ready for the first time."""
SLOWER = 3.0
"""Beyond that, this many times as long as stable's pods took."""


def trouble(draft: Draft) -> tuple[Reason, str] | None:
    """Why the candidate cannot end well, as far as its pods tell; None where nothing speaks against it."""
    obs, status = draft.obs, draft.status
    if status.candidate is None or status.stable is None:
        return None
    candidate = [pod for pod in obs.pods if pod.hash == status.candidate.hash and not pod.leaving]
    stable = [pod for pod in obs.pods if pod.hash == status.stable.hash and not pod.leaving]
    for pod in candidate:
        if pod.trouble:
            return pod.trouble, f"pod {pod.name}: {pod.message}"
    return _never_ready(draft, candidate, stable) or _ready_no_more(draft, candidate, stable)


def _never_ready(draft: Draft, candidate: list[Pod], stable: list[Pod]) -> tuple[Reason, str] | None:
    took = [
        pod.ready_since - pod.running_since for pod in stable if pod.ready and pod.ready_since and pod.running_since
    ]
    usual = timedelta(seconds=median(t.total_seconds() for t in took)) if took else timedelta()
    limit = max(PATIENCE, SLOWER * usual)
    for pod in candidate:
        started = pod.running_since
        if started is None or pod.ready or (pod.ready_since and pod.ready_since > started):
            continue
        if draft.now - started > limit:
            return Reason.NOT_READY, (
                f"pod {pod.name} runs and is not ready after {limit.total_seconds():.0f} s"
                f" (stable's pods took {usual.total_seconds():.0f} s)"
            )
        draft.wake_at(started + limit)
    return None


def _ready_no_more(draft: Draft, candidate: list[Pod], stable: list[Pod]) -> tuple[Reason, str] | None:
    def lost(pods: list[Pod]) -> list[Pod]:
        return [
            pod
            for pod in pods
            if not pod.ready and pod.running_since and pod.ready_since and pod.ready_since > pod.running_since
        ]

    fallen = lost(candidate)
    if not fallen or lost(stable):
        # A fault that stable's pods share (a node, a database) is not the candidate's.
        draft.note(unready_since=None)
        return None
    since = draft.journal.unready_since
    if since is None:
        draft.note(unready_since=draft.now)
        since = draft.now
    if draft.now - since < FLAP:
        draft.wake_at(since + FLAP)
        return None
    return Reason.NOT_READY, f"pod {fallen[0].name} was ready and fails its readiness probe"

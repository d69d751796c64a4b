"""The fast path beside the metrics: what the kubelet says of candidate pods.

No query and no statistics: a crash loop, an image that cannot be had, a readiness probe that fails.
"""

from __future__ import annotations

from datetime import timedelta
from statistics import median

from tidegate.api.conditions import Reason
from tidegate.core import checks
from tidegate.core.draft import Draft
from tidegate.core.observed import Observed, Pod

FLAP = timedelta(seconds=5)
"""Pods that are not ready, and should be, may be seen so for this long: long enough for the kubelet to have seen
failureThreshold probes fail, and for one that was slow to report to have caught up."""
PATIENCE = timedelta(seconds=30)
"""A pod may always take this long to become ready for the first time."""
SLOWER = 3.0
"""Beyond that, this many times as long as stable's pods took."""
EVICTIONS = 2
"""So many pods that were evicted for going beyond limits of their own are no accident."""
FALLS = 3
"""So many times may all pods of the candidate fail at once and come back, whatever each of them has to say."""


def trouble(draft: Draft) -> tuple[Reason, str] | None:
    """Why the candidate cannot end well, as far as its pods tell; None where nothing speaks against it."""
    obs, status = draft.obs, draft.status
    if status.candidate is None or status.stable is None:
        return None
    candidate, stable = _pods(obs, status.candidate.hash), _pods(obs, status.stable.hash)
    for pod in candidate:
        if pod.trouble:
            return pod.trouble, f"pod {pod.name}: {pod.message}"
    return _greedy(draft) or _fickle(draft) or _unready(draft, candidate, stable) or checks.trouble(draft)


def fall(draft: Draft) -> None:
    """The candidate has no pod left that is ready. That is its own fault where those are there that were."""
    candidate, stable = (
        _pods(draft.obs, known.hash if known else "") for known in (draft.status.candidate, draft.status.stable)
    )
    began = draft.journal.since
    if any(pod.created and pod.created < began for pod in candidate) and not any(map(_fallen, stable)):
        draft.note(falls=draft.journal.falls + 1)


def lacking(draft: Draft) -> str:
    """What keeps the candidate from having its pods, as the cluster says: a quota, no room, a silent node."""
    known = draft.status.candidate
    replicaset = draft.obs.by_hash(known.hash) if known else None
    if known is None or replicaset is None:
        return ""
    if replicaset.refused:
        return replicaset.refused
    for pod in draft.obs.pods:
        why = "its node is not heard of" if pod.silent else pod.waits
        if why and pod.hash == known.hash and not pod.leaving:
            return f"pod {pod.name}: {why}"
    return ""


def _pods(obs: Observed, hash_: str) -> list[Pod]:
    """Those of a revision that speak for it: an eviction or a node that is away is no fault of theirs."""
    return [pod for pod in obs.pods if pod.hash == hash_ and not pod.leaving and not pod.silent]


def _greedy(draft: Draft) -> tuple[Reason, str] | None:
    """Pods of this release that were evicted for what they took themselves."""
    candidate, began = draft.status.candidate, draft.journal.retreated_at or draft.journal.started_at
    evicted = [
        pod
        for pod in draft.obs.pods
        if pod.excess
        and candidate
        and pod.hash == candidate.hash
        and pod.created
        and began
        # The API server writes whole seconds.
        and pod.created >= began.replace(microsecond=0)
    ]
    if len(evicted) < EVICTIONS:
        return None
    return Reason.CRASH_LOOP, f"{len(evicted)} pods were evicted, as {evicted[0].name}: {evicted[0].excess}"


def _fickle(draft: Draft) -> tuple[Reason, str] | None:
    """Pods that all fail together and come back soon: a size that changes meanwhile takes the witnesses away."""
    falls = draft.journal.falls
    return (
        (Reason.NOT_READY, f"all candidate pods failed their readiness probes at once, {falls} times")
        if falls >= FALLS
        else None
    )


def _unready(draft: Draft, candidate: list[Pod], stable: list[Pod]) -> tuple[Reason, str] | None:
    """Pods that should be ready by now and are not, if that lasts."""
    # A fault that stable's pods share (a node, a database) is not the candidate's.
    late = None if any(map(_fallen, stable)) else _late(draft, candidate, stable)
    if late is None:
        draft.note(unready_since=None)
        return None
    since = draft.journal.unready_since or draft.now
    draft.note(unready_since=since)
    if draft.now - since < FLAP:
        draft.wake_at(since + FLAP)
        return None
    return Reason.NOT_READY, late


def _late(draft: Draft, candidate: list[Pod], stable: list[Pod]) -> str | None:
    took = [
        pod.ready_since - pod.running_since for pod in stable if pod.ready and pod.ready_since and pod.running_since
    ]
    usual = timedelta(seconds=median(t.total_seconds() for t in took)) if took else timedelta()
    limit = max(PATIENCE, SLOWER * usual)
    for pod in candidate:
        if _fallen(pod):
            return f"pod {pod.name} was ready and fails its readiness probe"
        if pod.ready or pod.running_since is None:
            continue
        if draft.now - pod.running_since > limit:
            return (
                f"pod {pod.name} runs and is not ready after {limit.total_seconds():.0f} s"
                f" (stable's pods took {usual.total_seconds():.0f} s)"
            )
        draft.wake_at(pod.running_since + limit)
    return None


def _fallen(pod: Pod) -> bool:
    """It has been ready since its containers run, and is so no more."""
    return bool(not pod.ready and pod.running_since and pod.ready_since and pod.ready_since > pod.running_since)

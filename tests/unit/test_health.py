"""What pods tell without any metric."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tidegate.api.conditions import Reason
from tidegate.api.releasestatus import Journal, ReleaseStatus, RevisionStatus, Stage
from tidegate.core import health
from tidegate.core.draft import Draft
from tidegate.core.observed import Observed, Pod, Release, ReplicaSet

NOW = datetime(2026, 1, 5, 9, 10, tzinfo=UTC)
STARTED = NOW.replace(minute=5)
OLD, NEW = "1111", "2222"


def seconds(number: float) -> timedelta:
    """So many."""
    return timedelta(seconds=number)


def running(name: str, hash_: str, *, for_: float, ready_after: float | None) -> Pod:
    """A pod that runs for so long; ready since then, or never."""
    started = NOW - seconds(for_)
    if ready_after is None:
        return Pod(name, hash_, ready=False, running_since=started, ready_since=started - seconds(1))
    return Pod(name, hash_, ready=True, running_since=started, ready_since=started + seconds(ready_after))


def fallen(pod: Pod) -> Pod:
    """It was ready, and is so no more."""
    return replace(pod, ready=False, ready_since=NOW - seconds(1))


STABLE = running("old", OLD, for_=300, ready_after=2)


def draft(*pods: Pod, unready_since: datetime | None = None) -> Draft:
    """With these pods beside a healthy one of stable."""
    status = ReleaseStatus(
        stable=RevisionStatus(revision=1, hash=OLD),
        candidate=RevisionStatus(revision=2, hash=NEW),
        journal=Journal(stage=Stage.BAKE, since=NOW, started_at=STARTED, unready_since=unready_since),
    )
    return Draft(Observed(Release("shop", "checkout", "r", 1, None, status), pods=pods), NOW)


def test_all_is_well() -> None:
    assert health.trouble(draft(STABLE, running("new", NEW, for_=60, ready_after=2))) is None


def test_what_the_kubelet_calls_hopeless_is_so_at_once() -> None:
    bad = Pod("new", NEW, ready=False, trouble=Reason.IMAGE_ERROR, message="no such image")
    found = health.trouble(draft(STABLE, bad))
    assert found == (Reason.IMAGE_ERROR, "pod new: no such image")


@pytest.mark.parametrize("bad", [Pod("old", OLD, ready=False, trouble=Reason.CRASH_LOOP)])
def test_trouble_of_stable_is_not_the_candidates(bad: Pod) -> None:
    assert health.trouble(draft(bad)) is None


def test_a_pod_that_leaves_anyway_is_no_trouble() -> None:
    bad = Pod("new", NEW, ready=False, trouble=Reason.CRASH_LOOP, leaving=True)
    assert health.trouble(draft(STABLE, bad)) is None


@pytest.mark.parametrize(
    ("stable_took", "runs_for", "found"),
    [(2.0, 29.0, False), (2.0, 31.0, True), (60.0, 100.0, False), (60.0, 181.0, True)],
)
def test_never_ready_is_measured_by_how_long_stables_pods_took(
    stable_took: float, runs_for: float, found: bool
) -> None:
    old = running("old", OLD, for_=300, ready_after=stable_took)
    made = draft(old, running("new", NEW, for_=runs_for, ready_after=None), unready_since=NOW - health.FLAP)
    assert (health.trouble(made) is not None) is found
    assert (made.wake is None) is found, "it is asked again when the patience ends"


def test_a_kubelet_that_was_slow_to_report_has_a_moment_to_catch_up() -> None:
    """It tells of a start half a minute ago, and has yet to ask whether the pod is ready."""
    made = draft(STABLE, running("new", NEW, for_=35, ready_after=None))
    assert health.trouble(made) is None
    assert made.journal.unready_since == NOW
    assert made.wake == NOW + health.FLAP


def test_a_pod_that_cannot_become_ready_while_stables_lose_their_readiness_is_not_at_fault() -> None:
    made = draft(fallen(STABLE), running("new", NEW, for_=60, ready_after=None), unready_since=NOW - seconds(60))
    assert health.trouble(made) is None


@pytest.mark.parametrize(
    "pod",
    [
        replace(fallen(running("new", NEW, for_=60, ready_after=2)), silent=True),
        replace(running("new", NEW, for_=60, ready_after=None), silent=True),
        replace(fallen(running("new", NEW, for_=60, ready_after=2)), leaving=True),
    ],
    ids=["was ready, its node is away", "was not ready yet, its node is away", "evicted"],
)
def test_what_befell_the_node_is_not_the_candidates(pod: Pod) -> None:
    made = draft(STABLE, pod, unready_since=NOW - seconds(60))
    assert health.trouble(made) is None
    assert made.journal.unready_since is None


def evicted(name: str, born: float) -> Pod:
    """A pod of the candidate that went beyond a limit of its own, so many seconds after the release began."""
    return Pod(name, NEW, ready=False, leaving=True, excess="ephemeral storage", created=STARTED + seconds(born))


@pytest.mark.parametrize(
    ("pods", "found"),
    [
        ([evicted("a", 5)], False),
        ([evicted("a", 5), evicted("b", 60)], True),
        ([evicted("a", -600), evicted("b", 60)], False),
        ([replace(evicted("a", 5), hash=OLD), evicted("b", 60)], False),
    ],
    ids=["once", "again and again", "one of an earlier release", "one of stable"],
)
def test_pods_that_are_evicted_for_what_they_take_themselves(pods: list[Pod], found: bool) -> None:
    told = health.trouble(draft(STABLE, *pods))
    assert told == ((Reason.CRASH_LOOP, "2 pods were evicted, as a: ephemeral storage") if found else None)


WAITING = Pod("new", NEW, ready=False, waits="unschedulable: 0/2 nodes are available: Insufficient memory.")


@pytest.mark.parametrize(
    ("pod", "refused", "told"),
    [
        (WAITING, "", "pod new: unschedulable: 0/2 nodes are available: Insufficient memory."),
        (replace(WAITING, silent=True), "", "pod new: its node is not heard of"),
        (replace(WAITING, leaving=True), "", ""),
        (replace(WAITING, hash=OLD), "", ""),
        (running("new", NEW, for_=60, ready_after=2), "", ""),
        (WAITING, "exceeded quota: pods", "exceeded quota: pods"),
    ],
)
def test_what_the_candidate_lacks(pod: Pod, refused: str, told: str) -> None:
    made = draft(STABLE, pod)
    made.obs = replace(made.obs, replicasets=(ReplicaSet("r-2", NEW, 2, refused=refused),))
    assert health.lacking(made) == told


def test_a_pod_that_was_ready_has_a_moment_to_come_back() -> None:
    bad = fallen(running("new", NEW, for_=60, ready_after=2))
    made = draft(STABLE, bad)
    assert health.trouble(made) is None
    assert made.journal.unready_since == NOW
    assert made.wake == NOW + health.FLAP
    assert health.trouble(draft(STABLE, bad, unready_since=NOW - health.FLAP + seconds(1))) is None
    found = health.trouble(draft(STABLE, bad, unready_since=NOW - health.FLAP))
    assert found
    assert found[0] is Reason.NOT_READY


def test_a_fault_that_stable_shares_is_not_the_candidates() -> None:
    bad = fallen(running("new", NEW, for_=60, ready_after=2))
    made = draft(fallen(STABLE), bad, unready_since=NOW - seconds(60))
    assert health.trouble(made) is None
    assert made.journal.unready_since is None


def test_a_pod_that_came_back_is_forgiven() -> None:
    made = draft(STABLE, running("new", NEW, for_=60, ready_after=2), unready_since=NOW - seconds(60))
    assert health.trouble(made) is None
    assert made.journal.unready_since is None

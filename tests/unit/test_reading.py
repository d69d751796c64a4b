"""Kubernetes' JSON as values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tidegate.api.conditions import Reason
from tidegate.core import reading
from tidegate.core.gate import Bounds

Json = dict[str, Any]


def pod(container: Json, **status: Any) -> Json:
    """A pod with one container."""
    return {
        "metadata": {"name": "p", "labels": {"pod-template-hash": "1"}},
        "status": {"containerStatuses": [{"name": "app", **container}], **status},
    }


def waiting(reason: str) -> Json:
    """A container that waits."""
    return {"state": {"waiting": {"reason": reason, "message": "why"}}}


def unseen(reason: str, code: int) -> Json:
    """A container that ended while the kubelet or the runtime was away: the code is made up."""
    return {"terminated": {"exitCode": code, "reason": reason}}


EXIT_1 = {"terminated": {"exitCode": 1, "reason": "Error"}}
OUT_OF_MEMORY = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("container", "trouble"),
    [
        (waiting("ContainerCreating"), None),
        (waiting("ImagePullBackOff"), Reason.IMAGE_ERROR),
        (waiting("ErrImagePull"), None),
        (waiting("InvalidImageName"), Reason.IMAGE_ERROR),
        (waiting("CreateContainerConfigError"), Reason.CONFIG_ERROR),
        ({**waiting("CrashLoopBackOff"), "lastState": EXIT_1, "restartCount": 1}, Reason.CRASH_LOOP),
        ({"state": EXIT_1, "restartCount": 0}, None),
        ({"state": EXIT_1, "lastState": EXIT_1, "restartCount": 2}, Reason.CRASH_LOOP),
        ({"state": {"running": {"startedAt": "2026-01-05T09:00:00Z"}}, "restartCount": 9}, None),
        ({"state": {"terminated": {"exitCode": 0}}, "restartCount": 5}, None),
        ({**waiting("CrashLoopBackOff"), "lastState": OUT_OF_MEMORY, "restartCount": 2}, Reason.CRASH_LOOP),
        ({"state": unseen("ContainerStatusUnknown", 137), "restartCount": 3}, None),
        ({**waiting("CrashLoopBackOff"), "lastState": unseen("Unknown", 255), "restartCount": 3}, None),
    ],
)
def test_what_the_kubelet_says(container: Json, trouble: Reason | None) -> None:
    assert reading.pod(pod(container)).trouble == trouble


def test_an_init_container_may_be_the_trouble() -> None:
    obj = pod(
        {"state": waiting("PodInitializing")["state"]}, initContainerStatuses=[{"name": "i", **waiting("StartError")}]
    )
    assert reading.pod(obj).trouble is Reason.CONFIG_ERROR


def test_out_of_memory_is_said() -> None:
    seen = reading.pod(pod({**waiting("CrashLoopBackOff"), "lastState": OUT_OF_MEMORY, "restartCount": 2}))
    assert "OOMKilled" in seen.message


def conditions(**told: str) -> list[Json]:
    """Of a pod: type, status, and a reason after a colon."""
    return [
        {"type": type_, "status": status.partition(":")[0], "reason": status.partition(":")[2]}
        for type_, status in told.items()
    ]


DISRUPTED = conditions(DisruptionTarget="True:EvictionByEvictionAPI")
STALE = {"state": {"running": {"startedAt": "2026-01-05T09:00:01Z"}}}


@pytest.mark.parametrize(
    ("status", "meta", "leaving", "excess"),
    [
        ({"phase": "Running"}, {}, False, ""),
        ({"phase": "Running"}, {"deletionTimestamp": "2026-01-05T09:00:00Z"}, True, ""),
        ({"phase": "Running", "conditions": DISRUPTED}, {}, True, ""),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory", "conditions": DISRUPTED}, {}, True, ""),
        ({"phase": "Failed", "reason": "Evicted", "message": "emptyDir exceeds 1Gi"}, {}, True, "emptyDir exceeds 1Gi"),
        ({"phase": "Failed", "reason": "Terminated", "message": "node shutdown"}, {}, True, ""),
        ({"phase": "Failed", "reason": "OutOfcpu"}, {}, True, ""),
        ({"phase": "Succeeded"}, {}, True, ""),
        ({}, {}, False, ""),
    ],
)
def test_a_pod_that_goes_or_is_an_object_only(status: Json, meta: Json, leaving: bool, excess: str) -> None:
    obj = pod(STALE, **status)
    obj["metadata"] |= meta
    seen = reading.pod(obj)
    assert (seen.leaving, seen.excess) == (leaving, excess)


@pytest.mark.parametrize(
    ("told", "silent"),
    [
        ({"Ready": "True", "ContainersReady": "True"}, False),
        ({"Ready": "False:ContainersNotReady", "ContainersReady": "False:ContainersNotReady"}, False),
        ({"Ready": "False:ReadinessGatesNotReady", "ContainersReady": "True"}, False),
        ({"Ready": "False", "ContainersReady": "True"}, True),
        ({"Ready": "Unknown:NodeStatusUnknown", "ContainersReady": "False"}, True),
        ({}, False),
    ],
)
def test_a_pod_whose_node_is_not_heard_of(told: dict[str, str], silent: bool) -> None:
    assert reading.pod(pod(STALE, conditions=conditions(**told))).silent is silent


NO_ROOM = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}


@pytest.mark.parametrize(
    ("obj", "waits"),
    [
        ({"status": {"phase": "Pending", "conditions": [NO_ROOM]}}, "unschedulable: 0/2 nodes are available"),
        (pod(waiting("ErrImagePull")), "ErrImagePull: why"),
        (pod({"state": {"waiting": {"reason": "ContainerCreating"}}}), "ContainerCreating"),
        (pod(STALE), ""),
        ({}, ""),
    ],
)
def test_what_a_pod_waits_for(obj: Json, waits: str) -> None:
    assert reading.pod({"metadata": {"name": "p"}, **obj}).waits == waits


def test_times_of_a_pod() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-05T09:00:03Z"}
    running = {"state": {"running": {"startedAt": "2026-01-05T09:00:01Z"}}}
    seen = reading.pod(pod(running, conditions=[ready]))
    assert seen.ready
    assert seen.running_since == datetime(2026, 1, 5, 9, 0, 1, tzinfo=UTC)
    assert seen.ready_since == datetime(2026, 1, 5, 9, 0, 3, tzinfo=UTC)
    assert reading.pod(pod(waiting("X"))).running_since is None
    assert reading.pod({"metadata": {"name": "p"}}).ready is False, "a pod that was only just created"
    born = {"metadata": {"name": "p", "creationTimestamp": "2026-01-05T09:00:00Z"}}
    assert reading.pod(born).created == datetime(2026, 1, 5, 9, tzinfo=UTC)


def test_a_deployment_is_settled_when_its_controller_has_seen_it() -> None:
    obj: Json = {
        "metadata": {
            "name": "d",
            "uid": "u",
            "generation": 3,
            "annotations": {"deployment.kubernetes.io/revision": "7"},
        },
        "spec": {"replicas": 4, "progressDeadlineSeconds": 600},
        "status": {
            "observedGeneration": 2,
            "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}],
        },
    }
    seen = reading.deployment(obj)
    assert (seen.settled, seen.revision, seen.timed_out, seen.strategy) == (False, 7, True, "RollingUpdate")
    obj["status"]["observedGeneration"] = 3
    assert reading.deployment(obj).settled
    assert reading.deployment({"metadata": {"name": "d", "uid": "u"}, "spec": {}}).replicas == 1, "the API's default"


@pytest.mark.parametrize(
    ("strategy", "surge"),
    [
        ({}, 2),
        ({"rollingUpdate": None}, 2),
        ({"rollingUpdate": {"maxSurge": "34%"}}, 3),
        ({"rollingUpdate": {"maxSurge": "100%"}}, 6),
        ({"rollingUpdate": {"maxSurge": 3}}, 3),
        ({"rollingUpdate": {"maxSurge": 0}}, 0),
    ],
)
def test_pods_that_a_deployment_may_have_beyond_its_size(strategy: Json, surge: int) -> None:
    """A percentage is rounded up."""
    spec = {"replicas": 6, "strategy": strategy}
    assert reading.deployment({"metadata": {"name": "d", "uid": "u"}, "spec": spec}).surge == surge


def test_a_replicaset_with_its_bounds() -> None:
    notes = {"tidegate.dev/floor": "25%", "tidegate.dev/ceiling": "50%", "tidegate.dev/release": "r"}
    obj = {
        "metadata": {"name": "rs", "labels": {"pod-template-hash": "1"}, "annotations": notes},
        "spec": {"replicas": 2},
    }
    seen = reading.replicaset(obj)
    assert (seen.hash, seen.replicas, seen.ready, seen.bounds, seen.managed_by) == (
        "1",
        2,
        0,
        Bounds("25%", "50%"),
        "r",
    )


def test_a_replicaset_that_is_refused_its_pods() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: pods"}
    obj: Json = {"metadata": {"name": "rs"}, "spec": {"replicas": 2}, "status": {"conditions": [failure]}}
    assert reading.replicaset(obj).refused == "exceeded quota: pods"
    obj["status"]["conditions"] = None
    assert reading.replicaset(obj).refused == ""


def endpoint(name: str, *, ready: bool = True) -> Json:
    """Of an EndpointSlice."""
    return {"addresses": [f"ip-{name}"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": name}}


def slice_(*endpoints: Json, service: str = "s", owner: str | None = "u") -> Json:
    """An EndpointSlice."""
    refs = [{"kind": "Service", "uid": owner, "name": service}] if owner else []
    meta = {"labels": {"kubernetes.io/service-name": service}, "ownerReferences": refs}
    return {"metadata": meta, "endpoints": list(endpoints)}


def test_endpoints_are_the_ready_ones_of_all_slices_of_this_very_service() -> None:
    obj = {"metadata": {"name": "s", "uid": "u"}, "spec": {"selector": {"app": "x", "pod-template-hash": "1"}}}
    slices = [
        slice_(endpoint("a"), endpoint("b", ready=False)),
        slice_(endpoint("c")),
        slice_(endpoint("of-another"), service="t"),
        slice_(endpoint("of-one-that-was-deleted"), owner="before"),
        slice_(endpoint("by-hand"), owner=None),
        {**slice_(), "endpoints": None},
    ]
    seen = reading.service(obj, slices)
    assert seen.endpoints == {"a", "c", "by-hand"}
    assert seen.addresses == {"ip-a", "ip-c", "ip-by-hand"}
    assert seen.hash == "1"


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({"app": "x"}, True),
        ({"app": "x", "pod-template-hash": "1"}, True),
        ({"app": "y"}, False),
        ({"app": "x", "tier": "z"}, False),
        ({}, False),
        (None, False),
        ({"pod-template-hash": "1"}, False),
    ],
)
def test_which_services_select_the_pods(selector: Json | None, fits: bool) -> None:
    assert reading.selects({"spec": {"selector": selector}}, {"app": "x", "v": "1"}) is fits


def test_a_selector_as_the_api_takes_it() -> None:
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["x", "y"]},
            {"key": "d", "operator": "NotIn", "values": ["z"]},
            {"key": "e", "operator": "Exists"},
            {"key": "f", "operator": "DoesNotExist"},
        ],
    }
    assert reading.selector_text(selector) == "a=1,b=2,c in (x,y),d notin (z),e,!f"


def test_mistakes_name_field_value_and_way_out() -> None:
    told = reading.mistakes(
        [(("spec", "steps", 1, "weight"), 120, "must be 100 or less"), (("spec",), {}, "Value error, x")]
    )
    assert told == "spec.steps[1].weight: 120: must be 100 or less; x"
    assert len(reading.mistakes([(("spec", "drain"), "9" * 250_000, "is too much")])) < 120

"""A Deployment controller that has given up is woken, once it is behind for two looks; any other is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.cluster import TIDEGATE, FakeCluster
from tests.fakes.virtual import VirtualClock

from tidegate.core.gate import RELEASE
from tidegate.core.reading import DESIRED
from tidegate.engine.again import Again
from tidegate.engine.leader import Leader
from tidegate.ports.cluster import DEPLOYMENTS, REPLICASETS

Json = dict[str, Any]


def furnished(*, observed: int, desired: str, managed: bool = True, paused: bool = False) -> FakeCluster:
    """A Deployment of 4 and its ReplicaSets: of 4 pods, and of none, which is never told."""
    cluster = FakeCluster(VirtualClock(), latency=0)
    meta: Json = {"name": "checkout", "annotations": {RELEASE: "checkout"} if managed else {}}
    body = {"metadata": meta, "spec": {"replicas": 4, "paused": paused}, "status": {"observedGeneration": observed}}
    made = cluster.create_as("user", DEPLOYMENTS, "shop", body)
    owner = {"uid": made["metadata"]["uid"], "controller": True}
    for name, replicas, told in (("checkout-a", 4, desired), ("checkout-b", 0, "1")):
        meta = {"name": name, "ownerReferences": [owner], "annotations": {DESIRED: told}}
        cluster.create_as("user", REPLICASETS, "shop", {"metadata": meta, "spec": {"replicas": replicas}})
    return cluster


def writes(cluster: FakeCluster) -> list[str]:
    return [write.name for write in cluster.writes if write.who == TIDEGATE]


@pytest.mark.parametrize(("observed", "desired"), [(0, "4"), (1, "8")], ids=["of a template", "of a scale"])
async def test_a_controller_that_is_behind_is_woken_and_no_trace_stays(observed: int, desired: str) -> None:
    cluster = furnished(observed=observed, desired=desired)
    before = [obj["metadata"]["annotations"] for obj in cluster.all(REPLICASETS)]
    again = Again(cluster, Leader(cluster, VirtualClock(), "", "me"), VirtualClock())
    await again._look()
    assert writes(cluster) == [], "it may just be busy"
    await again._look()
    assert writes(cluster) == ["checkout-a", "checkout-a"]
    assert [obj["metadata"]["annotations"] for obj in cluster.all(REPLICASETS)] == before


@pytest.mark.parametrize(
    "state",
    [
        {"observed": 1, "desired": "4"},
        {"observed": 0, "desired": "8", "managed": False},
        {"observed": 0, "desired": "8", "paused": True},
    ],
    ids=["at work", "not managed", "paused"],
)
async def test_any_other_is_left_alone(state: Json) -> None:
    cluster = furnished(**state)
    again = Again(cluster, Leader(cluster, VirtualClock(), "", "me"), VirtualClock())
    for _ in range(3):
        await again._look()
    assert writes(cluster) == []

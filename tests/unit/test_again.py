"""A Deployment controller that has given up is woken, once it is behind for two looks; any other is left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fakes.cluster import TIDEGATE, FakeCluster
from tests.fakes.memory import StrictStore
from tests.fakes.virtual import VirtualClock

from tidegate.core.gate import RELEASE
from tidegate.core.reading import DESIRED
from tidegate.engine.again import Again
from tidegate.engine.leader import Leader
from tidegate.engine.operator import WATCHED_BY_WEBHOOK
from tidegate.engine.store import Cached, Key
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, REPLICASETS, Kind, Object

Json = dict[str, Any]


class Counting(StrictStore):
    """What is kept of objects, and how often one was opened."""

    opened = 0

    def told(self, kind: Kind, _: str, obj: Object) -> None:
        """A watch saw something."""
        self.put(kind, obj)

    def get(self, kind: Kind, key: Key) -> Object | None:
        self.opened += 1
        return super().get(kind, key)


def furnished(
    *, observed: int, desired: str, managed: bool = True, paused: bool = False, names: tuple[str, ...] = ("checkout",)
) -> tuple[FakeCluster, Counting]:
    """Deployments of 4 with their releases, and their ReplicaSets: of 4 pods, and of none, which is never told."""
    cluster, store = FakeCluster(VirtualClock(), latency=0), Counting(WATCHED_BY_WEBHOOK)
    cluster.watchers.append(store.told)
    for app in names:
        release = {"metadata": {"name": app}, "spec": {"targetRef": {"name": app}}}
        cluster.create_as("user", CANARY_RELEASES, "shop", release)
        meta: Json = {"name": app, "annotations": {RELEASE: app} if managed else {}}
        body = {"metadata": meta, "spec": {"replicas": 4, "paused": paused}, "status": {"observedGeneration": observed}}
        made = cluster.create_as("user", DEPLOYMENTS, "shop", body)
        owner = {"uid": made["metadata"]["uid"], "controller": True}
        for name, replicas, told in ((f"{app}-a", 4, desired), (f"{app}-b", 0, "1")):
            meta = {"name": name, "ownerReferences": [owner], "annotations": {DESIRED: told}}
            cluster.create_as("user", REPLICASETS, "shop", {"metadata": meta, "spec": {"replicas": replicas}})
    return cluster, store


def watching(cluster: FakeCluster, store: Counting) -> Again:
    """One that reads what the watches told, as the operator's does."""
    return Again(Cached(cluster, store), Leader(cluster, VirtualClock(), "", "me"), VirtualClock())


def writes(cluster: FakeCluster) -> list[str]:
    return [write.name for write in cluster.writes if write.who == TIDEGATE]


@pytest.mark.parametrize(("observed", "desired"), [(0, "4"), (1, "8")], ids=["of a template", "of a scale"])
async def test_a_controller_that_is_behind_is_woken_and_no_trace_stays(observed: int, desired: str) -> None:
    cluster, store = furnished(observed=observed, desired=desired)
    before = [obj["metadata"]["annotations"] for obj in cluster.all(REPLICASETS)]
    again = watching(cluster, store)
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
    cluster, store = furnished(**state)
    again = watching(cluster, store)
    for _ in range(3):
        await again._look()
    assert writes(cluster) == []


async def test_a_look_at_many_in_one_namespace_opens_each_once_and_lets_others_have_their_turn() -> None:
    names = tuple(f"app-{number}" for number in range(100))
    cluster, store = furnished(observed=1, desired="4", names=names)
    again, turns = watching(cluster, store), 0

    async def heart() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(heart())
    await again._look()
    beating.cancel()
    assert store.opened <= 4 * len(names), "a release, its Deployment, its two ReplicaSets"
    assert turns >= len(names)
    assert writes(cluster) == []

"""What each action writes: the body of the request, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock

from tidegate.api.release import RouteRef
from tidegate.core.gate import FREE, HELD, exactly
from tidegate.core.observed import Backends
from tidegate.core.plan import (
    Action,
    Bound,
    DeleteServices,
    EnsureServices,
    Manage,
    Select,
    SetDeadline,
    SetFinalizer,
    Split,
)
from tidegate.engine.act import FINALIZER, Actor
from tidegate.engine.scene import Scene
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    DEPLOYMENTS,
    REPLICASETS,
    SERVICES,
    Conflict,
    Kind,
    Object,
    PatchType,
)
from tidegate.ports.router import Routing

Json = dict[str, Any]


class Recording(FakeCluster):
    """Keeps the patches that it is sent."""

    def __init__(self) -> None:
        super().__init__(VirtualClock(), latency=0)
        self.patches: list[tuple[str, object]] = []

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """As the port."""
        self.patches.append((f"{kind.name}/{name}", body))
        return await super().patch(kind, namespace, name, body, type_=type_, subresource=subresource)


class Routes:
    """The router port: remembers the weight."""

    def __init__(self) -> None:
        self.said: list[tuple[Backends, int | None, str]] = []

    async def read(
        self, backends: Backends, named: Sequence[RouteRef] | None, propagation: timedelta | None
    ) -> Routing:
        """Not asked here."""
        raise NotImplementedError

    async def split(
        self, backends: Backends, named: Sequence[RouteRef] | None, weight: int | None, release: str
    ) -> None:
        """As the port."""
        self.said.append((backends, weight, release))


SERVICE: Json = {
    "metadata": {"name": "checkout"},
    "spec": {
        "selector": {"app": "checkout", "pod-template-hash": "1111"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}],
        "clusterIP": "10.0.0.1",
        "type": "NodePort",
        "sessionAffinity": "ClientIP",
    },
}


@pytest.fixture
async def cluster() -> Recording:
    """With all that an action may be about."""
    found = Recording()
    found.create_as("user", CANARY_RELEASES, "shop", {"metadata": {"name": "mine", "finalizers": ["other"]}})
    found.create_as("user", DEPLOYMENTS, "shop", {"metadata": {"name": "checkout"}, "spec": {"replicas": 4}})
    found.create_as("user", REPLICASETS, "shop", {"metadata": {"name": "rs"}, "spec": {"replicas": 4}})
    found.create_as("user", SERVICES, "shop", SERVICE)
    return found


async def done(cluster: Recording, *actions: Action) -> list[tuple[str, object]]:
    """Carry out, and say what was sent."""
    found = {
        kind: cluster.find(kind, "shop", name)
        for kind, name in (
            (CANARY_RELEASES, "mine"),
            (DEPLOYMENTS, "checkout"),
            (SERVICES, "checkout"),
        )
    }
    release = found[CANARY_RELEASES]
    assert release
    scene = Scene(
        kind=CANARY_RELEASES,
        release={**release, "metadata": {**release["metadata"]}},
        deployment=found[DEPLOYMENTS],
        service=found[SERVICES],
        backends=Backends.of("shop", "checkout"),
    )
    cluster.patches.clear()
    await Actor(cluster, Routes()).carry_out(actions, scene)
    return cluster.patches


def notes(floor: str | None, ceiling: str | None, **more: Any) -> Json:
    """Annotations of a patch."""
    return {"metadata": {"annotations": {"tidegate.dev/floor": floor, "tidegate.dev/ceiling": ceiling, **more}}}


@pytest.mark.parametrize(
    ("action", "where", "body"),
    [
        (Manage("mine"), "Deployment/checkout", {"metadata": {"annotations": {"tidegate.dev/release": "mine"}}}),
        (Manage(None), "Deployment/checkout", {"metadata": {"annotations": {"tidegate.dev/release": None}}}),
        (SetDeadline(7), "Deployment/checkout", {"spec": {"progressDeadlineSeconds": 7}}),
        (SetDeadline(None), "Deployment/checkout", {"spec": {"progressDeadlineSeconds": None}}),
        (Bound("rs", exactly(25), 1), "ReplicaSet/rs", {**notes("25%", "25%"), "spec": {"replicas": 1}}),
        (Bound("rs", HELD, 0), "ReplicaSet/rs", {**notes(None, "0"), "spec": {"replicas": 0}}),
        (Bound("rs", HELD, None), "ReplicaSet/rs", notes(None, "0")),
        (Bound("rs", FREE, None), "ReplicaSet/rs", notes(None, None, **{"tidegate.dev/release": None})),
        (Select("2222"), "Service/checkout", {"spec": {"selector": {"pod-template-hash": "2222"}}}),
        (Select(None), "Service/checkout", {"spec": {"selector": {"pod-template-hash": None}}}),
    ],
)
async def test_what_is_written(cluster: Recording, action: Action, where: str, body: Mapping[str, Any]) -> None:
    assert await done(cluster, action) == [(where, body)]
    writes = len(cluster.writes)
    await done(cluster, action)
    assert len(cluster.writes) == writes, "twice is as good as once"


async def test_the_two_services_are_like_the_users_but_for_what_is_its_own(cluster: Recording) -> None:
    await done(cluster, EnsureServices("1111", "2222"))
    canary = cluster.find(SERVICES, "shop", "checkout-canary")
    assert canary
    assert canary["spec"] == {
        "selector": {"app": "checkout", "pod-template-hash": "2222"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        "sessionAffinity": "ClientIP",
    }
    assert canary["metadata"]["labels"] == {"tidegate.dev/release": "mine"}
    assert [(ref["kind"], ref["name"]) for ref in canary["metadata"]["ownerReferences"]] == [("CanaryRelease", "mine")]


async def test_services_that_exist_are_pointed_anew(cluster: Recording) -> None:
    await done(cluster, EnsureServices("1111", "2222"))
    await done(cluster, EnsureServices("2222", "3333"))
    found = cluster.find(SERVICES, "shop", "checkout-canary")
    assert found
    assert found["spec"]["selector"] == {"app": "checkout", "pod-template-hash": "3333"}
    await done(cluster, DeleteServices())
    await done(cluster, DeleteServices())
    assert [svc["metadata"]["name"] for svc in cluster.all(SERVICES, "shop")] == ["checkout"]


async def test_services_that_are_not_ours_are_left_alone(cluster: Recording) -> None:
    theirs = {"metadata": {"name": "checkout-canary"}, "spec": {"selector": {"app": "theirs"}}}
    cluster.create_as("user", SERVICES, "shop", theirs)
    with pytest.raises(Conflict):
        await done(cluster, EnsureServices("1111", "2222"))
    await done(cluster, DeleteServices())
    found = cluster.find(SERVICES, "shop", "checkout-canary")
    assert found
    assert found["spec"] == theirs["spec"]


async def test_the_finalizer_stands_beside_others(cluster: Recording) -> None:
    await done(cluster, SetFinalizer(present=True))
    found = cluster.find(CANARY_RELEASES, "shop", "mine")
    assert found
    assert found["metadata"]["finalizers"] == ["other", FINALIZER]
    await done(cluster, SetFinalizer(present=False), SetFinalizer(present=False))
    found = cluster.find(CANARY_RELEASES, "shop", "mine")
    assert found
    assert found["metadata"]["finalizers"] == ["other"]


async def test_the_finalizer_is_written_to_what_was_read_and_no_other(cluster: Recording) -> None:
    release = cluster.find(CANARY_RELEASES, "shop", "mine")
    assert release
    cluster.patch_as("user", CANARY_RELEASES, "shop", "mine", {"metadata": {"finalizers": ["other", "new"]}})
    stale = Scene(kind=CANARY_RELEASES, release=release)
    with pytest.raises(Conflict):
        await Actor(cluster, Routes()).carry_out([SetFinalizer(present=True)], stale)


async def test_the_router_is_told_the_weight(cluster: Recording) -> None:
    routes, backends = Routes(), Backends.of("shop", "checkout")
    release = {"metadata": {"name": "mine", "namespace": "shop"}}
    scene = Scene(kind=CANARY_RELEASES, release=release, backends=backends)
    await Actor(cluster, routes).carry_out([Split(25), Split(None)], scene)
    assert routes.said == [(backends, 25, "mine"), (backends, None, "mine")]

"""What each action writes: the body of the request, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock

from tidegate.api.release import Step
from tidegate.api.traffic import AT_REST, Share
from tidegate.core.gate import DEADLINE_WISH, FREE, HELD, RELEASE, exactly
from tidegate.core.hold import RELEASING, Hold
from tidegate.core.observed import Backends
from tidegate.core.plan import (
    Action,
    Bound,
    DeleteServices,
    EnsureServices,
    Manage,
    RestoreTemplate,
    Seize,
    Select,
    SetDeadline,
    SetFinalizer,
    SetImages,
    SetPaused,
    Split,
)
from tidegate.engine.act import FINALIZER, Actor
from tidegate.engine.jobs import Jobs
from tidegate.engine.keep import slim
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
from tidegate.ports.router import Names, Routing

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

    kinds = ("Route",)

    def __init__(self) -> None:
        self.said: list[tuple[Backends, int | None, str]] = []

    async def read(
        self, backends: Backends, names: Names, propagation: timedelta | None, steps: Sequence[Step] = ()
    ) -> Routing:
        """Not asked here."""
        raise NotImplementedError

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """As the port."""
        self.said.append((backends, share.weight, hold.release))

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """As the port."""


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
    found.create_as("user", DEPLOYMENTS, "shop", {"metadata": {"name": "checkout"}, "spec": workload("v2")})
    born = {"metadata": {"name": "rs", "labels": {"pod-template-hash": "1111"}}, "spec": workload("v1", hash_="1111")}
    found.create_as("user", REPLICASETS, "shop", born)
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
            (REPLICASETS, "rs"),
        )
    }
    release = found[CANARY_RELEASES]
    assert release
    scene = Scene(
        kind=CANARY_RELEASES,
        release={**release, "metadata": {**release["metadata"]}},
        deployment=found[DEPLOYMENTS],
        replicasets={name: slim(REPLICASETS, obj) for name, obj in (("rs", found[REPLICASETS]),) if obj},
        service=found[SERVICES],
        backends=Backends.of("shop", "checkout"),
        made=("checkout-stable", "checkout-canary"),
        term=7,
    )
    cluster.patches.clear()
    await Actor(cluster, Routes(), Jobs(cluster, VirtualClock())).carry_out(actions, scene)
    return cluster.patches


def workload(image: str, hash_: str = "") -> Json:
    """Of a Deployment, or of a ReplicaSet with its hash."""
    labels = {"app": "checkout", **({"pod-template-hash": hash_} if hash_ else {})}
    containers = [{"name": "proxy", "image": "proxy"}, {"name": "app", "image": image}]
    return {"replicas": 4, "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}}


def annotated(key: str, value: str | None) -> Json:
    """A patch of one annotation."""
    return {"metadata": {"annotations": {key: value}}}


def spec(**fields: Any) -> Json:
    """A patch of the spec."""
    return {"spec": fields}


DEADLINE = spec(progressDeadlineSeconds=7)


def notes(floor: str | None, ceiling: str | None, **more: Any) -> Json:
    """Annotations of a patch."""
    return {"metadata": {"annotations": {"tidegate.dev/floor": floor, "tidegate.dev/ceiling": ceiling, **more}}}


@pytest.mark.parametrize(
    ("action", "where", "body"),
    [
        (Manage("mine"), "Deployment/checkout", annotated(RELEASE, "mine")),
        (Manage(None), "Deployment/checkout", annotated(RELEASE, None)),
        (SetDeadline(7), "Deployment/checkout", {**annotated(DEADLINE_WISH, None), **DEADLINE}),
        (
            SetDeadline(7, "9"),
            "Deployment/checkout",
            {**annotated(DEADLINE_WISH, "9"), **DEADLINE},
        ),
        (SetPaused(True), "Deployment/checkout", spec(paused=True)),
        (SetPaused(False), "Deployment/checkout", spec(paused=None)),
        (Bound("rs", exactly(25), 1), "ReplicaSet/rs", {**notes("25%", "25%"), "spec": {"replicas": 1}}),
        (Bound("rs", HELD, 0), "ReplicaSet/rs", {**notes(None, "0"), "spec": {"replicas": 0}}),
        (Bound("rs", HELD, None), "ReplicaSet/rs", notes(None, "0")),
        (Bound("rs", FREE, None), "ReplicaSet/rs", notes(None, None, **{RELEASE: None, DEADLINE_WISH: None})),
        (
            Select("2222"),
            "Service/checkout",
            {
                **annotated(RELEASING, Hold("CanaryRelease/mine", 7).note()),
                **spec(selector={"pod-template-hash": "2222"}),
            },
        ),
        (
            Select(None, held=False),
            "Service/checkout",
            {**annotated(RELEASING, None), **spec(selector={"pod-template-hash": None})},
        ),
    ],
)
async def test_what_is_written(cluster: Recording, action: Action, where: str, body: Mapping[str, Any]) -> None:
    [(written, sent)] = await done(cluster, action)
    assert isinstance(sent, dict)
    assert sent["metadata"].pop("resourceVersion"), "to what the decision was made upon, and no other"
    assert (written, {key: value for key, value in sent.items() if value}) == (where, body)
    writes = len(cluster.writes)
    await done(cluster, action)
    assert len(cluster.writes) == writes, "twice is as good as once"


@pytest.mark.parametrize("action", [RestoreTemplate("rs"), SetImages((("app", "v1"),))])
async def test_the_template_is_what_it_was(cluster: Recording, action: Action) -> None:
    await done(cluster, action)
    found = cluster.find(DEPLOYMENTS, "shop", "checkout")
    assert found
    assert found["spec"] == workload("v1")


async def test_what_was_changed_meanwhile_is_not_written(cluster: Recording) -> None:
    """A decision was made upon what is no more: by somebody who wrote, or by another leader who decided since."""
    deployment, service = cluster.find(DEPLOYMENTS, "shop", "checkout"), cluster.find(SERVICES, "shop", "checkout")
    replicaset = cluster.find(REPLICASETS, "shop", "rs")
    release = cluster.find(CANARY_RELEASES, "shop", "mine")
    assert release
    assert replicaset
    for kind, name in ((DEPLOYMENTS, "checkout"), (SERVICES, "checkout"), (REPLICASETS, "rs")):
        cluster.patch_as("user", kind, "shop", name, {"metadata": {"labels": {"a": "b"}}})
    stale = Scene(CANARY_RELEASES, release, deployment=deployment, replicasets={"rs": replicaset}, service=service)
    for action in (Manage("mine"), SetDeadline(7), Select("2"), Bound("rs", HELD, 0), SetImages((("app", "v3"),))):
        with pytest.raises(Conflict):
            await Actor(cluster, Routes(), Jobs(cluster, VirtualClock())).carry_out([action], stale)


async def test_one_decision_may_write_twice_to_an_object(cluster: Recording) -> None:
    await done(cluster, Manage("mine"), SetDeadline(7), SetPaused(True))
    found = cluster.find(DEPLOYMENTS, "shop", "checkout")
    assert found
    assert (found["spec"]["progressDeadlineSeconds"], found["spec"]["paused"]) == (7, True)


async def test_a_new_leader_writes_its_term_to_what_is_held(cluster: Recording) -> None:
    await done(cluster, Seize())
    assert RELEASING not in (cluster.find(SERVICES, "shop", "checkout") or {})["metadata"].get("annotations", {})
    note = Hold("CanaryRelease/mine", 6).note(more=1)
    cluster.patch_as("user", SERVICES, "shop", "checkout", {"metadata": {"annotations": {RELEASING: note}}})
    await done(cluster, Seize())
    found = cluster.find(SERVICES, "shop", "checkout")
    assert found
    assert found["metadata"]["annotations"][RELEASING] == Hold("CanaryRelease/mine", 7).note(more=1)


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
        await Actor(cluster, Routes(), Jobs(cluster, VirtualClock())).carry_out([SetFinalizer(present=True)], stale)


async def test_the_router_is_told_the_weight(cluster: Recording) -> None:
    routes, backends = Routes(), Backends.of("shop", "checkout")
    release = {"metadata": {"name": "mine", "namespace": "shop", "uid": "u"}}
    scene = Scene(kind=CANARY_RELEASES, release=release, backends=backends)
    await Actor(cluster, routes, Jobs(cluster, VirtualClock())).carry_out([Split(Share(25)), Split(AT_REST)], scene)
    assert routes.said == [(backends, 25, "CanaryRelease/mine"), (backends, None, "CanaryRelease/mine")]


async def test_a_service_of_another_release_is_neither_pointed_anew_nor_removed(cluster: Recording) -> None:
    """Not by its name, and not by its label: whose it is, its owner tells."""
    owner = {"apiVersion": "x", "kind": "CanaryRelease", "name": "mine", "uid": "before", "controller": True}
    meta = {"name": "checkout-canary", "labels": {"tidegate.dev/release": "mine"}, "ownerReferences": [owner]}
    cluster.create_as("user", SERVICES, "shop", {"metadata": meta, "spec": {"selector": {"app": "other"}}})
    with pytest.raises(Conflict):
        await done(cluster, EnsureServices("1111", "2222"))
    await done(cluster, DeleteServices())
    found = cluster.find(SERVICES, "shop", "checkout-canary")
    assert found
    assert found["spec"]["selector"] == {"app": "other"}

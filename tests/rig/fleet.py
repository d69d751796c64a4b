"""Many releases at rest: Deployments of no pods, each with its Service, route and release, and many of strangers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from kubernetes.aio import client, config

from tests.cluster.fixture import enter_network
from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.rig.app import App
from tidegate.adapters.kubernetes import KubeCluster
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    DEPLOYMENTS,
    HTTPROUTES,
    REPLICASETS,
    SERVICES,
    Conflict,
    Kind,
    Object,
    Unavailable,
)

NAMESPACES = Kind("api/v1", "namespaces", "Namespace", namespaced=False)
AT_ONCE = 24
HISTORY = 10
REVISIONS = 3
"""ReplicaSets that a Deployment of strangers has."""
Json = dict[str, Any]


class Fleet:
    """``count`` workloads named ``NAME-0001``, in so many ``namespaces`` named alike."""

    def __init__(self, cluster: Cluster, name: str, count: int, namespaces: int = 1) -> None:
        self._cluster, self._name, self._count, self._namespaces = cluster, name, count, namespaces

    @property
    def namespaces(self) -> list[str]:
        """Where they are."""
        return [f"{self._name}-{number}" for number in range(self._namespaces)]

    def apps(self) -> list[App]:
        """The workloads."""
        return [
            App(self._cluster, self.namespaces[number % self._namespaces], f"{self._name}-{number:04d}", replicas=0)
            for number in range(self._count)
        ]

    def create(self) -> None:
        """All of them, with releases."""
        self._do(self._create())

    def strangers(self) -> None:
        """All of them as Deployments with some ReplicaSets each, and no release."""
        self._do(self._create_strangers())

    def settle(self, seconds: float) -> None:
        """Wait until all releases are at rest, and have a past."""

        def restless() -> str | None:
            phases = Counter(
                f"{release.get('status', {}).get('phase')}: {release.get('status', {}).get('message')}"[:80]
                for release in self._do(self._releases())
                if not _at_rest(release)
            )
            return None if not phases else str(phases.most_common(3))

        wait_until(f"{self._count} releases are at rest", restless, seconds, pause=1.0)
        self._do(self._grow_old())

    def delete(self) -> None:
        """Let go, and gone."""
        for namespace in self.namespaces:
            self._cluster.kubectl("-n", namespace, "delete", "canaryreleases", "--all", "--timeout=300s", timeout=320)
            self._cluster.kubectl("delete", "namespace", namespace, "--wait=false")

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        enter_network(self._cluster)
        return asyncio.run(what)

    async def _create(self) -> None:
        async with _client(self._cluster) as kube:
            await self._create_namespaces(kube)
            await _each(
                _make(kube, kind, body)
                for app in self.apps()
                for kind, body in (
                    (SERVICES, app.service()),
                    (DEPLOYMENTS, _weighty(app.deployment("v1"))),
                    (HTTPROUTES, app.route()),
                    (CANARY_RELEASES, app.release()),
                )
            )

    async def _create_strangers(self) -> None:
        async with _client(self._cluster) as kube:
            await self._create_namespaces(kube)
            await _each(
                _make(kube, kind, body)
                for app in self.apps()
                for kind, body in [
                    # Paused: its controller makes no ReplicaSets, which would take it very long.
                    (DEPLOYMENTS, _weighty(app.deployment("v1"), paused=True)),
                    *((REPLICASETS, _revision(app, number)) for number in range(REVISIONS)),
                ]
            )

    async def _create_namespaces(self, kube: KubeCluster) -> None:
        await _each(_make(kube, NAMESPACES, {"metadata": {"name": namespace}}) for namespace in self.namespaces)

    async def _releases(self) -> list[Object]:
        async with _client(self._cluster) as kube:
            return [obj for namespace in self.namespaces for obj in await kube.list(CANARY_RELEASES, namespace)]

    async def _grow_old(self) -> None:
        async with _client(self._cluster) as kube:
            await _each(
                kube.patch(
                    CANARY_RELEASES,
                    release["metadata"]["namespace"],
                    release["metadata"]["name"],
                    {"status": {"history": [_record(number) for number in range(HISTORY)]}},
                    subresource="status",
                )
                for release in await self._releases()
            )


def _at_rest(release: Object) -> bool:
    status = release.get("status", {})
    ready = any(found["type"] == "Ready" and found["status"] == "True" for found in status.get("conditions", ()))
    return bool(status.get("phase") == "Idle" and ready and status.get("stable"))


def _weighty(deployment: Json, **spec: object) -> Json:
    """A Deployment of the size that they have in life."""
    deployment["spec"].update(spec)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["env"] += [{"name": f"SETTING_{number}", "value": f"a value of setting {number}"} for number in range(20)]
    container["resources"] = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}
    return deployment


def _revision(app: App, number: int) -> Json:
    """A ReplicaSet as a Deployment leaves them behind."""
    deployment = _weighty(app.deployment("v1"))
    labels = {**deployment["spec"]["selector"]["matchLabels"], "pod-template-hash": f"hash{number}"}
    template = deployment["spec"]["template"]
    template["metadata"]["labels"] = labels
    return {
        "metadata": {
            "name": f"{app.name}-hash{number}",
            "namespace": app.namespace,
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": str(number + 1)},
        },
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


def _record(number: int) -> Json:
    return {
        "revision": number + 1,
        "hash": f"5d8f7c6b{number}",
        "images": [f"registry.example.com/team/checkout:v1.{number}.0"],
        "outcome": "Promoted",
        "reason": "Promoted",
        "message": f"revision {number + 1} serves: all steps passed, errors 0.31 % against 0.29 % of stable",
        "startedAt": f"2026-01-{number + 1:02d}T09:00:00Z",
        "finishedAt": f"2026-01-{number + 1:02d}T10:00:00Z",
    }


@asynccontextmanager
async def _client(cluster: Cluster) -> AsyncIterator[KubeCluster]:
    """As administrator."""
    configuration = client.Configuration()
    await config.load_kube_config(str(cluster.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    kube = KubeCluster(client.ApiClient(configuration))
    try:
        yield kube
    finally:
        await kube.close()


async def _make(kube: KubeCluster, kind: Kind, body: Json) -> None:
    """One that is there; the operator's client waits 5 s for an answer, and a machine that makes many may take more."""
    for last in (False, False, False, False, True):
        try:
            with suppress(Conflict):
                await kube.create(kind, body["metadata"].get("namespace", ""), body)
        except Unavailable:
            if last:
                raise
        else:
            return


async def _each(what: Iterable[Coroutine[Any, Any, object]]) -> None:
    """All of them, some at once."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Coroutine[Any, Any, object]) -> None:
        async with turns:
            await coroutine

    await asyncio.gather(*(one(coroutine) for coroutine in what))

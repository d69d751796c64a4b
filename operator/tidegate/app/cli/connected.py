"""The cluster and namespace that a command speaks of: those of the kubeconfig's context, as kubectl has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidegate.ports.cluster import Cluster


@asynccontextmanager
async def connected(namespace: str | None) -> AsyncIterator[tuple[Cluster, str]]:
    """The cluster, and the namespace that was named or else is the context's."""
    from kubernetes.aio import config

    from tidegate.adapters.kubernetes import KubeCluster, connect

    cluster = KubeCluster(await connect())
    try:
        if namespace is None:
            _, active = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
            namespace = str(active["context"].get("namespace", "default"))
        yield cluster, namespace
    finally:
        await cluster.close()

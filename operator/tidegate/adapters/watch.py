"""Watches, by Kopf: the only file that knows it. A handler tells what it saw and returns; it decides nothing.

Kopf would add finalizers, annotations and patches of its own to objects if it were asked to handle changes, so it is
asked for raw events only. Its traps, and why its settings are what they are: docs/decisions.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import kopf

from tidegate.ports.cluster import Kind, Object

Told = Callable[[Kind, str, Object], None]
"""Kind, event type (None of a list: ADDED), object."""

RETRY_LIMIT = 10.0


class Forever(Iterable[float]):
    """Back-off without an end: an API server that is away for an hour is found again, and nothing is restarted."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.25
        while True:
            yield delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreads retries, hides nothing
            delay = min(delay * 2, RETRY_LIMIT)


async def watch(
    kinds: Sequence[Kind],
    told: Told,
    *,
    namespace: str | None,
    started: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Watch until ``stop``. Ends by an exception if one cannot go on. ``started`` is called once Kopf has begun."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(_login)
    kopf.on.startup(registry=registry)(_calling(started))
    for kind in kinds:
        group, _, version = kind.api_version.rpartition("/")
        kopf.on.event(group, version, kind.plural, registry=registry)(_spy(kind, told))
    # Left without a name Kopf asks who its user is, and an arbitrary uid in a pod has no entry that tells.
    name: Any = "tidegate"
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    await kopf.operator(
        registry=registry,
        settings=_settings(),
        standalone=True,
        identity=name,
        clusterwide=namespace is None,
        namespaces=[namespace] if namespace else [],
        stop_flag=stop,
    )


def _spy(kind: Kind, told: Told) -> Callable[..., Any]:
    async def spy(type: str | None, event: dict[str, Any], **_: object) -> None:  # noqa: A002 - Kopf's names
        told(kind, type or "ADDED", event["object"])

    return spy


def _calling(started: Callable[[], None]) -> Callable[..., Any]:
    async def call(**_: object) -> None:
        started()

    return call


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The same cluster as the client's: a kubeconfig that is named goes before the Pod's ServiceAccount."""
    if "KUBECONFIG" in os.environ:
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 600
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Forever()
    settings.queueing.idle_timeout = 1
    settings.process.ultimate_exiting_timeout = None
    return settings

"""All objects of one kind: a list, then a watch from there, then again.

Beside ``watch.py``, whose Kopf the operator has for its many kinds: the flag gateway must know whether its watch
stands, for it says how old its answers are, and has one kind and little memory. Kopf tells neither break nor bookmark.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from typing import Protocol

from tidegate.adapters.kubernetes import KubeCluster
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import ClusterError, Kind, NotFound, Object, Rejected, Unavailable

LASTING = 600
"""Seconds after which the API server is to end a watch, and a third more at most, so that not all end at once."""
SHORTEST_DELAY, LONGEST_DELAY = 0.25, 10.0
STANDING = 1.0
"""Seconds after which a watch has stood: what ends it is news, and not the same as before."""

log = logging.getLogger("tidegate.watch")
Name = tuple[str, str]


class Observer(Protocol):
    """Who is told."""

    def put(self, obj: Object) -> None:
        """An object, new or changed."""
        ...

    def remove(self, name: Name) -> None:
        """An object is gone."""
        ...

    def keep_only(self, names: Collection[Name]) -> None:
        """These are all that there are."""
        ...

    def confirmed(self) -> None:
        """What was told is what the API server has."""
        ...

    def broken(self) -> None:
        """Nobody knows whether it still is."""
        ...


class ListWatch:
    """Of one kind, in one namespace or all."""

    def __init__(self, cluster: KubeCluster, kind: Kind, namespace: str, observer: Observer, clock: Clock) -> None:
        self._cluster, self._kind, self._namespace = cluster, kind, namespace
        self._observer, self._clock = observer, clock
        self._version = ""
        """From which to watch; none: to be listed first."""
        self._began = math.inf
        """When the watch did."""

    async def run(self) -> None:
        """Until cancelled. What fails is tried again, ever later, without an end."""
        delay = SHORTEST_DELAY
        while True:
            error = await self._once()
            stood = self._clock.monotonic() - self._began > STANDING
            if stood:
                delay = SHORTEST_DELAY
            if error:
                self._observer.broken()
                log.warning("%s: %s; again in %.1f s", self._kind.plural, error, delay)
            elif stood:
                # An API server that ends each watch at once is not asked without a pause.
                continue
            await self._clock.sleep(delay * (0.75 + self._clock.jitter() / 2))
            delay = min(delay * 2, LONGEST_DELAY)

    async def _once(self) -> ClusterError | None:
        """Why it broke, if it did."""
        self._began = math.inf
        try:
            if not self._version:
                await self._list()
            self._began = self._clock.monotonic()
            await self._watch()
        except (NotFound, Rejected) as error:
            # Asked the same way it would say the same again: mostly 410, the version is forgotten.
            self._version = ""
            return error
        except ClusterError as error:
            return error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # Whatever this was, it is no news of flags: a list is right afterwards, or the next.
            self._version = ""
            return Unavailable(f"what came cannot be read ({type(error).__name__}: {error})"[:200])
        return None

    async def _list(self) -> None:
        names: set[Name] = set()
        version = ""
        async for page in self._cluster.pages(self._kind, self._namespace):
            for obj in page:
                self._observer.put(obj)
                names.add(_name(obj))
            version = page.rest["metadata"]["resourceVersion"]
        self._observer.keep_only(names)
        self._observer.confirmed()
        self._version = version
        log.info("%s: %d listed", self._kind.plural, len(names))

    async def _watch(self) -> None:
        lasting = LASTING + int(self._clock.jitter() * LASTING / 3)
        async for event in self._cluster.events(self._kind, self._namespace, self._version, lasting=lasting):
            obj = event["object"]
            match event["type"]:
                case "ADDED" | "MODIFIED":
                    self._observer.put(obj)
                case "DELETED":
                    self._observer.remove(_name(obj))
                case "ERROR":
                    # Mostly 410: the version is forgotten. Whatever it is, a list is right afterwards.
                    log.info("%s: the watch ends: %s", self._kind.plural, str(obj.get("message"))[:200])
                    self._observer.broken()
                    self._version = ""
                    return
                case "BOOKMARK":
                    pass
                case other:
                    raise ValueError(f"{str(other)[:64]!r} is no event that is known")
            self._version = obj["metadata"]["resourceVersion"]
            self._observer.confirmed()


def _name(obj: Object) -> Name:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]

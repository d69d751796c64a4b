"""Who works: of several replicas the holder of a Lease. The others keep their lists warm and wait.

As in Kubernetes' own controllers: a record that its holder renews, and that is taken over when it has not changed for
its duration, by the clock of the one who waits; clocks of different machines are never compared. A holder that could
not renew in time stops by itself, sooner than anybody may take over: no write of it is begun after ``RENEW_BY``, and
none lasts longer than ``LONGEST_WRITE``. What a process that was frozen in mid-write still sends is refused by the
resourceVersion that it carries, and by the term that the next leader wrote (``core.hold``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    LEASES,
    LONGEST_WRITE,
    Cluster,
    ClusterError,
    Conflict,
    Kind,
    NotFound,
    Object,
    PatchType,
    Unavailable,
)

log = logging.getLogger("tidegate.leader")

DURATION = 15.0
"""Seconds that a record stands which is not renewed."""
RENEW_BY = DURATION - LONGEST_WRITE
"""Seconds after which a holder that could not renew it works no more."""
RENEW_EVERY = 2.0
LOOK_EVERY = 1.0
"""Seconds between two looks of those who wait: what a hand-over takes."""


class Leader:
    """One replica's part in the election. Without a ``lease`` (NAMESPACE/NAME) there is none, and it leads."""

    def __init__(self, cluster: Cluster, clock: Clock, lease: str, identity: str) -> None:
        self._cluster, self._clock, self._identity = cluster, clock, identity
        self._namespace, _, self._name = lease.partition("/")
        self._stands = True
        self._idle = asyncio.Event()
        """No turn of the election is under way."""
        self._idle.set()
        self._renewed: float | None = None
        self._seen, self._seen_at = "", 0.0
        self.since = clock.monotonic()
        """When it was elected (monotonic seconds)."""
        self.term = 0
        """Grows with each change of the leader; 0 without an election."""

    @property
    def leads(self) -> bool:
        """It may write now."""
        if not self._name:
            return True
        return self._stands and self._renewed is not None and self._clock.monotonic() < self._renewed + RENEW_BY

    async def run(self) -> None:
        """Stand for election, and renew, until it resigns."""
        while self._name and self._stands:
            self._idle.clear()
            try:
                await self._turn()
            except Conflict:
                log.debug("another was quicker")
            except ClusterError as error:
                log.warning("the Lease could not be renewed: %s", error)
            finally:
                self._idle.set()
            await self._clock.sleep(RENEW_EVERY if self.leads else LOOK_EVERY)

    async def elected(self) -> None:
        """Until it leads."""
        while not self.leads:
            await self._clock.sleep(0.1)

    async def lost(self) -> None:
        """Until it leads no more; without an election, never."""
        if not self._name:
            await asyncio.Event().wait()
        while self.leads:
            await self._clock.sleep(0.1)

    async def resign(self) -> None:
        """Stand no more, and give the Lease back: who waits need not wait for its end."""
        if not self._name:
            return
        self._stands = False
        try:
            async with asyncio.timeout(LONGEST_WRITE):
                # A renewal that is under way would win against what gives back, and nobody would renew it again.
                await self._idle.wait()
                await self._give_back()
        except (ClusterError, TimeoutError) as error:
            log.warning("the Lease could not be given back: %r", error)

    async def _give_back(self) -> None:
        # As it stands, not as it was seen last: the answer to the last renewal may have been lost.
        lease = await self._cluster.get(LEASES, self._namespace, self._name)
        if lease.get("spec", {}).get("holderIdentity") != self._identity:
            return
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _stamp(self._clock.now())}
        await self._write({"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec})

    async def _turn(self) -> None:
        now = self._clock.monotonic()
        try:
            lease = await self._cluster.get(LEASES, self._namespace, self._name)
        except NotFound:
            lease = await self._cluster.create(LEASES, self._namespace, {"metadata": {"name": self._name}, "spec": {}})
        spec, version = lease.get("spec") or {}, str(lease["metadata"]["resourceVersion"])
        if version != self._seen:
            self._seen, self._seen_at = version, now
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity):
            self._renewed = None
            if now < self._seen_at + float(spec.get("leaseDurationSeconds", DURATION)):
                return
        await self._take(version, spec, now)

    async def _take(self, version: str, spec: Mapping[str, Any], now: float) -> None:
        stamp, changed = _stamp(self._clock.now()), spec.get("holderIdentity") != self._identity
        transitions = int(spec.get("leaseTransitions", 0)) + (1 if changed else 0)
        body = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(DURATION),
            "renewTime": stamp,
            "leaseTransitions": transitions,
            **({"acquireTime": stamp} if changed else {}),
        }
        answer = await self._write({"metadata": {"resourceVersion": version}, "spec": body})
        if self._stands and not self.leads:
            self.since, self.term = now, transitions
            log.info("elected, for term %d", transitions)
        # By when it was asked for, not answered: nobody may take over before it has run out for us.
        self._renewed, self._seen, self._seen_at = now, str(answer["metadata"]["resourceVersion"]), now

    async def _write(self, body: Object) -> Object:
        return await self._cluster.patch(LEASES, self._namespace, self._name, body)


class Fenced:
    """A Cluster that only the leader writes to. It is a Cluster itself."""

    def __init__(self, cluster: Cluster, leader: Leader) -> None:
        self._cluster, self._leader = cluster, leader

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """As the port."""
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """As the port."""
        return await self._cluster.list(kind, namespace, selector)

    def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Iterable[Object]]:
        """As the port."""
        return self._cluster.pages(kind, namespace)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """As the port."""
        self._check()
        return await self._cluster.create(kind, namespace, body)

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """As the port."""
        self._check()
        return await self._cluster.patch(kind, namespace, name, body, type_=type_, subresource=subresource)

    async def delete(self, kind: Kind, namespace: str, name: str, *, version: str = "") -> None:
        """As the port."""
        self._check()
        await self._cluster.delete(kind, namespace, name, version=version)

    def _check(self) -> None:
        if not self._leader.leads:
            raise Unavailable("this replica leads no more")


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

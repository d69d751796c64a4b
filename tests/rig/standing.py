"""Releases in mid-bake, as many as wanted: one that a simulation has brought there, over and over, and as of now.

Nothing moves but what an operator does: its watches, requests and decisions are as in life, in real time.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.cluster import FakeCluster
from tests.fakes.traffic import Router
from tests.fakes.virtual import VirtualLoop
from tests.sim.world import NAME, NAMESPACE, World
from tidegate.adapters.clock import SystemClock
from tidegate.api.canary import CanarySpec
from tidegate.core import analysis
from tidegate.core.arms import Arms
from tidegate.engine.operator import WATCHED
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    ENDPOINT_SLICES,
    GATEWAY_CLASSES,
    GATEWAYS,
    HTTPROUTES,
    INGRESS_CLASSES,
    PODS,
    Kind,
    Object,
)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
Json = dict[str, Any]
Shelves = dict[Kind, Sequence[Object]]
KINDS = (*WATCHED, PODS, ENDPOINT_SLICES, GATEWAYS, GATEWAY_CLASSES, INGRESS_CLASSES)


class Standing(FakeCluster):
    """An API server whose objects come at once, found by their namespace as a real one finds them."""

    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock)
        self._here: dict[tuple[Kind, str], list[tuple[str, str]]] = defaultdict(list)

    def put(self, kind: Kind, obj: Object) -> None:
        """It has been there all along."""
        meta = obj["metadata"]
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        key = meta.get("namespace", ""), meta["name"]
        self._objects[kind][key] = obj
        self._here[kind, key[0]].append(key)

    def all(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """Objects, not to be changed."""
        if not namespace:
            return super().all(kind, namespace, selector)
        shelf = self._objects[kind]
        few = FakeCluster.__new__(FakeCluster)
        few._objects = {kind: {key: shelf[key] for key in self._here[kind, namespace] if key in shelf}}
        return few.all(kind, namespace, selector)


def fill(cluster: Standing, router: Router, spec: Json, count: int) -> None:
    """So many releases of this spec; a route of each, which the router serves by."""
    shelves, at = _brought_there(spec)
    now = datetime.now(UTC)
    text = json.dumps([[kind.plural, obj] for kind, objs in shelves.items() for obj in objs])
    kinds = {kind.plural: kind for kind in shelves}
    text = _TIME.sub(lambda found: _later(found[0], now - at), text)
    for number in range(count):
        one = text.replace(NAME, f"{NAME}-{number:03d}").replace(f'"{NAMESPACE}"', f'"{NAMESPACE}-{number:03d}"')
        one = re.sub(r"uid-(\d+)", rf"uid-\1-{number:03d}", one)
        # An address of its own for each pod.
        one = re.sub(r'"10\.\d+\.(\d+\.\d+)"', rf'"10.{number // 4}.\1"', one)
        for plural, obj in json.loads(one):
            kind = kinds[plural]
            if not kind.namespaced and number:
                continue
            if kind == CANARY_RELEASES:
                _analysed(obj, spec, now)
            cluster.put(kind, obj)
            if kind == HTTPROUTES:
                router.served[f"{obj['kind']}/{obj['metadata']['name']}"] = obj


def _brought_there(spec: Json) -> tuple[Shelves, datetime]:
    """All that stands when a release is in its first bake, and when that is."""

    async def story() -> tuple[Shelves, datetime]:
        world = await World.begin(spec={**spec, "analysis": {"metrics": []}}, replicas=2)
        world.release("v2")
        await world.until(world.baking(1))
        await world.wait(5)
        await world.stop()
        return {kind: world.cluster.all(kind) for kind in KINDS}, world.clock.now()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story())


def _later(text: str, by: timedelta) -> str:
    moment = datetime.fromisoformat(text) + by
    return moment.isoformat(timespec="milliseconds" if "." in text else "seconds").replace("+00:00", "Z")


def _analysed(obj: Object, spec: Json, now: datetime) -> None:
    """The release has had its first traffic just now."""
    obj["spec"] = {**obj["spec"], **spec}
    rules = CanarySpec.model_validate(obj["spec"])
    status = obj["status"]
    status["analysis"] = analysis.begin(rules.analysis, arms(obj), now, 100, len(rules.plan())).wire()
    status["journal"]["lookedStep"] = 1


def arms(obj: Object) -> Arms:
    """The two sides of a release."""
    status, meta = obj["status"], obj["metadata"]
    hashes = (status[of]["hash"] for of in ("stable", "candidate"))
    stable, candidate = ((one, f"{meta['name']}-{one}-[a-z0-9]+") for one in hashes)
    return Arms.of_revisions(meta["namespace"], stable, candidate)

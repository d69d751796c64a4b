"""Prometheus is away while many releases are under way: none goes back, none goes on, and one alert tells of it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from datetime import datetime
from typing import Any

import pytest
from prometheus_client import generate_latest

from tests.sim.world import NAMESPACE, USER, World, canary, deployment, route, service
from tidegate.api.releasestatus import ReleaseStatus, Stage
from tidegate.core.counters import Answer, Missing
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, EVENTS, HTTPROUTES, SERVICES

COUNT = 50 if os.environ.get("TIDEGATE_EXHAUSTIVE") else 4
"""Releases; 50 take some minutes."""
SPREAD = 150.0
"""Seconds in which they begin, one after the other: they are in all steps, and everywhere in them."""
SPEC: dict[str, Any] = {
    "steps": [{"weight": weight, "bake": "1m"} for weight in (25, 50, 100)],
    "drain": "1s",
    "analysis": {"interval": "15s", "warmup": "0s", "minRequests": 10},
}


class Fleet:
    """Applications app-00, app-01 and so on, each with a release of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names = [f"app-{number:02d}" for number in range(COUNT)]

    @classmethod
    async def begin(cls) -> Fleet:
        """All at rest, with an operator."""
        world = World.empty()
        world.install()
        world.metrics.rate = 50.0
        fleet = cls(world)
        for name in fleet.names:
            for kind, body in (
                (DEPLOYMENTS, deployment(replicas=2)),
                (SERVICES, service()),
                (HTTPROUTES, route()),
                (CANARY_RELEASES, canary(**SPEC)),
            ):
                world.create(kind, _named(body, name))
        await asyncio.sleep(10)
        world.start()
        await world.until(lambda: all(fleet.status(name).stable for name in fleet.names), within=60)
        await world.wait(5)
        return fleet

    def status(self, name: str) -> ReleaseStatus:
        """Of one release."""
        found = self.world.cluster.find(CANARY_RELEASES, NAMESPACE, name) or {}
        return ReleaseStatus.model_validate(found.get("status", {}))

    def release(self, name: str) -> None:
        """Its new version comes."""
        body = _named(deployment("v2", replicas=2), name)
        patch = {"spec": {"template": body["spec"]["template"]}}
        self.world.cluster.patch_as(USER, DEPLOYMENTS, NAMESPACE, name, patch)

    def bakes(self, name: str) -> bool:
        """It is in mid-step."""
        journal = self.status(name).journal
        return journal is not None and journal.stage is Stage.BAKE

    def outcome(self, name: str) -> str:
        """Of its last release."""
        last = self.status(name).last_release
        return last.outcome if last else ""

    def steps(self) -> dict[str, int]:
        """The step of each that is under way."""
        return {name: status.step.index for name in self.names if (status := self.status(name)).step}

    def events(self) -> Counter[tuple[str, str]]:
        """By release and reason."""
        writes = [w.after for w in self.world.cluster.writes if w.kind == EVENTS and w.after]
        return Counter((event["involvedObject"]["name"], event["reason"]) for event in writes)

    def unanswered(self) -> float:
        """What the operator's own metrics say."""
        lines = generate_latest(self.world.meters.registry).decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("tidegate_analyses_unanswered "))


def _named(body: Any, name: str) -> Any:
    if isinstance(body, dict):
        return {key: _named(value, name) for key, value in body.items()}
    if isinstance(body, list):
        return [_named(value, name) for value in body]
    return name if body == "checkout" else body


def _partly(query: str, at: datetime) -> Answer | None:
    return Missing("a partial answer: store-3 did not answer")


@pytest.mark.parametrize(("how", "lasts"), [("away", 600), ("partial", 120)])
async def test_all_releases_wait_for_prometheus_and_go_on(how: str, lasts: float) -> None:
    fleet = await Fleet.begin()
    world = fleet.world
    for name in fleet.names:
        fleet.release(name)
        await world.wait(SPREAD / COUNT)
    await world.until(lambda: len(fleet.steps()) == COUNT, within=30)
    assert len(set(fleet.steps().values())) > 1
    assert fleet.unanswered() == 0
    if how == "away":
        world.metrics.outage = "Prometheus at http://prometheus:9090 cannot be reached: connection refused"
    else:
        world.metrics.more = _partly
    before = fleet.events()
    at = {name: status.step.index for name in fleet.names if (status := fleet.status(name)).step}
    baked = {name for name in fleet.names if fleet.bakes(name)}
    await world.wait(60)
    for name in fleet.names:
        status = fleet.status(name)
        assert status.analysis, name
        assert (status.phase, status.analysis.verdict, status.analysis.reason) == ("Waiting", "Unknown", "QueryFailed")
        assert ("partial answer" if how == "partial" else "connection refused") in status.message
    assert fleet.unanswered() == COUNT
    await world.wait(lasts - 60)
    now = fleet.steps()
    assert {name: now[name] for name in baked} == {name: at[name] for name in baked}, "none goes on"
    assert all(now[name] <= at[name] + 1 for name in now), "what was on its way to a step has come there"
    assert not any(fleet.status(name).last_release for name in fleet.names), "none goes back"
    told = [key for key in fleet.events() - before if key[0] in baked]
    assert not told, "no Event tells of it once a release, let alone once a look"
    world.metrics.outage, world.metrics.more = "", None
    await world.until(lambda: all(fleet.status(name).last_release for name in fleet.names), within=1200)
    assert Counter(map(fleet.outcome, fleet.names)) == {"Promoted": COUNT}
    assert fleet.unanswered() == 0

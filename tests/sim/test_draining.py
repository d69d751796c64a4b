"""Pods that cannot drain: said once a revision, and nothing is held up."""

from __future__ import annotations

from typing import Any

from tests.fakes.kubelet import Version
from tests.sim.test_gates import ask
from tests.sim.test_rolling import begin
from tests.sim.world import QUICK, World
from tidegate.ports.cluster import DEPLOYMENTS

ADVICE = "add lifecycle.preStop.sleep.seconds: 5 to container app"


def ship(world: World, image: str) -> None:
    """A version without a hook."""
    container: dict[str, Any] = {"name": "app", "image": image, "ports": [{"containerPort": 8080}]}
    world.edit(DEPLOYMENTS, {"spec": {"template": {"spec": {"containers": [container]}}}})


async def test_it_is_said_once_a_revision_and_holds_nothing_up() -> None:
    world = await World.begin(spec=QUICK, versions={"v2": Version(never_ready=True)})
    ship(world, "v2")
    await world.ends("RolledBack")
    assert world.events().count("NoDrain") == 1
    assert ADVICE in (world.status.advice or "")
    world.versions["v2"] = Version()
    ask(world, "Retry")
    await world.ends("Promoted")
    assert world.events().count("NoDrain") == 1
    assert ADVICE in (world.status.advice or "")
    ship(world, "v3")
    await world.ends("Promoted")
    assert world.events().count("NoDrain") == 2
    world.release("v4")
    await world.ends("Promoted")
    assert world.events().count("NoDrain") == 2
    assert world.status.advice is None


async def test_a_batch_goes_without_drain_and_that_is_said_where_its_pods_have_less_time() -> None:
    world = await begin(spec={"drain": "90s"})
    world.release("v2")
    await world.ends("Promoted")
    assert world.events().count("NoDrain") == 1
    assert "terminationGracePeriodSeconds, which is 30; set it to 90" in (world.status.advice or "")
    world.edit(DEPLOYMENTS, {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 90}}}})
    await world.ends("Promoted")
    assert world.events().count("NoDrain") == 1
    assert world.status.advice is None

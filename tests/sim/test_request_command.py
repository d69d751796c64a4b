"""`tidegate abort` and its like: the command writes the annotation and tells the operator's answer."""

from __future__ import annotations

import pytest

from tests.sim.world import NAME, NAMESPACE, QUICK, World, canary
from tidegate.api.requests import RequestAction
from tidegate.app.cli.request import ask
from tidegate.ports.cluster import BLUE_GREEN_RELEASES, NotFound, Rejected


async def test_the_answer_is_told() -> None:
    world = await World.begin(spec=QUICK)
    world.release("v2")
    await world.until(world.baking(1))
    told = await ask(world.cluster, world.clock, NAMESPACE, NAME, RequestAction.ABORT, by="ada")
    assert (told["outcome"], told["action"], told["by"]) == ("Done", "Abort", "ada")
    await world.ends("Aborted")


async def test_a_refusal_is_told() -> None:
    world = await World.begin(spec=QUICK)
    told = await ask(world.cluster, world.clock, NAMESPACE, NAME, RequestAction.PROMOTE, by="ada")
    assert told["outcome"] == "Refused"
    assert "nothing is being released" in told["message"]


async def test_silence_is_told() -> None:
    world = await World.begin(spec=QUICK)
    await world.stop()
    told = await ask(world.cluster, world.clock, NAMESPACE, NAME, RequestAction.PAUSE, by="ada")
    assert told["outcome"] == "Unanswered"


async def test_releases_of_several_kinds_are_told_apart_by_theirs() -> None:
    world = await World.begin(spec=QUICK)
    world.create(BLUE_GREEN_RELEASES, canary())
    with pytest.raises(Rejected, match="CanaryRelease/checkout or BlueGreenRelease/checkout"):
        await ask(world.cluster, world.clock, NAMESPACE, NAME, RequestAction.PAUSE, by="ada")
    told = await ask(world.cluster, world.clock, NAMESPACE, f"canaryrelease/{NAME}", RequestAction.PAUSE, by="ada")
    assert told["outcome"] == "Refused"
    with pytest.raises(NotFound, match="no release other"):
        await ask(world.cluster, world.clock, NAMESPACE, "other", RequestAction.PAUSE, by="ada")

"""Argo CD, Flux and kstatus tell the truth of a release, in every phase and stage: their own code, on real statuses.

Each story is heard as they would hear it, status by status: what they say must come in this order, and never flap.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import artifacts
from tests.cluster.interface import ClusterUnavailable
from tests.fakes.kubelet import Version
from tests.rig.health import CHECKS, argo_script, judged
from tests.sim.world import QUICK, World
from tidegate.api.releasestatus import Phase, Stage
from tidegate.app.cli.let_go import mark
from tidegate.core.asked import REQUEST
from tidegate.ports.cluster import CANARY_RELEASES, DEPLOYMENTS, HTTPROUTES

Json = dict[str, Any]
MEASURED: Json = {**QUICK, "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10}}
BAD = {"v2": Version(fails_after=2.0)}


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    try:
        artifacts.health()
    except ClusterUnavailable as reason:
        pytest.skip(f"the tools cannot be compiled here: {reason}")


@dataclass(frozen=True)
class Story:
    """What happens, and what is to be heard of it."""

    tell: Callable[[], Awaitable[World]]
    argo: str
    kstatus: str


async def promoted() -> World:
    world = await World.begin()
    world.release("v2")
    await world.ends("Promoted")
    return world


async def reverted() -> World:
    world = await World.begin(versions=BAD)
    world.release("v2")
    await world.ends("RolledBack")
    return world


async def aborted() -> World:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    _ask(world, "abort")
    await world.ends("Aborted")
    return world


async def paused_by_its_spec() -> World:
    world = await World.begin()
    world.respec(paused=True)
    await world.wait(2)
    world.release("v2")
    await world.until(lambda: world.phase == "Waiting")
    world.respec(paused=None)
    await world.ends("Promoted")
    return world


async def paused_by_a_request() -> World:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    _ask(world, "pause")
    await world.until(lambda: world.phase == "Waiting")
    _ask(world, "resume")
    await world.ends("Promoted")
    return world


async def paused_by_kubectl() -> World:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.edit(DEPLOYMENTS, {"spec": {"paused": True}})
    await world.until(lambda: world.phase == "Waiting")
    world.edit(DEPLOYMENTS, {"spec": {"paused": None}})
    await world.ends("Promoted")
    return world


async def set_back() -> World:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(2))
    world.release("v1")
    await world.ends("Aborted")
    return world


async def superseded() -> World:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.release("v3")
    await world.ends("Promoted")
    return world


async def held_without_data() -> World:
    world = await World.begin(spec=MEASURED)
    world.metrics.outage = "down"
    world.release("v2")
    await world.until(lambda: world.phase == "Waiting")
    world.metrics.outage = ""
    await world.ends("Promoted")
    return world


async def blocked_at_rest() -> World:
    world = await World.begin()
    world.delete(HTTPROUTES)
    await world.until(lambda: world.phase == "Blocked")
    return world


async def invalid() -> World:
    world = await World.begin(settle=False, spec=QUICK, strategy={"type": "Recreate"})
    await world.until(lambda: world.phase == "Invalid")
    return world


async def deleted_in_mid_release() -> World:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    world.delete(CANARY_RELEASES)
    await world.until(lambda: world.object is None, within=90)
    return world


async def uninstalled_in_mid_release() -> World:
    world = await World.begin()
    world.release("v2")
    await world.until(world.baking(1))
    await mark(world.cluster, asked=True)
    await world.until(lambda: world.phase == "LetGo")
    return world


def _ask(world: World, action: str) -> None:
    candidate = world.status.candidate
    assert candidate
    text = json.dumps({"id": action, "action": action, "hash": candidate.hash})
    world.edit(CANARY_RELEASES, {"metadata": {"annotations": {REQUEST: text}}})


GOES_ON = "InProgress Current InProgress Current"
STORIES = [
    Story(promoted, "Progressing Healthy Progressing Healthy", GOES_ON),
    Story(reverted, "Progressing Healthy Progressing Degraded", "InProgress Current InProgress Failed"),
    Story(aborted, "Progressing Healthy Progressing Degraded", "InProgress Current InProgress Failed"),
    Story(
        paused_by_its_spec,
        "Progressing Healthy Progressing Healthy Suspended Progressing Healthy",
        "InProgress Current InProgress Current InProgress Current",
    ),
    Story(paused_by_a_request, "Progressing Healthy Progressing Suspended Progressing Healthy", GOES_ON),
    Story(paused_by_kubectl, "Progressing Healthy Progressing Suspended Progressing Healthy", GOES_ON),
    Story(set_back, "Progressing Healthy Progressing Healthy", GOES_ON),
    Story(superseded, "Progressing Healthy Progressing Healthy", GOES_ON),
    Story(held_without_data, "Progressing Healthy Progressing Healthy", GOES_ON),
    Story(blocked_at_rest, "Progressing Healthy Degraded", "InProgress Current Failed"),
    Story(invalid, "Progressing Degraded", "InProgress Failed"),
    Story(deleted_in_mid_release, "Progressing Healthy Progressing", "InProgress Current InProgress Terminating"),
    Story(uninstalled_in_mid_release, "Progressing Healthy Progressing Healthy", GOES_ON),
]


def dumps(world: World) -> Iterator[Json]:
    """The release object as it was after each write to it, from its creation on."""
    return (write.after for write in world.cluster.writes if write.kind == CANARY_RELEASES and write.after)


def heard(said: list[str]) -> str:
    """Each word once, until another comes."""
    return " ".join(word for word, _ in groupby(said))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.tell.__name__)
async def test_what_they_say(story: Story, tmp_path: Path) -> None:
    world = await story.tell()
    objects = list(dumps(world))
    health = judged(objects, tmp_path)
    assert heard([h.argo for h in health]) == story.argo
    assert heard([h.kstatus for h in health]) == story.kstatus
    # Flux asks kstatus first whether the object is leaving.
    kept = [h for h in health if h.kstatus != "Terminating"]
    assert [h.flux for h in kept] == [h.kstatus for h in kept]
    for obj, said in zip(objects, health, strict=True):
        if obj["status"].get("observedGeneration") == obj["metadata"]["generation"]:
            assert said.message == obj["status"]["message"]


@pytest.mark.parametrize(("story", "said"), [(reverted, "Degraded"), (superseded, "Progressing")])
async def test_argo_cd_hears_of_a_revert_while_it_goes(
    story: Callable[[], Awaitable[World]], said: str, tmp_path: Path
) -> None:
    going = [obj for obj in dumps(await story()) if obj["status"].get("phase") == "Reverting"]
    assert {h.argo for h in judged(going, tmp_path)} == {said}


async def test_the_stories_have_every_phase_and_stage() -> None:
    seen: set[Phase | Stage] = set()
    for story in STORIES:
        for obj in dumps(await story.tell()):
            status = obj["status"]
            if "phase" in status:
                seen |= {Phase(status["phase"]), Stage(status.get("journal", {}).get("stage", Stage.REST))}
    assert seen == {*Phase, *Stage}


async def test_a_generation_that_was_not_seen_is_waited_for(tmp_path: Path) -> None:
    for story in (promoted, reverted):
        objects = [
            {**obj, "metadata": {**obj["metadata"], "generation": obj["metadata"]["generation"] + 1}}
            for obj in dumps(await story())
        ]
        assert {(h.argo, h.flux, h.kstatus) for h in judged(objects, tmp_path)} == {
            ("Progressing", "InProgress", "InProgress")
        }


async def test_an_object_without_a_status_is_never_done(tmp_path: Path) -> None:
    """As with a CRD of before, which gave it none."""
    (said,) = judged(
        [{"apiVersion": "v1", "kind": "CanaryRelease", "metadata": {"name": "x", "generation": 1}}], tmp_path
    )
    assert said.argo == "Progressing"
    assert said.flux.startswith("error: "), "Flux goes on asking"


def test_the_script_is_the_same_in_both_files() -> None:
    assert argo_script() == (CHECKS / "argocd.lua").read_text()


def test_a_script_that_takes_a_library_is_found_out(tmp_path: Path) -> None:
    """Argo CD opens neither string nor math for a check of argocd-cm: nor does what judges here."""
    script = 'return { status = string.upper("healthy") }'
    (said,) = judged([{"apiVersion": "v1", "kind": "x", "metadata": {}}], tmp_path, script=script)
    assert "attempt to index" in said.argo

"""What befalls pods and nodes in mid-release is not the candidate's fault, unless it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kubelet import Version
from tests.sim.world import QUICK, USER, World
from tidegate.api.releasestatus import Stage
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    HTTPROUTES,
    INGRESSES,
    PODS,
    ROLLING_RELEASES,
    TRAEFIK_SERVICES,
    Kind,
    Object,
)

Json = dict[str, Any]
LONG: Json = {**QUICK, "steps": [{"weight": 25, "bake": "60s", "replicas": "50%"}, {"weight": 100, "bake": "2s"}]}
"""Time for a disruption in the first step, which has two candidate pods."""
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


async def baking(**spec: Any) -> World:
    """A release in its first bake."""
    world = await World.begin(spec={**LONG, **spec})
    world.release("v2")
    await world.until(world.baking(1))
    return world


def pods(world: World, image: str) -> list[Object]:
    """Of a version."""
    return [pod for pod in world.cluster.all(PODS, "shop") if pod["spec"]["containers"][0]["image"] == image]


def say(world: World, pod: Object, **status: Any) -> None:
    """The status of a pod, as its kubelet or the node controller writes it."""
    world.cluster.patch_as("node", PODS, "shop", pod["metadata"]["name"], {"status": status}, subresource="status")


def evict(world: World, pod: Object) -> None:
    """As the eviction API does it: the mark, then the deletion, with grace."""
    say(world, pod, conditions=[*pod["status"]["conditions"], DISRUPTED])
    name = pod["metadata"]["name"]
    world.cluster.patch_as(USER, PODS, "shop", name, {"metadata": {"finalizers": ["fake/kubelet"]}})
    world.cluster.delete_as(USER, PODS, "shop", name)


@pytest.mark.parametrize("image", ["v1", "v2"])
async def test_an_evicted_pod_is_replaced_and_the_release_goes_on(image: str) -> None:
    world = await baking()
    evict(world, pods(world, image)[0])
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4} | {image: 5}


async def test_the_only_candidate_pod_is_evicted_while_more_of_them_start() -> None:
    world = await World.begin(spec={**QUICK, "steps": [{"weight": 25, "bake": "4s"}, {"weight": 100, "bake": "2s"}]})
    world.release("v2")
    await world.until(world.baking(1))
    world.versions["v2"] = Version(starts_in=20.0)
    await world.until(lambda: world.stage is Stage.SCALE)
    world.oracle.awake = False  # as below
    evict(world, pods(world, "v2")[0])
    await world.until(lambda: world.rules()[0]["backendRefs"][1]["weight"] == 0, within=2)
    await world.ends("Promoted")


async def test_the_only_candidate_pod_is_evicted_and_the_step_begins_anew_when_there_is_another() -> None:
    world = await baking(steps=[{"weight": 25, "bake": "60s"}])
    world.oracle.awake = False  # its share has nobody to answer until the router has heard of the weight
    evict(world, pods(world, "v2")[0])
    await world.until(lambda: world.stage is Stage.SCALE, within=2)
    assert world.rules()[0]["backendRefs"][1]["weight"] == 0
    await world.until(world.baking(1))
    world.oracle.awake = True
    await world.ends("Promoted")


async def test_objects_of_pods_that_ended_count_for_nothing() -> None:
    """A node in need evicts: the kubelet's last word of the containers may be anything."""
    world = await baking()
    crashed = {"terminated": {"exitCode": 137, "reason": "Error"}}
    container = {"name": "app", "state": crashed, "lastState": crashed, "restartCount": 3}
    ended = [{"type": "Ready", "status": "False", "reason": "PodFailed"}, DISRUPTED]
    pod = pods(world, "v2")[0]
    say(world, pod, phase="Failed", reason="Evicted", message="low", conditions=ended, containerStatuses=[container])
    await world.ends("Promoted")
    assert world.pods()["v2"] == 4


async def test_a_node_that_is_silent_for_minutes_is_waited_for() -> None:
    world = await baking()
    lost = pods(world, "v2")[0]
    ready, containers = lost["status"]["conditions"]
    away = {**ready, "status": "False", "lastTransitionTime": world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")}
    say(world, lost, conditions=[away, containers])
    await world.wait(50)
    assert world.baking(1)()
    say(world, lost, conditions=[ready, containers])
    await world.ends("Promoted")
    assert world.pods_created()["v2"] == 4


async def test_pods_that_are_evicted_for_their_own_excess_revert() -> None:
    world = await baking()
    for _ in range(2):
        await world.until(lambda: world.pods()["v2"] == 2)
        pod = next(pod for pod in pods(world, "v2") if pod["status"]["phase"] == "Running")
        ended = [{"type": "Ready", "status": "False", "reason": "PodFailed"}]
        say(world, pod, phase="Failed", reason="Evicted", message="its logs exceed 1Gi", conditions=ended)
    await world.ends("RolledBack")
    assert world.reason == "CrashLoop"
    assert "its logs exceed 1Gi" in world.status.message


async def test_no_room_reverts_at_the_deadline_and_says_so() -> None:
    world = await World.begin(spec={**LONG, "progressDeadline": "2m"}, versions={"v2": Version(starts_in=3600)})
    world.release("v2")
    await world.until(lambda: len(pods(world, "v2")) == 2)
    told = {"reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient memory."}
    for pod in pods(world, "v2"):
        say(world, pod, phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", **told}])
    await world.until(lambda: "unschedulable: 0/2 nodes" in world.status.message, within=20)
    await world.ends("RolledBack", within=180)
    assert world.reason == "ProgressDeadline"
    assert "unschedulable: 0/2 nodes are available: 2 Insufficient memory." in world.status.message


async def test_scaled_to_nothing_in_mid_release_it_waits() -> None:
    measured = {**LONG, "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10}}
    world = await World.begin(spec=measured)
    world.release("v2")
    await world.until(world.baking(1))
    world.scale(0)
    await world.wait(90)
    assert len(world.events()) <= 5, "adopted, started, each of two steps once, and that nobody comes to be judged"
    assert not world.at_rest
    world.scale(4)
    await world.ends("Promoted")


@pytest.mark.parametrize("by", [None, HTTPROUTES, INGRESSES, TRAEFIK_SERVICES])
@pytest.mark.parametrize("kind", [CANARY_RELEASES, ROLLING_RELEASES])
async def test_scaled_to_nothing_in_mid_release_it_is_promoted_where_nothing_is_measured(
    kind: Kind, by: Kind | None
) -> None:
    share: Json = {"traffic": {"podShare": {}}} if by is None and kind is CANARY_RELEASES else {}
    steps: Json = (
        {"steps": [{"weight": 25, "bake": "4s"}]} if kind is CANARY_RELEASES else {"batch": "50%", "bake": "4s"}
    )
    spec = {**steps, **share, "analysis": {"metrics": []}, "progressDeadline": "60s"}
    world = await World.begin(spec=spec, kind=kind, by=by)
    world.release("v2")
    await world.until(world.baking(1))
    world.scale(0)
    await world.ends("Promoted", within=60)
    world.scale(4)
    await world.until(lambda: world.pods() == {"v2": 4})


async def test_pods_that_all_fail_again_and_again_and_come_back_each_time_revert() -> None:
    """Each time for less long than a pod may take, so that none of them tells enough by itself."""
    world = await baking(steps=[{"weight": 25, "bake": "60s"}])
    world.oracle.awake = False  # they have nobody to answer until the router has heard of the weight
    for _ in range(3):
        await world.until(world.baking(1))
        await world.wait(2)
        pod = pods(world, "v2")[0]
        sound = pod["status"]["conditions"]
        since = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        say(world, pod, conditions=[{**one, "status": "False", "lastTransitionTime": since} for one in sound])
        await world.until(lambda: not world.baking(1)(), within=2)
        say(world, pod, conditions=sound)
    await world.ends("RolledBack")
    assert world.reason == "NotReady"
    assert "3 times" in world.status.message
    assert world.pods_created()["v2"] == 1

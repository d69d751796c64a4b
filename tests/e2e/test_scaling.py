"""The Deployment is scaled in mid-release, by hand with nobody there and by an autoscaler: shares stay exact."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import network
from tests.cluster.interface import Cluster, ClusterUnavailable
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig.app import LOOKING, App, Json, at_once
from tests.rig.load import Load
from tests.rig.operator import Operator
from tests.rig.usage import Usage
from tests.rig.witness import Witness, listening
from tidegate.core.reading import HASH

pytestmark = pytest.mark.e2e

PATIENCE = 180.0
SHARE = 25
"""Percent that the candidate has while it is scaled."""


HOLDING: Json = {**STEADY, "steps": [{"weight": SHARE, "bake": "30s"}]}
"""A bake that is over when all scaling is, and the pods of the next step do not start within half of it."""
BY_PODS: Json = {
    "drain": "1s",
    "traffic": {"propagation": "1s"},
    "analysis": {**STEADY["analysis"], "metrics": [{**STEADY["analysis"]["metrics"][0], "from": "Pods"}]},
}
LEAVES_SLOWLY: Json = {"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}
"""A pod that an autoscaler takes is told so before the last router has heard of it."""


def await_share(app: App) -> None:
    """Wait until the router gives the candidate its share."""

    def seen() -> str | None:
        status = app.status()
        traffic = status.get("traffic", {})
        return None if (traffic.get("weight"), traffic.get("applied")) == (SHARE, True) else str(status.get("message"))

    wait_until(f"{SHARE} % of the requests go to the new version", seen, PATIENCE, pause=LOOKING)


def await_pods(app: App, wanted: dict[str, int]) -> None:
    """Wait until revisions have exactly their pods, all of them ready."""

    def seen() -> str | None:
        sets = app.cluster.items("replicasets", app.namespace)
        told = {rs["metadata"]["labels"][HASH]: (rs["spec"]["replicas"], rs["status"]) for rs in sets}
        asked = {hash_: told[hash_][0] for hash_ in wanted}
        there = {hash_: told[hash_][1]["replicas"] for hash_ in wanted}
        ready = {hash_: told[hash_][1].get("readyReplicas", 0) for hash_ in wanted}
        return None if asked == there == ready == wanted else f"asked {asked}, there {there}, ready {ready}"

    wait_until(f"pods of {app.kind} are {wanted}", seen, PATIENCE, pause=LOOKING)


def dips(witness: Witness, app: App, stable: str) -> list[str]:
    """Moments in which stable had fewer pods than its old size and its new one ask for."""
    before = now = app.replicas
    found = []
    for moment in witness.moments():
        wanted = moment.objects["Deployment", app.name]["spec"]["replicas"]
        if wanted != now:
            before, now = now, wanted
        ready = len(moment.ready({HASH: stable}))
        if ready < min(before, now):
            found.append(f"{ready} pods between {before} and {now}")
    return found


def test_scaled_with_the_operator_dead(managed: App, operator: Operator, folder: Path) -> None:
    app = managed
    app.apply(app.release(**HOLDING))
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        await_share(app)
        operator.kill()
        try:
            status = app.status()
            stable, candidate = status["stable"]["hash"], status["candidate"]["hash"]
            with listening(app, folder) as witness:
                for replicas in (4, 8, 9, 12, 4, 1):
                    app.cluster.kubectl(
                        *("scale", f"deployment/{app.name}", "-n", app.namespace, f"--replicas={replicas}")
                    )
                    await_pods(app, {stable: replicas, candidate: math.ceil(replicas * SHARE / 100)})
        finally:
            operator.start()
        app.await_phase("Idle", PATIENCE, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert dips(witness, app, stable) == []
    assert len(app.pods()) == 1


@pytest.fixture
def usage(cluster: Cluster, folder: Path) -> Iterator[Usage]:
    """What pods use is what the test says."""
    try:
        made = Usage(cluster, folder)
    except ClusterUnavailable as reason:
        pytest.skip(f"no metrics of pods here: {reason}")
    with network.visit(cluster.network), made as serving:
        yield serving


POD_CPU = 50
"""Millicores that the autoscaler wants a pod to use. None is asked for: all pods of all kinds have room on one node."""


def load_for(replicas: int) -> int:
    """Millicores that take so many pods; a little less than they may use, for all numbers are rounded up."""
    return round((replicas - 0.3) * POD_CPU)


def autoscaler(app: App) -> Json:
    """A HorizontalPodAutoscaler, quick to scale down too."""
    cpu = {"name": "cpu", "target": {"type": "AverageValue", "averageValue": f"{POD_CPU}m"}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": app.name, "namespace": app.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": app.name},
            "minReplicas": 2,
            "maxReplicas": 12,
            "metrics": [{"type": "Resource", "resource": cpu}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }


@dataclass(frozen=True)
class Middle:
    """Where a release of a kind stands when all is scaled."""

    spec: Json
    step: int
    stable: int
    candidate: int
    """Percent of the Deployment's replicas."""
    most: int
    """Replicas that the autoscaler comes to by itself: it counts the pods of both revisions, and does nothing about a
    tenth more or less."""


MIDDLES = {
    "CanaryRelease": Middle({**STEADY, "steps": [{"weight": SHARE, "bake": "10m"}]}, 1, 100, SHARE, 8),
    "BlueGreenRelease": Middle({**BY_PODS, "watch": "10m"}, 2, 100, 100, 10),
    "RollingRelease": Middle({**BY_PODS, "batch": "50%", "bake": "10m"}, 1, 50, 50, 10),
}
"""They stay there until somebody promotes them."""


def test_an_autoscaler_scales_in_mid_release(new_app: Callable[..., App], usage: Usage, folder: Path) -> None:
    """Releases of all kinds, at the same time."""
    at_once(
        lambda app: autoscaled(app, MIDDLES[app.kind], usage, folder),
        [new_app(kind=kind, container=LEAVES_SLOWLY) for kind in MIDDLES],
    )


def autoscaled(app: App, middle: Middle, usage: Usage, folder: Path) -> None:
    """Release it, and have it scaled up and down in the middle."""
    usage.millicores[app.namespace] = load_for(app.replicas)
    app.apply(app.release(**middle.spec), autoscaler(app))
    app.await_phase("Idle", PATIENCE)
    with Load(app.cluster, app.host, folder, rate=100, of=len(MIDDLES)) as load:
        app.ship("v2")
        await_bake(app, middle.step)
        status = app.status()
        stable, candidate = status["stable"]["hash"], status["candidate"]["hash"]
        for replicas in (middle.most, 3):
            usage.millicores[app.namespace] = load_for(replicas)
            shares = {stable: middle.stable, candidate: middle.candidate}
            await_pods(app, {hash_: math.ceil(replicas * share / 100) for hash_, share in shares.items()})
        app.cluster.run(sys.executable, "-m", "tidegate.app.main", "promote", app.name, "-n", app.namespace)
        app.await_phase("Idle", PATIENCE, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}, app.kind
    told = app.cluster.get("hpa", app.name, app.namespace)["status"]
    conditions = {condition["type"]: condition["status"] for condition in told["conditions"]}
    assert (conditions["ScalingActive"], told["desiredReplicas"], len(app.pods())) == ("True", 3, 3), app.kind


def await_bake(app: App, step: int) -> None:
    """Wait until a step bakes."""

    def seen() -> str | None:
        status = app.status()
        at = status.get("step", {})
        return None if at.get("index") == step and "until" in at else str(status.get("message"))

    wait_until(f"step {step} of {app.kind} bakes", seen, PATIENCE, pause=LOOKING)

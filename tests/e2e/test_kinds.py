"""Blue-green and rolling releases, and canaries without a router, under load on the real router."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY, Figure
from tests.rig.app import LOOKING, App
from tests.rig.gitops import GitOps
from tests.rig.load import Load
from tests.rig.operator import Operator
from tests.rig.witness import Ear, Moment

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
PODS = {**STEADY["analysis"]["metrics"][0], "from": "Pods"}
COMMON: Json = {"drain": "1s", "analysis": {**STEADY["analysis"], "metrics": [PODS]}}
SWITCH = {**COMMON, "watch": "5s", "keep": "2s"}
BATCHES = {**COMMON, "batch": "25%", "bake": "4s", "traffic": {"propagation": "1s"}}
BY_PODS = {
    **COMMON,
    "steps": [{"weight": 25, "bake": "5s"}, {"weight": 50, "bake": "4s"}],
    "traffic": {"podShare": {}, "propagation": "1s"},
}
LEAVES_SLOWLY = {"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}
"""A pod that goes while its revision serves is told so before the last router has heard of it."""
AT_ONCE = 1.0
"""Seconds from the decision until all requests are on the other set."""


def managed(app: App, spec: Json) -> App:
    app.apply(app.release(**spec))
    app.await_phase("Idle", 20)
    return app


def entered(moments: Iterable[Moment], app: App, stages: set[str], step: int) -> float:
    """When the release of a step was first seen at a stage, in seconds of the epoch."""
    for moment in moments:
        status = moment.objects.get((app.kind, app.name), {}).get("status", {})
        if status.get("journal", {}).get("stage") in stages and status.get("step", {}).get("index") == step:
            return datetime.fromisoformat(status["journal"]["since"]).timestamp()
    raise AssertionError(f"no release was at {stages} in step {step}")


def good_then_bad(app: App) -> dict[str, str]:
    """A good version is promoted and a bad one reverted: the pods between the two."""
    app.ship("v2")
    app.await_phase("Idle", 90, outcome="Promoted")
    pods = app.pods()
    app.ship("bad", ERROR_RATE="0.5")
    app.await_phase("RolledBack", 60, outcome="RolledBack")
    return pods


@pytest.mark.parametrize("shared", ["routes", "service"])
def test_blue_green_switches_and_switches_back(
    new_app: Callable[..., App], folder: Path, figure: Figure, shared: str
) -> None:
    spec = SWITCH if shared == "routes" else {**SWITCH, "traffic": {"podShare": {}, "propagation": "1s"}}
    app = managed(new_app(kind="BlueGreenRelease"), spec)
    first = app.pods()
    with Ear(app.cluster, folder, app.namespace) as ear, Load(app.cluster, app.host, folder) as load:
        second = good_then_bad(app)
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert app.pods() == second, "the way back makes no pod anew"
    assert not set(first) & set(second)
    moments = list(ear.moments(app.namespace))
    last_of_v1, last_of_bad = result.last_sent("v1"), result.last_sent("bad")
    assert last_of_v1
    assert last_of_bad
    went = last_of_v1 - entered(moments, app, {"Shift", "Widen"}, 2)
    back = last_of_bad - entered(moments, app, {"Revert"}, 2)
    figure("seconds from the decision to the last request of the old set", f"{went:.2f}, back {back:.2f}")
    assert max(went, back) < AT_ONCE


def test_rolling_batch_by_batch_and_back(new_app: Callable[..., App], folder: Path, figure: Figure) -> None:
    app = managed(new_app(kind="RollingRelease", replicas=8, container=LEAVES_SLOWLY), BATCHES)
    with Ear(app.cluster, folder, app.namespace) as ear, Load(app.cluster, app.host, folder) as load:
        second = good_then_bad(app)
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert len(set(second) & set(app.pods())) >= 6, "the first batch is all that was replaced"
    least = min(len(moment.ready({"app": app.name})) for moment in ear.moments(app.namespace))
    figure("pods in service, at least", least)
    assert least >= 6


def test_a_canary_by_pods_alone(new_app: Callable[..., App], folder: Path) -> None:
    app = managed(new_app(), BY_PODS)
    route = app.cluster.get("httproute", app.name, "-n", app.namespace)["spec"]
    with Load(app.cluster, app.host, folder) as load:
        second = good_then_bad(app)
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert app.pods() == second
    assert app.cluster.get("httproute", app.name, "-n", app.namespace)["spec"] == route


HOLDING: dict[str, Json] = {
    "BlueGreenRelease": {**SWITCH, "watch": "12s", "keep": "1s"},
    "RollingRelease": {**BATCHES, "batch": "50%", "bake": "12s"},
}
"""Long enough in the middle for somebody to die, and for another to scale."""


@pytest.mark.parametrize("kind", HOLDING)
def test_the_same_promises(new_app: Callable[..., App], operator: Operator, folder: Path, kind: str) -> None:
    """Git is applied all the time, the operator dies in the middle, somebody scales; then the release is deleted."""
    app = new_app(kind=kind, container=LEAVES_SLOWLY)
    spec = HOLDING[kind]
    step = 2 if kind == "BlueGreenRelease" else 1

    def manifests(version: str, replicas: int) -> list[Json]:
        app.replicas = replicas
        return [app.deployment(version), app.service(), app.route(), app.release(**spec)]

    def await_bake() -> None:
        def seen() -> str | None:
            status = app.status()
            there = status.get("journal", {}).get("stage") == "Bake" and status.get("step", {}).get("index") == step
            return None if there else str(status.get("message"))

        wait_until(f"step {step} bakes", seen, 90, pause=LOOKING)

    with Load(app.cluster, app.host, folder) as load:
        with GitOps(app.cluster, "server-side-apply") as tool:
            app.apply(app.release(**spec))
            tool.commit(*manifests("v1", 4))
            app.await_phase("Idle", 60)
            tool.commit(*manifests("v2", 4))
            await_bake()
            operator.kill()
            try:
                tool.commit(*manifests("v2", 6))
                tool.await_rounds(1)
            finally:
                operator.start()
            app.await_phase("Idle", 90, outcome="Promoted")
            tool.await_rounds(1)
        assert len(app.pods()) == 6
        app.ship("v3")
        await_bake()
        app.cluster.kubectl("-n", app.namespace, "delete", kind.lower(), app.name, "--timeout=90s")
        result = load.stop()
    assert result.failed() == {}
    running = app.cluster.get("deployment", app.name, "-n", app.namespace)["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "VERSION", "value": "v2"} in running["env"], "what was not promoted is set back"
    for left in ("deployment", "replicaset", "service", "httproute"):
        notes = [
            item["metadata"].get("annotations", {}) for item in app.cluster.get(left, "-n", app.namespace)["items"]
        ]
        assert "tidegate.dev" not in json.dumps(notes), left

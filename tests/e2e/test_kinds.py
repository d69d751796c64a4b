"""Blue-green and rolling releases, and canaries without a router, under load on the real router."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import STEADY, Figure
from tests.rig.app import App
from tests.rig.load import Load
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


@pytest.mark.parametrize("shared", ["routes", "service"])
def test_blue_green_switches_and_switches_back(
    new_app: Callable[..., App], folder: Path, figure: Figure, shared: str
) -> None:
    spec = SWITCH if shared == "routes" else {**SWITCH, "traffic": {"podShare": {}, "propagation": "1s"}}
    app = managed(new_app(kind="BlueGreenRelease"), spec)
    first = app.pods()
    with Ear(app.cluster, folder, app.namespace) as ear, Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_phase("Idle", 60, outcome="Promoted")
        second = app.pods()
        app.ship("bad", ERROR_RATE="0.5")
        app.await_phase("RolledBack", 60, outcome="RolledBack")
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
        app.ship("v2")
        app.await_phase("Idle", 90, outcome="Promoted")
        second = app.pods()
        app.ship("bad", ERROR_RATE="0.5")
        app.await_phase("RolledBack", 60, outcome="RolledBack")
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
        app.ship("v2")
        app.await_phase("Idle", 60, outcome="Promoted")
        second = app.pods()
        app.ship("bad", ERROR_RATE="0.5")
        app.await_phase("RolledBack", 60, outcome="RolledBack")
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert app.pods() == second
    assert app.cluster.get("httproute", app.name, "-n", app.namespace)["spec"] == route

"""Blue-green and rolling releases, and canaries without a router, under load on the real router."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY, Figure
from tests.rig.app import LOOKING, App, smoke
from tests.rig.gitops import GitOps
from tests.rig.load import Load
from tests.rig.operator import Operator
from tests.rig.routers import ByBoth, ByIngress, ByTraefikService, other_host
from tests.rig.witness import Ear, entered

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


def good_then_bad(app: App) -> dict[str, str]:
    """A good version is promoted and a bad one reverted: the pods between the two."""
    app.ship("v2")
    app.await_phase("Idle", 90, outcome="Promoted")
    pods = app.pods()
    app.ship("bad", ERROR_RATE="0.5")
    app.await_phase("RolledBack", 120, outcome="RolledBack")
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
    route = app.cluster.get("httproute", app.name, app.namespace)["spec"]
    with Load(app.cluster, app.host, folder) as load:
        second = good_then_bad(app)
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert app.pods() == second
    assert app.cluster.get("httproute", app.name, app.namespace)["spec"] == route


def test_by_every_router_side_by_side(new_app: Callable[..., App], folder: Path) -> None:
    """Blue-green over an Ingress and over a TraefikService, a canary by two routers at once, and one whose
    TraefikService stands in Git: at the same time, as each is much about waiting."""
    switched = [managed(new_app(of, kind="BlueGreenRelease"), SWITCH) for of in (ByIngress, ByTraefikService)]
    both, in_git = new_app(ByBoth), new_app(ByTraefikService)
    managed(both, STEADY)
    apps = [*switched, both, in_git]
    routes = {app.namespace: specs(app) for app in apps}
    hosts = [*(app.host for app in apps), other_host(both)]
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(both.cluster, host, folder, rate=80, of=len(hosts))) for host in hosts]
        with ThreadPoolExecutor(len(apps)) as threads:
            stories = [threads.submit(there_and_back, app) for app in switched]
            stories += [threads.submit(by_both, both), threads.submit(from_git, in_git)]
        for story in stories:
            story.result()
        results = [load.stop() for load in loads]
    assert [result.failed(but="bad") for result in results] == [{}] * len(hosts)
    assert all(result.of("v2") > 0 for result in results)
    assert {app.namespace: specs(app) for app in apps} == routes


def there_and_back(app: App) -> None:
    second = good_then_bad(app)
    assert app.pods() == second, "the way back makes no pod anew"


def by_both(app: App) -> None:
    app.ship("v2")
    app.await_weight(25)
    assert app.status()["traffic"]["router"] == f"HTTPRoute/{app.name}, Ingress/{app.name}"
    app.await_phase("Idle", 120, outcome="Promoted")
    app.ship("bad", ERROR_RATE="0.5")
    app.await_phase("RolledBack", 120, outcome="RolledBack")


def from_git(app: App) -> None:
    """Its TraefikService is applied every two seconds; the weights stay the release's."""

    def manifests(version: str, **env: str) -> list[Json]:
        return [app.deployment(version, **env), app.service(), app.route(), app.release(**STEADY)]

    with GitOps(app.cluster, "server-side-apply") as tool:
        tool.commit(*manifests("v1"))
        tool.await_rounds(1)
        app.await_phase("Idle", 60)
        tool.commit(*manifests("v2"))
        app.await_weight(25)
        app.await_weight(50)
        assert app.status()["traffic"]["router"] == f"TraefikService/{app.name}"
        app.await_phase("Idle", 120, outcome="Promoted")
        tool.commit(*manifests("bad", ERROR_RATE="0.5"))
        app.await_phase("RolledBack", 120, outcome="RolledBack")
        tool.await_rounds(1)
        app.await_phase("RolledBack", 5)


def specs(app: App) -> list[Json]:
    """Of all that leads to its Service."""
    kinds = "httproutes,ingresses,traefikservices.traefik.io"
    return [obj["spec"] for obj in app.cluster.items(kinds, app.namespace)]


def test_a_preview_is_tested_and_approved_before_anybody_sees_it(new_app: Callable[..., App], folder: Path) -> None:
    """By a route of the user's own, by a Job, and by a person."""
    app = new_app(kind="BlueGreenRelease")
    service, host = f"{app.name}-preview", f"preview.{app.host}"
    preview = app.route()
    preview["metadata"]["name"] = service
    preview["spec"] |= {"hostnames": [host], "rules": [{"backendRefs": [{"name": service, "port": 80}]}]}
    app.apply(preview)
    spec = {"preview": {"service": service}, "switch": {"approval": "Manual"}}
    managed(app, {**SWITCH, **spec, "gates": [smoke("/", "BeforeTraffic", service=service)]})

    def previewed() -> str | None:
        seen = app.answers(host=host)
        return None if seen == {"v2"} else str(seen)

    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_question("switch")
        assert app.gate("smoke")["message"] == "200 of v2: v2"
        wait_until("the preview answers", previewed, 20)
        assert app.answers() == {"v1"}
        assert "v2 200" not in load.counts()
        approved = time.time()
        approve = [sys.executable, "-m", "tidegate.app.main", "approve", app.name, "-n", app.namespace]
        assert "Approve: Done" in app.cluster.run(*approve)
        app.await_phase("Idle", 90, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert result.first["v2 200"] > approved
    route = app.cluster.get("httproute", service, app.namespace)
    assert [(ref["name"], ref["weight"]) for ref in route["spec"]["rules"][0]["backendRefs"]] == [(service, 1)]
    services = app.cluster.items("services", app.namespace)
    assert [found["metadata"]["name"] for found in services] == [app.name], "the preview's goes with the release"


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
    running = app.cluster.get("deployment", app.name, app.namespace)["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "VERSION", "value": "v2"} in running["env"], "what was not promoted is set back"
    for left in ("deployment", "replicaset", "service", "httproute"):
        notes = [item["metadata"].get("annotations", {}) for item in app.cluster.items(left, app.namespace)]
        assert "tidegate.dev" not in json.dumps(notes), left

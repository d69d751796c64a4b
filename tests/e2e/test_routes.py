"""A route keeps all that its owner wrote: in mid-release but for the weights, and at the end in every byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST
from tests.rig.app import GATEWAY, App, Json
from tests.rig.load import Load

pytestmark = pytest.mark.e2e

SPEC: Json = {
    **FAST,
    "analysis": {
        **FAST["analysis"],
        "metrics": [
            {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"},
            {"name": "latency", "preset": "Latency", "max": "5s"},
        ],
    },
}
"""Judged by errors: how quick a busy machine is, is not what these tests are about."""


def call(app: App) -> str:
    """The application answers gRPC as well: by a port of its Service, and by a GRPCRoute to a host of its own."""
    host = f"calls.{app.host}"
    service, route = app.service(), app.route()
    service["spec"]["ports"].append(
        {"name": "grpc", "port": 9090, "targetPort": 9090, "appProtocol": "kubernetes.io/h2c"}
    )
    route["kind"] = "GRPCRoute"
    route["spec"] = {
        "parentRefs": [GATEWAY],
        "hostnames": [host],
        "rules": [
            {
                "matches": [{"method": {"service": "grpc.health.v1.Health"}}],
                "backendRefs": [{"name": app.name, "port": 9090}],
            }
        ],
    }
    app.apply(service, route)
    ask = ["load", "-grpc", "-url", app.cluster.gateway_url, "-host", host, "-rate", "10", "-duration", "500ms"]

    def silent() -> str | None:
        counts = json.loads(app.cluster.run(*ask))["counts"]
        return None if set(counts) == {f"{app.version} OK"} else str(counts)

    wait_until(f"{host} answers gRPC", silent, 20)
    return host


def weights(app: App, kind: str = "httproute") -> list[list[tuple[str, int]]]:
    """Service and weight of each backend, rule by rule."""
    rules = app.cluster.get(kind, app.name, app.namespace)["spec"]["rules"]
    return [[(ref["name"], ref.get("weight", 1)) for ref in rule["backendRefs"]] for rule in rules]


def events(app: App, reason: str) -> list[str]:
    """Messages of the Events of its release."""
    found = app.cluster.items("events", app.namespace, fields=f"reason={reason}")
    return [event["message"] for event in found]


def test_filters_matches_rules_and_other_services_stay(app: App, folder: Path) -> None:
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-team", "value": "shop"}]}}
    other = app.service()
    other["metadata"]["name"] = "legacy"
    other["spec"]["selector"] = {"app": "legacy"}
    rich = app.route()
    rich["spec"]["rules"] = [
        {
            "name": "admin",
            "matches": [{"path": {"type": "PathPrefix", "value": "/admin"}}],
            "backendRefs": [{"name": "legacy", "port": 80}],
        },
        {
            "name": "split",
            "matches": [{"path": {"type": "PathPrefix", "value": "/split"}}],
            "backendRefs": [{"name": "checkout", "port": 80, "weight": 9}, {"name": "legacy", "port": 80, "weight": 1}],
        },
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "filters": [header],
            "backendRefs": [{"name": "checkout", "port": 80}],
        },
    ]
    app.apply(other, rich, app.release(**SPEC))
    app.await_phase("Idle", 20)
    before = app.cluster.get("httproute", app.name, app.namespace)["spec"]
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")

        def at_25() -> str | None:
            spec = app.cluster.get("httproute", app.name, app.namespace)["spec"]
            refs = [[(r["name"], r.get("weight", 1)) for r in rule["backendRefs"]] for rule in spec["rules"]]
            wanted = [
                [("legacy", 1)],
                [("checkout-stable", 675), ("checkout-canary", 225), ("legacy", 100)],
                [("checkout-stable", 75), ("checkout-canary", 25)],
            ]
            if refs != wanted:
                return f"{refs}; {app.status().get('message')}"
            assert [rule.get("matches") for rule in spec["rules"]] == [rule.get("matches") for rule in before["rules"]]
            assert spec["rules"][2]["filters"] == [header]
            return None

        wait_until("weights of 25 %", at_25, 60)
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert app.cluster.get("httproute", app.name, app.namespace)["spec"] == before


def test_http_and_grpc_are_promoted_together(app: App, folder: Path) -> None:
    host = call(app)
    before = app.cluster.get("grpcroute", app.name, app.namespace)["spec"]
    app.apply(app.release(**SPEC))
    app.await_phase("Idle", 20)
    with (
        Load(app.cluster, app.host, folder, rate=150, of=2) as http,
        Load(app.cluster, host, folder, rate=150, grpc=True, of=2) as grpc,
    ):
        app.ship("v2")

        def at_25() -> str | None:
            seen = {kind: weights(app, kind) for kind in ("httproute", "grpcroute")}
            wanted = [[("checkout-stable", 75), ("checkout-canary", 25)]]
            return None if all(found == wanted for found in seen.values()) else f"{seen}; {app.status()['message']}"

        wait_until("weights of 25 % on both routes", at_25, 60)
        assert app.status()["traffic"]["router"] == "HTTPRoute/checkout, GRPCRoute/checkout"
        app.await_phase("Idle", 60, outcome="Promoted")
        results = [http.stop(), grpc.stop()]
    for result in results:
        assert result.failed() == {}
        assert result.of("v1") > 500
        assert result.of("v2") > 500
    assert app.cluster.get("grpcroute", app.name, app.namespace)["spec"] == before


def test_a_grpc_application_that_answers_internal_is_reverted(app: App, folder: Path) -> None:
    """By its pods' own counters: the router sees HTTP status 200 of every answer."""
    host = call(app)
    app.cluster.kubectl("-n", app.namespace, "delete", "httproute", app.name)
    app.apply(app.release(**SPEC))
    app.await_phase("Idle", 20)
    with Load(app.cluster, host, folder, grpc=True) as load:
        app.ship("v2", ERROR_RATE="0.5")
        status = app.await_phase("RolledBack", 60, outcome="RolledBack")
        result = load.stop()
    assert status["lastRelease"]["reason"] == "AnalysisFailed"
    assert "errors" in status["lastRelease"]["message"]
    assert result.failed(but="v2") == {}
    assert 0 < result.counts["v2 Internal"] < 0.1 * result.total
    assert weights(app, "grpcroute") == [[("checkout", 1)]]


def test_a_route_is_deleted_and_created_anew_and_renamed_hosts_in_mid_release(app: App, folder: Path) -> None:
    """What no admission policy can hold: the owner's own gap is all that anybody sees of it."""
    spec: Json = {**SPEC, "steps": [{"weight": 25, "bake": "6s"}, {"weight": 50, "bake": "4s"}]}
    app.apply(app.release(**spec))
    app.await_phase("Idle", 20)

    def at(weight: int) -> Callable[[], str | None]:
        def seen() -> str | None:
            status, said = app.status(), weights(app)
            baking = status.get("step", {}).get("weight") == weight and "until" in status["step"]
            split = said == [[("checkout-stable", 100 - weight), ("checkout-canary", weight)]]
            return None if baking and split else f"{status.get('message')}; {said}"

        return seen

    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        wait_until("the first bake", at(25), 60)
        app.cluster.kubectl("replace", "--force", "-f-", stdin=json.dumps(app.route()))
        wait_until("the weight again", at(25), 60)
        assert len(events(app, "WeightLost")) == 1
        wait_until("the second bake", at(50), 60)
        hosts = {"spec": {"hostnames": [app.host, f"also.{app.host}"]}}
        app.cluster.kubectl(
            "-n", app.namespace, "patch", "httproute", app.name, "--type=merge", f"--patch={json.dumps(hosts)}"
        )
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert set(result.failed()) <= {"router 404"}
    assert len(events(app, "WeightLost")) == 1, "another host name costs no weight"
    assert weights(app) == [[("checkout", 1)]]

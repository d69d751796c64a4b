"""What cannot be right is refused, by name, with the way out; the workload serves on; mended, the release goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.interface import Cluster, ClusterFailed
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST
from tests.rig.app import App, Json
from tests.rig.load import Load

pytestmark = pytest.mark.e2e

ORDERS = {"name": "x", "ratio": {"of": "orders", "to": "sessions"}, "maxDecrease": "5%"}
CPU = {"name": "x", "gauge": {"query": 'cpu{pod=~"{{pods}}"}'}, "max": "90%"}


OF_ROUTER: Json = {"name": "x", "preset": "ErrorRatio", "max": "5%", "from": "Router"}
OF_QUERY: Json = {"name": "x", "ratio": {"of": 'bad{pod=~"{{pods}}"}', "to": "all_total"}, "max": "5%"}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"steps": [{"weight": 50}, {"weight": 25}]}, "weights must grow"),
        ({"steps": [{"weight": 25}, {"weight": 25}]}, "weights must grow"),
        ({"steps": [{"weight": 25}, {"match": [{"headers": {"x": "y"}}]}]}, "weights must grow"),
        ({"steps": [{"bake": "5m"}]}, "a step needs a weight, or a match"),
        ({"steps": [{"match": [{}]}]}, "name a header or a cookie"),
        ({"steps": [{"match": [{"cookies": {"x": "y"}}]}], "traffic": {"podShare": {}}}, "needs a router"),
        ({"steps": [{"weight": 120}]}, "spec.steps[0].weight"),
        ({"steps": [{"weight": -1}]}, "spec.steps[0].weight"),
        ({"steps": [{"weight": 5, "bake": "5 minutes"}]}, "spec.steps[0].bake"),
        ({"steps": [{"weight": 5, "replicas": "0%"}]}, "spec.steps[0].replicas"),
        ({"steps": [{"weight": 50, "replicas": "20%"}]}, "replicas must be at least the step's weight"),
        ({"targetRef": {"name": "Not A Name"}}, "spec.targetRef.name"),
        ({"targetRef": {"kind": "StatefulSet", "name": "x"}}, "spec.targetRef.kind"),
        ({"drain": "soon"}, "spec.drain"),
        ({"analysis": {"confidence": "30%"}}, "confidence must be from 50% to 99.99%"),
        ({"analysis": {"interval": "1ms"}}, "interval must be from 1s to 1h"),
        ({"analysis": {"metrics": [{"name": "x", "preset": "ErrorRatio"}]}}, "a metric needs a limit"),
        ({"analysis": {"metrics": [{"name": "x", "max": "5%"}]}}, "exactly one of preset, ratio and gauge"),
        ({"analysis": {"metrics": [{"name": "x", "preset": "Latency", "max": "5"}]}}, "a duration such as 1s"),
        ({"analysis": {"metrics": [{**ORDERS, "maxIncrease": "5%"}]}}, "give one or the others"),
        ({"analysis": {"metrics": [{**ORDERS, "maxDecrease": "100%"}]}}, "above 0% and below 100%"),
        ({"analysis": {"metrics": [CPU]}}, "gauges count no requests"),
        ({"analysis": {"metrics": [{**CPU, "max": "1s"}]}}, "max of a gauge is a number"),
        ({"analysis": {"metrics": [{**CPU, "gauge": {"query": "cpu"}}]}}, "gauge.query must tell the two apart"),
        ({"analysis": {"metrics": [{**CPU, "gauge": {"query": 'cpu{v="{{variant}}"}'}}]}}, "{{variant}} is for flags"),
        ({"analysis": {"source": "Pods", "metrics": [OF_ROUTER]}}, "the pods alone are asked: leave out from: Router"),
        (
            {"analysis": {"source": "Pods", "metrics": [OF_QUERY]}},
            "give bare names of counters in ratio.of and ratio.to",
        ),
        ({"analysis": {"source": "Pods", "minRequests": 0, "metrics": [CPU]}}, "PromQL, which a gauge takes"),
        ({"traffic": {"gateway": {"routes": []}}}, "spec.traffic.gateway.routes"),
        (
            {"gates": [{"name": "a", "at": "BeforeStart", "http": {"url": "http://b/", "headers": {"cookie": "c"}}}]},
            "use a job instead",
        ),
    ],
)
def test_refused_at_admission(cluster: Cluster, operator: object, spec: Json, told: str) -> None:
    app = App(cluster, "default", name="refused")
    with pytest.raises(ClusterFailed) as refused:
        app.apply(app.release(**spec))
    assert told in str(refused.value)


def test_a_name_that_no_label_can_have_is_refused_at_admission(cluster: Cluster, operator: object) -> None:
    """It would be found out in mid-release only, as its Services are refused."""
    app = App(cluster, "default", name="refused")
    long = app.release()
    long["metadata"]["name"] = "a" * 64
    with pytest.raises(ClusterFailed) as refused:
        app.apply(long)
    assert "metadata.name: at most 63 characters" in str(refused.value)


def _blocked(app: App, phase: str, *words: str) -> None:
    def seen() -> str | None:
        status = app.status()
        message = status.get("message", "")
        fits = status.get("phase") == phase and all(word in message for word in words)
        return None if fits else f"{status.get('phase')}: {message}"

    wait_until(f"{phase}, with {words}", seen, 20)
    stalled = next(c for c in app.status()["conditions"] if c["type"] == "Stalled")
    assert stalled["status"] == "True"


def test_a_target_that_comes_later(app: App) -> None:
    release = app.release(**FAST)
    release["spec"]["targetRef"]["name"] = "chekout"
    app.apply(release)
    _blocked(app, "Blocked", "spec.targetRef.name", "'chekout'", "create it")
    app.apply(app.release(**FAST))
    app.await_phase("Idle", 20)


def test_services_missing_and_ambiguous(app: App) -> None:
    second = app.service()
    second["metadata"]["name"] = "checkout-internal"
    app.apply(second, app.release(**FAST))
    _blocked(app, "Blocked", "checkout, checkout-internal", "spec.serviceRef")
    app.apply(app.release(**FAST, serviceRef={"name": "chekout"}))
    _blocked(app, "Blocked", "spec.serviceRef.name", "'chekout'")
    app.apply(app.release(**FAST, serviceRef={"name": "checkout"}))
    status = app.await_phase("Idle", 20)
    assert status["effective"]["serviceRef"] == {"name": "checkout"}


def test_a_route_that_is_not_there_or_leads_elsewhere(app: App) -> None:
    app.apply(app.release(**FAST, traffic={"gateway": {"routes": [{"name": "shop"}]}}))
    _blocked(app, "Blocked", "spec.traffic.gateway.routes", "'shop'", "no such HTTPRoute")
    elsewhere = app.route()
    elsewhere["metadata"]["name"] = "shop"
    elsewhere["spec"]["hostnames"] = ["other.test"]
    elsewhere["spec"]["rules"] = [{"backendRefs": [{"name": "other", "port": 80}]}]
    app.apply(elsewhere)
    _blocked(app, "Blocked", "none of its rules points at Service checkout")
    app.apply(app.release(**FAST))
    status = app.await_phase("Idle", 20)
    assert status["effective"]["traffic"]["gateway"]["routes"] == [{"kind": "HTTPRoute", "name": "checkout"}]


def test_strategy_recreate(app: App) -> None:
    manifest = app.deployment("v1")
    app.apply(manifest | {"spec": manifest["spec"] | {"strategy": {"type": "Recreate"}}}, app.release(**FAST))
    _blocked(app, "Invalid", "spec.strategy.type", "Recreate", "RollingUpdate")
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    app.apply(manifest | {"spec": manifest["spec"] | {"strategy": rolling}})
    app.await_phase("Idle", 20)


@pytest.mark.parametrize("levels", [500, 9000])
def test_a_release_that_goes_too_deep_is_told_so_and_hides_no_other(app: App, levels: int) -> None:
    """API servers take 10,000 levels, and Python reads a thousand."""
    other = App(app.cluster, app.namespace, name="deep")
    job = {"template": {"metadata": {"annotations": "DEEP"}, "spec": {"containers": []}}}
    deep = json.dumps(other.release(gates=[{"name": "deep", "at": "BeforeStart", "job": job}]))
    app.cluster.kubectl("create", "-f-", stdin=deep.replace('"DEEP"', '{"a":' * levels + "1" + "}" * levels))
    app.apply(app.release(**FAST))
    app.await_phase("Idle", 30)

    def untold() -> str | None:
        said = "--output=jsonpath={.status.phase}: {.status.message}"
        seen = app.cluster.kubectl("get", f"{other.kind}/{other.name}", f"--namespace={other.namespace}", said)
        return None if seen.startswith("Invalid: spec goes deeper than 64 levels") else seen

    wait_until("it is told", untold, 20)


BAD_QUERY = {"of": 'sum(rate(oops{pod=~"{{pods}}"}[1m])', "to": 'sum(http_requests_total{pod=~"{{pods}}"})'}
SEVERAL = {"of": 'http_requests_total{pod=~"{{pods}}",code="500"}', "to": 'http_requests_total{pod=~"{{pods}}"}'}


@pytest.mark.parametrize(("ratio", "told"), [(BAD_QUERY, "parse error"), (SEVERAL, "series")])
def test_a_query_that_cannot_be_used_holds_until_it_is_mended(app: App, folder: Path, ratio: Json, told: str) -> None:
    metrics = [{"name": "mine", "ratio": ratio, "max": "5%"}]
    app.apply(app.release(**FAST | {"analysis": FAST["analysis"] | {"metrics": metrics}}))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")

        def held() -> str | None:
            status = app.status()
            fits = status.get("phase") == "Waiting" and told in status.get("message", "")
            return None if fits and status["analysis"]["verdict"] == "Unknown" else str(status.get("message"))

        wait_until("the release holds and says why", held, 40)
        app.apply(app.release(**FAST))
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}


@pytest.fixture
def no_prometheus(cluster: Cluster) -> Iterator[None]:
    """Prometheus is gone, and back at the end."""
    cluster.kubectl("-n", "monitoring", "scale", "deployment/prometheus", "--replicas=0", "--timeout=60s")
    yield
    cluster.kubectl("-n", "monitoring", "scale", "deployment/prometheus", "--replicas=1")
    cluster.kubectl("-n", "monitoring", "rollout", "status", "deployment/prometheus", "--timeout=60s")


def test_without_prometheus_a_release_holds_and_can_be_aborted(managed: App, folder: Path, no_prometheus: None) -> None:
    app = managed
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        wait_until("the release holds", lambda: _held(app), 40)
        began = load.counts().total()
        wait_until("it has been held for three bakes", lambda: None if load.counts().total() > began + 3600 else "", 40)
        assert app.status()["phase"] == "Waiting"
        assert app.status()["traffic"]["weight"] == 25
        app.apply(app.release(**FAST, paused=True))
        app.await_reason("Paused")
        app.ask("Abort")
        app.await_phase("RolledBack", 30, outcome="Aborted")
        app.apply(app.release(**FAST))
        app.ask("Retry")
        wait_until("the release holds again", lambda: _held(app), 40)
        app.cluster.kubectl("-n", "monitoring", "scale", "deployment/prometheus", "--replicas=1")
        app.await_phase("Idle", 90, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}


def _held(app: App) -> str | None:
    status = app.status()
    verdict = status.get("analysis", {}).get("verdict")
    return None if (status.get("phase"), verdict) == ("Waiting", "Unknown") else str(status.get("message"))

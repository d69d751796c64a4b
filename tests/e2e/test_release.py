"""A canary promotes itself, and one reverts itself, under load, with nothing failed that was not the bad version's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.interface import ClusterFailed
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.operator import Operator
from tests.rig.witness import listening

pytestmark = pytest.mark.e2e


def specs(app: App) -> dict[str, Any]:
    """What a user wrote, but for the template that a release is about."""
    found = {
        kind: app.cluster.get(kind, app.name, app.namespace)["spec"] for kind in ("service", "httproute", "deployment")
    }
    del found["deployment"]["template"]
    return found


def test_adoption_touches_no_pod_and_fails_no_request(app: App, folder: Path) -> None:
    before, pods = specs(app), app.pods()
    with Load(app.cluster, app.host, folder) as load:
        app.apply(app.release(**FAST))
        status = app.await_phase("Idle", 20)
        served = load.counts().total()
        wait_until("requests after adoption", lambda: None if load.counts().total() > served + 600 else "too few", 20)
        result = load.stop()
    assert result.failed() == {}
    assert app.pods() == pods
    assert specs(app) == before
    assert status["stable"]["replicas"] == 4
    app.cluster.kubectl("-n", app.namespace, "wait", "canaryrelease/checkout", "--for=condition=Ready", "--timeout=5s")


def test_a_good_version_promotes_itself(managed: App, folder: Path) -> None:
    app, before = managed, specs(managed)
    with Load(app.cluster, app.host, folder) as load, listening(app, folder) as witness:
        app.ship("v2")
        app.cluster.kubectl("-n", app.namespace, "rollout", "status", "deployment/checkout", "--timeout=60s")
        status = app.await_phase("Idle", 20, outcome="Promoted")
        at_the_end = app.pods()
        result = load.stop()
    assert result.failed() == {}
    assert witness.shortfalls() == []
    assert result.of("v2") > 0
    assert specs(app) == before, "nothing of ours remains in what the user wrote"
    assert {name.rsplit("-", 1)[0] for name in at_the_end.values()} == {f"checkout-{status['stable']['hash']}"}
    assert len(at_the_end) == 4
    services = app.cluster.items("services", app.namespace)
    assert [service["metadata"]["name"] for service in services] == ["checkout"]
    route = app.cluster.get("httproute", app.name, app.namespace)
    assert "tidegate.dev/releasing" not in route["metadata"].get("annotations", {})


def test_a_promotion_recreates_no_pod(managed: App, folder: Path) -> None:
    app = managed
    seen: dict[str, str] = {}
    with Load(app.cluster, app.host, folder, rate=200) as load:
        app.ship("v2")

        def promoted() -> str | None:
            seen.update(app.pods())
            last = app.status().get("lastRelease")
            return None if last else "no release has ended"

        wait_until("the release ends", promoted, 60, pause=0.5)
        app.await_phase("Idle", 20, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    candidate = app.status()["stable"]["hash"]
    born = [name for name in seen.values() if name.startswith(f"checkout-{candidate}")]
    assert len(born) == 4, f"four pods were asked for, {len(born)} were born: {sorted(born)}"
    assert set(app.pods().values()) == set(born)


def test_a_bad_version_reverts_itself(managed: App, folder: Path) -> None:
    app, before, pods = managed, specs(managed), managed.pods()
    with Load(app.cluster, app.host, folder) as load, listening(app, folder) as witness:
        app.ship("bad", ERROR_RATE="0.5")
        status = app.await_phase("RolledBack", 60, outcome="RolledBack")
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert witness.shortfalls() == []
    assert result.of("bad") > 0
    assert app.pods() == pods, "stable's pods were never touched"
    assert specs(app) == before
    last = status["lastRelease"]
    assert (last["outcome"], last["reason"]) == ("RolledBack", "AnalysisFailed")
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions == {
        "Ready": "False",
        "Reconciling": "False",
        "Stalled": "True",
        "Progressing": "False",
        "Analyzed": "False",
        "RolledBack": "True",
        "Drifted": "True",
    }
    with pytest.raises(ClusterFailed, match="exceeded its progress deadline"):
        app.cluster.kubectl("-n", app.namespace, "rollout", "status", "deployment/checkout", "--timeout=20s")
    reasons = {e["reason"] for e in app.cluster.items("events", app.namespace)}
    assert {"ReleaseStarted", "StepStarted", "AnalysisFailed", "RolledBack"} <= reasons


def test_the_next_version_after_a_revert_is_a_release_of_its_own(managed: App, folder: Path) -> None:
    app = managed
    with Load(app.cluster, app.host, folder) as load:
        app.ship("bad", EXIT_AT_START="1")
        app.await_phase("RolledBack", 60, outcome="RolledBack")
        app.ship("v3")
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert [record["outcome"] for record in app.status()["history"]] == ["Promoted", "RolledBack"]


def test_killed_in_mid_release_it_goes_on(managed: App, operator: Operator, folder: Path) -> None:
    app = managed
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        wait_until("half of the requests go to v2", lambda: _weight_is(app, 50), 60)
        operator.kill()
        served = load.counts().total()
        wait_until("requests without an operator", lambda: None if load.counts().total() > served + 300 else "few", 20)
        operator.start()
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}


def test_deleted_in_mid_release_the_workload_serves_on(managed: App, folder: Path) -> None:
    app, pods = managed, managed.pods()
    with Load(app.cluster, app.host, folder) as load, listening(app, folder) as witness:
        app.ship("v2")
        wait_until("a quarter of the requests go to v2", lambda: _weight_is(app, 25), 60)
        app.cluster.kubectl("-n", app.namespace, "delete", "canaryrelease", app.name, "--timeout=60s")
        app.cluster.kubectl("-n", app.namespace, "rollout", "status", "deployment/checkout", "--timeout=60s")
        result = load.stop()
    assert result.failed() == {}
    assert witness.shortfalls() == []
    assert app.pods() == pods, "letting go makes no pod anew"
    for kind in ("deployment", "replicaset", "service", "httproute"):
        left = json.dumps([item["metadata"].get("annotations", {}) for item in app.cluster.items(kind, app.namespace)])
        assert "tidegate.dev" not in left, f"{kind}: {left}"


def test_aborted_by_the_command_line(managed: App, folder: Path) -> None:
    app = managed
    app.apply(app.release(**{**FAST, "steps": [{"weight": 50, "bake": "10m"}]}))
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        wait_until("half of the requests go to v2", lambda: _weight_is(app, 50), 60, pause=0.25)
        said = app.cluster.run(sys.executable, "-m", "tidegate.app.main", "abort", app.name, "-n", app.namespace)
        assert said == "checkout: Abort: Done\n"
        status = app.await_phase("RolledBack", 30, outcome="Aborted")
        result = load.stop()
    assert result.failed() == {}
    assert status["lastRequest"]["by"]


def test_paused_holds_and_resumes(managed: App, folder: Path) -> None:
    app = managed
    with Load(app.cluster, app.host, folder) as load:
        app.apply(app.release(**FAST, paused=True))
        app.ship("v2")
        status = app.await_phase("Waiting", 20)
        assert "spec.paused" in status["message"]
        app.apply(app.release(**FAST, paused=False))
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}


def _weight_is(app: App, weight: int) -> str | None:
    traffic = app.status().get("traffic", {})
    return (
        None if (traffic.get("weight"), traffic.get("applied")) == (weight, True) else str(app.status().get("message"))
    )


def test_the_pods_own_counters_tell_as_well(app: App, folder: Path) -> None:
    metrics = [
        {"name": "errors", "preset": "ErrorRatio", "from": "Pods", "maxIncrease": "50%", "max": "5%"},
        {"name": "latency", "preset": "Latency", "from": "Pods", "quantile": "p99", "max": "1s"},
    ]
    app.apply(app.release(**{**FAST, "analysis": {**FAST["analysis"], "metrics": metrics}}))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_phase("Idle", 60, outcome="Promoted")
        app.ship("bad", ERROR_RATE="0.2")
        status = app.await_phase("RolledBack", 60, outcome="RolledBack")
        result = load.stop()
    assert result.failed(but="bad") == {}
    seen = {metric["name"]: metric for metric in status["analysis"]["metrics"]}
    assert seen["errors"]["verdict"] == "Fail"
    assert seen["latency"]["candidate"] is not None, "the histogram of the pods was read"


def test_metrics_of_a_template_revert_and_are_shown_before(app: App, folder: Path) -> None:
    template = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "team", "namespace": app.namespace},
        "spec": {
            "args": [{"name": "limit"}],
            "metrics": [{"name": "failures", "preset": "ErrorRatio", "from": "Pods", "max": "{{args.limit}}"}],
        },
    }
    refs = [{"name": "team", "args": {"limit": "5%"}}]
    app.apply(app.release(**FAST | {"analysis": FAST["analysis"] | {"templateRefs": refs}}))
    app.await_phase("Invalid", 20)
    assert "there is no AnalysisTemplate of this name" in app.status()["message"]
    app.apply(template)
    app.await_phase("Idle", 20)

    def shown() -> str | None:
        tool = (sys.executable, "-m", "tidegate.app.main", "analyze", app.name, "-n", app.namespace, "--dry-run")
        said = app.cluster.run(*tool, "--prometheus", app.cluster.prometheus_url)
        return None if "failures: http_requests_total" in said and "so far, 0 of them bad" in said else said

    with Load(app.cluster, app.host, folder) as load:
        wait_until("what would be measured is shown", shown, 30)
        app.ship("bad", ERROR_RATE="0.5")
        status = app.await_phase("RolledBack", 60, outcome="RolledBack")
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert [metric["name"] for metric in status["analysis"]["metrics"]] == ["failures"]

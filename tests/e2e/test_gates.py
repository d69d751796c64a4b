"""Who must say yes before users see a candidate: its own pods, Jobs, people. Under load, with nothing failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cluster.interface import ClusterFailed
from tests.e2e.conftest import FAST
from tests.rig.app import App, Json, smoke
from tests.rig.load import Load

pytestmark = pytest.mark.e2e

DEEP: Json = {
    "name": "works",
    "http": {"path": "/health/deep", "port": "http", "expect": {"json": {"db": "ok", "cache": "ok"}}},
    "interval": "1s",
    "failureThreshold": 2,
}
SPEC: Json = {**FAST, "analysis": {"metrics": []}, "health": {"checks": [DEEP]}}


def test_a_candidate_that_does_not_work_is_given_no_traffic(app: App, folder: Path) -> None:
    app.apply(app.release(**SPEC))
    app.await_phase("Idle", 20)
    pods = app.pods()
    with Load(app.cluster, app.host, folder, rate=300) as load:
        app.ship("bad", DATABASE="down")
        status = app.await_phase("RolledBack", 40, outcome="RolledBack")
        result = load.stop()
    assert (result.failed(), result.of("bad")) == ({}, 0)
    assert app.pods() == pods
    last = status["lastRelease"]
    assert last["reason"] == "HealthCheckFailed"
    assert 'answered 503 {"db":"down","cache":"ok"}, expected status 200' in last["message"]
    assert "check works: GET http://" in last["message"]
    assert status["health"]["checks"][0]["passed"] == 0
    assert "lifecycle.preStop.sleep.seconds" in status["advice"], "the program waits by itself, which nobody sees"
    events = app.cluster.items("events", app.namespace)
    assert [event["reason"] for event in events].count("NoDrain") == 1


def asked(url: str) -> Json:
    """A request before all."""
    return {"name": "window", "at": "BeforeStart", "http": {"url": url}}


def test_a_job_an_answer_and_a_person_say_yes(app: App, folder: Path) -> None:
    for url in ("http://127.0.0.1:8080/", "http://[::1]/", "https://LOCALHOST/", "http://169.254.169.254/latest"):
        with pytest.raises(ClusterFailed, match="url leads to this machine or its own network"):
            app.apply(app.release(gates=[asked(url)]))
    service = app.cluster.get("service", app.name, app.namespace)["spec"]["clusterIP"]
    gates = [
        asked(f"http://{service}/"),
        smoke("/", "BeforeTraffic"),
        {"name": "cab", "at": "BeforePromotion", "manual": {}},
    ]
    app.apply(app.release(**SPEC, gates=gates))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder, rate=300) as load:
        app.ship("v2")
        app.await_question("cab")
        assert "kubectl tidegate approve checkout --gate cab" in app.status()["message"]
        approve = [sys.executable, "-m", "tidegate.app.main", "approve", app.name, "-n", app.namespace, "--gate", "cab"]
        assert "Approve: Done" in app.cluster.run(*approve)
        status = app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert result.of("v2") > 0
    window, job, cab = status["gates"]
    assert (window["state"], window["message"]) == ("Passed", "answered 200 v1")
    assert (job["state"], job["message"]) == ("Passed", "200 of v2: v2"), "asked of the candidate, before anybody else"
    assert (cab["state"], cab["message"]) == ("Passed", f"approved by {cab['by']}")
    app.cluster.kubectl("-n", app.namespace, "get", job["by"])
    app.apply(app.release(**{**SPEC, "health": {}}, gates=[smoke("/health/deep", "BeforeTraffic")]))
    pods = app.pods()
    with Load(app.cluster, app.host, folder, rate=300) as load:
        app.ship("bad", DATABASE="down")
        status = app.await_phase("RolledBack", 60, outcome="RolledBack")
        result = load.stop()
    assert (result.failed(), result.of("bad")) == ({}, 0)
    assert app.pods() == pods
    last = status["lastRelease"]
    assert last["reason"] == "GateFailed"
    assert 'container ask exited with code 1: 503 of bad: {"db":"down","cache":"ok"}' in last["message"]
    jobs = app.cluster.items("jobs", app.namespace)
    assert [f"job/{job['metadata']['name']}" for job in jobs] == [status["gates"][0]["by"]], "the other has gone"

"""Who must say yes before users see a candidate: its own pods, Jobs, people. Under load, with nothing failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import FAST
from tests.rig.app import App, Json
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

"""The fast path: what the kubelet says of a candidate's pods reverts it, with no metric asked."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from tests.cluster.waiting import wait_until
from tests.rig.app import App
from tests.rig.load import Load

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("env", "image", "reason", "seconds"),
    [
        ({"EXIT_AT_START": "1"}, None, "CrashLoop", 45),
        ({}, "localhost/there-is-no-such-image:v9", "ImageError", 45),
        ({"NOT_READY": "1"}, None, "NotReady", 60),
    ],
)
def test_a_candidate_that_cannot_run_is_reverted(
    managed: App, folder: Path, env: dict[str, str], image: str | None, reason: str, seconds: int
) -> None:
    app, pods = managed, managed.pods()
    manifest = app.deployment("bad", **env)
    if image:
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = image
    with Load(app.cluster, app.host, folder, rate=100) as load:
        app.apply(manifest)
        status = app.await_phase("RolledBack", seconds, outcome="RolledBack")
        result = load.stop()
    assert status["lastRelease"]["reason"] == reason, status["message"]
    assert result.failed() == {}
    assert result.of("bad") == 0
    assert app.pods() == pods


def test_a_cure_is_released_while_no_pod_of_stable_serves(managed: App, folder: Path) -> None:
    app, gone = managed, {"spec": {"containers": [{"name": "app", "image": "localhost/lost:v1"}]}}
    for pod in app.pods().values():
        app.cluster.kubectl("-n", app.namespace, "patch", "pod", pod, "--patch", json.dumps(gone))

    def serving() -> str | None:
        ready = app.cluster.get("deployment", app.name, app.namespace)["status"].get("readyReplicas", 0)
        return f"{ready} pods are ready" if ready else None

    wait_until("stable is down", serving, 60)
    with Load(app.cluster, app.host, folder, rate=100) as load:
        app.ship("v2")
        status = app.await_phase("Idle", 120, outcome="Promoted")
        served = load.counts()["v2 200"]
        wait_until("v2 serves on", lambda: None if load.counts()["v2 200"] > served + 1000 else "few requests", 60)
        result = load.stop()
    failed, cured = result.failed(), datetime.fromisoformat(status["lastRelease"]["finishedAt"]).timestamp()
    assert all(key.startswith("router 5") for key in failed), "only where a pod of stable was to answer"
    assert all(result.last[key] < cured for key in failed), "from the end of the release on nobody was turned away"
    assert result.of("v2") + sum(failed.values()) == result.total
    events = app.cluster.items("events", app.namespace)
    assert "StableDown" in {event["reason"] for event in events}

"""The tools that people already use tell the truth of a release, and mean what they say, in mid-release under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.interface import Cluster, ClusterFailed
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST
from tests.rig.app import IMAGE, App
from tests.rig.load import Load
from tests.rig.operator import Operator

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
SOON = 5.0
"""Seconds from the end of a release until a tool that waited for it has returned."""
ERRORS = {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}
QUICK = {**FAST, "analysis": {**FAST["analysis"], "metrics": [ERRORS]}}
"""Judged by errors alone: what a busy machine does to latency is no matter here."""
HELD = {**QUICK, "steps": [{"weight": 50, "bake": "2m"}]}
"""A release that stands at weight 50 until somebody does something."""


def kubectl(app: App, *arguments: str, timeout: float = 120) -> str:
    """In the application's namespace."""
    return app.cluster.kubectl("-n", app.namespace, *arguments, timeout=timeout)


def rollout(app: App, verb: str, *arguments: str) -> str:
    """kubectl rollout, of the Deployment."""
    return kubectl(app, "rollout", verb, f"deployment/{app.name}", *arguments)


def rolled_out(app: App, seconds: int = 60) -> None:
    """kubectl rollout status says that all went well."""
    try:
        said = rollout(app, "status", f"--timeout={seconds}s")
    except ClusterFailed as error:
        raise AssertionError(f"{error}; the release: {app.status().get('message')}") from error
    assert "successfully rolled out" in said


@pytest.fixture
def quick(app: App) -> App:
    """An application under management, with a release of seconds."""
    app.apply(app.release(**QUICK))
    app.await_phase("Idle", 20)
    return app


def ended(status: Json) -> float:
    """When the last release ended, as seconds since the epoch."""
    return datetime.fromisoformat(status["lastRelease"]["finishedAt"]).timestamp()


def image_of(revision: Json) -> str:
    """The image of a revision's one container."""
    (image,) = revision["images"]
    return str(image)


def test_kubectl_ships_waits_and_goes_back_after_a_promotion(quick: App, folder: Path) -> None:
    app = quick
    first = app.status()["stable"]
    with Load(app.cluster, app.host, folder) as load:
        kubectl(app, "set", "image", f"deployment/{app.name}", f"app={IMAGE}:v2")
        rolled_out(app)
        promoted = "--for=jsonpath={.status.lastRelease.outcome}=Promoted"
        kubectl(app, "wait", f"canaryrelease/{app.name}", promoted, "--timeout=5s")
        kubectl(app, "wait", f"canaryrelease/{app.name}", "--for=condition=Ready", "--timeout=5s")
        second = app.status()["stable"]
        assert image_of(second) == f"{IMAGE}:v2"
        rollout(app, "undo")
        rolled_out(app)
        status = app.await_phase("Idle", 10, outcome="Promoted", version=second["revision"] + 1)
        result = load.stop()
    assert result.failed() == {}
    assert (status["stable"]["hash"], image_of(status["stable"])) == (first["hash"], IMAGE)
    steps = [e for e in app.cluster.items("events", app.namespace) if e["reason"] == "StepStarted"]
    assert len(steps) >= 2, "going back after a promotion is a release like any other"


def test_rollout_status_of_a_bad_version_fails_as_soon_as_it_is_reverted(quick: App, folder: Path) -> None:
    app = quick
    with Load(app.cluster, app.host, folder) as load:
        app.ship("bad", ERROR_RATE="0.5")
        with pytest.raises(ClusterFailed, match="exceeded its progress deadline"):
            rollout(app, "status", "--timeout=60s")
        returned = time.time()
        kubectl(app, "wait", f"canaryrelease/{app.name}", "--for=condition=Stalled", "--timeout=5s")
        status = app.await_phase("RolledBack", 5, outcome="RolledBack")
        # After a revert the Deployment's condition stands: the next version must not be judged by it.
        app.ship("v3")
        rolled_out(app)
        app.await_phase("Idle", 10, outcome="Promoted")
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert returned - ended(status) < SOON


def test_undo_in_mid_release_is_an_instant_revert(quick: App, folder: Path) -> None:
    app, pods = quick, quick.pods()
    app.apply(app.release(**HELD))
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_weight(50)
        rollout(app, "undo")
        written = time.time()
        rolled_out(app, 30)
        status = app.await_phase("Idle", 30, outcome="Aborted")
        result = load.stop()
    assert result.failed() == {}
    assert status["lastRelease"]["reason"] == "TemplateRestored"
    assert app.pods() == pods, "stable's pods were never touched"
    # What is promised is measured by `make bench`, as setback; this is for a busy machine.
    assert result.last["v2 200"] - written < 3


def test_restart_is_a_release_of_the_same_images(quick: App, folder: Path) -> None:
    app, pods = quick, quick.pods()
    before = app.status()["stable"]
    with Load(app.cluster, app.host, folder) as load:
        rollout(app, "restart")
        rolled_out(app)
        status = app.await_phase("Idle", 10, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert status["stable"]["images"] == before["images"]
    assert status["stable"]["hash"] != before["hash"]
    assert not set(app.pods()) & set(pods), "every pod was restarted"


def test_pause_scale_and_resume_in_mid_release(quick: App, folder: Path) -> None:
    app = quick
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_weight(25)
        rollout(app, "pause")
        status = app.await_phase("Waiting", 10)
        assert "paused" in status["message"]
        kubectl(app, "scale", f"deployment/{app.name}", "--replicas=6")
        wait_until("both revisions have their shares of 6 pods", lambda: _shares(app, 6, 2), 30, pause=0.25)
        assert app.status()["step"]["index"] == 1
        rollout(app, "resume")
        rolled_out(app)
        app.await_phase("Idle", 10, outcome="Promoted")
        kubectl(app, "scale", f"deployment/{app.name}", "--replicas=4")
        result = load.stop()
    assert result.failed() == {}


def _shares(app: App, stable: int, candidate: int) -> str | None:
    status = app.status()
    seen = (status["stable"]["ready"], status["candidate"]["ready"])
    return None if seen == (stable, candidate) else f"ready: {seen}"


@dataclass
class Chart:
    """A chart of the application as people write one, installed by Helm."""

    app: App
    folder: Path

    def write(self, **spec: object) -> None:
        """Deployment, Service, HTTPRoute and CanaryRelease; the version is a value."""
        objects = [
            self.app.deployment("{{ .Values.version }}", ERROR_RATE="{{ .Values.errors }}"),
            self.app.service(),
            self.app.route(),
            self.app.release(**spec),
        ]
        (self.folder / "templates").mkdir(parents=True)
        (self.folder / "Chart.yaml").write_text("{apiVersion: v2, name: checkout, version: 0.1.0}")
        (self.folder / "values.yaml").write_text("{version: v1, errors: '0'}")
        for number, obj in enumerate(objects):
            (self.folder / f"templates/{number}.yaml").write_text(json.dumps(obj, indent=1))

    def upgrade(self, *arguments: str) -> float:
        """helm upgrade --install, and when it returned. Raises ClusterFailed."""
        where = ["--namespace", self.app.namespace, "--create-namespace"]
        command = ["helm", "upgrade", "--install", self.app.name, str(self.folder), *where]
        self.app.cluster.run(*command, "--timeout", "90s", *arguments, timeout=150)
        return time.time()

    def history(self) -> list[Json]:
        """What Helm knows of its own revisions, the last one last."""
        where = ["--namespace", self.app.namespace, "--output", "json"]
        revisions: list[Json] = json.loads(self.app.cluster.run("helm", "history", self.app.name, *where))
        return revisions


@pytest.fixture
def chart(cluster: Cluster, operator: Operator, helm: Path, tmp_path: Path) -> Iterator[Chart]:
    """An application that Helm installed."""
    app = App(cluster, f"helm-{time.time_ns() % 1_000_000}")
    chart = Chart(app, tmp_path / "chart")
    chart.write(**QUICK)
    try:
        chart.upgrade("--wait")
        app.await_answers()
        yield chart
    finally:
        app.delete()


def test_helm_waits_for_the_end_of_a_release_good_or_bad(chart: Chart, folder: Path) -> None:
    app = chart.app
    assert app.status()["phase"] == "Idle", "helm install --wait returns when the release object is at rest"
    with Load(app.cluster, app.host, folder) as load:
        chart.upgrade("--wait", "--set", "version=v2")
        assert app.status()["lastRelease"]["outcome"] == "Promoted"
        with pytest.raises(ClusterFailed, match="not ready"):
            chart.upgrade("--wait", "--set", "version=bad", "--set-string", "errors=0.5")
        returned = time.time()
        status = app.status()
        assert status["phase"] == "RolledBack"
        assert returned - ended(status) < SOON
        chart.upgrade("--wait", "--set", "version=v3")
        assert [record["outcome"] for record in app.status()["history"]] == ["Promoted", "RolledBack", "Promoted"]
        result = load.stop()
    assert result.failed(but="bad") == {}


def test_helm_rolls_back_on_failure(chart: Chart, folder: Path) -> None:
    app, pods = chart.app, chart.app.pods()
    with Load(app.cluster, app.host, folder) as load:
        # Helm lists from the API server's cache: what it says of its own rollback can be of the moment before it.
        with pytest.raises(ClusterFailed, match="revision 2 was reverted: errors"):
            chart.upgrade("--rollback-on-failure", "--set", "version=bad", "--set-string", "errors=0.5")
        assert [record["revision"] for record in chart.history()] == [1, 2, 3], "and so can what it notes"
        status = app.await_phase("Idle", 10, outcome="RolledBack")
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert not [c for c in status["conditions"] if c["type"] == "Drifted" and c["status"] == "True"]
    assert app.pods() == pods


def test_helm_upgrade_in_mid_release(chart: Chart, folder: Path) -> None:
    """Without --force-conflicts: what Tidegate writes must not be in Helm's way."""
    app = chart.app
    with Load(app.cluster, app.host, folder) as load:
        chart.upgrade("--set", "version=v2")
        app.await_weight(25)
        chart.upgrade("--wait", "--set", "version=v3")
        history = app.status()["history"]
        result = load.stop()
    assert result.failed() == {}
    assert [record["outcome"] for record in history] == ["Promoted", "Superseded"]

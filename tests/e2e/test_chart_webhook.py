"""The chart with the gate by webhook, in one namespace: two replicas behind a Service are asked by the API server.

What the webhook makes of each write is told by tests/e2e/test_gate_webhook.py, of an operator at a URL.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.interface import Cluster, ClusterFailed
from tests.cluster.operator_image import Image
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY, Figure
from tests.rig.app import App
from tests.rig.chart import FULL_NAME, HERE, NAMESPACE, Chart, installed, ours, specs
from tests.rig.load import Load
from tests.rig.operator import Operator

pytestmark = pytest.mark.e2e

SERVED_AS = f"{FULL_NAME}-webhook.{NAMESPACE}.svc"
RATE = 300
REFUSED = "failed calling webhook"
UNASKED = 15.0
"""Seconds in which writes may be refused after a replica was killed: as long as its address is taken for ready."""

LASTING = {**STEADY, "steps": [{"weight": 50, "bake": "10m"}]}
"""It stays in mid-release until it is told otherwise."""


@pytest.fixture(scope="module")
def place(cluster: Cluster, operator: Operator) -> Iterator[App]:
    """The application: its namespace is there before the chart, which is to watch this one only."""
    app = App(cluster, f"hooked-{os.getpid()}", replicas=2)
    app.create()
    yield app
    app.delete()


@pytest.fixture(scope="module")
def chart(cluster: Cluster, operator: Operator, image: Image, helm: Path, place: App) -> Iterator[Chart]:
    """The chart, asked by the API server."""
    with installed(cluster, operator, image, f"--set=gate=webhook,watchNamespace={place.namespace}") as chart:
        yield chart


@pytest.fixture(scope="module")
def app(place: App, chart: Chart) -> App:
    """The application, adopted."""
    place.apply(place.release(**LASTING))
    place.await_phase("Idle", 30)
    return place


def bundles(cluster: Cluster) -> set[str]:
    """What the API server trusts, webhook by webhook."""
    webhooks = cluster.get("mutatingwebhookconfiguration", "tidegate")["webhooks"]
    return {base64.b64decode(webhook["clientConfig"]["caBundle"]).decode() for webhook in webhooks}


def untrusted(chart: Chart, cluster: Cluster, folder: Path) -> str | None:
    """The replicas that do not answer by a certificate that stands in the configuration."""
    (bundle,) = bundles(cluster)
    file = folder / "bundle.pem"
    file.write_text(bundle)
    pods = {pod["metadata"]["name"]: pod["status"].get("podIP") for pod in chart.pods()}
    said = {name: _answer(cluster, file, address) for name, address in pods.items()}
    return None if list(said.values()) == ["405", "405"] else str(said)


def _answer(cluster: Cluster, bundle: Path, address: str) -> str:
    """The code of an answer under the name that the API server calls. To a GET it is 405: only a POST is a question."""
    to = ("--connect-to", f"{SERVED_AS}:443:{address}:8443", f"https://{SERVED_AS}/clamp")
    format_ = ("--output", "/dev/null", "--write-out", "%{http_code}")
    try:
        return cluster.run("curl", "--silent", "--max-time", "2", *format_, "--cacert", str(bundle), *to)
    except ClusterFailed as error:
        return str(error)


def held(app: App) -> str | None:
    """Whoever sets the route back in mid-release changes no weight; one who was refused was not let through either."""
    before = app.cluster.get("httproute", app.name, app.namespace)["spec"]["rules"]
    try:
        app.apply(app.route())
    except ClusterFailed as error:
        answer = str(error)
    else:
        answer = ""
    assert app.cluster.get("httproute", app.name, app.namespace)["spec"]["rules"] == before
    assert not answer or REFUSED in answer
    return answer or None


def test_both_replicas_answer_by_certificates_that_stand_in_the_configuration(
    chart: Chart, cluster: Cluster, tmp_path: Path
) -> None:
    pods = chart.pods()
    assert len(pods) == 2
    assert "volumes" in pods[0]["spec"]
    wait_until("both are trusted", lambda: untrusted(chart, cluster, tmp_path), 10)
    (bundle,) = bundles(cluster)
    assert bundle.count("BEGIN CERTIFICATE") >= 2
    assert not any(obj.startswith("MutatingAdmissionPolicy") for obj in chart.objects())
    chart.upgrade()
    assert bundles(cluster) == {bundle}, "an upgrade leaves the certificates alone"


def test_a_replica_killed_in_mid_release_leaves_writes_judged(
    app: App, chart: Chart, cluster: Cluster, tmp_path: Path, figure: Figure
) -> None:
    with Load(cluster, app.host, tmp_path, rate=RATE) as load:
        app.ship("v2")
        app.await_weight(50)
        assert held(app) is None
        leader = cluster.get("lease", "tidegate", NAMESPACE)["spec"]["holderIdentity"].partition("_")[0]
        (killed,) = (name for pod in chart.pods() if (name := pod["metadata"]["name"]) != leader)
        cluster.kubectl("delete", "pod", killed, HERE, "--grace-period=0", "--force")
        refusals: list[str] = []

        def judged() -> str | None:
            if answer := held(app):
                refusals.append(answer)
            return answer

        wait_until("writes are judged by the other", judged, UNASKED)
        for _ in range(5):
            assert held(app) is None
        app.ask("Promote")
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    figure("writes refused after a replica was killed", len(refusals))
    assert result.failed() == {}
    assert result.of("v2") > 0
    wait_until("its successor is trusted", lambda: untrusted(chart, cluster, tmp_path), 30)


def _rights(cluster: Cluster, account: str) -> set[str]:
    """What a service account may do anything with, in a namespace that is not watched."""
    who = f"--as=system:serviceaccount:{account}"
    said = cluster.kubectl("auth", "can-i", "--list", who, "--namespace=default", "--no-headers")
    return {line.split()[0] for line in said.splitlines() if line and not line.startswith(" ")}


def test_in_one_namespace_the_operator_asks_for_nothing_elsewhere(app: App, chart: Chart, cluster: Cluster) -> None:
    assert chart.refused() == []
    # What any account has is granted by nobody here.
    granted = _rights(cluster, f"{NAMESPACE}:{FULL_NAME}") - _rights(cluster, "default:nobody")
    assert granted == {
        "gateways.gateway.networking.k8s.io",
        "gatewayclasses.gateway.networking.k8s.io",
        "ingressclasses.networking.k8s.io",
        "mutatingadmissionpolicies.admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    }


def test_uninstalled_in_mid_release(app: App, chart: Chart, tmp_path: Path) -> None:
    stable, before = app.pods(), specs(app)
    with Load(app.cluster, app.host, tmp_path, rate=RATE) as load:
        app.ship("v3")
        app.await_weight(50)
        chart.uninstall()
        result = load.stop()
    assert result.failed() == {}
    assert result.of("v3") > 0
    assert app.pods() == stable, "stable's pods, all of them and no other"
    assert ours(app) == []
    assert chart.objects() == set()
    assert specs(app) == before
    assert app.status()["phase"] == "LetGo"

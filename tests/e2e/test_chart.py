"""The installation that users make: Helm, the operator as pods under its own RBAC only, through its whole life.

What the chart installs is what the manifests do (tests/unit/test_chart.py), so kustomize needs no run of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.interface import Cluster, ClusterFailed
from tests.cluster.operator_image import Image
from tests.cluster.waiting import wait_until
from tests.rig.app import LOOKING, App
from tests.rig.chart import FULL_NAME, HERE, NAMESPACE, Chart, installed, ours, specs
from tests.rig.load import Load, Result
from tests.rig.operator import Operator

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "manifests/samples/checkout.yaml"
HOST = "checkout.example.com"
RATE, ENOUGH = 500, 20_000
# How long answers take is the machine's, which has a cluster, an operator and a load to carry on two cores.
ERRORS = {"metrics": [{"name": "errors", "preset": "ErrorRatio", "max": "5%"}]}

Json = dict[str, Any]


@pytest.fixture(scope="module")
def chart(cluster: Cluster, operator: Operator, image: Image, helm: Path) -> Iterator[Chart]:
    """The chart, as it is."""
    with installed(cluster, operator, image) as chart:
        yield chart


@pytest.fixture(scope="module")
def app(cluster: Cluster, chart: Chart) -> Iterator[App]:
    """The sample application, as it stands in the manifests, adopted."""
    app = App(cluster, "shop")
    cluster.kubectl("apply", f"--filename={SAMPLE}")
    respec(app, analysis=ERRORS)
    try:
        status = app.await_phase("Idle", 60)
        assert status["stable"]["replicas"] == app.replicas
        # The pods are ready before the router has heard of them.
        wait_until("the sample answers", lambda: _silent(cluster), 30)
        yield app
    finally:
        app.delete()


def respec(app: App, **spec: object) -> None:
    """Another spec of the release."""
    patch = json.dumps({"spec": spec})
    cluster, here = app.cluster, f"--namespace={app.namespace}"
    cluster.kubectl("patch", f"canaryrelease/{app.name}", here, "--type=merge", f"--patch={patch}")


def ship(app: App, version: str, **env: str) -> None:
    """A new version, by kubectl."""
    settings = [f"{key}={value}" for key, value in {"VERSION": version, **env}.items()]
    app.cluster.kubectl("set", "env", "deployment/checkout", *settings, f"--namespace={app.namespace}")


def await_weight(app: App, weight: int) -> None:
    """Wait until a candidate has this share of the requests."""

    def seen() -> str | None:
        status = app.status()
        traffic = status.get("traffic", {})
        return None if (traffic.get("weight"), traffic.get("applied")) == (weight, True) else status["message"]

    wait_until(f"the candidate has {weight} % of the requests", seen, 60, pause=LOOKING)


def enough(load: Load) -> Result:
    """Go on until there were enough requests."""

    def seen() -> str | None:
        total = load.counts().total()
        return None if total >= ENOUGH else f"{total} requests"

    wait_until(f"{ENOUGH} requests", seen, 90)
    return load.stop()


def test_the_operator_s_pods_are_ready_unprivileged_and_scraped(chart: Chart, cluster: Cluster) -> None:
    pods = chart.pods()
    assert len(pods) == cluster.get("deployment", FULL_NAME, NAMESPACE)["spec"]["replicas"]
    for pod in pods:
        (container,) = pod["status"]["containerStatuses"]
        assert container["ready"]
        assert container["restartCount"] == 0

    def unscraped() -> str | None:
        query = f'query=up{{pod=~"{FULL_NAME}-.*"}}'
        url = f"{cluster.prometheus_url}/api/v1/query"
        answer = cluster.run("curl", "--silent", "--get", url, "--data-urlencode", query)
        up = {found["metric"]["pod"]: found["value"][1] for found in json.loads(answer)["data"]["result"]}
        wanted = {pod["metadata"]["name"]: "1" for pod in pods}
        return None if up.items() >= wanted.items() else f"up is {up}"

    wait_until("Prometheus scrapes the operator", unscraped, 60, pause=LOOKING)


def test_the_operator_may_read_no_secret_and_grant_nothing(chart: Chart, cluster: Cluster) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:{FULL_NAME}"
    listed = cluster.kubectl("auth", "can-i", "--list", account, HERE, "--no-headers")
    # Paths that are no resources (/healthz and the like) are everybody's.
    resources = [line for line in listed.splitlines() if line and not line.startswith(" ")]
    assert any(line.startswith("canaryreleases.tidegate.dev") for line in resources)
    assert not [line for line in resources if "*" in line or re.match(r"secrets\b", line)]
    assert not re.search(r"\b(escalate|bind|impersonate)\b", listed)


def test_a_good_release_is_promoted_and_a_bad_one_is_reverted(app: App, chart: Chart, tmp_path: Path) -> None:
    with Load(app.cluster, HOST, tmp_path, rate=RATE) as load:
        ship(app, "v2")
        app.await_phase("Idle", 120, outcome="Promoted", version=2)
        pods = app.pods()
        ship(app, "v3", ERROR_RATE="0.5")
        app.await_phase("RolledBack", 60, outcome="RolledBack")
        result = enough(load)
    assert result.failed(but="v3") == {}, f"seconds of the first and last answers: {result.first}, {result.last}"
    assert result.of("v2") > 0
    assert app.pods() == pods


def test_the_operator_is_upgraded_in_mid_release(app: App, chart: Chart, tmp_path: Path) -> None:
    before, operators = app.status()["history"], {pod["metadata"]["uid"] for pod in chart.pods()}
    stable = app.pods()
    with Load(app.cluster, HOST, tmp_path, rate=RATE) as load:
        ship(app, "v4", ERROR_RATE="0")
        await_weight(app, 10)
        # However long the upgrade takes, it is over before the release is.
        respec(app, paused=True)
        chart.upgrade("--set=podAnnotations.upgraded=yes")
        assert app.pods().keys() > stable.keys(), "stable's pods, all of them, and the candidate's"
        respec(app, paused=False)
        app.await_phase("Idle", 120, outcome="Promoted", version=4)
        result = enough(load)
    assert result.failed() == {}, f"seconds of the first and last answers: {result.first}, {result.last}"
    after = app.status()["history"]
    assert after[1:] == before, "one release, not begun anew"
    assert not operators & {pod["metadata"]["uid"] for pod in chart.pods()}


def test_the_operator_asked_for_nothing_that_it_may_not(app: App, chart: Chart, cluster: Cluster) -> None:
    assert chart.refused() == []
    for pod in chart.pods():
        logged = cluster.kubectl("logs", pod["metadata"]["name"], HERE)
        assert '"level": "error"' not in logged
        assert "Not enough permissions" not in logged


def test_uninstalled_in_mid_release_and_installed_again(app: App, chart: Chart, tmp_path: Path) -> None:
    cluster = app.cluster
    respec(app, steps=[{"weight": 50, "bake": "10m"}])
    stable, before = app.pods(), specs(app)
    with Load(cluster, HOST, tmp_path, rate=RATE) as load:
        ship(app, "v5")
        await_weight(app, 50)
        chart.uninstall()
        assert app.pods() == stable, "stable's pods, all of them and no other"
        result = enough(load)
    assert result.failed() == {}, f"seconds of the first and last answers: {result.first}, {result.last}"
    assert result.of("v5") > 0
    assert ours(app) == []
    assert specs(app) == before
    assert chart.objects() == set()
    assert app.pods() == stable
    release = cluster.get("canaryrelease", app.name, app.namespace)
    assert "finalizers" not in release["metadata"]
    assert release["status"]["phase"] == "LetGo"
    assert (release["status"]["lastRelease"]["outcome"], release["status"]["lastRelease"]["reason"]) == (
        "Aborted",
        "LetGo",
    )

    chart.install()
    app.await_phase("Idle", 30)
    assert app.pods() == stable


def test_an_uninstall_that_cannot_let_go_says_why_and_removes_nothing(app: App, chart: Chart) -> None:
    chart.upgrade("--set=letGo.timeout=8s")
    scale = ("scale", f"deployment/{FULL_NAME}", HERE)
    app.cluster.kubectl(*scale, "--replicas=0")
    before, notes = chart.objects(), ours(app)
    with pytest.raises(ClusterFailed) as failed:
        chart.uninstall()
    assert "shop/checkout: Idle" in str(failed.value)
    assert "a second try waits again" in str(failed.value)
    assert chart.objects() >= before
    assert ours(app) == notes != []

    app.cluster.kubectl(*scale, "--replicas=2")
    app.await_phase("LetGo", 60)
    chart.uninstall()
    assert chart.objects() == set()
    assert ours(app) == []


def _silent(cluster: Cluster) -> str | None:
    asked = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "2")
    code = cluster.run(*asked, "--header", f"Host: {HOST}", cluster.gateway_url)
    return None if code == "200" else f"the router says {code}"

"""The installation that users make: kustomize, the operator as a pod under its own RBAC, and the sample released."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import network, operator_image
from tests.cluster.interface import Cluster, ClusterUnavailable
from tests.cluster.waiting import wait_until
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.operator import NAMESPACE, TRAEFIK_API, Operator

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PLACEHOLDER = "ghcr.io/tidegate/tidegate"
METRICS = f"/api/v1/namespaces/{NAMESPACE}/services/tidegate-metrics:8080/proxy/metrics"
HOST = "checkout.example.com"
HERE = f"--namespace={NAMESPACE}"
SETTINGS = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "tidegate", "namespace": NAMESPACE},
    "spec": {
        "template": {
            "spec": {
                "containers": [{"name": "operator", "env": [{"name": "TIDEGATE_TRAEFIK_API", "value": TRAEFIK_API}]}]
            }
        }
    },
}


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> operator_image.Image:
    """The operator's image, on every node."""
    try:
        built = network.call_in(network.OUTSIDE, operator_image.build)
    except ClusterUnavailable as reason:
        pytest.skip(f"no image of the operator here: {reason}")
    cluster.load_image(built.archive)
    return built


@pytest.fixture(scope="module")
def installed(
    cluster: Cluster, operator: Operator, image: operator_image.Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster with the operator in it, and none beside it."""
    folder = tmp_path_factory.mktemp("overlay").resolve()
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(ROOT / "manifests", folder)],
        "images": [{"name": PLACEHOLDER, "newName": image.repository, "newTag": image.tag}],
        "patches": [{"patch": yaml.safe_dump(SETTINGS)}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    operator.stop()
    try:
        cluster.kubectl("apply", f"--kustomize={folder}")
        cluster.kubectl("rollout", "status", "deployment/tidegate", HERE, "--timeout=60s")
        yield cluster
    finally:
        cluster.kubectl("delete", "deployment/tidegate", HERE, "--ignore-not-found", "--wait=true")
        operator.start()


@pytest.fixture
def sample(installed: Cluster) -> Iterator[App]:
    """The sample application, as it stands in the manifests."""
    app = App(installed, "shop")
    installed.kubectl("apply", f"--filename={ROOT / 'manifests/samples/checkout.yaml'}")
    try:
        yield app
    finally:
        app.delete()


def test_the_sample_is_adopted_promoted_and_let_go_by_the_operator_in_its_pod(sample: App, tmp_path: Path) -> None:
    cluster = sample.cluster
    status = sample.await_phase("Idle", 60)
    assert status["stable"]["replicas"] == 4
    # The pods are ready before the router has heard of them.
    wait_until("the sample answers", lambda: _silent(cluster), 30)
    with Load(cluster, HOST, tmp_path, rate=200) as load:
        cluster.kubectl("set", "env", "deployment/checkout", "VERSION=v2", f"--namespace={sample.namespace}")
        sample.await_phase("Idle", 120, outcome="Promoted", version=2)
        result = load.stop()
    assert result.failed() == {}, f"seconds of the first and last answers: {result.first}, {result.last}"
    assert result.of("v2") > 0

    pods = sample.pods()
    # kubectl waits until the release is gone: its finalizer is the operator's to remove.
    cluster.kubectl("delete", "canaryrelease/checkout", f"--namespace={sample.namespace}", "--timeout=30s")
    left = cluster.get("deployments,replicasets,services,httproutes", f"--namespace={sample.namespace}")["items"]
    for obj in left:
        notes = obj["metadata"].get("annotations", {})
        assert not [note for note in notes if note.startswith("tidegate.dev/")], obj["metadata"]["name"]
    assert sample.pods() == pods

    refused = re.findall(r'^tidegate_api_requests_total\{code="(?:401|403)".*$', _metrics(cluster), re.MULTILINE)
    assert refused == []
    logged = cluster.kubectl("logs", "deployment/tidegate", HERE)
    assert '"level": "error"' not in logged
    assert "Not enough permissions" not in logged


def test_both_replicas_are_ready_unprivileged_and_scraped(installed: Cluster) -> None:
    pods = installed.get("pods", HERE, "--selector=app.kubernetes.io/name=tidegate")["items"]
    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["status"]["containerStatuses"]
        assert container["ready"]
        assert container["restartCount"] == 0
    assert "tidegate_api_requests_total" in _metrics(installed)

    def unscraped() -> str | None:
        query = f'up{{namespace="tidegate-system",pod=~"{"|".join(pod["metadata"]["name"] for pod in pods)}"}}'
        answer = installed.run(
            "curl",
            "--silent",
            "--get",
            f"{installed.prometheus_url}/api/v1/query",
            "--data-urlencode",
            f"query={query}",
        )
        values = [found["value"][1] for found in json.loads(answer)["data"]["result"]]
        return None if values == ["1", "1"] else f"up is {values}"

    wait_until("Prometheus scrapes the operator", unscraped, 30)


def _silent(cluster: Cluster) -> str | None:
    asked = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "2")
    code = cluster.run(*asked, "--header", f"Host: {HOST}", cluster.gateway_url)
    return None if code == "200" else f"the router says {code}"


def _metrics(cluster: Cluster) -> str:
    return cluster.kubectl("get", f"--raw={METRICS}")

"""The chart of this checkout with the image of this checkout, installed by Helm as users do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.interface import Cluster
from tests.cluster.operator_image import Image
from tests.rig.app import App
from tests.rig.operator import ROOT, TRAEFIK_API, Operator, refused
from tests.rig.operator import install as install_beside

NAME, NAMESPACE = "gate", "delivery"
FULL_NAME = f"{NAME}-tidegate"
HERE = f"--namespace={NAMESPACE}"
OF_HELM = f"app.kubernetes.io/instance={NAME}"
OWN_KINDS = (
    "deployments,services,serviceaccounts,jobs,roles,rolebindings,poddisruptionbudgets,"
    "clusterroles,clusterrolebindings,mutatingadmissionpolicies,mutatingadmissionpolicybindings,"
    "mutatingwebhookconfigurations"
)

Json = dict[str, Any]


class Chart:
    """``options`` of Helm are those of each installation and upgrade."""

    def __init__(self, cluster: Cluster, image: Image, *options: str) -> None:
        self._cluster, self._image, self._options = cluster, image, options

    def install(self, *options: str) -> None:
        """As the README says."""
        self._apply("install", *options)

    def upgrade(self, *options: str) -> None:
        """Once more, with something else set."""
        self._apply("upgrade", *options)

    def uninstall(self, *options: str) -> None:
        """As the README says."""
        self._helm("uninstall", NAME, *options)

    def _apply(self, verb: str, *options: str) -> None:
        image = f"image.repository={self._image.repository},image.tag={self._image.tag}"
        settings = ("--set", image, "--set", f"traefik.api={TRAEFIK_API}")
        self._helm(verb, NAME, str(ROOT / "charts/tidegate"), *settings, *self._options, *options)

    def _helm(self, *words: str) -> None:
        # Nicely: elsewhere it does not share its two cores with the whole cluster. What hooks say is said beside it.
        command = 'exec nice helm "$@" 2>&1'
        self._cluster.run("sh", "-c", command, "helm", *words, HERE, "--wait", "--timeout=120s", timeout=150)

    def objects(self) -> set[str]:
        """All that is of this installation, by Kind/name; release objects and their definitions aside."""
        found = self._cluster.items(OWN_KINDS, labels=OF_HELM)
        return {f"{obj['kind']}/{obj['metadata']['name']}" for obj in found}

    def pods(self) -> list[Json]:
        """The operator's pods that are not leaving."""
        pods = self._cluster.items("pods", NAMESPACE, labels="app.kubernetes.io/name=tidegate")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def refused(self) -> list[str]:
        """What the operator's pods asked for and may not."""
        paths = (
            f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics" for pod in self.pods()
        )
        return [series for path in paths for series in refused(self._cluster.kubectl("get", f"--raw={path}"))]


@contextmanager
def installed(cluster: Cluster, operator: Operator, image: Image, *options: str) -> Iterator[Chart]:
    """The chart in a cluster that knows nothing of Tidegate; the operator beside it is away meanwhile."""
    cluster.kubectl("delete", "canaryreleases", "--all", "--all-namespaces", "--timeout=60s")
    operator.stop()
    chart = Chart(cluster, image, *options)
    try:
        for folder in ("manifests/admission", "charts/tidegate/files/crds"):
            cluster.kubectl("delete", f"--filename={ROOT / folder}", "--ignore-not-found", "--timeout=60s")
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}
        cluster.kubectl("apply", "-f-", stdin=json.dumps(space))
        chart.install()
        yield chart
    finally:
        if chart.objects():
            chart.uninstall("--no-hooks")
        # A second installation makes it anew.
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
        install_beside(cluster)
        operator.start()


def ours(app: App) -> list[str]:
    """All that is Tidegate's in what is the user's."""
    objects = app.cluster.items("deployments,replicasets,services,httproutes", app.namespace)
    found = [
        f"{obj['kind']} {obj['metadata']['name']}: {note}"
        for obj in objects
        for note in {**obj["metadata"].get("annotations", {}), **obj["metadata"].get("labels", {})}
        if note.startswith("tidegate.dev/")
    ]
    services = [obj for obj in objects if obj["kind"] == "Service"]
    found += [f"Service {obj['metadata']['name']}" for obj in services if obj["metadata"]["name"] != app.name]
    found += [obj["metadata"]["name"] for obj in services if "pod-template-hash" in obj["spec"]["selector"]]
    return found


def specs(app: App) -> Json:
    """What the user's objects ask for."""
    kinds = ("deployment", "service", "httproute")
    return {kind: app.cluster.get(kind, app.name, app.namespace)["spec"] for kind in kinds}

"""What the Deployment controller does within the gate, with pods: nobody else moves them, and the way out is open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.gate.case import Json
from tests.gate.server import AS_TIDEGATE, namespace
from tidegate.core.gate import CEILING, FLOOR, RELEASE
from tidegate.core.reading import DESIRED, REVISION

pytestmark = pytest.mark.e2e


@pytest.fixture
def live_namespace(gated: Cluster) -> Iterator[str]:
    """A namespace for pods."""
    with namespace(gated) as name:
        yield name


class Managed:
    """A Deployment as Tidegate would adopt it, with Tidegate's own writes made by hand."""

    def __init__(self, at: Cluster, namespace: str) -> None:
        self._at, self._namespace = at, namespace

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As a user."""
        return self._at.kubectl(*arguments, f"--namespace={self._namespace}", stdin=stdin)

    def create(self, version: str, replicas: int) -> None:
        """The Deployment, rolled out."""
        app = {"app": "checkout"}
        probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
        container = {
            "name": "app",
            "image": "localhost/tidegate-demo:latest",
            "imagePullPolicy": "IfNotPresent",
            "env": [{"name": "VERSION", "value": version}, {"name": "DRAIN_MS", "value": "0"}],
            "readinessProbe": probe,
        }
        spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "checkout", "labels": app},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": app},
                "template": {"metadata": {"labels": app}, "spec": spec},
            },
        }
        self.kubectl("create", "--filename=-", stdin=json.dumps(body))
        self.rolled_out()

    def rolled_out(self) -> None:
        """Wait until the newest template is all that runs."""
        self.kubectl("rollout", "status", "deployment/checkout", "--timeout=90s")

    def ship(self, version: str) -> None:
        """A new template."""
        self.kubectl("set", "env", "deployment/checkout", f"VERSION={version}")

    def write(self, what: str, notes: Mapping[str, str], replicas: int | None = None) -> None:
        """A write of Tidegate."""
        spec = {} if replicas is None else {"spec": {"replicas": replicas}}
        patch = json.dumps({"metadata": {"annotations": notes}, **spec})
        self.kubectl("patch", what, "--type=merge", f"--patch={patch}", *AS_TIDEGATE)

    def sets(self) -> dict[str, Json]:
        """The ReplicaSets by version."""
        found = self._at.items("replicasets", self._namespace)
        return {rs["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]: rs for rs in found}

    def pods(self) -> set[str]:
        """All pods that are not going."""
        found = self._at.items("pods", self._namespace)
        return {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}

    def name_of(self, version: str) -> str:
        """What the ReplicaSet of a version is called, to kubectl."""
        return f"replicaset/{self.sets()[version]['metadata']['name']}"

    def becomes(self, sizes: Mapping[str, int], *, current: str) -> None:
        """Wait until the controller has seen all and left these sizes, with as many pods ready."""

        def seen() -> str | None:
            deployment, sets = self._at.get("deployment", "checkout", self._namespace), self.sets()
            if deployment["status"].get("observedGeneration") != deployment["metadata"]["generation"]:
                return "the controller has not seen the newest generation"
            newest = max(sets, key=lambda version: int(sets[version]["metadata"]["annotations"][REVISION]))
            if newest != current:
                return f"the newest revision is {newest}"
            desired = str(deployment["spec"]["replicas"])
            behind = [
                version
                for version, rs in sets.items()
                if rs["spec"]["replicas"] and rs["metadata"]["annotations"][DESIRED] != desired
            ]
            if behind:
                return f"{', '.join(behind)} not told yet that N is {desired}"
            asked = {version: rs["spec"]["replicas"] for version, rs in sets.items()}
            ready = {version: rs["status"].get("readyReplicas", 0) for version, rs in sets.items()}
            pods = {version: rs["status"]["replicas"] for version, rs in sets.items()}
            return None if asked == ready == pods == dict(sizes) else f"asked {asked}, there {pods}, ready {ready}"

        wait_until(f"the sizes become {dict(sizes)}", seen, 90)


def test_the_deployment_controller_does_its_work_within_the_gate(gated: Cluster, live_namespace: str) -> None:
    app = Managed(gated, live_namespace)
    app.create("v0", 2)
    app.ship("v1")
    app.rolled_out()
    served = app.pods()

    # Adoption, as at rest: the annotation, stable's floor, a ceiling for what does not serve.
    app.write("deployment/checkout", {RELEASE: "checkout"})
    app.write(app.name_of("v1"), {FLOOR: "100%"})
    app.write(app.name_of("v0"), {CEILING: "0"})
    app.becomes({"v0": 0, "v1": 2}, current="v1")

    # A new template is born held; and stays so, though the controller is made to look again.
    app.ship("v2")
    app.becomes({"v0": 0, "v1": 2, "v2": 0}, current="v2")
    assert app.sets()["v2"]["metadata"]["annotations"][CEILING] == "0"
    app.kubectl("scale", "deployment/checkout", "--replicas=4")
    app.becomes({"v0": 0, "v1": 4, "v2": 0}, current="v2")
    assert served <= app.pods()

    # A step, and then nobody but the Deployment controller: the shares hold at every scale.
    app.write(app.name_of("v2"), {FLOOR: "25%", CEILING: "25%"}, 1)
    for desired, share in ((4, 1), (8, 2), (9, 3), (12, 3), (4, 1), (1, 1)):
        app.kubectl("scale", "deployment/checkout", f"--replicas={desired}")
        app.becomes({"v0": 0, "v1": desired, "v2": share}, current="v2")

    # Back to stable's template in mid-release: the candidate's floor keeps it, for its traffic is still there.
    app.ship("v1")
    app.becomes({"v0": 0, "v1": 1, "v2": 1}, current="v1")

    # An old revision is a release like any other.
    app.kubectl("rollout", "undo", "deployment/checkout", "--to-revision=1")
    app.becomes({"v0": 0, "v1": 1, "v2": 1}, current="v0")

    # The way out: one line, and the Deployment controller has it all again.
    gone = (f"{note}-" for note in (RELEASE, FLOOR, CEILING))
    app.kubectl("annotate", "deployments,replicasets", "--selector=app=checkout", *gone)
    app.rolled_out()
    app.becomes({"v0": 1, "v1": 0, "v2": 0}, current="v0")
    app.ship("v3")
    app.becomes({"v0": 0, "v1": 0, "v2": 0, "v3": 1}, current="v3")

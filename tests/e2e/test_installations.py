"""What Tidegate itself is made of is not as it should be in mid-release: policies that are gone or edited, a second
installation, a status of another version. Under load: noticed, said where users look, survived."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig import audit
from tests.rig.app import IMAGE, LOOKING, App, Json
from tests.rig.load import Load
from tests.rig.operator import NAMESPACE, ROOT, Operator, install
from tests.rig.witness import listening

pytestmark = pytest.mark.e2e

STEPS: list[Json] = [{"weight": 25, "bake": "10m"}, {"weight": 50, "bake": "10m"}]
STEPWISE: Json = {**STEADY, "steps": STEPS}
"""On by request only."""
HALF: Json = {**STEADY, "steps": STEPS[1:]}
POLICIES = str(ROOT / "manifests/admission")
HOLDER = "mutatingadmissionpolicy/tidegate-replicasets"
WHILE = 600
"""Requests for which it is looked whether something stays as it is."""


def served(load: Load, more: int = WHILE) -> None:
    """Wait until so many more requests were answered."""
    until = load.counts().total() + more
    wait_until(f"{more} requests more", lambda: None if load.counts().total() >= until else "fewer", 30)


@contextmanager
def deleted(cluster: Cluster) -> Iterator[None]:
    """The policies are gone for a while."""
    cluster.kubectl("delete", "--filename", POLICIES)
    try:
        yield
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", POLICIES)


@contextmanager
def edited(cluster: Cluster) -> Iterator[None]:
    """One of them would let through what it cannot judge."""
    for policy in ("Ignore", "Fail"):
        cluster.kubectl("patch", HOLDER, "--type=merge", f'--patch={{"spec":{{"failurePolicy":"{policy}"}}}}')
        if policy == "Ignore":
            yield


HARMS: dict[str, Callable[[Cluster], AbstractContextManager[None]]] = {"GateMissing": deleted, "GateChanged": edited}


def test_policies_deleted_and_edited_in_mid_release(app: App, operator: Operator, folder: Path) -> None:
    app.apply(app.release(**HALF))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load, listening(app, folder) as witness:
        app.ship("v2")
        app.await_weight(50)
        pods = len(app.pods())
        for reason, harm in HARMS.items():
            with harm(app.cluster):
                wait_until(f"the brake, for {reason}", lambda: None if braked(app) else "it is not paused", 30)
                app.await_reason(reason, "the Deployment is paused until the gate holds it again")
                assert app.events(reason)
                assert operator.counted("tidegate_gate_problem", f'reason="{reason}"') == 1
                app.cluster.kubectl("annotate", "deployment", app.name, "-n", app.namespace, f"{reason}=seen")
                served(load)
            wait_until("the brake is off", lambda: "it is paused" if braked(app) else None, 30)
            app.await_reason("Baking")
            served(load)
            # A Deployment that is paused may be cut down to replicas + maxSurge.
            wait_until("all pods are back", lambda: None if len(app.pods()) == pods else f"{app.pods()}", 30)
        app.ask("SkipStep")
        app.await_phase("Idle", 90, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert witness.shortfalls() == []


SWITCH: Json = {
    "switch": {"approval": "Manual"},
    "drain": "1s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}


def test_policies_deleted_where_a_pause_would_cost_stable_its_pods(new_app: Callable[..., App], folder: Path) -> None:
    """The Deployment controller takes a revision that has all of its pods for the only one that is needed."""
    switched, alone = new_app(kind="BlueGreenRelease"), new_app(replicas=1)
    switched.apply(switched.release(**SWITCH))
    alone.apply(alone.release(**HALF))
    for app in (switched, alone):
        app.await_phase("Idle", 20)
    pods = switched.pods(), alone.pods()

    with Load(switched.cluster, switched.host, folder) as load, Load(alone.cluster, alone.host, folder) as other:
        for app in (switched, alone):
            app.ship("v2")
        switched.await_question("switch")
        alone.await_weight(50)
        served(load)
        with deleted(switched.cluster):
            for app in (switched, alone):
                app.await_phase("Blocked", 60, outcome="Aborted")
                assert app.events("TemplateSetBack")
                # The Deployment controller looks at all that it has.
                app.cluster.kubectl("annotate", "deployment", app.name, "-n", app.namespace, "looked=at")
            served(load)
            served(other)
            assert (switched.pods(), alone.pods()) == pods
        for app in (switched, alone):
            app.await_phase("Idle", 60)
        results = load.stop(), other.stop()
    assert [result.failed() for result in results] == [{}, {}]
    assert (switched.pods(), alone.pods()) == pods


def braked(app: App) -> bool:
    """Whether its Deployment is paused."""
    return bool(app.cluster.get("deployment", app.name, app.namespace)["spec"].get("paused"))


@pytest.fixture
def second(cluster: Cluster, operator: Operator, tmp_path: Path) -> Iterator[Operator]:
    """Another installation, by mistake: of the same rights, and not who the policies exempt."""
    account = {"kind": "ServiceAccount", "name": "tidegate-two", "namespace": NAMESPACE}
    group, roles = "rbac.authorization.k8s.io", ("tidegate", "tidegate-cluster")
    rights = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {k: account[k] for k in ("name", "namespace")}},
        *(
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"{role}-two"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [account],
            }
            for role in roles
        ),
    ]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": rights})
    cluster.kubectl("apply", "--filename=-", stdin=manifest)
    made = Operator(cluster, tmp_path, port=18083, account=account["name"])
    made.launch()
    try:
        wait_until("it says what is wrong", lambda: None if "GateForeign" in made.readiness() else made.readiness(), 60)
        yield made
    finally:
        made.stop()
        cluster.kubectl("delete", "--filename=-", stdin=manifest)


def test_beside_a_second_installation_the_first_does_all_that_is_asked_of_it(
    app: App, second: Operator, folder: Path
) -> None:
    """Released by spec.images, step by step, aborted, tried again."""
    app.apply(app.release(**STEPWISE))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load:
        app.apply(app.release(**STEPWISE, images={"app": f"{IMAGE}:v2"}))
        stepwise(app)
        status = app.await_phase("Idle", 60, outcome="Promoted")
        assert status["stable"]["images"] == [f"{IMAGE}:v2"]
        app.ship("v3")
        app.await_weight(25)
        app.ask("Abort")
        app.await_phase("RolledBack", 60, outcome="Aborted")
        app.ask("Retry")
        stepwise(app)
        status = app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert result.of("v3") > 0
    assert [record["outcome"] for record in status["history"]] == ["Promoted", "Aborted", "Promoted"]
    assert second.readiness().startswith("503")
    assert f"this operator runs as system:serviceaccount:{NAMESPACE}:tidegate-two" in second.readiness()
    assert second.counted("tidegate_gate_problem", 'reason="GateForeign"') == 1
    # Of no object: the question who it is.
    writes = '^(?!.*resource="").*verb="(POST|PATCH|PUT|DELETE)"'
    assert second.counted("tidegate_api_requests_total", writes) == 0
    if app.cluster.audit is not None:
        written = [write for write in audit.writes(app.cluster.audit) if write.credential == second.credential]
        assert [write for write in written if write.kind != "selfsubjectreviews"] == []


def stepwise(app: App) -> None:
    """Both steps, each cut short."""
    for step in STEPS:
        app.await_weight(step["weight"])
        app.await_reason("Baking")
        app.ask("SkipStep")


@contextmanager
def newer(cluster: Cluster) -> Iterator[None]:
    """The CRD of a version that knows a stage more."""
    crd = cluster.get("crd", "canaryreleases.tidegate.dev")
    path = "schema/openAPIV3Schema/properties/status/properties/journal/properties/stage/enum"
    assert len(crd["spec"]["versions"]) == 1
    patch = [{"op": "add", "path": f"/spec/versions/0/{path}/-", "value": "Soar"}]
    cluster.kubectl("patch", "crd", crd["metadata"]["name"], "--type=json", f"--patch={json.dumps(patch)}")
    try:
        yield
    finally:
        install(cluster)


def write(app: App, stage: str) -> None:
    """An operator of another version is at work, or it was."""
    patch = json.dumps({"status": {"journal": {"stage": stage}}})
    here = ("-n", app.namespace, app.kind.lower(), app.name)

    def refused() -> None:
        app.cluster.kubectl("patch", *here, "--subresource=status", "--type=merge", f"--patch={patch}")

    wait_until(f"the API server takes stage {stage}", refused, 30, pause=LOOKING)


def test_a_status_of_another_version_is_left_alone_and_users_are_told(
    app: App, operator: Operator, folder: Path
) -> None:
    app.apply(app.release(**HALF))
    app.await_phase("Idle", 20)
    pods = app.pods()

    def told(times: int) -> str:
        def missing() -> str | None:
            said = app.events("StatusUnreadable")
            return None if len(said) == times else str(said)

        wait_until(f"{times} Events about the status", missing, 30, pause=LOOKING)
        return app.events("StatusUnreadable")[-1]

    with Load(app.cluster, app.host, folder) as load, newer(app.cluster):
        app.ship("v2")
        app.await_weight(50)
        both, weights = app.pods(), app.weights()
        write(app, "Soar")
        assert "status.journal.stage: 'Soar'" in told(1)
        assert operator.counted("tidegate_release_unreadable", f'namespace="{app.namespace}"') == 1
        app.cluster.kubectl("-n", app.namespace, "delete", app.kind.lower(), app.name, "--wait=false")
        told(2)
        assert any("The way out without the operator" in said for said in app.events("StatusUnreadable"))
        served(load)
        assert app.status()["journal"]["stage"] == "Soar"
        assert (app.pods(), app.weights()) == (both, weights)
        write(app, "Bake")
        gone = ("wait", "--for=delete", f"{app.kind.lower()}/{app.name}", "--timeout=60s")
        app.cluster.kubectl("-n", app.namespace, *gone)
        app.cluster.kubectl("-n", app.namespace, "rollout", "status", f"deployment/{app.name}", "--timeout=60s")
        result = load.stop()
    assert result.failed() == {}
    assert app.pods() == pods, "letting go makes no pod anew"

"""Pods and nodes come and go in mid-release: a drain, evictions, deletions, a kubelet that is late. None of it is the
candidate's fault, and none of it costs a request."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.interface import ClusterUnavailable
from tests.cluster.local import LocalCluster
from tests.cluster.provider import cluster as find
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig.app import LOOKING, App, Json
from tests.rig.load import Load
from tests.rig.operator import Operator, install
from tidegate.core.reading import HASH

pytestmark = pytest.mark.slow_cluster

PATIENCE = 180.0
SECOND = "node-2"
TWO: dict[str, Any] = {**STEADY, "steps": [{"weight": 25, "bake": "20s", "replicas": "50%"}]}
"""Two candidate pods from the first step on: with one, whoever takes it takes its share of the requests."""
SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "checkout"}},
            "matchLabelKeys": [HASH],
        }
    ]
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[LocalCluster]:
    """A cluster of two nodes, of its own: what is done to them is no good to others."""
    try:
        found = find(f"{os.environ.get('TIDEGATE_CLUSTER', 'test')}-nodes")
        if not isinstance(found, LocalCluster):
            pytest.skip("the provider here is not the local one: kubelets cannot be stopped")
        found.up(nodes=2)
    except ClusterUnavailable as reason:
        pytest.skip(f"no cluster here: {reason}")
    yield found
    if os.environ.get("KEEP") != "1":
        found.down()


@pytest.fixture(scope="module")
def operated(two_nodes: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The same with the operator."""
    install(two_nodes)
    with Operator(two_nodes, tmp_path_factory.mktemp("operator")):
        yield two_nodes


@pytest.fixture
def app(operated: LocalCluster) -> Iterator[App]:
    """An application of four pods on both nodes, of which one may be missing, with a release of seconds."""
    made = App(operated, f"nodes-{os.getpid()}-{next(_numbers)}", pod=SPREAD)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": made.name, "namespace": made.namespace},
        "spec": {"minAvailable": "75%", "selector": {"matchLabels": {"app": made.name}}},
    }
    made.create()
    made.apply(budget, made.release(**TWO))
    made.await_phase("Idle", PATIENCE)
    yield made
    made.delete(wait=True)


@contextlib.contextmanager
def baking(app: App, folder: Path) -> Iterator[Load]:
    """A release in its first bake, under load; afterwards it must end well, with no request failed."""
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")

        def seen() -> str | None:
            status = app.status()
            traffic = status.get("traffic", {})
            return None if (traffic.get("weight"), traffic.get("applied")) == (25, True) else str(status.get("message"))

        wait_until("a quarter of the requests go to the new version", seen, PATIENCE, pause=LOOKING)
        yield load
        app.await_phase("Idle", PATIENCE, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert result.of("v2") > 0
    assert [record["outcome"] for record in app.status()["history"]] == ["Promoted"]


def pods(app: App, which: str) -> dict[str, str]:
    """Pods of stable or candidate that are not leaving, and their nodes."""
    hash_ = app.status()[which]["hash"]
    items = app.cluster.items("pods", app.namespace, labels=f"{HASH}={hash_}")
    return {
        pod["metadata"]["name"]: pod["spec"].get("nodeName", "")
        for pod in items
        if "deletionTimestamp" not in pod["metadata"]
    }


def await_replaced(app: App, which: str, gone: str, count: int) -> None:
    """Wait until a pod is gone, and there are as many ready ones as before."""

    def seen() -> str | None:
        there, status = pods(app, which), app.status()[which]
        return None if gone not in there and len(there) == status["ready"] == count else f"{there}, {status}"

    wait_until(f"{gone} is replaced", seen, PATIENCE, pause=LOOKING)


def evict(app: App, pod: str) -> None:
    """By the eviction API, as everybody who respects a PodDisruptionBudget."""
    body: Json = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": app.namespace},
    }
    path = f"/api/v1/namespaces/{app.namespace}/pods/{pod}/eviction"
    app.cluster.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(body))


def delete(app: App, pod: str) -> None:
    """By hand."""
    app.cluster.kubectl("delete", "pod", pod, "-n", app.namespace, "--wait=false")


def test_the_second_node_is_drained(app: App, folder: Path) -> None:
    with baking(app, folder):
        assert set(pods(app, "stable").values()) == {"node-1", SECOND}
        assert set(pods(app, "candidate").values()) == {"node-1", SECOND}
        try:
            app.cluster.kubectl(
                *("drain", SECOND, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={PATIENCE:.0f}s"),
                timeout=PATIENCE,
            )
            assert set(pods(app, "stable").values()) == {"node-1"}
        finally:
            app.cluster.kubectl("uncordon", SECOND)


@pytest.mark.parametrize("remove", [evict, delete])
def test_pods_are_taken_one_by_one(app: App, folder: Path, remove: Callable[[App, str], None]) -> None:
    with baking(app, folder):
        for which, count in (("candidate", 2), ("stable", 4)):
            victim = next(iter(pods(app, which)))
            remove(app, victim)
            await_replaced(app, which, victim, count)


def test_a_kubelet_is_slow_to_report(app: App, operated: LocalCluster, folder: Path) -> None:
    """Pods of the next step start on its node, and of those that go nobody tells: the release waits for it."""
    kubelet = operated.nodes()[1].daemon("kubelet").pid
    assert kubelet is not None
    with baking(app, folder) as load:
        os.kill(kubelet, signal.SIGSTOP)
        try:
            waiting = lambda: _waits_for(app, SECOND)  # noqa: E731 - it is asked again
            wait_until("pods of the next step are due on the second node", waiting, PATIENCE, pause=LOOKING)
            served = load.counts().total()
            few = lambda: None if load.counts().total() > served + 2000 else "few requests"  # noqa: E731
            wait_until("seconds in which no word comes of them", few, PATIENCE)
            assert _waits_for(app, SECOND) is None
        finally:
            os.kill(kubelet, signal.SIGCONT)


def _waits_for(app: App, node: str) -> str | None:
    """The release waits for candidate pods, and at least one is on that node."""
    status = app.status()
    there = app.cluster.items("pods", app.namespace, labels=f"{HASH}={status['candidate']['hash']}")
    late = [pod["metadata"]["name"] for pod in there if pod["spec"].get("nodeName") == node and _pending(pod)]
    return None if late and status["journal"]["stage"] == "Scale" else f"{status.get('message')}; late: {late}"


def _pending(pod: Json) -> bool:
    return bool(pod["status"]["phase"] == "Pending")

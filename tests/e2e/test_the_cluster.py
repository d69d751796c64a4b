"""The test cluster itself: it stands beside others, comes back after a crash, and goes without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import artifacts, network, places
from tests.cluster.images import docker_archive
from tests.cluster.interface import ClusterFailed, ClusterUnavailable
from tests.cluster.local import LocalCluster
from tests.cluster.provider import cluster as find
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.slow_cluster

WARM_START = 20  # seconds, all binaries and images being there
DEMO = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: demo, namespace: default}
spec:
  selector: {matchLabels: {app: demo}}
  template:
    metadata: {labels: {app: demo}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: demo
          image: localhost/tidegate-demo:v1
          imagePullPolicy: Never
          readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: demo, namespace: default}
spec:
  selector: {app: demo}
  ports: [{port: 80, targetPort: 8080}]
"""
CLIENT = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default}}
spec:
  restartPolicy: Never
  nodeName: {node}
  containers:
    - name: load
      image: localhost/tidegate-load:latest
      imagePullPolicy: Never
      args: ["-url", "{url}", "-rate", "50", "-duration", "1s"]
"""


def local(name: str) -> LocalCluster:
    """A local cluster of that name, not running."""
    try:
        found = find(name)
        if not isinstance(found, LocalCluster):
            pytest.skip("the provider here is not the local one")
        found.down()
    except ClusterUnavailable as reason:
        pytest.skip(f"no cluster here: {reason}")
    return found


@pytest.fixture(scope="module")
def load_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load generator as an image: a client in a pod."""
    out = tmp_path_factory.mktemp("images") / "load.tar"
    names, files = ["localhost/tidegate-load:latest"], {"/load": artifacts.load_generator()}
    return docker_archive(names, files, out=out, entrypoint=["/load"])


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    one, two = local("test-one"), local("test-two")
    try:
        one.up(nodes=2)
        begin = time.monotonic()
        two.up()
        assert time.monotonic() - begin < 3 * WARM_START
        yield one, two
    finally:
        one.down()
        two.down()


def traces(cluster: LocalCluster) -> list[str]:
    """Whatever is left of a cluster on the machine."""
    spaces = [str(space) for space in network.NAMESPACES.glob(f"tidegate-{cluster.name}*")]
    groups = [str(group) for group in Path("/sys/fs/cgroup").glob(f"**/tidegate-{cluster.name}.*")]
    folders = [str(folder) for folder in (cluster.state, places.RUN / cluster.name) if folder.exists()]
    marks = (str(cluster.state) + "/", f"{places.RUN / cluster.name}/")
    processes, mounts = [], []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if any(mark in command for mark in marks):
                processes.append(command)
            if any(mark in (process / "mounts").read_text() for mark in marks):
                mounts.append(f"mount in {command}")
    return spaces + groups + folders + processes + mounts


def run_client(cluster: LocalCluster, name: str, node: str, url: str) -> dict[str, int]:
    """What a pod on a node gets from an address, counted."""
    cluster.kubectl("apply", "--filename=-", stdin=CLIENT.format(name=name, node=node, url=url))
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=30s")
    counts: dict[str, int] = json.loads(cluster.kubectl("logs", name))["counts"]
    return counts


def pods_by_node(cluster: LocalCluster) -> dict[str, dict[str, Any]]:
    return {pod["spec"]["nodeName"]: pod for pod in cluster.items("pods", labels="app=demo")}


def by_uid(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {obj["metadata"]["uid"]: obj for obj in objects}


def test_two_clusters_stand_side_by_side(pair: tuple[LocalCluster, LocalCluster]) -> None:
    one, two = pair
    one.kubectl("create", "namespace", "only-in-one")
    names = [{item["metadata"]["name"] for item in cluster.items("namespaces")} for cluster in (one, two)]
    assert "only-in-one" in names[0]
    assert "only-in-one" not in names[1]
    assert one.running()
    assert two.running()


@pytest.mark.parametrize("kinds", ["pods", "svc,deployment.apps", "HTTPRoute,gateways", "crd", "events"])
def test_what_is_read_is_what_kubectl_reads(pair: tuple[LocalCluster, LocalCluster], kinds: str) -> None:
    _, two = pair

    def other() -> str | None:
        found = two.items(kinds)
        one_by_one = [
            two.get(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", "")) for obj in found
        ]
        said = two.kubectl("get", kinds, "--all-namespaces", "--show-managed-fields", "--output=json")
        by_kubectl = json.loads(said)["items"]
        return None if by_uid(found) == by_uid(one_by_one) == by_uid(by_kubectl) else f"{found} and {by_kubectl}"

    wait_until("kubectl reads the same", other, 30)


def test_what_is_not_there_is_told(pair: tuple[LocalCluster, LocalCluster]) -> None:
    _, two = pair
    with pytest.raises(ClusterFailed, match='404: pods "nobody" not found'):
        two.get("po", "nobody", "default")
    with pytest.raises(ClusterFailed, match="knows no nonsense"):
        two.items("nonsense")


def test_a_second_node_takes_pods_that_reach_the_others(
    pair: tuple[LocalCluster, LocalCluster], load_image: Path
) -> None:
    one, _ = pair
    one.load_image(load_image)
    one.kubectl("apply", "--filename=-", stdin=DEMO)
    one.kubectl("rollout", "status", "daemonset/demo", "--timeout=30s")
    pods = pods_by_node(one)
    assert sorted(pods) == ["node-1", "node-2"]
    for number, (node, other) in enumerate((("node-1", "node-2"), ("node-2", "node-1"))):
        url = f"http://{pods[other]['status']['podIP']}:8080/"
        direct = run_client(one, f"direct-{number}", node, url)
        by_name = run_client(one, f"service-{number}", node, "http://demo.default.svc/")
        assert set(direct) == set(by_name) == {"v1 200"}


def test_it_comes_back_after_all_its_processes_were_killed(pair: tuple[LocalCluster, LocalCluster]) -> None:
    one, two = pair
    for daemon in two.daemons():
        daemon.must_run()
        pid = daemon.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait_until("their end", lambda: "some run" if any(daemon.pid for daemon in two.daemons()) else None, 10)
    assert not two.running()
    two.up()
    assert two.running()
    assert one.running()


def test_a_cluster_that_is_up_is_up_at_once(pair: tuple[LocalCluster, LocalCluster]) -> None:
    begin = time.monotonic()
    pair[1].up()
    assert time.monotonic() - begin < 5


def test_down_leaves_no_trace(pair: tuple[LocalCluster, LocalCluster]) -> None:
    one, two = pair
    assert traces(one)
    one.down()
    assert traces(one) == []
    assert two.running()
    two.down()
    assert traces(two) == []
    two.down()

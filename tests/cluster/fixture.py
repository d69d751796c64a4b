"""The cluster as a pytest fixture; a conftest imports it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import machine, network
from tests.cluster.interface import Cluster, ClusterUnavailable
from tests.cluster.provider import cluster as find

DEFAULT = "test"


def enter_network(cluster: Cluster) -> None:
    """Move the calling thread, and threads it starts from now on, into the cluster's network.

    From then on the process talks to the cluster as a process of the node does, and to nothing else.
    """
    if (space := _enterable(cluster)) is not None:
        network.move_thread(space)


def _enterable(cluster: Cluster) -> Path | None:
    """The network to enter, if this process is not in it."""
    space = cluster.network
    if space is None or network.inside(space):
        return None
    if not machine.privileged():
        raise ClusterUnavailable("the cluster's network takes root: run the tests with sudo, or tests/cluster/run")
    return space


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that runs, with the tests in its network and its kubeconfig in their environment. Each process of
    pytest-xdist has one of its own.

    One that ran before is used and left running; one that had to be started ends with the tests, unless KEEP=1.
    """
    try:
        worker = os.environ.get("PYTEST_XDIST_WORKER")
        found = find("-".join(filter(None, (os.environ.get("TIDEGATE_CLUSTER", DEFAULT), worker))))
        started = not found.running()
        found.up()
        space = _enterable(found)
    except ClusterUnavailable as reason:
        pytest.skip(f"no cluster here: {reason}")
    with network.visit(space), pytest.MonkeyPatch.context() as patch:
        for key, value in found.environment().items():
            patch.setenv(key, value)
        yield found
    if started and os.environ.get("KEEP") != "1":
        found.down()

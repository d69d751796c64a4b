"""A real cluster with the operator running beside it, and applications to release."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import artifacts, fixture, network, operator_image
from tests.cluster.interface import Cluster, ClusterUnavailable
from tests.cluster.waiting import wait_until
from tests.gate.api import Api
from tests.gate.server import Server, namespace
from tests.rig import load
from tests.rig.app import App
from tests.rig.operator import Operator, install

cluster = fixture.cluster
_numbers = itertools.count(1)

FAST: dict[str, Any] = {
    "steps": [{"weight": 25, "bake": "4s"}, {"weight": 50, "bake": "4s"}],
    "drain": "1s",
    "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 50},
}
"""A release of seconds: the looks and scrapes are every 2 s, so each step has two."""


STEADY: dict[str, Any] = {
    **FAST,
    "analysis": {
        **FAST["analysis"],
        "metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}],
    },
}
"""The same where something else than the candidate may make answers slow: a machine that is short of cores, say."""


Figure = Callable[[str, object], None]
"""Name and value of what was measured: told at the end of all tests."""


@pytest.fixture
def figure(record_property: Figure) -> Figure:
    """Tells what was measured."""
    return record_property


@pytest.fixture(autouse=True)
def requests_told(figure: Figure) -> Iterator[None]:
    """How many requests a story was told with, and what became of those that were no success."""
    before = len(load.results)
    yield
    if told := load.results[before:]:
        failed = sum((Counter(result.failed()) for result in told), Counter[str]())
        figure("requests", sum(result.total for result in told))
        figure("no success", dict(failed) or "none")


@pytest.fixture(scope="session")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator of this checkout, as its own ServiceAccount, which may do all that any test made it do."""
    install(cluster)
    with Operator(cluster, tmp_path_factory.mktemp("operator")) as running:
        yield running
    assert running.refused == set(), "manifests/rbac.yaml does not grant what the operator asked for"


@pytest.fixture(scope="session")
def helm(cluster: Cluster) -> Path:
    """Helm, which the cluster's other tools have then beside them: ``cluster.run("helm", ...)``."""
    tool = cluster.tools / "helm"
    program = network.call_in(network.OUTSIDE, artifacts.helm)
    if not (tool.is_symlink() and tool.readlink() == program):
        tool.unlink(missing_ok=True)
        tool.symlink_to(program)
    return tool


@pytest.fixture(scope="session")
def image(cluster: Cluster) -> operator_image.Image:
    """The operator's image, on every node."""
    try:
        built = network.call_in(network.OUTSIDE, operator_image.build)
    except ClusterUnavailable as reason:
        pytest.skip(f"no image of the operator here: {reason}")
    cluster.load_image(built.archive)
    return built


@pytest.fixture(scope="module")
def gated(cluster: Cluster) -> Cluster:
    """A cluster with the gate. The API server takes a moment to read new policies."""
    install(cluster)
    with Api(cluster) as api, namespace(cluster) as name:
        server = Server(cluster, api, name)
        wait_until("the gate stands", lambda: server.wrong("birth: a new revision"), 30)
    return cluster


@pytest.fixture
def new_app(cluster: Cluster, operator: Operator) -> Iterator[Callable[..., App]]:
    """Makes applications, each in a namespace of its own, and removes them."""
    made: list[App] = []

    def make(of: type[App] = App, **settings: object) -> App:
        app = of(cluster, f"app-{os.getpid()}-{next(_numbers)}", **settings)  # type: ignore[arg-type]
        made.append(app)
        app.create()
        return app

    yield make
    for app in made:
        app.delete()


@pytest.fixture
def app(new_app: Callable[..., App]) -> App:
    """One application of four pods that serves."""
    return new_app()


@pytest.fixture
def managed(app: App) -> App:
    """One application under management, with a release of seconds."""
    app.apply(app.release(**FAST))
    app.await_phase("Idle", 20)
    return app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for what a load writes."""
    return tmp_path

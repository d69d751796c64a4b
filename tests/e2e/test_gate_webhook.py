"""The gate by webhook on a real API server: the same table, and what needs the operator, and what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.api import Refused
from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST
from tests.gate import CASES
from tests.gate.functions import admitted, asked_for
from tests.gate.server import Server, furnished
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.operator import Operator
from tests.rig.webhook import gated_by_webhook

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def answering(cluster: Cluster, operator: Operator) -> Iterator[Operator]:
    """The operator, as the gate."""
    if cluster.network is None:
        pytest.skip("the API server of this cluster cannot reach a process of this machine")
    with gated_by_webhook(cluster, operator):
        yield operator


@pytest.fixture(scope="module")
def server(cluster: Cluster, answering: Operator) -> Iterator[Server]:
    """The table's objects."""
    with furnished(cluster) as ready:
        yield ready


@pytest.mark.parametrize("case", CASES)
def test_what_admission_makes_of_a_write(server: Server, case: str) -> None:
    assert server.wrong(case) is None


def test_an_older_version_of_the_api_is_no_way_around(server: Server) -> None:
    assert server.wrong_by_an_older_version() is None


def test_a_router_writes_the_status_of_a_route_in_mid_release(server: Server) -> None:
    assert server.wrong_of_a_status() is None


def test_what_tidegate_writes_makes_it_no_owner(server: Server) -> None:
    assert server.wrong_of_ownership() is None


def test_answers_take_less_than_5_ms(server: Server, answering: Operator) -> None:
    for case in ("birth: a new revision", "size: stable keeps its pods", "route: 16 rules"):
        server.write(case)
    counted = {
        name: float(value)
        for line in answering.ask("/metrics").splitlines()
        if line.startswith("tidegate_review_duration_seconds_")
        for name, _, value in [line.rpartition(" ")]
    }
    for kind in ("ReplicaSet", "HTTPRoute"):
        total, quick = (
            counted[f"tidegate_review_duration_seconds_{part}"]
            for part in (f'count{{kind="{kind}"}}', f'bucket{{kind="{kind}",le="0.005"}}')
        )
        assert total > 0
        assert quick / total > 0.9


def test_a_release_by_webhook_and_what_waits_for_the_operator(
    answering: Operator, new_app: Callable[..., App], folder: Path
) -> None:
    app = new_app(replicas=2)
    app.apply(app.release(**FAST))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load:
        with _away(answering):
            # HPA and people scale as always.
            for app.replicas in (4, 3):
                scale = ("scale", "deployment/checkout", f"--replicas={app.replicas}")
                app.cluster.kubectl("-n", app.namespace, *scale)
                app.cluster.kubectl("-n", app.namespace, "rollout", "status", "deployment/checkout", "--timeout=60s")
            pods = app.pods()
            # A new revision waits, and stable keeps its pods.
            app.ship("v2")
            wait_until("the birth is refused", lambda: _not_refused(app), 30)
            assert app.pods() == pods
        app.await_phase("Idle", 90, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert result.of("v2") > 0


@contextmanager
def _away(operator: Operator) -> Iterator[None]:
    operator.kill()
    try:
        yield
    finally:
        operator.start()


def _not_refused(app: App) -> str | None:
    conditions = app.cluster.get("deployment", app.name, app.namespace)["status"]["conditions"]
    said = [condition["message"] for condition in conditions if condition["reason"] == "ReplicaSetCreateError"]
    return None if any("failed calling webhook" in message for message in said) else str(conditions)


@pytest.fixture(scope="module")
def silent(server: Server, answering: Operator) -> Iterator[Server]:
    """The same, with nobody to ask."""
    with _away(answering):
        yield server


@pytest.mark.parametrize("case", CASES)
def test_without_the_operator_what_it_would_change_is_refused_and_nothing_else(silent: Server, case: str) -> None:
    before, asked = asked_for(CASES[case])
    same = CASES[case].by_tidegate or admitted(before, asked) == asked
    if same and CASES[case].kind.endswith("Route") and before and before["spec"]["rules"] != asked["spec"].get("rules"):
        pytest.skip("whether other rules have other weights cannot be told without the operator")
    if same:
        assert silent.wrong(case) is None
    else:
        with pytest.raises(Refused, match="failed calling webhook"):
            silent.write(case)

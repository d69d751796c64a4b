"""The API server is slow, busy, broken, mute or away while a release is in flight: it ends well, and no storm is made.

All faults are on the real wire, between the real operator and the real API server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.operator import Operator
from tests.rig.wire import BROKEN, BUSY, HANGING, RESETTING, SLOW, Request, Wire, tally

pytestmark = pytest.mark.e2e

LASTING = float(os.environ.get("FAULT_SECONDS", "3"))
"""Seconds of each fault; a minute of each takes a quarter of an hour."""
CALM = 15.0
"""Requests a second, with one release in flight, that no fault may lead to."""
AT_ONCE = 40
"""Requests beyond that which may follow at once upon the end of all watches: to discover, list and watch anew."""


@pytest.fixture(scope="module")
def wire(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The wire that the operator of this module is on; no other runs beside it, and it is the same at the end."""
    folder = tmp_path_factory.mktemp("wire")
    wires: list[Wire] = []

    def through(kubeconfig: Path) -> Path:
        wires.append(Wire(kubeconfig, folder).__enter__())
        return wires[0].kubeconfig

    operator.stop()
    behind = Operator(cluster, folder, through=through)
    try:
        with behind:
            yield wires[0]
            assert behind.running, f"it did not live through it: {behind.log.read_text()[-2000:]}"
    finally:
        for each in wires:
            each.__exit__(None, None, None)
        operator.start()


@contextmanager
def once(harm: Callable[[], None]) -> Iterator[None]:
    """Something that happens in an instant."""
    harm()
    yield


def endure(wire: Wire, fault: AbstractContextManager[object], seconds: float = LASTING) -> list[Request]:
    """A fault that lasts so long; what was asked meanwhile, which must have been little."""
    before, end = len(wire.requests), time.monotonic() + seconds
    with fault:
        wait_until("the fault has lasted", lambda: None if time.monotonic() >= end else "it lasts", seconds + 5)
    asked = wire.requests[before:]
    assert len(asked) <= CALM * seconds + AT_ONCE, f"{len(asked)} requests in {seconds} s: {tally(asked)}"
    return asked


@pytest.fixture(scope="module")
def app(wire: Wire, cluster: Cluster) -> Iterator[App]:
    """An application whose release lasts as long as all faults together."""
    made = App(cluster, f"faults-{os.getpid()}")
    made.create()
    steps = [{"weight": 25, "bake": "2s"}, {"weight": 50, "bake": f"{10 * LASTING}s"}]
    made.apply(made.release(**{**FAST, "steps": steps}))
    made.await_phase("Idle", 30)
    yield made
    made.delete()


def test_a_release_ends_well_through_all_that_an_api_server_can_do(wire: Wire, app: App, tmp_path: Path) -> None:
    with Load(app.cluster, app.host, tmp_path, rate=100) as load:
        app.ship("v2")
        app.await_phase("Progressing", 30)
        for fault in (SLOW, BUSY, BROKEN, RESETTING, HANGING):
            assert endure(wire, wire.broken(fault)), f"nothing was asked: {fault} befell nobody"
        endure(wire, wire.down())
        for harm in (wire.cut, wire.gone, wire.fail_streams):
            endure(wire, once(harm))
        app.await_phase("Idle", 60 + 15 * LASTING, outcome="Promoted", version=2)
        result = load.stop()
    assert result.failed() == {}
    assert result.of("v2") > 0


def test_watches_that_always_end_at_once_make_no_storm(wire: Wire, app: App) -> None:
    ending = wire.ending()
    asked = endure(wire, ending, 2 * LASTING)
    assert any(request.watch for request in asked)


def test_what_was_deleted_in_a_gap_of_the_watches_is_missed_soon(wire: Wire, app: App) -> None:
    with wire.broken(BROKEN, lambda request: request.watch):
        wire.gone()
        app.cluster.kubectl("-n", app.namespace, "delete", "httproute", app.name)
    app.await_phase("Blocked", 40)
    app.apply(app.route())
    app.await_phase("Idle", 30)

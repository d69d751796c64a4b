"""Releases at rest cost nothing: no request, no write when the operator starts. ``make bench`` measures hundreds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.rig.fleet import Fleet
from tests.rig.operator import Operator
from tests.rig.wire import Wire, tally

pytestmark = pytest.mark.e2e

COUNT = 40
IDLE = 15.0


@pytest.fixture
def fleet(cluster: Cluster, operator: Operator) -> Iterator[Fleet]:
    """Releases at rest, half of them in each of two namespaces; the operator is stopped."""
    made = Fleet(cluster, f"scale-{os.getpid()}", COUNT, 2)
    made.create()
    made.settle(60)
    operator.await_calm()
    operator.stop()
    yield made
    operator.start()
    made.delete()


def test_an_operator_that_finds_all_at_rest_writes_nothing_and_asks_nothing(
    fleet: Fleet, cluster: Cluster, tmp_path: Path
) -> None:
    wires: list[Wire] = []

    def through(kubeconfig: Path) -> Path:
        wires.append(Wire(kubeconfig, tmp_path).__enter__())
        return wires[0].kubeconfig

    try:
        with Operator(cluster, tmp_path, through=through) as operator:
            (wire,) = wires
            wait_until("all are visited", lambda: _unvisited(operator), 30)
            wait_until("its watches stand", wire.unwatched, 30)
            began = len(wire.requests)
            end = time.monotonic() + IDLE
            wait_until("it has rested", lambda: None if time.monotonic() >= end else "it rests", IDLE + 5)
            asked = wire.requests[began:]
        assert not asked, tally(asked)
        writes = [request for request in wire.requests if request.writes]
        assert not writes, tally(writes)
    finally:
        for wire in wires:
            wire.__exit__(None, None, None)


def _unvisited(operator: Operator) -> str | None:
    done = operator.counted("tidegate_reconcile_duration_seconds_count")
    return None if done >= COUNT else f"{done:.0f} of {COUNT}"

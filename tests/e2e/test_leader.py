"""Two replicas with a Lease, under load: one works, and whatever befalls it the other goes on with the release.

Who wrote what and when is told by the API server's audit log, in which each replica has a token of its own.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST, Figure
from tests.rig import audit
from tests.rig.app import App
from tests.rig.audit import Write
from tests.rig.load import Load
from tests.rig.operator import NAMESPACE, Operator
from tidegate.engine.leader import DURATION

pytestmark = pytest.mark.e2e

RATE = 400
SLACK = 5.0
"""Seconds from the end of a Lease, or from the SIGTERM of its holder, to the first write of the next leader: a look
every second, and fresh lists. On a machine that does nothing else a clean stop takes 2."""
SPEC: dict[str, Any] = {
    **FAST,
    "steps": [{"weight": 25, "bake": "4s"}],
    "analysis": {
        **FAST["analysis"],
        "metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}],
    },
}
"""Not by latency: what befalls the operator is no reason to be slow, and a busy machine is."""
PATIENCE = 30
"""Seconds that a client waits: late is not failed."""


@dataclass
class Pair:
    """Two replicas, and what the API server saw of them."""

    cluster: Cluster
    log: Path
    replicas: tuple[Operator, Operator]
    begins: int
    """How long the log was before them."""

    def complete(self) -> None:
        """Both run, and one leads."""
        for replica in self.replicas:
            if not replica.runs:
                replica.start()
        wait_until("one of them leads", lambda: None if self._leading() else "nobody does", DURATION + SLACK)

    def leader(self) -> tuple[Operator, Operator]:
        """The one that leads, and the other."""
        (first,), (one, two) = self._leading(), self.replicas
        return (one, two) if first is one else (two, one)

    def _leading(self) -> list[Operator]:
        return [replica for replica in self.replicas if replica.runs and replica.leads()]

    def landed(self, replica: Operator, since: float, kind: str = "") -> list[Write]:
        """What a replica has written since then."""
        return [
            write
            for write in audit.writes(self.log, self.begins)
            if write.credential == replica.credential and write.landed and write.received >= since
            if write.kind.startswith(kind)
        ]

    def first_write(self, replica: Operator, since: float, seconds: float, kind: str = "") -> Write:
        """The first that a replica writes after then."""
        wait_until(
            f"a replica writes {kind}", lambda: None if self.landed(replica, since, kind) else "nothing yet", seconds
        )
        return self.landed(replica, since, kind)[0]

    def lease_ends(self) -> float:
        """When the Lease may be taken over, in seconds of the epoch."""
        spec = self.cluster.get("lease", "tidegate", NAMESPACE)["spec"]
        return datetime.fromisoformat(spec["renewTime"]).timestamp() + float(spec["leaseDurationSeconds"])


@pytest.fixture(scope="module")
def pair(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """In place of the operator that all other tests share."""
    if cluster.audit is None:
        pytest.skip("this cluster's audit log cannot be read: TIDEGATE_CLUSTER_PROVIDER=local has one")
    operator.stop()
    lease = f"{NAMESPACE}/tidegate"
    one, two = (
        Operator(cluster, tmp_path_factory.mktemp(f"replica-{port}"), port=port, lease=lease) for port in (18081, 18082)
    )
    pair = Pair(cluster, cluster.audit, (one, two), audit.written(cluster.audit))
    try:
        pair.complete()
        yield pair
    finally:
        for replica in pair.replicas:
            if replica.runs:
                replica.thaw()
                replica.stop()
        operator.start()
    assert [replica.refused for replica in pair.replicas] == [set(), set()]


@pytest.fixture(scope="module")
def shop(cluster: Cluster, pair: Pair) -> Iterator[App]:
    """One application for all of them."""
    app = App(cluster, f"replicas-{os.getpid()}")
    app.create()
    app.apply(app.release(**SPEC))
    app.await_phase("Idle", 20)
    yield app
    pair.complete()
    app.delete()


@pytest.fixture
def load(shop: App, pair: Pair, folder: Path) -> Iterator[Load]:
    """The load on it; both replicas run as it begins."""
    pair.complete()
    with Load(shop.cluster, shop.host, folder, rate=RATE, timeout=PATIENCE) as load:
        yield load


def baking(app: App, version: str) -> None:
    """Ship a version, and see a quarter of the requests go to it."""
    app.ship(version)

    def missing() -> str | None:
        status = app.status()
        traffic = status.get("traffic", {})
        return None if (traffic.get("weight"), traffic.get("applied")) == (25, True) else str(status.get("message"))

    wait_until(f"a quarter of the requests go to {version}", missing, 60, pause=0.25)


def test_a_clean_stop_hands_over_at_once(pair: Pair, shop: App, load: Load, figure: Figure) -> None:
    baking(shop, "v2")
    first, second = pair.leader()
    stopped = time.time()
    assert first.stop() == 0
    took = pair.first_write(second, stopped, 10).done - stopped
    figure("seconds to hand over", f"{took:.2f}")
    shop.await_phase("Idle", 60, outcome="Promoted")
    result = load.stop()
    assert took <= SLACK < DURATION, "a Lease that is given back is not waited for"
    assert result.failed() == {}
    assert result.total > 2000
    assert pair.landed(first, stopped + took) == [], "nothing of who has resigned"


def test_killed_the_other_goes_on_when_the_lease_has_ended(pair: Pair, shop: App, load: Load) -> None:
    baking(shop, "v3")
    first, second = pair.leader()
    first.kill()
    killed, counts = time.time(), load.counts()
    ends = pair.lease_ends()
    wait_until("the Lease is about to end", lambda: None if time.time() > ends - 1 else "it holds", DURATION)
    alone = load.counts() - counts
    write = pair.first_write(second, killed, DURATION + 2 * SLACK)
    shop.await_phase("Idle", 60, outcome="Promoted")
    result = load.stop()
    assert ends <= write.received, "nobody takes over what another may still hold"
    assert write.done - ends <= SLACK
    chance = 3 * math.sqrt(0.25 * 0.75 / alone.total())
    assert alone["v3 200"] / alone.total() == pytest.approx(0.25, abs=max(0.03, chance)), "traffic stays as it was"
    assert result.failed() == {}
    assert result.total > 6000


def test_frozen_in_mid_release_it_writes_nothing_when_it_wakes(pair: Pair, shop: App, load: Load) -> None:
    first, second = pair.leader()
    shipped = time.time()
    shop.ship("v4")
    pair.first_write(first, shipped, 20, kind="httproutes")
    first.freeze()
    frozen = time.time()
    taken_over = pair.first_write(second, frozen, DURATION + 2 * SLACK)
    first.thaw()
    shop.await_phase("Idle", 60, outcome="Promoted")
    wait_until("it has noticed that it leads no more", lambda: "it leads" if first.leads() else None, 10)
    result = load.stop()
    late = [write for write in pair.landed(first, shipped) if write.done > taken_over.received]
    assert late == [], "a write of the old leader landed after the new one's first"
    assert taken_over.received - frozen > DURATION / 2, "it was frozen for as long as its Lease held"
    assert pair.landed(second, frozen, kind="httproutes"), "the other moved the traffic"
    assert first.ask("/readyz")
    assert result.failed() == {}
    assert result.total > 6000

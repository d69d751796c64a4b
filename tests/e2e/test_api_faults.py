"""The API server is slow, busy, broken, mute or away while releases are in flight: they end as they would have, what
their status says is so at every moment, no request of a user fails, and no storm is made.

All faults are on the real wire, between the real operator and the real API server.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.local import LocalCluster
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig.app import LOOKING, App, at_once
from tests.rig.load import Load
from tests.rig.operator import NAMESPACE, Operator
from tests.rig.outage import frozen
from tests.rig.wire import (
    BROKEN,
    BUSY,
    CONFLICT,
    HANGING,
    LOST,
    RESETTING,
    SLOW,
    TOO_LATE,
    Fault,
    Request,
    Wire,
    tally,
)
from tests.rig.witness import Ear, Weights, Witness

pytestmark = pytest.mark.e2e

RATE = 360
"""Requests a second, of all loads together."""
AWAY = 20.0
"""Seconds that the API server is away."""
BRIEFLY = 3.0
"""Seconds of a shorter trouble, and for which it is watched what follows it."""
CALM = 25.0
"""Requests a second, with two releases in flight, that no trouble may lead to."""
AT_ONCE = 40
"""Requests beyond that which may follow at once upon the end of all watches: to discover, list and watch anew."""
MORE = 3
"""Times the requests of a release that nothing befalls, which one with trouble may take."""
PATIENCE = 120.0
"""Seconds in which a release of seconds ends, whatever becomes of its requests."""
FEW = 5
"""Answers of a version that nobody judges it by."""
SOON = 20.0
"""Seconds from the return of the API server to the end of a revert that it kept from happening."""
REST = (("checkout", 1),)
INTRODUCED = (*REST, ("checkout-stable", 0), ("checkout-canary", 0))


def way(*weights: int) -> list[Weights]:
    """What the route says in a release with these weights of the candidate, one after the other."""
    return [REST, INTRODUCED, *((("checkout-stable", 100 - w), ("checkout-canary", w)) for w in weights), REST]


@dataclass(frozen=True)
class Behind:
    """The operator behind the wire."""

    operator: Operator
    wire: Wire


@pytest.fixture(scope="module")
def behind(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """No other operator runs beside it, and it is the same process at the end."""
    folder = tmp_path_factory.mktemp("wire")
    wires: list[Wire] = []

    def through(kubeconfig: Path) -> Path:
        wires.append(Wire(kubeconfig, folder).__enter__())
        return wires[0].kubeconfig

    operator.stop()
    made = Operator(cluster, folder, through=through, lease=f"{NAMESPACE}/tidegate")
    try:
        with made:
            yield Behind(made, wires[0])
            assert made.running, f"it did not live through it: {made.log.read_text()[-2000:]}"
    finally:
        for each in wires:
            each.__exit__(None, None, None)
        operator.start()


@pytest.fixture(scope="module")
def new_apps(cluster: Cluster, behind: Behind) -> Iterator[Callable[..., list[App]]]:
    """Makes applications under management, each in a namespace of its own, and removes them."""
    with ExitStack() as stack:

        def make(*names: str, **spec: object) -> list[App]:
            apps = [App(cluster, f"{name}-{os.getpid()}", replicas=2) for name in names]
            stack.callback(at_once, App.delete, apps)
            at_once(App.create, apps)
            at_once(lambda app: app.apply(app.release(**{**STEADY, **spec})), apps)
            at_once(lambda app: app.await_phase("Idle", 30), apps)
            return apps

        yield make


@dataclass
class Trouble:
    """A fault that befalls the first request of each sort, and then one in so many."""

    fault: Fault
    one_in: int
    of: Callable[[Request], bool] = lambda _: True
    befell: Counter[str] = field(default_factory=Counter)
    _met: Counter[str] = field(default_factory=Counter)

    def choose(self, request: Request) -> Fault | None:
        """Whether this one is hit."""
        if not self.of(request):
            return None
        self._met[request.sort] += 1
        if (self._met[request.sort] - 1) % self.one_in:
            return None
        self.befell[request.sort] += 1
        return self.fault


def writing(request: Request) -> bool:
    """It has something to lose."""
    return request.writes


def troubles() -> dict[str, Trouble]:
    """By name."""
    return {
        "slow": Trouble(SLOW, 2),
        "silent": Trouble(HANGING, 50),
        "too-late": Trouble(TOO_LATE, 10, writing),
        "lost": Trouble(LOST, 2, writing),
        "conflicts": Trouble(CONFLICT, 2, writing),
        "busy": Trouble(BUSY, 4),
        "broken": Trouble(BROKEN, 4),
        "resets": Trouble(RESETTING, 4),
        "none": Trouble(Fault(), 1, lambda _: False),
    }


def test_whatever_becomes_of_its_requests_a_release_ends_as_it_would(
    behind: Behind, new_apps: Callable[..., list[App]], tmp_path: Path
) -> None:
    """Each kind of trouble has a release to itself, all at the same time."""
    met, wire = troubles(), behind.wire
    apps = dict(zip(met, new_apps(*met, steps=[{"weight": 50, "bake": "2s"}]), strict=True))
    named, cluster = {app.namespace: met[name] for name, app in apps.items()}, apps["none"].cluster
    with ExitStack() as stack:
        ear = stack.enter_context(Ear(cluster, tmp_path))
        loads = {name: stack.enter_context(load_on(app, tmp_path, len(apps))) for name, app in apps.items()}
        before = len(wire.requests)
        with wire.broken(
            lambda request: named[request.namespace].choose(request) if request.namespace in named else None
        ):
            at_once(lambda app: app.ship("v2"), list(apps.values()))
            wait_until("all releases have ended", lambda: under_way(cluster, named), PATIENCE, pause=2 * LOOKING)
        results = {name: load.stop() for name, load in loads.items()}
    asked = {name: [r for r in wire.requests[before:] if r.namespace == app.namespace] for name, app in apps.items()}
    sorts = {request.sort: request for request in asked["none"]}
    for name, app in apps.items():
        status, witness = app.status(), Witness(app, ear)
        assert [record["outcome"] for record in status["history"]] == ["Promoted"], name
        assert status["phase"] == "Idle", name
        assert witness.weights() == way(0, 50, 100), name
        assert witness.shortfalls() == [], name
        assert witness.untruths() == [], name
        assert results[name].failed() == {}, name
        assert results[name].of("v2") > 0, name
        assert set(met[name].befell) >= {sort for sort, request in sorts.items() if met[name].of(request)}, name
        assert len(asked[name]) <= MORE * len(asked["none"]), f"{name}: {tally(asked[name])}"


def load_on(app: App, folder: Path, of: int) -> Load:
    """One of several loads that are there at once."""
    return Load(app.cluster, app.host, folder, rate=RATE // of, of=of)


def under_way(cluster: Cluster, namespaces: dict[str, Trouble]) -> str | None:
    """The releases that have not ended, and what they say."""
    releases = cluster.items("canaryreleases")
    said = {
        obj["metadata"]["namespace"]: obj["status"].get("message")
        for obj in releases
        if obj["metadata"]["namespace"] in namespaces
        and not (obj["status"]["phase"] == "Idle" and obj["status"].get("lastRelease"))
    }
    return str(said) if said else None


@contextmanager
def once(harm: Callable[[], None]) -> Iterator[None]:
    """Something that happens in an instant."""
    harm()
    yield


@contextmanager
def stopped(cluster: Cluster, wire: Wire) -> Iterator[None]:
    """The API server's process stands still; one that is out of reach is cut off."""
    if not isinstance(cluster, LocalCluster):
        with wire.down():
            yield
        return
    with frozen(cluster):
        yield


def endure(behind: Behind, trouble: AbstractContextManager[None], seconds: float = BRIEFLY) -> list[Request]:
    """A trouble that lasts so long, in which little is asked and nobody would restart the operator; what was asked."""
    before, end = len(behind.wire.requests), time.monotonic() + seconds
    with trouble:
        wait_until("it has lasted", lambda: None if time.monotonic() >= end else "it lasts", seconds + 5)
        assert behind.operator.ask("/healthz")
        asked = behind.wire.requests[before:]
    assert len(asked) <= CALM * seconds + AT_ONCE, f"{len(asked)} requests in {seconds} s: {tally(asked)}"
    return asked


@pytest.fixture(scope="module")
def two(new_apps: Callable[..., list[App]]) -> tuple[App, App]:
    """One for a good release that goes on through all of it, and one for a bad release."""
    (good,) = new_apps("good", steps=[{"weight": weight, "bake": "8s"} for weight in (10, 25, 50, 75)])
    (bad,) = new_apps("bad", steps=[{"weight": 25, "bake": "1m"}])
    return good, bad


def test_a_release_goes_on_and_another_back_when_the_api_server_is_there_again(
    behind: Behind, two: tuple[App, App], tmp_path: Path
) -> None:
    (good, bad), wire = two, behind.wire
    with (
        Ear(good.cluster, tmp_path) as ear,
        load_on(good, tmp_path, 2) as load,
        load_on(bad, tmp_path, 2) as other,
    ):
        good.ship("v2")
        bad.ship("bad", ERROR_RATE="0.5")
        # Too few to judge it by: it is judged when the API server is away.
        wait_until("the bad one answers", lambda: None if _bad(other) >= FEW else "too little", 60, pause=0.05)
        served = _bad(other)
        endure(behind, stopped(good.cluster, wire), AWAY)
        alone = _bad(other) - served
        bad.await_phase("RolledBack", SOON, outcome="RolledBack")
        for trouble in (once(wire.cut), once(wire.gone), once(wire.fail_streams), wire.down()):
            wait_until("the watches stand", wire.unwatched, 30)
            endure(behind, trouble)
        wait_until("the watches stand", wire.unwatched, 30)
        asked = endure(behind, wire.ending(), 3 * BRIEFLY)
        assert any(request.watch for request in asked), "watches that end at once are begun anew"
        good.await_phase("Idle", 60, outcome="Promoted", version=2)
        results = load.stop(), other.stop()
    said, heard = bad.status()["lastRelease"], Witness(good, ear)
    assert said["reason"] == "AnalysisFailed"
    assert alone > RATE / 2 * 0.25 * AWAY / 2, "traffic stays as it was"
    assert Witness(bad, ear).weights() == way(0, 25, 0)
    assert heard.weights() == way(0, 10, 25, 50, 75, 100)
    assert heard.untruths() == []
    assert [each.shortfalls() for each in (heard, Witness(bad, ear))] == [[], []]
    assert results[0].failed() == {}
    assert results[1].failed(but="bad") == {}


def _bad(load: Load) -> int:
    """Answers of the bad version so far."""
    return sum(count for key, count in load.counts().items() if key.startswith("bad "))


def test_what_was_deleted_in_a_gap_of_the_watches_is_missed_soon(behind: Behind, two: tuple[App, App]) -> None:
    app, wire = two[0], behind.wire
    with wire.broken(lambda request: BROKEN if request.path.endswith("/httproutes") else None):
        wire.gone()
        app.cluster.kubectl("-n", app.namespace, "delete", "httproute", app.name)
    app.await_phase("Blocked", 40)
    app.apply(app.route())
    app.await_phase("Idle", 30)

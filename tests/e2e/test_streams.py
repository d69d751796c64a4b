"""Connections that last 52 s (answers in many parts, WebSockets, gRPC streams) outlive the release of every kind that
takes their pods away, where these have a way to drain; where they have none they are cut, and the release said so.

All releases run at the same time, each under requests and connections of its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY, Figure
from tests.rig.app import LOOKING, App, Json, at_once
from tests.rig.load import Held, Lasting, Load, Result
from tests.rig.operator import Operator
from tidegate.core.reading import HASH

pytestmark = pytest.mark.e2e

SORTS = ("stream", "socket", "call")
LASTS = 52
"""Seconds of a connection: more than lie between the last request to old pods and their being told to go, where six
releases share a slow machine; and less than the 60 s in which Traefik wants to have read a request."""
OPENED = 0.5
"""Of each sort a second, for each application: hundreds are open at a time, and each beats once a second."""
RATE = 30
"""Short requests a second to each application."""
DRAINS: Json = {"terminationGracePeriodSeconds": 90}
LEAVES_SLOWLY: Json = {"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}
AT_ONCE: Json = {"terminationGracePeriodSeconds": 1}
"""No hook, and no time: whatever is open is cut when the pod is told to go."""
PODS = {**STEADY["analysis"]["metrics"][0], "from": "Pods"}
COMMON: Json = {
    "drain": "1s",
    "traffic": {"propagation": "1s"},
    "analysis": {**STEADY["analysis"], "metrics": [PODS], "minRequests": 20},
}
CANARY: Json = {**COMMON, "steps": [{"weight": 50, "bake": "4s"}]}
DRAINED: Json = {**CANARY, "drain": f"{LASTS + 2}s"}
SWITCH: Json = {**COMMON, "watch": "3s", "keep": "1s"}
CALLED: Json = {**SWITCH, "analysis": {"metrics": []}}
"""Judged by nothing: callers that hold their connections send the new pods no request to judge by."""
BATCHES: Json = {**COMMON, "batch": "50%", "bake": "4s"}


class Talking(App):
    """An application that answers by gRPC as well, at a host of its own."""

    @property
    def calls(self) -> str:
        """Where gRPC is answered."""
        return f"calls.{self.host}"

    def service(self) -> Json:
        """With the port of gRPC."""
        service = super().service()
        port = {"name": "grpc", "port": 9090, "targetPort": 9090, "appProtocol": "kubernetes.io/h2c"}
        service["spec"]["ports"].append(port)
        return service

    def routes(self) -> list[Json]:
        """An HTTPRoute and a GRPCRoute."""
        calls = self.route()
        rules = [{"backendRefs": [{"name": self.name, "port": 9090}]}]
        calls |= {"kind": "GRPCRoute", "spec": {**calls["spec"], "hostnames": [self.calls], "rules": rules}}
        return [self.route(), calls]

    def urls(self) -> tuple[str, str]:
        """Where HTTP and gRPC are reached; nothing is the gateway."""
        return "", ""

    def await_answers(self) -> None:
        """Of both, from where the load comes."""
        for url, grpc in zip(self.urls(), ((), ("-grpc",)), strict=True):
            host = self.calls if grpc else self.host
            aim = ["-url", url or self.cluster.gateway_url, "-host", host, "-rate", "10", "-duration", "300ms"]

            def silent(ask: tuple[str, ...] = ("load", *aim, *grpc)) -> str | None:
                said = self.cluster.run(*ask)
                return None if '"failures":[]' in said else said

            wait_until(f"{host} answers", silent, 60, pause=LOOKING)


class Callers(Talking):
    """Reached by its Service alone, as callers inside the cluster do."""

    def routes(self) -> list[Json]:
        """None."""
        return []

    def urls(self) -> tuple[str, str]:
        """The Service's own address."""
        address = self.cluster.get("service", self.name, self.namespace)["spec"]["clusterIP"]
        return f"http://{address}", f"http://{address}:9090"


@dataclass
class Story:
    """A release, and what was held meanwhile."""

    app: Talking
    spec: Json
    outlive: bool = True
    """Connections outlive their pods' being told to go; else the release waits for them."""
    back: bool = False
    """A bad release follows the good one."""
    hashes: dict[str, str] = field(default_factory=dict)
    """Of the versions whose pods go."""
    short: Result | None = None
    held: dict[str, Held] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """Of connections."""
        return [f"{sort}: {told}" for sort, held in self.held.items() for told in held.failures]


def stories(cluster: Cluster) -> dict[str, Story]:
    """By name."""

    def app(name: str, kind: str = "CanaryRelease", of: type[Talking] = Talking, **settings: object) -> Talking:
        way: dict[str, Json] = {"pod": DRAINS, "container": LEAVES_SLOWLY}
        return of(cluster, f"{name}-{os.getpid()}", replicas=2, kind=kind, **{**way, **settings})  # type: ignore[arg-type]

    told = {
        "canary": Story(app("canary"), CANARY),
        "drained": Story(
            app("drained", pod=AT_ONCE, container={}), {**CANARY, "drain": f"{LASTS + 2}s"}, outlive=False
        ),
        "switch": Story(app("switch", "BlueGreenRelease"), SWITCH, back=True),
        "batches": Story(app("batches", "RollingRelease"), BATCHES),
        "cut": Story(app("cut", pod=AT_ONCE, container={}), CANARY),
    }
    if cluster.network is not None:
        # Else the load runs on a machine that has no way to a Service.
        told["callers"] = Story(app("callers", "BlueGreenRelease", Callers), CALLED)
    return told


@pytest.fixture(scope="module")
def told(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Story]]:
    """All stories at their end, when the last old pod is gone."""
    told, folder = stories(cluster), tmp_path_factory.mktemp("streams")
    with ExitStack() as stack:
        stack.callback(at_once, App.delete, [story.app for story in told.values()])
        with ThreadPoolExecutor(len(told)) as threads:
            list(threads.map(lambda story: tell(story, folder, len(told)), told.values()))
        yield told


def tell(story: Story, folder: Path, of: int) -> None:
    """Release, and where it is to go back release another, under load."""
    app = story.app
    app.create()
    app.apply(app.release(**story.spec))
    app.await_phase("Idle", 60)
    with ExitStack() as stack:
        load = stack.enter_context(short(app, folder, of))
        lasting = {sort: stack.enter_context(long(app, sort, folder)) for sort in SORTS}
        story.hashes["v1"] = app.status()["stable"]["hash"]
        app.ship("v2")
        app.await_phase("Idle", 300, outcome="Promoted")
        if story.back:
            app.ship("bad", ERROR_RATE="0.5")
            story.hashes["bad"] = app.await_phase("RolledBack", 60, outcome="RolledBack")["lastRelease"]["hash"]
        await_alone(app)
        story.held = {sort: each.stop() for sort, each in lasting.items()}
        story.short = load.stop()


def short(app: Talking, folder: Path, of: int) -> Load:
    """Requests."""
    return Load(app.cluster, app.host, folder, rate=RATE, workers=4, of=of, url=app.urls()[0])


def long(app: Talking, sort: str, folder: Path) -> Lasting:
    """Connections of a sort."""
    host, url = (app.calls, app.urls()[1]) if sort == "call" else (app.host, app.urls()[0])
    return Lasting(app.cluster, sort, host, folder, rate=OPENED, last=LASTS, url=url)


def await_alone(app: App) -> None:
    """Wait until there are no pods but those that serve: what was open to others has ended, one way or the other."""
    stable = app.status()["stable"]["hash"]

    def seen() -> str | None:
        pods = app.cluster.items("pods", app.namespace, labels=f"app={app.name}")
        others = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"][HASH] != stable]
        return str(others) if others else None

    wait_until(f"the old pods of {app.namespace} are gone", seen, 150, pause=2 * LOOKING)


def told_to_go(app: App, hash_: str) -> float:
    """When the last pod of a revision was by then for sure, in seconds of the epoch: events tell whole ones."""
    events = app.cluster.items("events", app.namespace, fields="reason=Killing")
    pods = [event for event in events if event["involvedObject"]["name"].startswith(f"{app.name}-{hash_}-")]
    return max(datetime.fromisoformat(event["firstTimestamp"]).timestamp() for event in pods) + 1


@pytest.mark.parametrize("name", ["canary", "drained", "switch", "batches", "callers"])
def test_what_lasts_is_not_cut(told: dict[str, Story], figure: Figure, name: str) -> None:
    if name not in told:
        pytest.skip("the load has no way to a Service here")
    story = told[name]
    counts = sum((Counter(held.counts) for held in story.held.values()), Counter[str]())
    figure("connections", dict(counts))
    assert story.failures == []
    assert story.short
    assert story.short.failed(but="bad") == {}
    for version, hash_ in story.hashes.items():
        moment = told_to_go(story.app, hash_)
        later = {sort: held.later(version, moment) for sort, held in story.held.items()}
        figure(f"of {version}, ended in full after its pods were told to go", later)
        assert (min(later.values()) > 0) == story.outlive, "which is what this is about"


def test_without_a_way_to_drain_they_are_cut_and_it_was_said(told: dict[str, Story], figure: Figure) -> None:
    story = told["cut"]
    cut = {sort: held.of("v1", "cut") for sort, held in story.held.items()}
    figure("cut", cut)
    assert all(cut.values())
    app = story.app
    assert "pods have no way to drain" in app.status()["advice"]
    events = app.cluster.items("events", app.namespace, fields="reason=NoDrain")
    assert len(events) == 1
    assert "advice" not in told["canary"].app.status()

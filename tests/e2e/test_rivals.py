"""Two releases that share a Deployment, a Service or a route; and what a release needs is deleted in the middle of it.
Under load: said, naming the other, and nothing fails but what its owner took away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig.app import LOOKING, App, Json
from tests.rig.load import Load

pytestmark = pytest.mark.e2e

STEPWISE: Json = {**STEADY, "steps": [{"weight": 25, "bake": "10m"}]}
"""On by request only."""


def promote(app: App, outcomes: int) -> None:
    """Cut the bake short, and wait until so many releases have ended."""
    app.await_reason("Baking")
    app.ask("SkipStep")

    def seen() -> str | None:
        status = app.status()
        ended = len(status.get("history", ())) == outcomes and status["phase"] == "Idle"
        return None if ended else f"{status.get('phase')}: {status.get('message')}"

    wait_until(f"release {outcomes} of {app.name} ends", seen, 90, pause=LOOKING)
    assert app.status()["lastRelease"]["outcome"] == "Promoted"


def rivals(app: App) -> tuple[App, App]:
    """Somebody else's releases: of the same Deployment, and of another one that has the same Service."""
    target = App(app.cluster, app.namespace, "rival")
    service = App(app.cluster, app.namespace, "other", replicas=0)
    both: Json = {"app": app.name, "part": "other"}
    deployment = service.deployment("v1")
    deployment["spec"]["selector"]["matchLabels"] = both
    deployment["spec"]["template"]["metadata"]["labels"] = both
    release = target.release(**STEPWISE)
    release["spec"]["targetRef"]["name"] = app.name
    app.apply(deployment, release, service.release(**STEPWISE, serviceRef={"name": app.name}))
    return target, service


def test_rivals_are_refused_and_what_is_deleted_in_mid_release_is_missed(app: App, folder: Path) -> None:
    here = ("-n", app.namespace)
    app.apply(app.release(**STEPWISE))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_weight(25)
        target, service = rivals(app)
        target.await_reason(
            "TargetTaken", f"spec.targetRef.name: Deployment {app.name} belongs to {app.kind} {app.name}"
        )
        service.await_reason(
            "ServiceTaken", f"spec.serviceRef.name: Service {app.name} belongs to {app.kind} {app.name}"
        )
        promote(app, 1)
        for rival in (target, service):
            assert rival.status()["phase"] == "Blocked"
            app.cluster.kubectl(*here, "delete", rival.kind.lower(), rival.name, "--timeout=30s")

        app.ship("v3")
        app.await_weight(25)
        app.cluster.kubectl(*here, "delete", "service", app.name)
        app.await_reason("ServiceNotFound", f"'{app.name}': there is no such Service; create it")
        weights = app.weights()
        app.apply(app.service())
        app.await_reason("Baking")
        assert app.weights() == weights == [{f"{app.name}-stable": 75, f"{app.name}-canary": 25}]
        promote(app, 2)

        app.ship("v4")
        app.await_weight(25)
        result = load.stop()
    assert result.failed() == {}
    app.cluster.kubectl(*here, "delete", "deployment", app.name, "--timeout=60s")
    app.await_reason("TargetNotFound", f"'{app.name}': there is no such Deployment")
    last = app.status()["lastRelease"]
    assert (last["outcome"], last["reason"]) == ("Aborted", "TargetNotFound")
    assert app.weights() == [{app.name: 1}]
    services = app.cluster.items("services", app.namespace)
    assert [(svc["metadata"]["name"], svc["spec"]["selector"]) for svc in services] == [(app.name, {"app": app.name})]
    app.ship("v4")
    app.await_phase("Idle", 60)
    app.await_answers()
    assert len(app.status()["history"]) == 3, "one that comes anew is adopted as it is"


class Beside(App):
    """Behind another application's route."""

    def routes(self) -> list[Json]:
        """None of its own."""
        return []

    def await_answers(self) -> None:
        """Not before there is a route."""


def test_two_releases_behind_one_route_take_turns(app: App, folder: Path) -> None:
    other = Beside(app.cluster, app.namespace, "basket")
    other.create()
    path = f"/{other.name}"
    shared = app.route()
    shared["spec"]["rules"] = [
        {"matches": [{"path": {"type": "PathPrefix", "value": prefix}}], "backendRefs": [{"name": to.name, "port": 80}]}
        for prefix, to in ((path, other), ("/", app))
    ]
    app.apply(shared, app.release(**STEPWISE), other.release(**STEADY))
    for one in (app, other):
        one.await_phase("Idle", 30)
    url = f"{app.cluster.gateway_url.rstrip('/')}{path}"
    (folder / other.name).mkdir()
    with (
        Load(app.cluster, app.host, folder, rate=150, of=2) as load,
        Load(app.cluster, app.host, folder / other.name, rate=150, of=2, url=url) as beside,
    ):
        app.ship("v2")
        app.await_weight(25)
        other.ship("v2")
        other.await_reason("RouteTaken", f"HTTPRoute/{app.name} is in mid-release by {app.kind}/{app.name}")
        assert app.weights() == [{other.name: 1}, {f"{app.name}-stable": 75, f"{app.name}-canary": 25}]
        promote(app, 1)
        other.await_phase("Idle", 90, outcome="Promoted")
        results = load.stop(), beside.stop()
    for result in results:
        assert result.failed() == {}
        assert result.of("v2") > 0
    assert app.weights() == [{other.name: 1}, {app.name: 1}]

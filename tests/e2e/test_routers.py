"""Routers other than the Gateway API, on the real Traefik: a good release goes through, a bad one goes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig.app import App, Json
from tests.rig.load import Load
from tests.rig.routers import ByIngress, ByTraefikService, Staying
from tests.rig.visitors import Visitors

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("kind", [ByIngress, ByTraefikService])
def test_a_good_release_is_promoted_and_a_bad_one_reverted(
    kind: type[ByIngress | ByTraefikService], new_app: Callable[..., ByIngress | ByTraefikService], folder: Path
) -> None:
    app = new_app(kind)
    app.apply(app.release(**STEADY, traffic={"propagation": "1s"}))
    status = app.await_phase("Idle", 20)
    assert status["effective"]["traffic"] == {"propagation": "1s", **kind.traffic}
    before = app.cluster.get(kind.kind, app.name, app.namespace)["spec"]
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        wait_until("25 % to v2", lambda: app.at(25), 60)
        app.await_phase("Idle", 60, outcome="Promoted")
        app.ship("v3", ERROR_RATE="0.5")
        last = app.await_phase("RolledBack", 60, outcome="RolledBack")["lastRelease"]
        result = load.stop()
    assert last["reason"] == "AnalysisFailed"
    assert "errors" in last["message"]
    assert result.failed(but="v3") == {}
    assert result.of("v2") > 500
    assert 0 < result.counts["v3 500"] < 0.1 * result.total
    assert app.cluster.get(kind.kind, app.name, app.namespace)["spec"] == before
    left = app.cluster.items(kind.remains, app.namespace)
    assert [obj["metadata"]["name"] for obj in left] == [app.name]
    assert "tidegate.dev/releasing" not in left[0]["metadata"].get("annotations", {})


DARK: Json = {
    **STEADY,
    "steps": [
        {"match": [{"headers": {"x-canary": "always"}}, {"cookies": {"canary": "always"}}], "bake": "8s"},
        {"weight": 50, "bake": "2s"},
    ],
    "analysis": {"metrics": []},
    "traffic": {"propagation": "1s"},
}


@pytest.mark.parametrize("kind", [App, ByIngress])
def test_who_asks_for_the_candidate_gets_it_before_anybody_else(
    kind: type[App], new_app: Callable[..., App], folder: Path
) -> None:
    app = new_app(kind)
    app.apply(app.release(**DARK))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        wait_until("the bake in the dark", lambda: dark(app), 30)
        seen = [
            app.answers("-H", "x-canary: always"),
            app.answers("-H", "Cookie: a=b; canary=always"),
            app.answers("-H", "x-canary: other", "-H", "Cookie: canary=other"),
            app.answers(),
        ]
        assert dark(app) is None, "it was so all the time"
        assert "v2 200" not in load.counts()
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert seen == [{"v2"}, {"v2"}, {"v1"}, {"v1"}]
    assert result.failed() == {}


STAYING: Json = {
    **STEADY,
    "steps": [{"weight": 25, "bake": "5m"}, {"weight": 50, "bake": "5m"}],
    "stickiness": {"cookie": "stay", "maxAge": "10m"},
    "analysis": {"metrics": []},
    "traffic": {"propagation": "1s"},
    "drain": "10s",
}


@pytest.mark.parametrize("kind", [App, ByTraefikService, Staying])
def test_visitors_stay_where_they_are_until_it_is_aborted(
    kind: type[App], new_app: Callable[..., App], folder: Path
) -> None:
    app = new_app(kind)
    app.apply(app.release(**STAYING))
    app.await_phase("Idle", 20)
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_weight(25)
        visitors = Visitors.of(app.cluster, app.host, 60)
        first = visitors.ask()
        app.ask("SkipStep")
        app.await_weight(50)
        later = [visitors.ask() for _ in range(3)]
        fresh = Visitors.of(app.cluster, app.host, 60).ask()
        app.ask("Abort")
        wait_until("no weight is on the candidate", lambda: weightless(app), 30)
        freed = visitors.ask()
        pods = app.pods()
        app.await_phase("RolledBack", 60, outcome="Aborted")
        result = load.stop()
    assert set(first) >= {"v1", "v2"}
    assert later == [first] * 3
    assert fresh.count("v2") > first.count("v2")
    assert "v2" not in freed
    assert len(pods) > app.replicas, "its pods were there, and nobody was sent to them"
    assert result.failed() == {}


def weightless(app: App) -> str | None:
    """Why the router may send anybody to the candidate."""
    status = app.status()
    traffic = status.get("traffic", {})
    there = traffic.get("weight") == 0 and traffic.get("applied")
    return None if there else f"{status.get('phase')}: {status.get('message')}"


def dark(app: App) -> str | None:
    """Why the first step does not bake."""
    status = app.status()
    baking = status.get("step", {}).get("index") == 1 and "until" in status["step"]
    return None if baking else f"{status.get('phase')}: {status.get('message')}"

"""A GitOps tool applies its manifests every 2 s, all the time: releases go forward and back as if it did not.

The law over all of it: the weight is what the release says, each share of the requests has its pods at every moment,
no request fails but by the bad version, and nothing of ours is left in what stands in Git.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig.app import LOOKING, App, Json
from tests.rig.gitops import WAYS, GitOps
from tests.rig.load import Load
from tests.rig.witness import Weights, listening
from tidegate.core.gate import HELD_DEADLINE

pytestmark = pytest.mark.e2e

PATIENCE = 180.0
"""Seconds that a release of seconds may take: on a machine that does other things, a router takes its time."""
REST = (("checkout", 1),)
INTRODUCED = (*REST, ("checkout-stable", 0), ("checkout-canary", 0))


def at(weight: int) -> Weights:
    """What the route says while the candidate has this share."""
    return (("checkout-stable", 100 - weight), ("checkout-canary", weight))


FORWARD = [REST, INTRODUCED, at(0), at(25), at(50), at(100), REST]
BACK_FROM_25 = [INTRODUCED, at(0), at(25), at(0), REST]
BACK_FROM_50 = [INTRODUCED, at(0), at(25), at(50), at(0), REST]


def manifests(app: App, version: str, *, deadline: int = 120, **env: str) -> list[Json]:
    """What stands in Git."""
    deployment = app.deployment(version, **env)
    deployment["spec"]["progressDeadlineSeconds"] = deadline
    return [deployment, app.service(), app.route(), app.release(**STEADY)]


def assert_as_in_git(app: App, deadline: int) -> None:
    """What a user wrote is what stands there, with nothing of ours."""
    assert app.cluster.get("deployment", app.name, app.namespace)["spec"]["progressDeadlineSeconds"] == deadline
    services = app.cluster.items("services", app.namespace)
    assert [(s["metadata"]["name"], s["spec"]["selector"]) for s in services] == [(app.name, {"app": app.name})]
    route = app.cluster.get("httproute", app.name, app.namespace)
    assert [(ref["name"], ref["weight"]) for ref in route["spec"]["rules"][0]["backendRefs"]] == list(REST)
    for obj in (route, *services):
        assert not [note for note in obj["metadata"].get("annotations", {}) if note.startswith("tidegate.dev/")]


def await_weight(app: App, weight: int) -> None:
    """Wait until the router serves by a weight."""

    def seen() -> str | None:
        status = app.status()
        traffic = status.get("traffic", {})
        there = (traffic.get("weight"), traffic.get("applied")) == (weight, True)
        return None if there else str(status.get("message"))

    wait_until(f"{weight} % of the requests go to the new version", seen, PATIENCE, pause=LOOKING)


@pytest.mark.parametrize("way", WAYS)
def test_promoted_reverted_and_set_back_while_git_is_applied_all_the_time(
    new_app: Callable[..., App], folder: Path, way: str
) -> None:
    app = new_app()
    with GitOps(app.cluster, way) as tool, Load(app.cluster, app.host, folder, rate=300) as load:
        app.apply(app.release(**STEADY))  # `replace` takes what it replaces to be there
        tool.commit(*manifests(app, "v1"))
        app.await_phase("Idle", PATIENCE)
        tool.await_rounds(1)
        first = app.status()["stable"]["hash"]

        with listening(app, folder) as witness:
            tool.commit(*manifests(app, "v2"))
            await_weight(app, 25)
            tool.commit(*manifests(app, "v2", deadline=300))
            app.await_phase("Idle", PATIENCE, outcome="Promoted")
            tool.await_rounds(1)
            assert_as_in_git(app, deadline=300)
            second = app.status()["stable"]["hash"]

            tool.commit(*manifests(app, "bad", deadline=300, ERROR_RATE="0.5"))
            status = app.await_phase("RolledBack", PATIENCE, outcome="RolledBack")
            assert status["lastRelease"]["reason"] == "AnalysisFailed"
            tool.await_rounds(2)
            status = app.await_phase("RolledBack", 5)
            assert [record["outcome"] for record in status["history"]] == ["RolledBack", "Promoted"]
            assert_as_in_git(app, deadline=300)

            tool.commit(*manifests(app, "v3", deadline=300))
            await_weight(app, 50)
            tool.commit(*manifests(app, "v2", deadline=300))
            status = app.await_phase("Idle", PATIENCE, outcome="Aborted")
            assert status["lastRelease"]["reason"] == "TemplateRestored"
            tool.await_rounds(1)
            assert_as_in_git(app, deadline=300)
        result = load.stop()
    assert result.failed(but="bad") == {}
    assert witness.weights() == [*FORWARD, *BACK_FROM_25, *BACK_FROM_50]
    assert witness.narrowed() == [None, first, None, second, None, second, None, second, None]
    assert witness.managed() == [f"{app.kind}/{app.name}"]
    # A revert is told by a deadline of a moment; who writes in that moment writes his own.
    deadlines = [seconds for seconds, _ in itertools.groupby(s for s in witness.deadlines() if s != 1)]
    assert deadlines == [120, *3 * [HELD_DEADLINE, 300]]
    assert witness.shortfalls() == []
    assert app.cluster.get("canaryrelease", app.name, app.namespace)["metadata"].get("finalizers")
    assert [said for said in tool.refused if "the object has been modified" not in said] == []

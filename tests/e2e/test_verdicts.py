"""Verdicts under real load: what is worse by a little is reverted, what is not is promoted, again and again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST, Figure
from tests.rig.app import LOOKING, App
from tests.rig.load import Load

pytestmark = pytest.mark.e2e

RATE = 400
"""Requests a second."""
SOUND = {"ERROR_RATE": "0.005", "LATENCY_MS": "200"}
"""As the service always was: one in 200 fails, and an answer takes 200 ms."""
HEALTHY = int(os.environ.get("TIDEGATE_HEALTHY", "10"))
"""Good versions in a row."""
BY_CHANCE = 1
"""Of them that may be turned back: a good one may be by chance, once in a hundred times at most. Errors are drawn."""
STEPS = [{"weight": 25, "bake": "6s"}, {"weight": 50, "bake": "6s"}]
ANALYSIS: dict[str, Any] = {
    **FAST["analysis"],
    "metrics": [
        {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "10%"},
        {"name": "latency", "preset": "Latency", "quantile": "p99", "maxIncrease": "30%", "max": "1s"},
    ],
}


@pytest.fixture
def sound(app: App) -> App:
    """An application that is as it always was, under management."""
    app.ship("v1", **SOUND)
    app.cluster.kubectl("-n", app.namespace, "rollout", "status", f"deployment/{app.name}", "--timeout=60s")
    app.apply(app.release(**{**FAST, "steps": STEPS, "analysis": ANALYSIS}))
    app.await_phase("Idle", 20)
    return app


@pytest.mark.parametrize(
    ("worse", "metric"),
    [({"ERROR_RATE": "0.05"}, "errors"), ({"LATENCY_MS": "280"}, "latency")],
    ids=["5 % errors against 0.5 %", "40 % slower"],
)
def test_what_is_worse_is_reverted(
    sound: App, folder: Path, figure: Figure, worse: dict[str, str], metric: str
) -> None:
    with Load(sound.cluster, sound.host, folder, rate=RATE) as load:
        sound.ship("worse", **{**SOUND, **worse})
        status = sound.await_phase("RolledBack", 120, outcome="RolledBack")
        result = load.stop()
    found = {one["name"]: one for one in status["analysis"]["metrics"]}
    figure("told by", f"{found[metric]['message']}, after {result.of('worse')} of {result.total} requests")
    assert status["lastRelease"]["reason"] == "AnalysisFailed"
    assert found[metric]["verdict"] == "Fail"


def test_what_is_not_worse_is_promoted_again_and_again(sound: App, folder: Path, figure: Figure) -> None:
    with Load(sound.cluster, sound.host, folder, rate=RATE) as load:
        ended = [released(sound, f"v{number}") for number in range(2, HEALTHY + 2)]
        load.stop()
    turned_back = [status["message"] for status in ended if status["lastRelease"]["outcome"] != "Promoted"]
    figure("good versions turned back", f"{len(turned_back)} of {HEALTHY}")
    assert len(turned_back) <= BY_CHANCE, turned_back


def released(app: App, version: str) -> dict[str, Any]:
    """The status when its release has ended, well or not."""
    before = app.status().get("lastRelease")
    app.ship(version, **SOUND)

    def seen() -> str | None:
        status = app.status()
        ended = status["phase"] in ("Idle", "RolledBack") and status.get("lastRelease") != before
        return None if ended else f"{status['phase']}: {status.get('message')}"

    wait_until(f"the release of {version} has ended", seen, 120, pause=LOOKING)
    return app.status()

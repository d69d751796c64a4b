"""Pods are asked themselves, by their own address: what is wrong is turned back a second or two after it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FAST, Figure
from tests.rig.app import App
from tests.rig.load import Load

pytestmark = pytest.mark.e2e

ERRORS: dict[str, Any] = {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}
ASKED: dict[str, Any] = {"source": "Pods", "warmup": "0s", "minRequests": 50, "metrics": [ERRORS]}
SOON = 4.0
"""Seconds, of one run on whatever machine. What is promised is the median of ten: the bench measures it."""


def managed(new_app: Callable[..., App], **analysis: Any) -> App:
    """An application whose release asks its pods."""
    app = new_app()
    app.apply(app.release(**{**FAST, "analysis": {**ASKED, **analysis}}))
    app.await_phase("Idle", 30)
    return app


def test_what_half_fails_is_turned_back_in_a_second_or_two(
    new_app: Callable[..., App], folder: Path, figure: Figure
) -> None:
    app = managed(new_app)
    app.apply(app.release(**{**FAST, "steps": [{"weight": 25, "bake": "60s"}], "analysis": ASKED}))
    with Load(app.cluster, app.host, folder, rate=600) as load:
        app.ship("bad", ERROR_RATE="0.5")
        status = app.await_phase("RolledBack", 90, outcome="RolledBack")
        result = load.stop()
    took = max(result.last["bad 200"], result.last["bad 500"]) - result.first["bad 500"]
    figure("first bad answer → last answer of the candidate", f"{took:.2f} s")
    figure("bad answers", result.counts["bad 500"])
    assert result.failed(but="bad") == {}
    assert status["lastRelease"]["reason"] == "AnalysisFailed"
    assert took <= SOON


def test_a_good_version_is_promoted_with_few_writes(new_app: Callable[..., App], folder: Path, figure: Figure) -> None:
    app = managed(new_app)
    steps = [{"weight": 25, "bake": "12s"}, {"weight": 50, "bake": "12s"}]
    app.apply(app.release(**{**FAST, "steps": steps, "analysis": ASKED}))
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")
        app.await_weight(50)
        told = app.status()["analysis"]
        status = app.await_phase("Idle", 90, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert result.of("v2") > 0
    assert status["lastRelease"]["outcome"] == "Promoted"
    (errors,) = told["metrics"]
    assert errors["requests"] > 300
    figure("seen at the second step", told["message"])


def test_pods_that_do_not_let_themselves_be_read_are_told_of(new_app: Callable[..., App], folder: Path) -> None:
    app = managed(new_app)
    wrong = app.deployment("v2")
    wrong["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] = "9"
    with Load(app.cluster, app.host, folder) as load:
        app.apply(wrong)
        app.await_reason("AnalysisUnknown", "can be read", "Connection refused", "prometheus.io/port", seconds=60)
        app.ship("v1")
        app.await_phase("Idle", 60, outcome="Aborted")
        result = load.stop()
    assert result.failed() == {}

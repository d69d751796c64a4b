"""The operator is killed in each stage in which a promotion or a revert writes something, under load: the next one
ends what it began, and nobody notices."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import STEADY
from tests.rig.app import LOOKING, App
from tests.rig.load import Load
from tests.rig.operator import Operator
from tests.rig.witness import listening
from tidegate.api.releasestatus import Stage
from tidegate.ports.cluster import CANARY_RELEASES

pytestmark = pytest.mark.e2e

PROMOTING = (Stage.WIDEN, Stage.NARROW, Stage.RETURN, Stage.LIFT)
REVERTING = (Stage.REVERT, Stage.DRAIN, Stage.RETIRE)
TIMES = 3
"""Releases in which each stage is met: one may have passed before the blow."""


class Reaper:
    """Kills the operator as soon as the release's status tells of one of these stages, and lets another one begin at
    once; each stage until it has died in it."""

    def __init__(self, app: App, operator: Operator, stages: tuple[Stage, ...]) -> None:
        self._app, self._operator = app, operator
        self.left = set(stages)
        """Stages in which no operator has died."""
        path = f"/{CANARY_RELEASES.path}/namespaces/{app.namespace}/{CANARY_RELEASES.plural}?watch=true"
        self._command = [*app.cluster.enter(), "kubectl", "get", f"--raw={path}"]
        self._thread = threading.Thread(target=self._work, name="reaper")

    def _work(self) -> None:
        for stage in self._stages():
            if stage in self.left:
                self._operator.kill()
                self.left.discard(Stage(self._app.status()["journal"]["stage"]))
                self._operator.launch()

    def _stages(self) -> Iterator[str]:
        assert self._watch.stdout
        for line in self._watch.stdout:
            yield json.loads(line)["object"].get("status", {}).get("journal", {}).get("stage", "")

    def __enter__(self) -> Self:
        environment = self._app.cluster.environment()
        self._watch = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, env=environment)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.terminate()
        self._watch.wait()
        self._thread.join()
        if not self._operator.runs:
            self._operator.launch()
        self._operator.await_ready()


def await_ends(app: App, *outcomes: str) -> None:
    """Wait until so many releases have ended so, the newest first, and the last has come to rest."""

    def seen() -> str | None:
        status = app.status()
        told = [record["outcome"] for record in status.get("history", ())]
        rests = status.get("phase") in {"Idle", "RolledBack"}
        return None if rests and told == list(outcomes) else f"{told}, {status.get('phase')}: {status.get('message')}"

    wait_until(f"the releases end: {outcomes}", seen, 120, pause=LOOKING)


def test_killed_in_each_stage_of_a_promotion_and_of_a_revert(app: App, operator: Operator, folder: Path) -> None:
    app.apply(app.release(**{**STEADY, "steps": [{"weight": 50, "bake": "3s"}]}))
    app.await_phase("Idle", 20)
    outcomes: list[str] = []
    with Load(app.cluster, app.host, folder) as load, listening(app, folder) as witness:
        with Reaper(app, operator, PROMOTING) as reaper:
            while reaper.left and len(outcomes) < TIMES:
                outcomes.insert(0, "Promoted")
                app.ship(f"v{len(outcomes) + 1}")
                await_ends(app, *outcomes)
        assert not reaper.left
        promoted, pods = len(outcomes), app.pods()
        app.apply(app.release(**{**STEADY, "steps": [{"weight": 50, "bake": "10m"}]}))
        with Reaper(app, operator, REVERTING) as reaper:
            while reaper.left and len(outcomes) < promoted + TIMES:
                outcomes.insert(0, "Aborted")
                app.ship(f"v{len(outcomes) + 1}")
                app.await_weight(50)
                app.ask("Abort")
                await_ends(app, *outcomes)
        assert not reaper.left
        result = load.stop()
    assert result.failed() == {}
    assert witness.shortfalls() == []
    assert app.pods() == pods

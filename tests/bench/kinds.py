"""Every kind of release, and every router: how soon a switch is seen by all, how many pods serve, what fails."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.bars import Row
from tests.bench.requests import failed, until
from tests.cluster.interface import Cluster
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.routers import ByIngress, ByTraefikService
from tests.rig.witness import Ear, entered

Spec = dict[str, Any]
ERRORS: Spec = {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%", "from": "Pods"}
COMMON: Spec = {
    "drain": "1s",
    "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 50, "metrics": [ERRORS]},
    "traffic": {"propagation": "1s"},
}
SWITCH: Spec = {**COMMON, "watch": "20s", "keep": "2s"}
BATCHES: Spec = {**COMMON, "batch": "25%", "bake": "4s"}
STEPS: Spec = {**COMMON, "steps": [{"weight": 25, "bake": "6s"}, {"weight": 50, "bake": "4s"}]}
BY_PODS: Spec = {**STEPS, "traffic": {"podShare": {}, "propagation": "1s"}}
PODS, LEAST = 8, 6
LEAVES_SLOWLY: Spec = {"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}
"""A pod that goes while its revision serves is told so before the last router has heard of it."""
ROUTERS: Mapping[str, tuple[type[App], Spec]] = {
    "Ingress": (ByIngress, STEPS),
    "TraefikService": (ByTraefikService, STEPS),
    "podShare": (App, BY_PODS),
}


class Kinds:
    """One cluster with an operator, an application for each measurement."""

    def __init__(self, cluster: Cluster, folder: Path, rate: int) -> None:
        self._cluster, self._folder, self._rate, self._count = cluster, folder, rate, 0

    def _app(self, spec: Spec, of: type[App] = App, **more: Any) -> App:
        self._count += 1
        app = of(self._cluster, f"bench-{os.getpid()}-kinds-{self._count}", **more)
        app.create()
        app.apply(app.release(**spec))
        app.await_phase("Idle", 30)
        return app

    def _load(self, app: App) -> Load:
        return Load(self._cluster, app.host, self._folder, rate=self._rate)

    def switch(self) -> list[Row]:
        """Blue-green, by routes and by the Service alone: there, and back from a version with 50 % errors."""
        by_service = {**SWITCH, "traffic": BY_PODS["traffic"]}
        return [*self._switched("routes", SWITCH), *self._switched("the Service", by_service)]

    def _switched(self, by: str, spec: Spec) -> list[Row]:
        app = self._app(spec, kind="BlueGreenRelease")
        with Ear(self._cluster, self._folder, app.namespace) as ear, self._load(app) as load:
            began = time.time()
            app.ship("v2")
            app.await_phase("Idle", 120, outcome="Promoted")
            second = app.pods()
            app.ship("bad", ERROR_RATE="0.5")
            app.await_phase("RolledBack", 120, outcome="RolledBack")
            until(load)
            result = load.stop()
        born = len(set(app.pods()) - set(second))
        moments = list(ear.moments(app.namespace))
        went = _after(result.last_sent("v1"), entered(moments, app, {"Shift", "Widen"}, 2))
        back = _after(result.last_sent("bad"), entered(moments, app, {"Revert"}, 2))
        app.delete()
        what = f"switch by {by}"
        return [
            Row(f"{what}: decision → last request of the old set", 1, went, "s"),
            Row(f"{what}: decision to switch back → last request of the new set", 1, back, "s"),
            Row(f"{what}: pods re-created by the way back", 0, born),
            Row(
                f"{what}: requests failed, the bad version's aside",
                0,
                failed(result, began, but="bad"),
                more=f"of {result.total}",
            ),
        ]

    def rolling(self) -> list[Row]:
        """Eight pods in batches of a quarter. Every write to a pod is heard, so nothing passes between two looks."""
        app = self._app(BATCHES, kind="RollingRelease", replicas=PODS, container=LEAVES_SLOWLY)
        with Ear(self._cluster, self._folder, app.namespace) as ear, self._load(app) as load:
            began = time.time()
            app.ship("v2")
            app.await_phase("Idle", 180, outcome="Promoted")
            until(load)
            result = load.stop()
        least = min(len(moment.ready({"app": app.name})) for moment in ear.moments(app.namespace))
        app.delete()
        return [
            Row(
                f"rolling: ready pods in service under {LEAST} of {PODS}",
                0,
                max(0, LEAST - least),
                more=f"(least {least})",
            ),
            Row("rolling: requests failed", 0, failed(result, began), more=f"of {result.total}"),
        ]

    def routers(self) -> list[Row]:
        """A promotion and a revert by each."""
        return [row for name, (of, spec) in ROUTERS.items() for row in self._routed(name, of, spec)]

    def _routed(self, name: str, of: type[App], spec: Spec) -> list[Row]:
        sys.stderr.write(f"  by {name}\n")
        app, rows = self._app(spec, of), list[Row]()
        for what, version, env, end in (
            ("promotion", "v2", {}, ("Idle", "Promoted")),
            ("revert", "bad", {"ERROR_RATE": "0.5"}, ("RolledBack", "RolledBack")),
        ):
            with self._load(app) as load:
                began = time.time()
                app.ship(version, **env)
                app.await_phase(end[0], 120, outcome=end[1])
                until(load)
                result = load.stop()
            lost = failed(result, began, but="bad")
            rows.append(
                Row(f"{what} by {name}: requests failed, the bad version's aside", 0, lost, more=f"of {result.total}")
            )
        app.delete()
        return rows


def _after(last: float | None, decided: float) -> float:
    if last is None:
        raise AssertionError("that version answered nobody")
    return last - decided

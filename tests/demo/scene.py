"""What every act plays on: the application under load, the operator beside it, and an audience that sees each frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.cluster.interface import Cluster, ClusterFailed
from tests.demo.frame import Frame, Shares, look, traces, unchanging
from tests.demo.view import View
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.operator import Operator, install

Json = dict[str, Any]

RATE = 200
"""Requests a second, through the router."""
PATIENCE = 30
"""Seconds that a client waits for an answer, as many do. Late, on a busy machine, is not failed."""
NAMESPACE = "shop"
LISTED = "canaryreleases,deployments,replicasets,pods,events"
PAUSE = 0.4
"""Seconds between two looks."""


class Scene:
    """One application on a cluster that is up. Besides showing frames it notes what no later frame may tell."""

    def __init__(self, cluster: Cluster, view: View, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.app = App(cluster, NAMESPACE, container={"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}})
        self.load = Load(cluster, self.app.host, folder, rate=RATE, timeout=PATIENCE)
        self.touched: dict[str, None] = {}
        """Fields of the Deployment's spec that were ever seen otherwise than their owner wrote them, in order."""
        self.changed: list[str] = []
        """What differed, at the end of an act, of the user's Service and route."""
        self.left: list[str] = []
        """What was left of ours, at the end of an act, in Services and routes."""
        self._view, self._operator = view, Operator(cluster, folder)
        self._shares = Shares()
        self._began = 0.0
        self._killed: float | None = None
        self._before: dict[str, Json] = {}
        self._untouched: Json = {}
        self._extensions: dict[tuple[str, int], int] = {}

    @contextmanager
    def set_up(self) -> Iterator[None]:
        """The operator, the application and its load; they end with the block."""
        self.act("Setting the stage")
        self.say("the operator: CRDs, RBAC, the gate, and a process with the operator's own ServiceAccount")
        install(self.cluster)
        with self._operator:
            self.say(f"the application: {self.app.replicas} pods of {self.app.version}, a Service, an HTTPRoute")
            self.app.delete(wait=True)
            self.app.create()
            self.say(f"the load: {RATE} requests/s through the router")
            with self.load:
                self._began = time.monotonic()
                self._before = self._owned()
                self._untouched = unchanging(self._before["Deployment"]["spec"])
                yield

    # --- for the audience

    def say(self, text: str) -> None:
        """A sentence."""
        self._view.say(text)

    def act(self, title: str) -> None:
        """The title of what follows."""
        self._view.act(title)

    def watch(self, what: str, missing: Callable[[Frame], str | None], seconds: float) -> Frame:
        """Show frame after frame until nothing is missing."""
        deadline = time.monotonic() + seconds
        while True:
            items = self.cluster.items(LISTED, NAMESPACE)
            now = time.monotonic()
            alone = None if self._killed is None else now - self._killed
            frame = replace(look(now - self._began, items, self.load.counts(), self._shares), alone=alone)
            self._note(frame)
            self._view.show(frame)
            seen = missing(frame)
            if seen is None:
                return frame
            if time.monotonic() > deadline:
                raise ClusterFailed(f"{what}: not within {seconds:g} s; seen last: {seen}")
            time.sleep(PAUSE)

    # --- what happens to it

    def scale(self, replicas: int) -> None:
        """The user scales the Deployment."""
        self.cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{self.app.name}", f"--replicas={replicas}")
        self._untouched["replicas"] = replicas

    def kill_operator(self) -> None:
        """SIGKILL."""
        self._operator.kill()
        self._killed = time.monotonic()

    def start_operator(self) -> None:
        """It comes back, and has taken its lists."""
        self._operator.start()
        self._killed = None

    # --- what is noted

    def extensions(self, end: Frame) -> int:
        """How many bakes of the release that has just ended were repeated for want of evidence."""
        hash_ = end.status["lastRelease"]["hash"]
        return sum(count for (of, _), count in self._extensions.items() if of == hash_)

    def at_rest(self, act: str) -> None:
        """An act has ended: what is the user's should be as before, with nothing of ours."""
        now = self._owned()
        for kind in ("Service", "HTTPRoute"):
            parts = _parts(now[kind])
            self.changed += [
                f"{kind} {part}, {act}" for part, was in _parts(self._before[kind]).items() if was != parts[part]
            ]
            self.left += [f"{trace}, {act}" for trace in traces(now[kind])]
        services = {item["metadata"]["name"] for item in self.cluster.items("services", NAMESPACE)}
        self.left += [f"Service {name}, {act}" for name in sorted(services - {self.app.name})]

    def deadlines(self) -> tuple[int | None, int | None]:
        """progressDeadlineSeconds of the Deployment: before, and now."""
        was, is_ = (
            owned["Deployment"]["spec"].get("progressDeadlineSeconds") for owned in (self._before, self._owned())
        )
        return was, is_

    def _owned(self) -> dict[str, Json]:
        """What is the user's, by kind."""
        kinds = ("Deployment", "Service", "HTTPRoute")
        return {kind: self.cluster.get(kind, self.app.name, NAMESPACE) for kind in kinds}

    def _note(self, frame: Frame) -> None:
        step, candidate = frame.status.get("step"), frame.status.get("candidate")
        if step and candidate:
            self._extensions[candidate["hash"], step["index"]] = step.get("extensions", 0)
        for key in self._untouched.keys() | frame.deployment.keys():
            if self._untouched.get(key) != frame.deployment.get(key):
                self.touched[key] = None


def _parts(item: Json) -> Json:
    """What its owner wrote of an object."""
    meta = item["metadata"]
    return {"spec": item["spec"], "labels": meta.get("labels"), "annotations": meta.get("annotations")}

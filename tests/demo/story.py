"""The story: an application under load is put under management, a good version is released, then a bad one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.interface import Cluster, ClusterFailed
from tests.demo.claims import Record
from tests.demo.frame import Frame, Shares, look, traces, unchanging
from tests.demo.view import View
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.operator import Operator, install
from tidegate.api.base import parse_duration

Json = dict[str, Any]

RATE = 200
"""Requests a second, through the router."""
NAMESPACE = "shop"
GOOD, BAD = "v2", "v3"
BAD_SHARE = "0.05"
BAKE = "10s"
SPEC: Json = {
    "steps": [{"weight": 10, "bake": BAKE}, {"weight": 50, "bake": BAKE}, {"weight": 100, "bake": BAKE}],
    "drain": "2s",
    "analysis": {"interval": "2s", "warmup": "0s"},
}
"""What differs from the defaults: a demo is short. The limits are the defaults."""
LISTED = "canaryreleases,deployments,replicasets,pods,events"
PAUSE = 0.8
"""Seconds between two looks; each is one kubectl, on a machine that may have two cores for all of this."""


class Story:
    """Told once, on a cluster that is up."""

    def __init__(self, cluster: Cluster, view: View, folder: Path) -> None:
        self._cluster, self._view, self._folder = cluster, view, folder
        self._app = App(cluster, NAMESPACE)
        self._shares = Shares()
        self._began = 0.0
        self._touched: dict[str, None] = {}
        self._untouched: Json = {}
        self._extensions: dict[int, int] = {}

    def play(self) -> Record:
        """Both acts. Raises ClusterFailed where the story gets stuck, with what was seen last."""
        with ExitStack() as stack:
            self._view.act("Setting the stage")
            self._say("the operator: CRDs, RBAC, the gate, and a process with the operator's own ServiceAccount")
            install(self._cluster)
            stack.enter_context(Operator(self._cluster, self._folder))
            self._say(f"the application: {self._app.replicas} pods of v1, a Service, an HTTPRoute")
            self._app.delete(wait=True)
            self._app.create()
            self._say(f"the load: {RATE} requests/s through the router")
            load = stack.enter_context(Load(self._cluster, self._app.host, self._folder, rate=RATE))
            self._began = time.monotonic()
            return self._acts(load)

    def _acts(self, load: Load) -> Record:
        before = self._owned()
        self._untouched = unchanging(before["Deployment"]["spec"])
        release = self._app.release(**SPEC)
        self._view.act("Under management")
        self._say(yaml.safe_dump(release, sort_keys=False).rstrip())
        pods_before = frozenset(self._app.pods())
        self._app.apply(release)
        adopted = self._watch(load, "the Deployment is under management", _adopted, 30)

        self._view.act(f"Act 1: {GOOD} is good")
        self._app.ship(GOOD)
        full = self._watch(load, f"{GOOD} has all of the traffic", _has_all, 120)
        promoted = self._watch(load, f"{GOOD} is promoted", lambda frame: _ended(frame, GOOD), 60)
        extensions = sum(self._extensions.values())

        self._view.act(f"Act 2: {BAD} fails {100 * float(BAD_SHARE):.0f} % of its requests")
        self._app.ship(BAD, ERROR_RATE=BAD_SHARE)
        reverted = self._watch(load, f"{BAD} is reverted", lambda frame: _ended(frame, BAD), 90)

        self._view.settle()
        after, services = self._owned(), self._cluster.get("services", "-n", NAMESPACE)["items"]
        mine = (before["Service"]["metadata"]["name"],)
        return Record(
            good=GOOD,
            bad=BAD,
            bakes=(len(SPEC["steps"]) + extensions) * parse_duration(BAKE).total_seconds(),
            extensions=extensions,
            load=load.stop(),
            pods_before=pods_before,
            pods_adopted=adopted.pods,
            pods_at_full=_pods(full, GOOD),
            pods_promoted=promoted.pods,
            pods_reverted=reverted.pods,
            promoted=promoted.status["lastRelease"],
            reverted=reverted.status["lastRelease"],
            touched=tuple(self._touched),
            deadlines=(_deadline(before), _deadline(after)),
            changed=tuple(
                f"{kind} {part}"
                for kind in ("Service", "HTTPRoute")
                for part, was in _parts(before[kind]).items()
                if was != _parts(after[kind])[part]
            ),
            left=(
                *(f"Service {item['metadata']['name']}" for item in services if item["metadata"]["name"] not in mine),
                *traces(after["Service"]),
                *traces(after["HTTPRoute"]),
            ),
        )

    def _say(self, text: str) -> None:
        self._view.say(text)

    def _owned(self) -> dict[str, Json]:
        """What is the user's, by kind."""
        name = self._app.name
        names = (f"deployment/{name}", f"service/{name}", f"httproute/{name}")
        return {item["kind"]: item for item in self._cluster.get("-n", NAMESPACE, *names)["items"]}

    def _watch(self, load: Load, what: str, missing: Callable[[Frame], str | None], seconds: float) -> Frame:
        """Show frame after frame until nothing is missing."""
        deadline = time.monotonic() + seconds
        while True:
            items = self._cluster.get("-n", NAMESPACE, LISTED)["items"]
            frame = look(time.monotonic() - self._began, items, load.counts(), self._shares)
            self._note(frame)
            self._view.show(frame)
            seen = missing(frame)
            if seen is None:
                return frame
            if time.monotonic() > deadline:
                raise ClusterFailed(f"{what}: not within {seconds:g} s; seen last: {seen}")
            time.sleep(PAUSE)

    def _note(self, frame: Frame) -> None:
        """What no later frame may tell: bakes that were extended, and fields of the Deployment that others wrote."""
        step = frame.status.get("step")
        if step:
            self._extensions[step["index"]] = step.get("extensions", 0)
        for key in self._untouched.keys() | frame.deployment.keys():
            if self._untouched.get(key) != frame.deployment.get(key):
                self._touched[key] = None


def _told(frame: Frame) -> str:
    return f"{frame.status.get('phase')}: {frame.status.get('message')}"


def _adopted(frame: Frame) -> str | None:
    return None if frame.status.get("phase") == "Idle" else _told(frame)


def _has_all(frame: Frame) -> str | None:
    traffic, revision = frame.status.get("traffic", {}), frame.of(GOOD)
    full = traffic.get("weight") == 100 and traffic.get("applied")
    return None if full and revision and revision.ready == revision.asked == len(revision.pods) else _told(frame)


def _ended(frame: Frame, version: str) -> str | None:
    """The release of a version has ended, and what remains is at rest: only stable's pods."""
    status, revision = frame.status, frame.of(version)
    if revision is None or status.get("lastRelease", {}).get("revision") != revision.number:
        return _told(frame)
    stable = status.get("stable", {}).get("hash")
    rest = status.get("phase") in {"Idle", "RolledBack"} and status["journal"]["stage"] == "Rest"
    leaving = [other.version for other in frame.revisions if other.hash != stable and (other.pods or other.ready)]
    return None if rest and not leaving else f"{_told(frame)}; pods left of {', '.join(leaving) or 'none'}"


def _pods(frame: Frame, version: str) -> frozenset[str]:
    revision = frame.of(version)
    return revision.pods if revision else frozenset()


def _parts(item: Json) -> Json:
    """What its owner wrote of an object."""
    meta = item["metadata"]
    return {"spec": item["spec"], "labels": meta.get("labels"), "annotations": meta.get("annotations")}


def _deadline(owned: dict[str, Json]) -> int | None:
    seconds: int | None = owned["Deployment"]["spec"].get("progressDeadlineSeconds")
    return seconds

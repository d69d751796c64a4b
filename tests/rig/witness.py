"""Hears every write to the objects of applications, in the order of the API server: what was true at any moment, and
not only when somebody looked."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.cluster.interface import Cluster
from tests.rig.app import App, Json
from tidegate.core.gate import RELEASE
from tidegate.core.reading import HASH
from tidegate.ports.cluster import RELEASES

RESOURCES = {
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    **{kind.name: (f"/{kind.path}", kind.plural) for kind in RELEASES},
}
DEADLINE = "progressDeadlineSeconds"
T = TypeVar("T")
Weights = tuple[tuple[str, int], ...]
"""Service and weight, of the first rule of a route."""


@dataclass(frozen=True)
class Moment:
    """The objects as they were between two writes, by kind and name."""

    objects: Mapping[tuple[str, str], Json]

    def ready(self, selector: Mapping[str, str]) -> list[str]:
        """Names of the pods that are ready and not leaving."""
        return [
            name
            for (kind, name), obj in self.objects.items()
            if kind == "Pod"
            and selector.items() <= obj["metadata"].get("labels", {}).items()
            and "deletionTimestamp" not in obj["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in obj["status"].get("conditions", ()))
        ]

    def weights(self, app: App) -> Weights:
        """What the application's route says."""
        route = self.objects.get(("HTTPRoute", app.name))
        refs = route["spec"]["rules"][0]["backendRefs"] if route else ()
        return tuple((ref["name"], ref.get("weight", 1)) for ref in refs)

    def narrowed(self, app: App) -> str | None:
        """The pod-template-hash that the application's Service asks for."""
        asked: str | None = self.objects["Service", app.name]["spec"]["selector"].get(HASH)
        return asked

    def untruths(self, app: App) -> Iterator[str]:
        """What the release's status says that is not so."""
        status = self.objects.get((app.kind, app.name), {}).get("status", {})
        traffic, weights = status.get("traffic", {}), dict(self.weights(app))
        asked, there = traffic.get("weight"), weights.get(f"{app.name}-canary")
        if traffic.get("applied") and there not in {None, asked}:
            yield f"{asked} % is said to be served by, and the route says {weights}"
        if status.get("phase") in {"Idle", "RolledBack"} and (there is not None or self.narrowed(app)):
            yield f"{status['phase']}, and traffic is split: {weights}, {self.narrowed(app)}"

    def shortfalls(self, app: App) -> Iterator[str]:
        """Services that have too few pods for their share of the requests."""
        deployment, weights = self.objects.get(("Deployment", app.name)), self.weights(app)
        whole = sum(weight for _, weight in weights)
        for name, weight in weights:
            service = self.objects.get(("Service", name))
            if not weight or not deployment:
                continue
            needed = math.ceil(deployment["spec"]["replicas"] * weight / whole)
            ready = len(self.ready(service["spec"]["selector"])) if service else 0
            if ready < needed:
                yield f"{weights}: {name} has {ready} of {needed} pods"


class Ear:
    """Listens to one namespace, or to all, from ``with`` on."""

    def __init__(self, cluster: Cluster, folder: Path, namespace: str = "") -> None:
        self._cluster, self._folder, self._namespace = cluster, folder, namespace
        self._listening: list[subprocess.Popen[bytes]] = []
        self._before: dict[tuple[str, str, str], Json] = {}
        self._began = 0

    def moments(self, namespace: str) -> Iterator[Moment]:
        """One after each write in a namespace."""
        now = {(kind, name): obj for (where, kind, name), obj in self._before.items() if where == namespace}
        for version, kind, event in sorted(self._events(), key=lambda event: event[0]):
            obj = event["object"]
            if _space(obj) != namespace:
                continue
            if event["type"] == "DELETED":
                now.pop((kind, obj["metadata"]["name"]), None)
            else:
                now[kind, obj["metadata"]["name"]] = obj
            # What was there before was listed kind by kind: until the last list, what is known is of no one moment.
            if version > self._began:
                yield Moment(dict(now))

    def _events(self) -> Iterator[tuple[int, str, Json]]:
        for kind in RESOURCES:
            for line in self._file(kind).read_text().splitlines():
                if line.endswith("}"):
                    event = json.loads(line)
                    yield int(event["object"]["metadata"]["resourceVersion"]), kind, event

    def _file(self, kind: str) -> Path:
        return self._folder / f"witness-{self._namespace}-{kind}.jsonl"

    def _listen(self, kind: str) -> None:
        api, resource = RESOURCES[kind]
        path = f"{api}/namespaces/{self._namespace}/{resource}" if self._namespace else f"{api}/{resource}"
        listed = json.loads(self._cluster.kubectl("get", f"--raw={path}"))
        version = listed["metadata"]["resourceVersion"]
        self._began = max(self._began, int(version))
        self._before |= {(_space(item), kind, item["metadata"]["name"]): item for item in listed["items"]}
        command = [*self._cluster.enter(), "kubectl", "get", f"--raw={path}?watch=true&resourceVersion={version}"]
        with self._file(kind).open("wb") as out:
            self._listening.append(subprocess.Popen(command, stdout=out, env=self._cluster.environment()))

    def __enter__(self) -> Self:
        for kind in RESOURCES:
            self._listen(kind)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._listening:
            process.terminate()
            process.wait()


class Witness:
    """What was heard of one application."""

    def __init__(self, app: App, ear: Ear) -> None:
        self._app, self._ear = app, ear

    def moments(self) -> Iterator[Moment]:
        """One after each write."""
        return self._ear.moments(self._app.namespace)

    def heard(self, what: Callable[[Moment], T]) -> list[T]:
        """Something of every moment, one after the other, without repetitions."""
        return [value for value, _ in itertools.groupby(map(what, self.moments()))]

    def weights(self) -> list[Weights]:
        """What the route said."""
        return self.heard(lambda moment: moment.weights(self._app))

    def narrowed(self) -> list[str | None]:
        """The pod-template-hash that the application's Service asked for."""
        return self.heard(lambda moment: moment.narrowed(self._app))

    def managed(self) -> list[str | None]:
        """The release that the Deployment said to belong to."""
        return self.heard(lambda moment: _notes(moment.objects["Deployment", self._app.name]).get(RELEASE))

    def deadlines(self) -> list[int]:
        """The Deployment's progressDeadlineSeconds."""
        return self.heard(lambda moment: int(moment.objects["Deployment", self._app.name]["spec"][DEADLINE]))

    def shortfalls(self) -> list[str]:
        """Every Service that at any moment had too few pods for its share of the requests."""
        return list(dict.fromkeys(text for moment in self.moments() for text in moment.shortfalls(self._app)))

    def untruths(self) -> list[str]:
        """Whatever the release's status said at any moment that was not so."""
        return list(dict.fromkeys(text for moment in self.moments() for text in moment.untruths(self._app)))


def entered(moments: Iterable[Moment], app: App, stages: set[str], step: int) -> float:
    """When the release of a step was first seen at a stage, in seconds of the epoch."""
    for moment in moments:
        status = moment.objects.get((app.kind, app.name), {}).get("status", {})
        if status.get("journal", {}).get("stage") in stages and status.get("step", {}).get("index") == step:
            return datetime.fromisoformat(status["journal"]["since"]).timestamp()
    raise AssertionError(f"no release was at {stages} in step {step}")


@contextmanager
def listening(app: App, folder: Path) -> Iterator[Witness]:
    """Of one application alone."""
    with Ear(app.cluster, folder, app.namespace) as ear:
        yield Witness(app, ear)


def _space(obj: Json) -> str:
    return str(obj["metadata"]["namespace"])


def _notes(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}

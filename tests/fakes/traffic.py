"""A router with a data plane that lags, and the traffic through it: where requests go at any instant.

``Oracle`` is the judge of the simulation: it looks after every change in the world, and what must never be is noted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.cluster import TIDEGATE, FakeCluster, Write, merge
from tests.fakes.controllers import Controller, Versions, address, leaving, ready
from tests.fakes.virtual import VirtualClock
from tidegate.adapters.routers.gateway import Serving
from tidegate.api.base import GROUP
from tidegate.api.release import ReleaseStatus, Stage
from tidegate.core.counters import RouterSeries
from tidegate.core.gate import DEADLINE_WISH, RELEASE
from tidegate.core.observed import Backends
from tidegate.core.reading import HASH
from tidegate.engine.gate import LET_GO
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    GATEWAY_CLASSES,
    GATEWAYS,
    PODS,
    POLICIES,
    REPLICASETS,
    ROUTES,
    SERVICES,
    Kind,
    Object,
)

Json = dict[str, Any]

CONTROLLER = "fake.example/gateway"
READS = 0.3
"""Seconds until the route's status says that it was read."""
APPLIES = 0.5
"""Seconds more until requests go by it."""


class Router(Controller):
    """A Gateway API implementation, and the DataPlane by which it can be asked what it serves."""

    name = "gateway-controller"
    kinds = (*ROUTES, ENDPOINT_SLICES)
    controller = CONTROLLER

    def __init__(self, cluster: FakeCluster, clock: VirtualClock, *, answers: bool = True) -> None:
        super().__init__(cluster, clock)
        self.answers = answers
        self.reads, self.applies = READS, APPLIES
        self.stuck = False
        """It reads routes and applies nothing."""
        self.served: dict[str, Object] = {}
        """Routes as the data plane has them, by kind and name."""
        self._slices: dict[str, tuple[str, frozenset[str]]] = {}
        self.changed: Callable[[], None] = lambda: None
        """Told whenever requests go other ways."""

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        loop = asyncio.get_running_loop()
        if kind in ROUTES:
            if type_ != "DELETED":
                loop.call_later(self.reads, self._read, kind, obj)
            loop.call_later(self.reads + self.applies, self._apply, type_, obj)
        elif kind == ENDPOINT_SLICES:
            loop.call_later(self.applies, self._resolve, type_, obj)

    def _read(self, kind: Kind, route: Object) -> None:
        meta = route["metadata"]
        now = self.cluster.find(kind, meta["namespace"], meta["name"])
        if now is None:
            return
        conditions = [
            {"type": type_, "status": "True", "observedGeneration": meta["generation"], "reason": type_}
            for type_ in ("Accepted", "ResolvedRefs")
        ]
        parent = {"controllerName": CONTROLLER, "parentRef": {"name": "gateway"}, "conditions": conditions}
        said = now.get("status", {}).get("parents", ({"conditions": ({"observedGeneration": 0},)},))
        if said[0]["conditions"][0]["observedGeneration"] < meta["generation"]:
            self.patch(kind, now, {"status": {"parents": [parent]}}, "status")

    def _apply(self, type_: str, route: Object) -> None:
        if self.stuck:
            return
        if type_ == "DELETED":
            self.served.pop(_called(route), None)
        else:
            self.served[_called(route)] = route
        self.changed()

    def _resolve(self, type_: str, slice_: Object) -> None:
        service = slice_["metadata"]["labels"]["kubernetes.io/service-name"]
        names = [e["targetRef"]["name"] for e in slice_.get("endpoints", ()) if e["conditions"]["ready"]]
        if type_ == "DELETED":
            self._slices.pop(slice_["metadata"]["name"], None)
        else:
            self._slices[slice_["metadata"]["name"]] = (service, frozenset(names))
        self.changed()

    @property
    def endpoints(self) -> dict[str, frozenset[str]]:
        """Pods behind Services, as the data plane has them."""
        found: dict[str, frozenset[str]] = {}
        for service, names in self._slices.values():
            found[service] = found.get(service, frozenset()) | names
        return found

    async def serving(self, route: Json) -> Serving | None:
        """As the DataPlane of adapters/routers."""
        if not self.answers:
            return None
        served = self.served.get(_called(route))
        by = served["spec"] if served else {}
        listed = {ref["name"] for rule in by.get("rules", ()) for ref in rule.get("backendRefs", ())}
        servers = {
            service: self._addresses(pods, route) for service, pods in self.endpoints.items() if service in listed
        }
        return Serving("" if by == route["spec"] else "other weights are served still", servers)

    def _addresses(self, pods: frozenset[str], route: Json) -> frozenset[str]:
        found = (self.cluster.find(PODS, route["metadata"]["namespace"], name) for name in pods)
        return frozenset(address(pod) for pod in found if pod)

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:
        """As the DataPlane of adapters/routers."""
        return RouterSeries(
            requests="router_requests_total",
            code_label="code",
            bucket="router_duration_seconds_bucket",
            stable=f'service="{backends.stable}"',
            candidate=f'service="{backends.canary}"',
        )

    def install(self, namespace: str) -> None:
        """Its Gateway and GatewayClass."""
        self.cluster.create_as(
            "admin",
            GATEWAY_CLASSES,
            "",
            {
                "metadata": {"name": "fake"},
                "spec": {"controllerName": CONTROLLER},
            },
        )
        self.cluster.create_as(
            "admin",
            GATEWAYS,
            namespace,
            {
                "metadata": {"name": "gateway"},
                "spec": {"gatewayClassName": "fake"},
            },
        )

    def shares(self) -> Iterator[tuple[str, dict[str, float]]]:
        """Rule by rule: which share of its requests goes to which Service."""
        for name, route in self.served.items():
            for index, rule in enumerate(route["spec"].get("rules", ())):
                refs = rule.get("backendRefs", ())
                whole = sum(ref.get("weight", 1) for ref in refs)
                found: dict[str, float] = {}
                for ref in refs:
                    if ref.get("weight", 1) and whole:
                        found[ref["name"]] = found.get(ref["name"], 0) + ref.get("weight", 1) / whole
                yield f"{name}[{index}]", found


def _called(route: Object) -> str:
    return f"{route['kind']}/{route['metadata']['name']}"


@dataclass
class Oracle:
    """Looks after every change, and notes what must never be. ``foreign`` Services are none of our business."""

    cluster: FakeCluster
    clock: VirtualClock
    router: Router
    versions: Versions
    namespace: str = "shop"
    target: str = "checkout"
    foreign: frozenset[str] = frozenset({"static"})
    awake: bool = False
    """It judges; until all has been set up it does not."""
    violations: list[str] = field(default_factory=list)
    spans: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    """From when on which revision (image) got which share of the route's requests."""
    scaled_at: float = -math.inf
    most: dict[str, float] = field(default_factory=dict)
    """The greatest share of a rule that an image ever got."""

    def __post_init__(self) -> None:
        self._looking = False
        self.cluster.watchers.append(self._told)
        self._checked = 0

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        if kind == DEPLOYMENTS and type_ == "MODIFIED":
            old = self.cluster.writes[-1].before if self.cluster.writes else None
            if old and old["kind"] == "Deployment" and old["spec"].get("replicas") != obj["spec"].get("replicas"):
                self.scaled_at = self.clock.monotonic()

    def look(self) -> None:
        """Is all well at this instant?"""
        if not self.awake:
            return
        for write in self.cluster.writes[self._checked :]:
            self._judge_write(write)
        self._checked = len(self.cluster.writes)
        image_of = self._images()
        for rule, services in self.router.shares():
            by_image = self._judge_rule(rule, services, image_of)
            for image, share in by_image.items():
                self.most[image] = max(share, self.most.get(image, 0.0))
            if not self.spans or self.spans[-1][1] != by_image:
                self.spans.append((self.clock.monotonic(), by_image))
        self._judge_callers_inside()

    def _judge_rule(self, rule: str, services: Mapping[str, float], image_of: Mapping[str, str]) -> dict[str, float]:
        by_hash: dict[str, float] = {}
        by_image: dict[str, float] = {}
        for service, share in services.items():
            if service in self.foreign:
                continue
            pods = self._endpoints(f"{rule} to Service {service} ({share:.0%})", service)
            for pod in pods:
                hash_ = pod["metadata"]["labels"].get(HASH, "")
                by_hash[hash_] = by_hash.get(hash_, 0.0) + share / len(pods)
        for hash_, share in by_hash.items():
            by_image[image_of.get(hash_, hash_)] = share
        for hash_, share in by_hash.items():
            self._judge_share(rule, hash_, share)
        return by_image

    def _endpoints(self, what: str, service: str) -> list[Object]:
        """Pods that answer for the Service; there must be some, and none of them dead."""
        names = self.router.endpoints.get(service, frozenset())
        pods = [self.cluster.find(PODS, self.namespace, name) for name in names]
        alive = [pod for pod in pods if pod is not None]
        if not self._wanted() or self._scaled_lately():
            return alive
        if not alive and service.endswith("-canary") and self._somebody_is_sick():
            return alive  # its pods fail their probes: it is the version's own fault, and will be reverted
        if not alive:
            self._note(f"{what}: no endpoint to answer")
        elif len(alive) < len(pods):
            self._note(f"{what}: goes to pods that are gone")
        return alive

    def _judge_share(self, rule: str, hash_: str, share: float) -> None:
        status = self._status()
        deployment = self.cluster.find(DEPLOYMENTS, self.namespace, self.target)
        if deployment is None or status is None or status.stable is None:
            return
        wanted = deployment["spec"]["replicas"]
        pods = [
            pod
            for pod in self.cluster.all(PODS, self.namespace, f"{HASH}={hash_}")
            if ready(pod) or (leaving(pod) and pod.get("status"))
        ]
        sick = any(self._sick(pod) for pod in self.cluster.all(PODS, self.namespace, f"{HASH}={hash_}"))
        needed = math.ceil(round(share * wanted, 6))
        if not sick and len(pods) < needed and not self._scaled_lately():
            self._note(f"{rule}: {hash_} has {share:.0%} of requests and {len(pods)} of {needed} pods")
        allowed = self._allowed(status, hash_)
        if allowed is not None and share > allowed + 0.001:
            stage = status.journal.stage if status and status.journal else "?"
            self._note(f"{rule}: {hash_} has {share:.0%} of requests, allowed are {allowed:.0%} in {stage}")

    def _allowed(self, status: ReleaseStatus | None, hash_: str) -> float | None:
        """The share that a revision may have; None where nothing is promised."""
        if status is None or status.stable is None or status.journal is None or hash_ == status.stable.hash:
            return None
        if status.candidate is None or status.candidate.hash != hash_:
            return 0.0 if status.journal.stage is not Stage.REST else None
        match status.journal.stage:
            case Stage.SHIFT | Stage.BAKE | Stage.REVERT | Stage.DRAIN:
                # Draining is for the requests that come late, whatever a router says.
                return status.step.weight / 100 if status.step else 0.0
            case Stage.SCALE if self._somebody_is_sick():
                return status.step.weight / 100 if status.step else 0.0  # its pods are gone: it is on its way back
            case Stage.SCALE:
                steps = [0, *_weights(self._release())]
                at = status.step.index if status.step else 1
                return steps[min(at, len(steps)) - 1] / 100
            case Stage.REST | Stage.PREPARE | Stage.RETIRE | Stage.FLAG:
                return 0.0
            case Stage.CLEAN:
                return None if status.journal.outcome is None else 0.0
            case _:
                return None

    def _judge_callers_inside(self) -> None:
        """The user's Service, called from inside the cluster: never empty."""
        for service in self.cluster.all(SERVICES, self.namespace):
            name = service["metadata"]["name"]
            if name in self.foreign or RELEASE in (service["metadata"].get("labels") or {}):
                continue
            if name in self.router.endpoints:
                self._endpoints(f"callers inside of Service {name}", name)

    def _judge_write(self, write: Write) -> None:
        if write.who != TIDEGATE or write.kind != DEPLOYMENTS or not write.before or not write.after:
            return
        before, after = _bare(write.before), _bare(write.after)
        wished = (self._release() or {}).get("spec", {}).get("images")
        if wished or (self._letting_go() and self._is_stables(after["spec"]["template"])):
            before["spec"]["template"] = after["spec"]["template"]
        if before != after:
            self._note(f"Tidegate wrote more of Deployment {write.name} than it may")

    def _is_stables(self, template: Json) -> bool:
        status = self._status()
        hash_ = status.stable.hash if status and status.stable else ""
        sets = self.cluster.all(REPLICASETS, self.namespace, f"{HASH}={hash_}")
        return any(merge(rs["spec"]["template"], {"metadata": {"labels": {HASH: None}}}) == template for rs in sets)

    def _somebody_is_sick(self) -> bool:
        return any(self._sick(pod) for pod in self.cluster.all(PODS, self.namespace))

    def _sick(self, pod: Object) -> bool:
        version = self.versions.get(pod["spec"]["containers"][0]["image"])
        return bool(
            version and (version.crashes or version.never_ready or version.fails_after or version.image_missing)
        )

    def _scaled_lately(self) -> bool:
        """New pods take their time, and so does the router to see them."""
        return self.clock.monotonic() - self.scaled_at < 10

    def _wanted(self) -> int:
        deployment = self.cluster.find(DEPLOYMENTS, self.namespace, self.target)
        return deployment["spec"]["replicas"] if deployment else 0

    def _images(self) -> dict[str, str]:
        return {
            rs["metadata"]["labels"][HASH]: rs["spec"]["template"]["spec"]["containers"][0]["image"]
            for rs in self.cluster.all(REPLICASETS, self.namespace)
        }

    def _release(self) -> Object | None:
        return next(iter(self.cluster.all(CANARY_RELEASES, self.namespace)), None)

    def _letting_go(self) -> bool:
        release = self._release()
        everything = any(LET_GO in (p["metadata"].get("annotations") or {}) for p in self.cluster.all(POLICIES))
        return everything or (release is not None and "deletionTimestamp" in release["metadata"])

    def _status(self) -> ReleaseStatus | None:
        release = self._release()
        return ReleaseStatus.model_validate(release["status"]) if release and release.get("status") else None

    def _note(self, what: str) -> None:
        told = f"{self.clock.monotonic():.2f} s: {what}"
        if what not in {known.partition(" s: ")[2] for known in self.violations}:
            self.violations.append(told)


def _bare(deployment: Object) -> Object:
    """A Deployment without what Tidegate may write."""
    bare = deepcopy(deployment)
    for ours in ("progressDeadlineSeconds", "paused"):
        bare["spec"].pop(ours, None)
    for note in (RELEASE, DEADLINE_WISH):
        (bare["metadata"].get("annotations") or {}).pop(note, None)
    if not bare["metadata"].get("annotations"):
        bare["metadata"].pop("annotations", None)
    for changing in ("resourceVersion", "generation"):
        bare["metadata"].pop(changing, None)
    bare.pop("status", None)
    return bare


def _weights(release: Object | None) -> list[int]:
    steps = (release or {}).get("spec", {}).get("steps")
    found = [step["weight"] for step in steps] if steps else [5, 10, 25, 50, 100]
    return found if found[-1] == 100 else [*found, 100]


def remains(cluster: FakeCluster, namespace: str) -> list[str]:
    """What is left of ours in Services and routes."""
    left = []
    for service in cluster.all(SERVICES, namespace):
        name = service["metadata"]["name"]
        if HASH in service["spec"].get("selector", {}):
            left.append(f"Service {name} is narrowed")
        if any(GROUP in key for key in service["metadata"].get("labels") or {}):
            left.append(f"Service {name} is ours")
    left.extend(
        f"{kind.name} {route['metadata']['name']} carries our annotation"
        for kind in ROUTES
        for route in cluster.all(kind, namespace)
        if any(GROUP in key for key in route["metadata"].get("annotations") or {})
    )
    return left

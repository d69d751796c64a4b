"""The judge of the simulation: it looks after every change in the world, and what must never be is noted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import ValidationError

from tests.fakes.cluster import FakeCluster
from tests.fakes.kubelet import Versions, leaving, ready
from tests.fakes.laws import Laws
from tests.fakes.traefik import NOBODY
from tests.fakes.traffic import Router
from tests.fakes.virtual import VirtualClock
from tidegate.api.base import GROUP
from tidegate.api.releasestatus import Phase, ReleaseStatus, Stage
from tidegate.core.forward import FORWARD
from tidegate.core.gate import FLOOR, RELEASE
from tidegate.core.reading import HASH
from tidegate.engine.gate import LET_GO
from tidegate.ports.cluster import (
    DEPLOYMENTS,
    PODS,
    POLICIES,
    RELEASES,
    REPLICASETS,
    ROLLING_RELEASES,
    ROUTES,
    SERVICES,
    Kind,
    Object,
)

TAKES_EFFECT = 15.0
"""Seconds until everybody has done what somebody's deed makes them do."""


TAKES_OVER = 2.0
"""Seconds until one version answers in place of another that fell."""
GIVES_UP = 10.0
"""Seconds until nobody is sent any more to a candidate that fell as a whole, where nothing else fails: it may be that
the kubelet's word that its pods are not ready has to last first."""


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
    excuses: dict[str, tuple[float, float]] = field(default_factory=dict)
    """What somebody did that no operator can make good at once: since when, and until when.

    For ever is until the next rest, but no sooner than what they did may have had its effect.
    """
    prompt: bool = False
    """Nothing but versions fails: the operator is there, and all that it asks answers in time."""
    most: dict[str, float] = field(default_factory=dict)
    """The greatest share of a rule that an image ever got."""

    _served: dict[str, float] = field(default_factory=dict)
    """When somebody was last behind a Service."""
    _empty: set[str] = field(default_factory=set)
    """Services that nobody is behind since all who could be fell sick."""
    _read: tuple[Object | None, ReleaseStatus | None] = (None, None)
    """A release as it was, and its status: parsed once a version."""

    def __post_init__(self) -> None:
        self.laws = Laws(self.cluster, self.note, self._status, lambda: self.excused)
        self.cluster.watchers.append(self._told)
        self._checked = 0

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        if kind == DEPLOYMENTS and type_ == "MODIFIED":
            old = self.cluster.writes[-1].before if self.cluster.writes else None
            if old and old["kind"] == "Deployment" and old["spec"].get("replicas") != obj["spec"].get("replicas"):
                self.scaled_at = self.clock.monotonic()

    def excuse(self, why: str, seconds: float = math.inf) -> None:
        """Where requests go and which pods there are is not judged for a while: by default until all is at rest."""
        now = self.clock.monotonic()
        self.excuses[why] = now, max(self.excuses.get(why, (0.0, 0.0))[1], now + seconds)

    @property
    def excused(self) -> bool:
        """Somebody else has to answer for what is to be seen now."""
        return bool(self.excuses)

    def look(self) -> None:
        """Is all well at this instant?"""
        if not self.awake:
            self._checked = len(self.cluster.writes)
            return
        for write in self.cluster.writes[self._checked :]:
            self.laws.judge(write)
        self._checked = len(self.cluster.writes)
        if self.excuses:
            now, rests = self.clock.monotonic(), self._rests()
            self.excuses = {
                why: (since, until)
                for why, (since, until) in self.excuses.items()
                if now < until and not (until == math.inf and rests and now > since + TAKES_EFFECT)
            }
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
            if service == NOBODY:
                self._judge_dropped(rule)
                continue
            pods = self._endpoints(f"{rule} to Service {service} ({share:.0%})", service)
            for pod in pods:
                hash_ = pod["metadata"]["labels"].get(HASH, "")
                by_hash[hash_] = by_hash.get(hash_, 0.0) + share / len(pods)
        if by_hash:
            self._served[rule] = self.clock.monotonic()
        for hash_, share in by_hash.items():
            by_image[image_of.get(hash_, hash_)] = share
        for hash_, share in by_hash.items():
            self._judge_share(rule, hash_, share)
        return by_image

    def _judge_dropped(self, rule: str) -> None:
        """Traefik answers nobody where a Service that is listed has no endpoints: a candidate that fell must be listed
        no more within a moment, and of a stable that fell nobody is left to answer."""
        if not self._wanted() or self._scaled_lately() or self.excused or self._fell_just_now(rule):
            return
        stable = [self._whose(service) for service in ("checkout", "checkout-stable")]
        if not any(theirs and all(map(self._sick, theirs)) for theirs in stable):
            self.note(f"{rule}: the router has dropped it")

    def _endpoints(self, what: str, service: str) -> list[Object]:
        """Pods that answer for the Service; there must be some, and none of them dead."""
        names = self.router.endpoints.get(service, frozenset())
        pods = [self.cluster.find(PODS, self.namespace, name) for name in names]
        alive = [pod for pod in pods if pod is not None]
        if not self._wanted() or self._scaled_lately() or self.excused:
            return alive
        theirs = self._whose(service)
        if alive:
            self._empty.discard(service)
            self._served[service] = self.clock.monotonic()
        elif theirs and all(map(self._sick, theirs)):
            self._empty.add(service)  # they fail their probes: it is the version's own fault
            self._judge_desertion(what, service, theirs)
        if service in self._empty or (not alive and self._fell_just_now(service)):
            return alive
        if not alive:
            self.note(f"{what}: no endpoint to answer")
        elif len(alive) < len(pods):
            self.note(f"{what}: goes to pods that are gone")
        return alive

    def _judge_desertion(self, what: str, service: str, theirs: Sequence[Object]) -> None:
        """Nobody is sent to a candidate without a ready pod for long, while stable could answer."""
        status, since = self._status(), self._served.get(service, math.inf)
        if not self.prompt or status is None or status.stable is None or self.clock.monotonic() - since < GIVES_UP:
            return
        stable = self.cluster.all(PODS, self.namespace, f"{HASH}={status.stable.hash}")
        mine = any(pod["metadata"]["labels"].get(HASH) == status.stable.hash for pod in theirs)
        if not mine and any(ready(pod) and not leaving(pod) and not self._sick(pod) for pod in stable):
            self.note(f"{what}: nobody answers for {GIVES_UP:.0f} s, and stable stands by")

    def _fell_just_now(self, service: str) -> bool:
        """All pods of the version that had the requests failed at once; the others take over within a moment."""
        return self._somebody_is_sick() and self.clock.monotonic() - self._served.get(service, -math.inf) < TAKES_OVER

    def _whose(self, service: str) -> Sequence[Object]:
        """Pods that could answer for the Service, if they were ready."""
        found = self.cluster.find(SERVICES, self.namespace, service)
        selector = found["spec"].get("selector", {}) if found else {}
        return self.cluster.all(PODS, self.namespace, ",".join(f"{key}={value}" for key, value in selector.items()))

    def _judge_share(self, rule: str, hash_: str, share: float) -> None:
        status = self._status()
        deployment = self.cluster.find(DEPLOYMENTS, self.namespace, self.target)
        if deployment is None or status is None or status.stable is None or self.excused:
            return
        wanted = deployment["spec"]["replicas"]
        pods = [
            pod
            for pod in self.cluster.all(PODS, self.namespace, f"{HASH}={hash_}")
            if ready(pod) or (leaving(pod) and pod.get("status"))
        ]
        sick = any(self._sick(pod) for pod in self.cluster.all(PODS, self.namespace, f"{HASH}={hash_}"))
        needed = math.ceil(round(share * wanted, 6))
        batches = bool(self.cluster.all(ROLLING_RELEASES, self.namespace))  # who serves meanwhile is judged for itself
        alone = _by_pods(status) and self._somebody_is_sick()  # who is left of those that shared them gets all
        if not (sick or batches or alone) and len(pods) < needed and not self._scaled_lately():
            self.note(f"{rule}: {hash_} has {share:.0%} of requests and {len(pods)} of {needed} pods")
        allowed = self._allowed(status, hash_)
        if allowed is not None and share > allowed + 0.001:
            stage = status.journal.stage if status and status.journal else "?"
            self.note(f"{rule}: {hash_} has {share:.0%} of requests, allowed are {allowed:.0%} in {stage}")

    def _allowed(self, status: ReleaseStatus | None, hash_: str) -> float | None:
        """The share that a revision may have; None where nothing is promised."""
        if status is None or status.stable is None or status.journal is None or hash_ == status.stable.hash:
            return None
        if status.candidate is None or status.candidate.hash != hash_:
            return 0.0 if status.journal.stage is not Stage.REST else None
        if _by_pods(status) and status.journal.stage in FORWARD - {Stage.PREPARE} | {Stage.REVERT, Stage.DRAIN}:
            return None  # as many as its pods are, and those come one by one
        match status.journal.stage:
            case Stage.SHIFT | Stage.BAKE | Stage.REVERT | Stage.DRAIN:
                # Draining is for the requests that come late, whatever a router says.
                return status.step.weight / 100 if status.step else 0.0
            case Stage.SCALE if self._somebody_is_sick() or self._scaled_lately():
                return status.step.weight / 100 if status.step else 0.0  # its pods are gone: it is on its way back
            case Stage.SCALE:
                # The steps may have been edited since: what was written last stands until the next shift.
                return status.traffic.weight / 100 if status.traffic else 0.0
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
                self._judge_batches(name, self._endpoints(f"callers inside of Service {name}", name))

    def _judge_batches(self, service: str, pods: Sequence[Object]) -> None:
        """A rolling release leaves enough pods in service."""
        release, status = self._release(), self._status()
        if release is None or release["kind"] != ROLLING_RELEASES.name or status is None or status.stable is None:
            return
        batch = int(release["spec"].get("batch", "25%").rstrip("%"))
        wanted = self._wanted()
        least = min(wanted, max(1, wanted - wanted * batch // 100))
        serving = [pod for pod in pods if not leaving(pod)]
        if len(serving) < least and not (self._somebody_is_sick() or self._scaled_lately() or self.excused):
            self.note(f"Service {service}: {len(serving)} pods in service, {least} are to be at least")

    def _rests(self) -> bool:
        """All pods of stable serve, and nothing is under way."""
        status, deployment = self._status(), self.cluster.find(DEPLOYMENTS, self.namespace, self.target)
        if deployment is None or status is None or status.stable is None or not status.journal:
            return False
        pods = [
            pod
            for pod in self.cluster.all(PODS, self.namespace, f"{HASH}={status.stable.hash}")
            if ready(pod) and not leaving(pod)
        ]
        bound = [
            rs
            for rs in self.cluster.all(REPLICASETS, self.namespace, f"{HASH}={status.stable.hash}")
            if FLOOR in (rs["metadata"].get("annotations") or {})
        ]
        names = {pod["metadata"]["name"] for pod in pods}
        served = all(
            self.router.endpoints.get(service, frozenset()) == names
            for _, services in self.router.shares()
            for service in services
            if service not in self.foreign
        )
        quiet = status.journal.stage is Stage.REST and status.phase in (Phase.IDLE, Phase.ROLLED_BACK)
        return quiet and bool(bound) and served and len(pods) == self._wanted()

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
        """Of several the one that the Deployment belongs to."""
        found = [obj for kind in RELEASES for obj in self.cluster.all(kind, self.namespace)]
        if len(found) < 2:
            return found[0] if found else None
        deployment = self.cluster.find(DEPLOYMENTS, self.namespace, self.target)
        holder = (deployment["metadata"].get("annotations") or {}).get(RELEASE) if deployment else None
        return next((obj for obj in found if f"{obj['kind']}/{obj['metadata']['name']}" == holder), found[0])

    def _letting_go(self) -> bool:
        release = self._release()
        everything = any(LET_GO in (p["metadata"].get("annotations") or {}) for p in self.cluster.all(POLICIES))
        return everything or (release is not None and "deletionTimestamp" in release["metadata"])

    def _status(self) -> ReleaseStatus | None:
        release = self._release()
        if release is not self._read[0]:
            told = (release or {}).get("status")
            with suppress(ValidationError):  # another version's: the last one of ours stands
                self._read = (release, ReleaseStatus.model_validate(told) if told else None)
        return self._read[1]

    def note(self, what: str) -> None:
        """This must not be."""
        told = f"{self.clock.monotonic():.2f} s: {what}"
        if what not in {known.partition(" s: ")[2] for known in self.violations}:
            self.violations.append(told)


def _by_pods(status: ReleaseStatus) -> bool:
    """Nothing but the Service shares requests."""
    traffic = (status.effective or {}).get("traffic")
    return isinstance(traffic, dict) and "podShare" in traffic


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

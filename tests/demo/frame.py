"""One look at the demo: the user's application, its release and its load, as plain values."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

OURS = "tidegate.dev/"
SPAN = 3.0
"""Seconds of load that a share is taken of."""
SPECIAL = frozenset({"template", "progressDeadlineSeconds"})
"""Fields of a Deployment's spec that do change: its owner's templates, and the deadline while a release runs."""


@dataclass(frozen=True)
class Revision:
    """One version of the application."""

    version: str
    number: int
    hash: str
    role: str
    asked: int
    ready: int
    pods: frozenset[str] = frozenset()
    """Uids of its pods that are not leaving."""
    weight: int = 0
    served: int = 0
    failed: int = 0
    share: float | None = None
    """Of the requests of the last seconds, from 0 to 1; None where there were none."""


@dataclass(frozen=True)
class News:
    """An Event of the release."""

    uid: str
    at: str
    type: str
    reason: str
    message: str


@dataclass(frozen=True)
class Frame:
    """What is seen at a moment."""

    at: float
    """Seconds since the load began."""
    revisions: tuple[Revision, ...] = ()
    status: Json = field(default_factory=dict)
    """Of the release."""
    news: tuple[News, ...] = ()
    """Events of the release, oldest first."""
    deployment: Json = field(default_factory=dict)
    """The Deployment's spec, without what may change."""
    total: int = 0
    alone: float | None = None
    """Seconds since the operator was killed; None while it runs."""
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """Requests that no version answered, by what came instead: ``router 503``, ``error: …``."""

    def of(self, version: str) -> Revision | None:
        """The revision of a version."""
        return next((revision for revision in self.revisions if revision.version == version), None)

    @property
    def pods(self) -> frozenset[str]:
        """Uids of all pods that are not leaving."""
        return frozenset().union(*(revision.pods for revision in self.revisions))


class Shares:
    """Who answers how much of the requests of the last seconds, from totals that are told now and then."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, Counter[str]]] = deque()

    def after(self, at: float, served: Counter[str]) -> dict[str, float]:
        """Shares by version, with these totals at this time."""
        self._told.append((at, served))
        while len(self._told) > 2 and self._told[1][0] <= at - SPAN:
            self._told.popleft()
        grown = served - self._told[0][1]
        return {version: count / grown.total() for version, count in grown.items()}


@dataclass(frozen=True)
class Tally:
    """The load's ``VERSION CODE``, sorted out."""

    served: Counter[str]
    """Requests by version."""
    failed: Counter[str]
    """Those of them that were no success."""
    elsewhere: Mapping[str, int]
    """What no version answered."""


def tally(counts: Mapping[str, int], versions: Iterable[str]) -> Tally:
    """Who answered what."""
    known = frozenset(versions)
    served: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for key, count in counts.items():
        version, _, code = key.partition(" ")
        if version in known:
            served[version] += count
            failed[version] += 0 if code == "200" else count
    return Tally(served, failed, {key: n for key, n in counts.items() if key.partition(" ")[0] not in known})


def look(at: float, items: Iterable[Json], counts: Mapping[str, int], shares: Shares) -> Frame:
    """A frame from what ``kubectl get`` lists and the load has counted."""
    kinds: dict[str, list[Json]] = {}
    for item in items:
        kinds.setdefault(item["kind"], []).append(item)
    status: Json = next((item.get("status", {}) for item in kinds.get("CanaryRelease", ())), {})
    replicasets = sorted(kinds.get("ReplicaSet", ()), key=_age)
    load = tally(counts, [_version(item) for item in replicasets])
    share = shares.after(at, load.served)
    weights = _weights(status, [_hash(item) for item in replicasets])
    revisions = tuple(
        Revision(
            version=(version := _version(item)),
            number=_number(item),
            hash=(hash_ := _hash(item)),
            role=_role(status, hash_),
            asked=item["spec"]["replicas"],
            ready=item.get("status", {}).get("readyReplicas", 0),
            pods=frozenset(pod["metadata"]["uid"] for pod in kinds.get("Pod", ()) if _stays(pod, hash_)),
            weight=weights.get(hash_, 0),
            served=load.served[version],
            failed=load.failed[version],
            share=share.get(version, 0.0) if share else None,
        )
        for item in replicasets
    )
    return Frame(
        at=at,
        revisions=revisions,
        status=status,
        news=_news(kinds.get("Event", ())),
        deployment=next((unchanging(item["spec"]) for item in kinds.get("Deployment", ())), {}),
        total=sum(counts.values()),
        elsewhere=load.elsewhere,
    )


def unchanging(spec: Json) -> Json:
    """The spec of a Deployment without what may change."""
    return {key: value for key, value in spec.items() if key not in SPECIAL}


def traces(item: Json) -> list[str]:
    """Labels and annotations of ours on an object."""
    meta = item["metadata"]
    names = [*(meta.get("labels") or {}), *(meta.get("annotations") or {})]
    return [f"{item['kind']} {meta['name']}: {name}" for name in names if name.startswith(OURS)]


def _version(replicaset: Json) -> str:
    env = replicaset["spec"]["template"]["spec"]["containers"][0].get("env", ())
    return str(next((one["value"] for one in env if one["name"] == "VERSION"), "?"))


def _age(replicaset: Json) -> tuple[str, int]:
    """Oldest first. The number alone does not tell: a template that comes back is given a new one."""
    return replicaset["metadata"].get("creationTimestamp", ""), _number(replicaset)


def _number(replicaset: Json) -> int:
    return int(replicaset["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", "0"))


def _hash(item: Json) -> str:
    return str(item["metadata"].get("labels", {}).get("pod-template-hash", ""))


def _stays(pod: Json, hash_: str) -> bool:
    return _hash(pod) == hash_ and "deletionTimestamp" not in pod["metadata"]


def _role(status: Json, hash_: str) -> str:
    for role in ("stable", "candidate"):
        if status.get(role, {}).get("hash") == hash_:
            return role
    return "old" if status.get("stable") else ""


def _weights(status: Json, hashes: list[str]) -> dict[str, int]:
    """Weights by hash. At rest, and before there is a release, all requests go to what serves."""
    stable = status.get("stable", {}).get("hash") or (hashes[-1] if hashes else "")
    weight = status.get("traffic", {}).get("weight", 0)
    candidate = status.get("candidate", {}).get("hash")
    return {stable: 100 - weight, **({candidate: weight} if candidate else {})}


def _news(events: Iterable[Json]) -> tuple[News, ...]:
    ours = [event for event in events if event.get("involvedObject", {}).get("kind") == "CanaryRelease"]
    ours.sort(key=lambda event: (event.get("lastTimestamp") or "", event["metadata"]["creationTimestamp"]))
    return tuple(
        News(
            uid=event["metadata"]["uid"],
            at=(event.get("lastTimestamp") or "")[11:19],
            type=event["type"],
            reason=event["reason"],
            message=event["message"],
        )
        for event in ours
    )

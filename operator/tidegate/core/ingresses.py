"""An Ingress and the canary beside it: what the two say, and what the canary should be. JSON in, JSON out.

The user's Ingress is not touched: it leads to the user's Service, which a release narrows to stable. The candidate's
share is an annotation of a second Ingress of the same hosts and paths, which is ours: ingress-nginx takes the two
together, and so does Traefik in its place. That second one exists as long as the release holds the Ingress.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tidegate.api.traffic import AT_REST, Match, Share, Stickiness
from tidegate.core.gate import RELEASE
from tidegate.core.hold import RELEASING, Hold, noted, noted_share, noting
from tidegate.core.observed import INTRODUCED, MIXED, Backends

PREFIX = "nginx.ingress.kubernetes.io/"
CANARY = f"{PREFIX}canary"
WEIGHT = f"{PREFIX}canary-weight"
CLASS = "kubernetes.io/ingress.class"
"""Where classes were named before spec.ingressClassName."""
BY = f"{CANARY}-by-"
AFFINITY = f"{PREFIX}affinity"
MAX_AGE = f"{PREFIX}session-cookie-max-age"
BEHAVIOR = f"{PREFIX}affinity-canary-behavior"
"""``legacy``: the canary goes by the weight alone."""
_SHARED = ("affinity", "session-cookie-", "load-balance", "upstream-hash-by")
"""Annotations that ingress-nginx reads of a canary as well: all others count of the main Ingress only."""

Json = dict[str, Any]


class Path(NamedTuple):
    """Where an Ingress leads to a Service."""

    host: str
    path: str
    type: str
    port: str


def class_of(ingress: Json) -> str:
    """The ingress class that it names; empty where it names none."""
    return str(ingress["spec"].get("ingressClassName") or _annotations(ingress).get(CLASS, ""))


def is_canary(ingress: Json) -> bool:
    """A canary, whoever made it."""
    return _annotations(ingress).get(CANARY) == "true"


def is_ours(ingress: Json) -> bool:
    """A canary that a release made."""
    return RELEASE in (ingress["metadata"].get("labels") or {})


def canary_of(ingress: Json) -> str:
    """What its canary is called."""
    return f"{ingress['metadata']['name']}-canary"


def main_of(canary: Json) -> str:
    """What the Ingress is called that a canary of ours is beside."""
    return str(canary["metadata"]["name"]).removesuffix("-canary")


def paths(ingress: Json, service: str) -> list[Path]:
    """Where it leads to a Service by its rules."""
    return [
        Path(rule.get("host", ""), path.get("path", ""), path.get("pathType", ""), port_of(path["backend"]))
        for rule, path in _paths(ingress)
        if _service(path["backend"]) == service
    ]


def by_default(ingress: Json, service: str) -> bool:
    """It leads to a Service with what no rule matches."""
    return _service(ingress["spec"].get("defaultBackend") or {}) == service


def places(ingress: Json) -> set[tuple[str, str]]:
    """Hosts and paths of its rules."""
    return {(rule.get("host", ""), path.get("path", "")) for rule, path in _paths(ingress)}


def held(canary: Json | None, names: Backends) -> bool:
    """The canary is of the release of this Service: no two releases share a Service, but they may share an Ingress."""
    return canary is not None and is_ours(canary) and noted(canary).get("service") == names.service


def share(main: Json | None, canary: Json | None, names: Backends) -> Share:
    """Who goes to the candidate; of the weight MIXED where the canary is not as it should be.

    MIXED too of a canary that is left alone: the Ingress is gone, or leads to the Service no more.
    """
    if canary is None or not held(canary, names):
        return AT_REST
    asked, said = noted_share(canary), _annotations(canary).get(WEIGHT, "")
    if main is None or not said.isdecimal():
        return replace(asked, weight=MIXED)
    weight = INTRODUCED if asked.weight == INTRODUCED and said == "0" else int(said)
    found = replace(asked, weight=weight)
    return found if _is(canary, wanted(main, names, found, Hold(""))) else replace(asked, weight=MIXED)


def unsticky(main: Json, asked: Stickiness) -> str:
    """Why its visitors do not stay where they are; empty where its controller keeps them there."""
    notes = _annotations(main)
    needed = {AFFINITY: "cookie", MAX_AGE: str(asked.seconds)}
    if missing := [f"{key}: {value!r}" for key, value in needed.items() if notes.get(key) != value]:
        return f"keeps visitors by a cookie of its controller's own: give it the annotation {' and '.join(missing)}"
    return ""


def unmatchable(asked: Sequence[Match]) -> str:
    """Why no annotations say this; empty where some do."""
    headers = [one for one in asked if one.headers]
    cookies = [one for one in asked if one.cookies]
    if any((one.headers and one.cookies) or len(one.headers) > 1 for one in asked):
        return "can tell requests by a header or by a cookie, not by several at once; an HTTPRoute can"
    if len(headers) > 1 or len(cookies) > 1:
        return "can tell requests by one header and by one cookie; an HTTPRoute by more"
    if any(value != "always" for one in cookies for value in one.cookies.values()):
        return "knows a cookie by the value always only; use that value"
    return ""


def wanted(main: Json, names: Backends, asked: Share, hold: Hold) -> Json:
    """The canary that gives the candidate this share."""
    notes = _annotations(main)
    shared = {key: notes[key] for key in notes if key.startswith(tuple(f"{PREFIX}{name}" for name in _SHARED))}
    if asked.stay:
        shared.pop(BEHAVIOR, None)
    annotations = {
        **shared,
        **({CLASS: notes[CLASS]} if CLASS in notes else {}),
        CANARY: "true",
        WEIGHT: str(max(asked.weight or 0, 0)),
        **_by(asked.match),
        RELEASING: hold.note(service=names.service, **noting(asked)),
    }
    annotations |= _bound(notes, asked)
    classed = {key: main["spec"][key] for key in ("ingressClassName",) if key in main["spec"]}
    return {
        "metadata": {
            "name": canary_of(main),
            "labels": {RELEASE: str(hold.owner.get("name", ""))},
            "annotations": annotations,
            "ownerReferences": [dict(hold.owner)] if hold.owner else [],
        },
        "spec": {**classed, "rules": list(_rules(main, names))},
    }


def leaks(main: Json, others: Sequence[Json], names: Backends) -> Json | None:
    """Another Ingress that would have the canary as well: its controller knows one for each port of a Service."""
    ports = {path.port for path in paths(main, names.service)}
    for other in others:
        if class_of(other) == class_of(main) and ports & {path.port for path in paths(other, names.service)}:
            return other
    return None


def rival(main: Json, others: Sequence[Json]) -> Json | None:
    """A canary of the user's own on the same host and path: a path has one canary at most."""
    here = (other for other in others if is_canary(other) and not is_ours(other))
    return next((other for other in here if places(other) & places(main)), None)


def port_of(backend: Json) -> str:
    """The port that a backend names, by name or number."""
    port = backend.get("service", {}).get("port", {})
    return str(port.get("name") or port.get("number") or "")


def stale(canary: Json, body: Json) -> set[str]:
    """Annotations of a canary that are not asked for any more."""
    wanted_ = body["metadata"]["annotations"]
    return {key for key in _annotations(canary) if key.startswith((BY, BEHAVIOR)) and key not in wanted_}


def _bound(notes: Mapping[str, str], asked: Share) -> dict[str, str]:
    """Whether who has the cookie of the main Ingress is bound by it on the way to the canary.

    ingress-nginx itself goes by the cookie before it looks at any weight: at 0 as well, where nobody is to be there.
    """
    if notes.get(AFFINITY) != "cookie":
        return {}
    return {} if (asked.weight or 0) > 0 else {BEHAVIOR: "legacy"}


def _by(asked: Sequence[Match]) -> dict[str, str]:
    notes: dict[str, str] = {}
    for one in asked:
        for name, value in one.headers.items():
            notes |= {f"{BY}header": name, f"{BY}header-value": value}
        for name in one.cookies:
            notes |= {f"{BY}cookie": name}
    return notes


def _rules(main: Json, names: Backends) -> Iterator[Json]:
    """Its rules, as far as they lead to the Service, to the candidate's."""
    for rule in main["spec"].get("rules") or ():
        led = [
            {**path, "backend": {"service": {**path["backend"]["service"], "name": names.canary}}}
            for path in (rule.get("http") or {}).get("paths") or ()
            if _service(path["backend"]) == names.service
        ]
        if led:
            yield {**rule, "http": {"paths": led}}


def _is(found: Json, wanted_: Json) -> bool:
    """It routes as it is to; what others noted on it is their business."""
    told, asked = _annotations(found), dict(wanted_["metadata"]["annotations"])
    del asked[RELEASING]
    return found["spec"] == wanted_["spec"] and asked.items() <= told.items() and not stale(found, wanted_)


def _paths(ingress: Json) -> Iterator[tuple[Json, Json]]:
    for rule in ingress["spec"].get("rules") or ():
        for path in (rule.get("http") or {}).get("paths") or ():
            yield rule, path


def _service(backend: Json) -> str:
    return str((backend.get("service") or {}).get("name", ""))


def _annotations(ingress: Json) -> Mapping[str, str]:
    return ingress["metadata"].get("annotations") or {}

"""What a route is attached to, and what its parents say of it in its status. JSON in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

GATEWAY = "Gateway"
Json = dict[str, Any]


class Parent(NamedTuple):
    """What a route is attached to: one listener of a Gateway, or all that fit."""

    kind: str
    namespace: str
    name: str
    section: str
    port: int


def of(route: Json) -> list[Parent]:
    """What the route is attached to."""
    return [_parent(ref, route) for ref in route["spec"].get("parentRefs") or ()]


def taken(route: Json) -> bool:
    """A Gateway has taken the route, or has yet to say: it may carry requests."""
    return any(not _refused(answer, route) for answer in _answers(route))


def controller(route: Json, parent: Parent) -> str:
    """Who answers for one of its parents; empty where nobody does yet."""
    said = (answer for answer in _answers(route) if _parent(answer["parentRef"], route) == parent)
    return str(next(said, {}).get("controllerName", ""))


def unread(route: Json) -> str:
    """What is not in place by the route's status; empty when its parents go by its newest generation.

    A parent that refused it does not serve it at all: no trouble where another does.
    """
    answers = _answers(route)
    for answer in [answer for answer in answers if not _refused(answer, route)] or answers:
        for type_ in ("Accepted", "ResolvedRefs"):
            found = _condition(answer, type_)
            if found is None or _outdated(found, route):
                return f"{answer.get('controllerName', 'the controller')} has not read its newest version"
            if found["status"] != "True":
                return f"{type_} is {found['status']}: {found.get('reason', '')}: {found.get('message', '')}"
    return "" if answers else "no Gateway controller has accepted the route"


def _parent(ref: Mapping[str, Any], route: Json) -> Parent:
    return Parent(
        ref.get("kind") or GATEWAY,
        ref.get("namespace") or route["metadata"]["namespace"],
        ref["name"],
        ref.get("sectionName") or "",
        ref.get("port") or 0,
    )


def _answers(route: Json) -> list[Json]:
    """What the parents say. Of a former parent something may stand there for ever: it counts no more."""
    wanted = set(of(route))
    told = route.get("status", {}).get("parents") or ()
    return [answer for answer in told if _parent(answer["parentRef"], route) in wanted]


def _refused(answer: Json, route: Json) -> bool:
    found = _condition(answer, "Accepted")
    return found is not None and found["status"] == "False" and not _outdated(found, route)


def _condition(answer: Json, type_: str) -> Json | None:
    return next((condition for condition in answer.get("conditions", ()) if condition["type"] == type_), None)


def _outdated(condition: Json, route: Json) -> bool:
    return int(condition.get("observedGeneration", 0)) < int(route["metadata"]["generation"])

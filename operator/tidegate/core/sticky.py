"""Visitors stay where a route first sent them: a cookie tells where that was. JSON in and out.

Answers of the rules that share requests by weight set it; rules of ours (``core/dark.py``) send whoever has it where
it says. Its value names the revision and the candidate: what another release gave says nothing. Nothing sets it anew,
so that it ends when it is as old as it may be, and a visitor is sent anew by the weight that holds then. As all of
this stands in one route, one write takes the weight away and frees everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tidegate.api.traffic import Match, Stay
from tidegate.core import dark
from tidegate.core.observed import Backends

CANDIDATE, STABLE = "candidate", "stable"
FEATURES = frozenset({"HTTPRouteBackendRequestHeaderModification", "HTTPRouteResponseHeaderModification"})
"""What an implementation of the Gateway API must be able to do: filters of one backend, and of answers."""
SET_COOKIE = "Set-Cookie"
TYPE, FILTER = "ResponseHeaderModifier", "responseHeaderModifier"

Json = dict[str, Any]


def rules(led: Sequence[Json], names: Backends, stay: Stay) -> list[Json]:
    """The rules that send visitors where they were, of the rules at rest that lead to the Service."""
    return [
        rule
        for revision, service in ((CANDIDATE, names.canary), (STABLE, names.stable))
        for rule in dark.rules(led, names.service, service, [_told(stay, revision)], f"-{revision}")
    ]


def marking(ref: Json, stay: Stay, revision: str) -> Json:
    """A backendRef whose answers tell the visitor where they came from, and that does all else that it did."""
    header = {"name": SET_COOKIE, "value": _cookie(stay, revision)}
    filters = list(ref.get("filters") or ())
    place = next((at for at, one in enumerate(filters) if one.get("type") == TYPE), len(filters))
    known = filters[place].get(FILTER, {}) if place < len(filters) else {}
    filters[place : place + 1] = [{"type": TYPE, FILTER: {**known, "add": [*known.get("add", ()), header]}}]
    return {**ref, "filters": filters}


def marks(ref: Json, stay: Stay, revision: str) -> bool:
    """The answers of a backendRef tell so."""
    return {"name": SET_COOKIE, "value": _cookie(stay, revision)} in [
        header for one in ref.get("filters") or () for header in one.get(FILTER, {}).get("add") or ()
    ]


def unfit(all_: Sequence[Json], led: Mapping[int, Json], beside: Sequence[Match]) -> str:
    """Why visitors of the rules that lead to the Service, by index, cannot be kept where they are; empty if they can.

    ``beside`` is what else is sent to the candidate meanwhile.
    """
    for rule in led.values():
        if told := _unfit(rule):
            return told
    others = [(at, rule) for at, rule in enumerate(all_) if at not in led and not dark.is_dark(rule)]
    if any(_overtakes(mine, other) for mine in _ranked(led.items()) for other in _ranked(others)):
        return (
            "has a rule to elsewhere that takes requests from one to the Service, and would lose those of visitors with"
            " the cookie: give the two other paths or methods"
        )
    one = [Match(cookies={"a": "b"})]
    return dark.too_many(all_, list(led.values()), one, one, *([beside] if beside else []))


def _unfit(rule: Json) -> str:
    if len(rule["backendRefs"]) > 1:
        return "has a rule that leads to others beside the Service: visitors who stay at it would be lost to those"
    if any(
        header["name"].lower() == "cookie"
        for match in rule.get("matches") or ()
        for header in match.get("headers") or ()
    ):
        return "has a rule that looks at the header Cookie itself, and a match can look at a header once"
    of_backends = [one for ref in rule["backendRefs"] for one in ref.get("filters") or ()]
    if any(_touched(one, "set", "add", "remove") for one in of_backends):
        return "has a filter of a backend that changes the header Set-Cookie: let it be one of the rule, or of the app"
    if any(_touched(one, "set", "remove") for one in rule.get("filters") or ()):
        return "has a filter that takes the header Set-Cookie from all answers"
    return ""


def _touched(filter_: Json, *ways: str) -> bool:
    known = filter_.get(FILTER) or {}
    named = [one if isinstance(one, str) else one["name"] for way in ways for one in known.get(way) or ()]
    return SET_COOKIE.lower() in map(str.lower, named)


class _Ranked(NamedTuple):
    """A match, and what routers rank it by among those of the same path and method."""

    place: tuple[str, str, str]
    rank: tuple[int, int, int]
    asks: Mapping[tuple[str, str], str]
    """Exact values of headers and query parameters."""


def _ranked(rules: Iterable[tuple[int, Json]]) -> Iterator[_Ranked]:
    for at, rule in rules:
        for match in rule.get("matches") or [{}]:
            path = match.get("path") or {}
            headers, params = match.get("headers") or (), match.get("queryParams") or ()
            named = [*(("header", one) for one in headers), *(("query", one) for one in params)]
            yield _Ranked(
                (path.get("type") or "PathPrefix", path.get("value") or "/", match.get("method") or ""),
                (len(headers), len(params), -at),
                {
                    (part, one["name"].lower()): one["value"]
                    for part, one in named
                    if one.get("type", "Exact") == "Exact"
                },
            )


def _overtakes(mine: _Ranked, other: _Ranked) -> bool:
    """With one header more, and behind all others, a match gets requests that were another's."""
    if mine.place != other.place or any(other.asks.get(key, value) != value for key, value in mine.asks.items()):
        return False
    headers, params, _ = mine.rank
    return mine.rank < other.rank < (headers + 1, params, -dark.MAX_RULES)


def _cookie(stay: Stay, revision: str) -> str:
    (told,) = _told(stay, revision).cookies.items()
    return f"{'='.join(told)}; Path=/; Max-Age={stay.seconds}; HttpOnly; SameSite=Lax"


def _told(stay: Stay, revision: str) -> Match:
    return Match(cookies={stay.cookie: f"{revision}.{stay.candidate}"})

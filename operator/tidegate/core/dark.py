"""A dark launch on a route: rules of ours behind the user's, for requests that go to the candidate. JSON in and out.

For each rule that leads to the Service one comes with the same matches, each with one header more, and all else that
the rule does. It stands behind the user's rules, so that none of them gets another index: what it asks for is more
specific, and wins wherever it stands. A cookie is a header with a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tidegate.api.traffic import Match

PREFIX = "tidegate-canary-"
"""How the names of these rules begin, which no other rule's may."""
MAX_RULES, MAX_MATCHES, MAX_MATCHES_OF_ALL = 16, 64, 128
"""Rules of a route, matches of one of its rules, matches of all of them."""

Json = dict[str, Any]


def is_dark(rule: Json) -> bool:
    """A rule of ours."""
    return str(rule.get("name", "")).startswith(PREFIX)


def rules(led: Sequence[Json], service: str, to: str, match: Sequence[Match], suffix: str = "") -> list[Json]:
    """The rules that send what matches to one of the two, of the rules at rest that lead to the Service."""
    numbered = enumerate(led) if match else ()
    return [_rule(f"{PREFIX}{number}{suffix}", rule, service, to, match) for number, rule in numbered]


def too_many(all_: Sequence[Json], led: Sequence[Json], *matches: Sequence[Match]) -> str:
    """Why the route has no room for rules of each of these; empty where it has."""
    theirs = [rule for rule in all_ if not is_dark(rule)]
    more = len(led) * len(matches)
    if len(theirs) + more > MAX_RULES:
        return f"has no room for {more} more rules beside its own: {MAX_RULES} are all that a route may have"
    wanted = [_count(rule) * len(match) for rule in led for match in matches]
    if any(count > MAX_MATCHES for count in wanted):
        return f"has a rule of too many matches: with each of these they would be more than {MAX_MATCHES}"
    if sum(map(_count, theirs)) + sum(wanted) > MAX_MATCHES_OF_ALL:
        return f"has too many matches: with each of these they would be more than {MAX_MATCHES_OF_ALL} in all"
    return ""


def _count(rule: Json) -> int:
    return len(rule.get("matches") or (1,))


def _rule(name: str, rule: Json, service: str, to: str, match: Sequence[Match]) -> Json:
    ref = next(ref for ref in rule["backendRefs"] if ref.get("name") == service)
    return {
        **rule,
        "name": name,
        "matches": [_narrowed(theirs, ours) for theirs in rule.get("matches") or [{}] for ours in match],
        "backendRefs": [{**ref, "name": to, "weight": 1}],
    }


def _narrowed(theirs: Mapping[str, Any], ours: Match) -> Json:
    """A match with more headers; of one name, ours counts."""
    more = list(_headers(ours))
    names = {header["name"].lower() for header in more}
    kept = [header for header in theirs.get("headers") or () if header["name"].lower() not in names]
    return {**theirs, "headers": [*kept, *more]}


def _headers(match: Match) -> Iterator[Json]:
    for name, value in match.headers.items():
        yield {"type": "Exact", "name": name, "value": value}
    for name, value in match.cookies.items():
        pattern = rf"(^|.*;\s*){_literally((name, value))}(;.*|$)"
        yield {"type": "RegularExpression", "name": "Cookie", "value": pattern}


def _literally(pair: Iterable[str]) -> str:
    """``name=value`` as a pattern: of what both may be made of, only the dot means something."""
    return re.sub(r"\.", r"\\.", "=".join(pair))

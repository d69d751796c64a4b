"""A route and its weights: what it says, and the smallest patch that changes it. JSON in, JSON out.

HTTPRoute and GRPCRoute are the same here: rules with matches, filters and backendRefs.

``rules`` and ``backendRefs`` are atomic lists that others own too, so nothing is applied: a JSON patch replaces the
backendRefs of the rules that point at the Service, guarded by tests on the resourceVersion and the rule. What they
were stands in an annotation on the route itself, so that whoever comes back can put them back. What their owner asks
for meanwhile stands in another (``core/wishes.py``), and is what is put back then: until then requests go by what was
asked for before, as the two Services have the ports of that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tidegate.api.traffic import AT_REST, Match, Share
from tidegate.core import dark, sticky, wishes
from tidegate.core.hold import RELEASING, Hold, annotate, noted, noted_share, noting, renoted
from tidegate.core.observed import INTRODUCED, MIXED, Backends
from tidegate.core.wishes import ASKED

MAX_WEIGHT = 1_000_000

Json = dict[str, Any]


def leads_to(route: Json, names: Backends) -> bool:
    """A rule of the route points at the Service, or at the two of its release; or did when the release took it.

    One that points at the candidate's alone is its owner's way to see that.
    """
    ours = {names.service, *names.two}
    noted = [ref for rule in _noted_rules(route).values() for ref in rule]
    return bool(_at_rest(route, names)) or _leads(noted, ours)


def share(route: Json, names: Backends) -> Share:
    """Who goes to the candidate."""
    return replace(_said(route, names), weight=weight(route, names))


def weight(route: Json, names: Backends) -> int | None:
    """The candidate's share in percent; None where the route is at rest; MIXED where rules do not agree.

    MIXED too of a route whose rules lead to the Service no more, as long as it carries a note; and of one whose rules
    of ours are not as they were written.
    """
    if _dark(route) != _ours(_led(route, names), names, _said(route, names)) or not _kept(route, names):
        return MIXED
    said = {share for rule in _taken(route, names) for share in _shares(rule, names)}
    if not said:
        # Rules whose refs to the Service have no weight at all tell nothing: the note is what was written last.
        said = {noted(route).get("weight")}
    held = _held(route, names)
    if not _at_rest(route, names):
        return MIXED if held else None
    if held and said == {None} and all(_introduced(rule, names) for rule in _rules(route)):
        return INTRODUCED
    return MIXED if len(said) > 1 or (held and None in said) else said.pop()


def unsplittable(route: Json, names: Backends) -> str:
    """Why the route cannot be split; empty where it can. One that another release holds is left alone."""
    if _anothers(route, names):
        return ""
    try:
        for refs in _at_rest(route, names).values():
            _shared(refs, names, 0)
    except ValueError as error:
        return str(error)
    return ""


def unmatchable(route: Json, names: Backends, asked: Sequence[Match]) -> str:
    """Why the route cannot have rules for these; empty where it can."""
    return dark.too_many(_rules(route), _led(route, names), asked)


def unsticky(route: Json, names: Backends, beside: Sequence[Match]) -> str:
    """Why visitors of the route cannot be kept where they are; empty where they can."""
    rules = _rules(route)
    led = {index: {**rules[index], "backendRefs": refs} for index, refs in _at_rest(route, names).items()}
    return sticky.unfit(rules, led, beside)


def pending(route: Json, names: Backends) -> str:
    """What was asked of the route in mid-release and waits for its end; empty where that is what was there before."""
    rest = _at_rest(route, names)
    other = [index for index, refs in _wished(route, names).items() if refs != rest[index]]
    return ", ".join(f"spec.rules[{index}].backendRefs" for index in other)


def patch(route: Json, names: Backends, asked: Share, hold: Hold, *, wished: bool = True) -> list[Json]:
    """JSON patch that gives the candidate this share, or puts the route back. ValueError is the user's.

    A route whose rules lead to the Service no more is put back whatever the share. One that another release holds is
    left alone: its note is the only memory of what it was. What is put back is what was asked for meanwhile, unless
    that is not ``wished``.
    """
    if _anothers(route, names):
        return []
    rest, wanted = _at_rest(route, names), _wished(route, names)
    asked = asked if rest else AT_REST
    back = asked.weight is None
    owners = {**rest, **wanted} if wished else rest
    changes = [
        operation
        for index, refs in (owners if back else rest).items()
        for operation in _replace(route, index, refs if back else _split(refs, names, asked))
    ]
    keys = _keys(route)
    notes = {keys[index]: refs for index, refs in rest.items()}
    changes += _darken(route, ours := _ours(_led(route, names), names, asked))
    note = hold.note(service=names.service, rules=notes, **noting(asked))
    changes += annotate(route, RELEASING, None if back else note)
    left = {} if back else _moved(route, wanted, ours)
    changes += annotate(route, ASKED, wishes.by_lines(left) or None)
    return _as_read(route, changes)


def _wished(route: Json, names: Backends) -> dict[int, list[Json]]:
    """backendRefs that were asked for in mid-release, by index of the rules that the release holds."""
    asked = wishes.by_rule(route) if _held(route, names) else {}
    two = set(names.two)
    held = [index for index in _at_rest(route, names) if _leads(_rules(route)[index].get("backendRefs", ()), two)]
    return {index: asked[index] for index in held if index in asked and not _leads(asked[index], two)}


def _moved(route: Json, wanted: Mapping[int, list[Json]], ours: list[Json]) -> dict[int, list[Json]]:
    """By index of the rules as they are once those of ours are behind all others."""
    if _dark(route) == ours:
        return dict(wanted)
    return {index - sum(map(dark.is_dark, _rules(route)[:index])): refs for index, refs in wanted.items()}


def _said(route: Json, names: Backends) -> Share:
    """What was written last."""
    return noted_share(route) if _held(route, names) else AT_REST


def _ours(led: Sequence[Json], names: Backends, asked: Share) -> list[Json]:
    """The rules of ours that a share needs: where two are as specific, who asks for the candidate gets it."""
    stays = sticky.rules(led, names, asked.stay) if asked.stay else []
    return [*dark.rules(led, names.service, names.canary, asked.match), *stays]


def _kept(route: Json, names: Backends) -> bool:
    """Answers tell visitors where they were, if they are to."""
    stay, revisions = _said(route, names).stay, _revisions(names)
    refs = [ref for rule in _taken(route, names) for ref in rule["backendRefs"]]
    ours = [ref for ref in refs if _points(ref, set(names.two))]
    return stay is None or all(sticky.marks(ref, stay, revisions[ref["name"]]) for ref in ours)


def _revisions(names: Backends) -> Mapping[str, str]:
    return {names.stable: sticky.STABLE, names.canary: sticky.CANDIDATE}


def _darken(route: Json, wanted: list[Json]) -> list[Json]:
    """The rules of ours, behind all others."""
    if _dark(route) == wanted:
        return []
    places = [place for place, rule in enumerate(_rules(route)) if dark.is_dark(rule)]
    gone = [{"op": "remove", "path": f"/spec/rules/{place}"} for place in reversed(places)]
    return [*gone, *({"op": "add", "path": "/spec/rules/-", "value": rule} for rule in wanted)]


def _dark(route: Json) -> list[Json]:
    return [rule for rule in _rules(route) if dark.is_dark(rule)]


def _led(route: Json, names: Backends) -> list[Json]:
    """The rules that lead to the Service, as they are at rest."""
    return [{**_rules(route)[index], "backendRefs": refs} for index, refs in _at_rest(route, names).items()]


def _taken(route: Json, names: Backends) -> list[Json]:
    """The same, as they are now."""
    return [_rules(route)[index] for index in _at_rest(route, names)]


def seize(route: Json, hold: Hold) -> list[Json]:
    """JSON patch by which a new leader writes its term to a route that is held, and changes nothing else."""
    return _as_read(route, annotate(route, RELEASING, renoted(route, hold)))


def _held(route: Json, names: Backends) -> bool:
    """The release of this Service holds the route: no two releases share a Service, but they may share a route."""
    return RELEASING in _annotations(route) and noted(route).get("service", names.service) == names.service


def _anothers(route: Json, names: Backends) -> bool:
    """Another release holds it."""
    return RELEASING in _annotations(route) and not _held(route, names)


def _as_read(route: Json, changes: list[Json]) -> list[Json]:
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": route["metadata"]["resourceVersion"]}
    return [version, *changes] if changes else []


def _at_rest(route: Json, names: Backends) -> dict[int, list[Json]]:
    """backendRefs at rest, by index of the rules that lead to the Service."""
    known = _noted_rules(route)
    found, keys = {}, _keys(route)
    for index, rule in enumerate(_rules(route)):
        refs = rule.get("backendRefs", [])
        if dark.is_dark(rule):
            continue
        if any(_points(ref, {names.stable, names.canary}) for ref in refs):
            rest = known.get(keys[index]) or _merged(refs, names)
            if any(_points(ref, {names.service}) for ref in rest):
                found[index] = rest
        elif any(_points(ref, {names.service}) for ref in refs):
            found[index] = refs
    return found


def _split(refs: Sequence[Json], names: Backends, asked: Share) -> list[Json]:
    """As ``_shared``, and answers tell visitors where they were, if they are to."""
    shared, stay, revisions = _shared(refs, names, asked.weight or 0), asked.stay, _revisions(names)
    if stay is None:
        return shared
    return [
        sticky.marking(ref, stay, revisions[ref["name"]]) if _points(ref, set(names.two)) else ref for ref in shared
    ]


def _shared(refs: Sequence[Json], names: Backends, share: int) -> list[Json]:
    """Each ref to the Service becomes two; the others keep their proportion to it."""
    if share == INTRODUCED:
        beside = [
            {**ref, "name": name, "weight": 0} for ref in refs if _points(ref, {names.service}) for name in names.two
        ]
        return [*refs, *beside]
    alone = all(_points(ref, {names.service}) for ref in refs) and len(refs) == 1
    result: list[Json] = []
    for ref in refs:
        whole = 1 if alone else int(ref.get("weight", 1))
        if _points(ref, {names.service}):
            result.append({**ref, "name": names.stable, "weight": whole * (100 - share)})
            result.append({**ref, "name": names.canary, "weight": whole * share})
        else:
            result.append({**ref, "weight": whole * 100})
    if any(ref["weight"] > MAX_WEIGHT for ref in result):
        raise ValueError(
            f"weights of backendRefs must stay under {MAX_WEIGHT // 100}: a release multiplies them by 100"
        )
    return result


def _merged(refs: Sequence[Json], names: Backends) -> list[Json]:
    """The refs at rest where no note tells: the two Services are one again."""
    if any(_points(ref, {names.service}) for ref in refs):
        return [ref for ref in refs if not _points(ref, set(names.two))]
    merged: list[Json] = []
    for ref in refs:
        if _points(ref, {names.canary}):
            continue
        plain = {key: value for key, value in ref.items() if key != "weight"}
        if _points(ref, {names.stable}):
            plain["name"] = names.service
        others = any(not _points(other, {names.stable, names.canary}) for other in refs)
        both = int(ref.get("weight", 1)) + sum(
            int(other.get("weight", 1))
            for other in refs
            if _points(ref, {names.stable}) and _points(other, {names.canary}) and other.get("port") == ref.get("port")
        )
        merged.append({**plain, "weight": both // 100} if others else plain)
    return merged


def _introduced(rule: Json, names: Backends) -> bool:
    """The two Services stand beside the user's, in a rule that leads to it."""
    listed = {ref.get("name") for ref in rule.get("backendRefs", ()) if _points(ref, {names.service, *names.two})}
    return names.service not in listed or listed >= set(names.two)


def _shares(rule: Json, names: Backends) -> Iterator[int | None]:
    refs = rule.get("backendRefs", [])
    if any(_points(ref, {names.service}) for ref in refs):
        yield None
    stable = sum(int(ref.get("weight", 1)) for ref in refs if _points(ref, {names.stable}))
    canary = sum(int(ref.get("weight", 1)) for ref in refs if _points(ref, {names.canary}))
    if stable + canary:
        yield round(100 * canary / (stable + canary))


def _replace(route: Json, index: int, refs: list[Json]) -> list[Json]:
    rule, path = _rules(route)[index], f"/spec/rules/{index}"
    if rule.get("backendRefs", []) == refs:
        return []
    identity = "name" if "name" in rule else "matches"
    test = [{"op": "test", "path": f"{path}/{identity}", "value": rule[identity]}] if identity in rule else []
    if not refs:
        return [*test, {"op": "remove", "path": f"{path}/backendRefs"}]
    return [*test, {"op": "replace", "path": f"{path}/backendRefs", "value": refs}]


def _noted_rules(route: Json) -> Mapping[str, list[Json]]:
    """backendRefs at rest, by the rule's key, as far as they can be read."""
    rules = noted(route).get("rules")
    readable = rules.items() if isinstance(rules, dict) else ()
    return {key: refs for key, refs in readable if isinstance(refs, list) and all(isinstance(r, dict) for r in refs)}


def _keys(route: Json) -> list[str]:
    """A rule is known by its name, else by what it matches: an index changes when somebody inserts a rule.

    Rules that match the same are told apart by their order.
    """
    plain = [
        str(rule["name"]) if "name" in rule else json.dumps(rule.get("matches", []), sort_keys=True)
        for rule in _rules(route)
    ]
    return [key if key not in plain[:at] else f"{key}#{plain[:at].count(key)}" for at, key in enumerate(plain)]


def _leads(refs: Iterable[Json], services: set[str]) -> bool:
    return any(_points(ref, services) for ref in refs)


def _points(ref: Json, services: set[str]) -> bool:
    return ref.get("kind", "Service") == "Service" and not ref.get("namespace") and ref.get("name") in services


def _rules(route: Json) -> list[Json]:
    return list(route.get("spec", {}).get("rules", []))


def _annotations(route: Json) -> Json:
    return dict(route["metadata"].get("annotations") or {})

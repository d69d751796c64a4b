"""A TraefikService of weights: what it says, and the smallest patch that changes it. JSON in, JSON out.

It is held as routes are (``core/routes.py``): a JSON patch with a test of the version, and a note on the object itself
of what its list was. Unlike a route it may list nobody who has no endpoints: Traefik then takes all of it away, even
where that one's weight is 0. So the candidate is listed while it has weight, and stable while it has any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tidegate.api.traffic import AT_REST, Share, Stay
from tidegate.core import wishes
from tidegate.core.hold import RELEASING, Hold, annotate, noted, noted_share, noting, renoted
from tidegate.core.observed import INTRODUCED, MIXED, Backends
from tidegate.core.wishes import ASKED

Json = dict[str, Any]

STICKY = "/spec/weighted/sticky"
"""Where its cookie stands."""


def entries(obj: Json) -> list[Json]:
    """What it shares requests between; nothing of one of another type."""
    return list((obj.get("spec", {}).get("weighted") or {}).get("services") or ())


def leads_to(obj: Json, names: Backends) -> bool:
    """It lists the Service or the two of its release; or did when the release took it.

    One that lists the candidate's alone is its owner's way to see that.
    """
    if held(obj, names):
        return any(points(entry, obj, {names.service, *names.two}) for entry in (*entries(obj), *_noted(obj)))
    return any(points(entry, obj, {names.service, names.stable}) for entry in entries(obj))


def points(entry: Json, obj: Json, services: set[str]) -> bool:
    """An entry is one of these Services, of the object's own namespace."""
    own = obj["metadata"].get("namespace", "")
    kind, where = entry.get("kind", "Service"), entry.get("namespace") or own
    return kind == "Service" and where == own and entry.get("name") in services


def held(obj: Json, names: Backends) -> bool:
    """The release of this Service holds it: no two releases share a Service, but they may share a TraefikService."""
    return RELEASING in _annotations(obj) and noted(obj).get("service") == names.service


def share(obj: Json, names: Backends) -> Share:
    """Who goes to the candidate; of the weight MIXED where it is not as it was written."""
    split = any(points(entry, obj, set(names.two)) for entry in entries(obj))
    if not held(obj, names):
        return Share(MIXED) if split and RELEASING not in _annotations(obj) else AT_REST
    said = noted_share(obj)
    if said.weight is None or entries(obj) != shared(obj, names, said.weight):
        return replace(said, weight=MIXED)
    return said if said.stay is None or _sticks(obj, said.stay) else replace(said, weight=MIXED)


def unsticky(obj: Json) -> str:
    """Why its visitors cannot be kept where they are; empty where they can."""
    # What another release put there goes when that one has ended.
    if _sticky(obj) and not _sticks(obj, noted_share(obj).stay):
        return "has a sticky cookie of its own already, which would be lost meanwhile: leave one of the two out"
    return ""


def shared(obj: Json, names: Backends, share: int) -> list[Json]:
    """Its list with this share for the candidate: the others keep theirs."""
    rest, ours = _rest(obj, names), {names.service}
    if share == INTRODUCED:
        beside = [{**entry, "name": names.stable, "weight": 0} for entry in rest if points(entry, obj, ours)]
        return [*rest, *beside]
    result = []
    for entry in rest:
        whole = int(entry.get("weight", 1)) if len(rest) > 1 else 1
        if points(entry, obj, ours):
            parts = ((names.stable, whole * (100 - share)), (names.canary, whole * share))
            result += [{**entry, "name": name, "weight": part} for name, part in parts if part]
        else:
            result.append({**entry, "weight": whole * 100})
    return result


def pending(obj: Json, names: Backends) -> str:
    """What was asked of it in mid-release and waits for its end; empty where that is what was there before."""
    wanted = _wished(obj, names)
    if wanted is None:
        return ""
    fields = {"services": _listed(wanted) != _rest(obj, names), "sticky": bool(_owners_cookie(obj, wanted))}
    return ", ".join(f"spec.weighted.{field}" for field, other in fields.items() if other)


def patch(obj: Json, names: Backends, asked: Share, hold: Hold, *, wished: bool = True) -> list[Json]:
    """JSON patch that gives the candidate this share, or puts the list back.

    One that lists the Service no more is let go whatever the share; one that another release holds is left alone. What
    is put back is what was asked for meanwhile, unless that is not ``wished``.
    """
    if RELEASING in _annotations(obj) and not held(obj, names):
        return []
    if not any(points(entry, obj, {names.service, *names.two}) for entry in entries(obj)):
        return _as_read(obj, [*_stick(obj, None), *_let_go(obj)])
    rest = _rest(obj, names)
    if asked.weight is None:
        return _as_read(obj, [*_put_back(obj, rest, _wished(obj, names) if wished else None), *_let_go(obj)])
    changes = [*_stick(obj, asked.stay), *_list(obj, shared(obj, names, asked.weight))]
    note = hold.note(service=names.service, services=rest, **noting(asked))
    stale = [] if held(obj, names) else annotate(obj, ASKED, None)
    return _as_read(obj, [*changes, *annotate(obj, RELEASING, note), *stale])


def _put_back(obj: Json, rest: list[Json], wanted: Json | None) -> list[Json]:
    if wanted is None:
        return [*_stick(obj, None), *_list(obj, rest)]
    if not _listed(wanted):
        # What shares requests by weights no more is of another type.
        return [{"op": "remove", "path": "/spec/weighted"}]
    cookie = _owners_cookie(obj, wanted)
    stick = [{"op": "replace", "path": STICKY, "value": cookie}] if cookie else _stick(obj, None)
    return [*stick, *_list(obj, _listed(wanted))]


def _list(obj: Json, wanted: list[Json]) -> list[Json]:
    if wanted == entries(obj):
        return []
    return [{"op": "replace", "path": "/spec/weighted/services", "value": wanted}]


def _wished(obj: Json, names: Backends) -> Json | None:
    """The ``weighted`` that was asked for in mid-release; None where there is none that can be read."""
    found = wishes.whole(obj) if held(obj, names) else None
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in _listed(found)):
        return None
    return None if any(points(entry, obj, set(names.two)) for entry in _listed(found)) else found


def _listed(weighted: Json) -> list[Json]:
    return list(weighted.get("services") or ())


def _owners_cookie(obj: Json, wanted: Json) -> Json:
    """The cookie that was asked for where one of ours stands. Whoever changed only the list has ours in it."""
    stay = noted_share(obj).stay
    asked = {"metadata": obj["metadata"], "spec": {"weighted": wanted}}
    return {} if not _sticks(obj, stay) or _sticks(asked, stay) else _sticky(asked)


def _stick(obj: Json, stay: Stay | None) -> list[Json]:
    """The cookie of ours comes and goes; one of the user's stays as it is."""
    if stay is None:
        return [{"op": "remove", "path": STICKY}] if _sticks(obj, noted_share(obj).stay) else []
    return [] if _sticks(obj, stay) else [{"op": "add", "path": STICKY, "value": {"cookie": _cookie(stay)}}]


def _sticks(obj: Json, stay: Stay | None) -> bool:
    """It keeps visitors so."""
    return stay is not None and _cookie(stay).items() <= (_sticky(obj).get("cookie") or {}).items()


def _sticky(obj: Json) -> Json:
    return dict((obj["spec"].get("weighted") or {}).get("sticky") or {})


def _cookie(stay: Stay) -> Json:
    """By a name of this candidate's: Traefik tells only which Service it was, and that name each release has."""
    name = f"{stay.cookie}-{stay.candidate}"
    return {"name": name, "maxAge": stay.seconds, "path": "/", "httpOnly": True, "sameSite": "lax"}


def seize(obj: Json, hold: Hold) -> list[Json]:
    """JSON patch by which a new leader writes its term to one that is held, and changes nothing else."""
    return _as_read(obj, annotate(obj, RELEASING, renoted(obj, hold)))


def empty_weights(obj: Json, names: Backends) -> bool:
    """The Service has no share of it that a release could divide."""
    mine = [entry for entry in _rest(obj, names) if points(entry, obj, {names.service})]
    return not any(int(entry.get("weight", 1)) for entry in mine)


def _rest(obj: Json, names: Backends) -> list[Json]:
    """Its list at rest: as noted, else the two Services are one again."""
    known = _noted(obj) if held(obj, names) else []
    if known:
        return known
    merged: list[Json] = []
    two = [entry for entry in entries(obj) if points(entry, obj, set(names.two))]
    others = [entry for entry in entries(obj) if entry not in two]
    if any(points(entry, obj, {names.service}) for entry in others) or not two:
        return others
    for entry in two:
        if any(entry.get("port") == one.get("port") for one in merged):
            continue
        both = sum(int(one.get("weight", 1)) for one in two if one.get("port") == entry.get("port"))
        merged.append({**entry, "name": names.service, "weight": max(both // 100, 1)})
    return [*merged, *({**entry, "weight": int(entry.get("weight", 1)) // 100} for entry in others)]


def _noted(obj: Json) -> list[Json]:
    services = noted(obj).get("services")
    if not isinstance(services, list) or not all(isinstance(entry, dict) for entry in services):
        return []
    return services


def _let_go(obj: Json) -> list[Json]:
    return [*annotate(obj, RELEASING, None), *annotate(obj, ASKED, None)]


def _as_read(obj: Json, changes: list[Json]) -> list[Json]:
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]}
    return [version, *changes] if changes else []


def _annotations(obj: Json) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}

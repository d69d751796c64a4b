"""What admission makes of a write: the policies of manifests/admission once more, as pure functions.

Where the API server has no MutatingAdmissionPolicy the operator answers it by these, as a webhook; and the API server
of the simulation admits by them. One table of cases (tests/gate) holds them and the CEL to the same.

Objects in, a JSON patch out. A clamp changes a write and refuses none; asked again after another plugin, it comes to
the same.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tidegate.core import dark, gate, wishes
from tidegate.core.gate import CEILING, DEADLINE_WISH, FLOOR, HELD_DEADLINE, RELEASE
from tidegate.core.hold import RELEASING
from tidegate.core.reading import DESIRED, HASH, REVISION
from tidegate.core.wishes import ASKED

Json = dict[str, Any]
Clamp = Callable[[Json | None, Json], list[Json]]
"""The object before (None: it is created) and as it is asked for; what is changed of that."""

DEFAULT_DEADLINE = 600
"""progressDeadlineSeconds of a Deployment that names none: the API server's own."""


def answer(review: Json, exempt: str) -> Json:
    """The answer to an AdmissionReview; whoever is ``exempt`` writes past the clamp."""
    request = review["request"]
    operations = _asked(request, ours=request["userInfo"].get("username") == exempt)
    response: Json = {"uid": request["uid"], "allowed": True}
    if operations:
        encoded = base64.b64encode(json.dumps(operations).encode()).decode()
        response |= {"patchType": "JSONPatch", "patch": encoded}
    return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}


def patch(kind: str, before: Json | None, asked: Json) -> list[Json]:
    """JSON patch that makes of what is asked for what is granted; empty where that is the same."""
    clamp = CLAMPS.get(kind)
    return clamp(before, asked) if clamp else []


def _asked(request: Json, *, ours: bool) -> list[Json]:
    if request["operation"] not in ("CREATE", "UPDATE") or request.get("subResource"):
        return []
    kind, before, asked = request["kind"]["kind"], request.get("oldObject"), request["object"]
    if ours:
        return disowned(asked) if before is not None and kind in BORROWED else []
    return patch(kind, before, asked)


# ReplicaSets.


def _replicaset(before: Json | None, asked: Json) -> list[Json]:
    if before is None:
        return _held_at_birth(asked) if _is_a_new_revision(asked) else []
    if not {FLOOR, CEILING} & set(_notes(before)):
        return []
    granted = _size(before, asked)
    return [] if granted == _replicas(asked) else [_replace("/spec/replicas", granted)]


def _is_a_new_revision(newborn: Json) -> bool:
    """Of a Deployment under management: it hands its annotations on. Revision 1 is no release."""
    notes, owners = _notes(newborn), newborn["metadata"].get("ownerReferences") or ()
    return RELEASE in notes and notes.get(REVISION) != "1" and any(owner["kind"] == "Deployment" for owner in owners)


def _held_at_birth(newborn: Json) -> list[Json]:
    return [_replace("/spec/replicas", 0), *_note(newborn, {CEILING: "0"})]


def _size(before: Json, asked: Json) -> int:
    """Within the bounds as they were: a write that drops them is still bound by them."""
    numbers = (_notes(obj).get(DESIRED, "") for obj in (asked, before))
    desired = next((int(text) for text in numbers if re.fullmatch("[0-9]{1,10}", text)), None)
    floor, ceiling = (_pods(_notes(before).get(name, ""), desired, _replicas(before)) for name in (FLOOR, CEILING))
    granted = _replicas(asked) if ceiling is None else min(_replicas(asked), ceiling)
    return granted if floor is None else max(granted, floor)


def _pods(bound: str, desired: int | None, had: int) -> int | None:
    """None where there is no bound, or none that can be read, which must not shut the way out.

    A share of nobody knows what is what the ReplicaSet had.
    """
    if re.fullmatch("[0-9]{1,9}", bound):
        return int(bound)
    if not re.fullmatch("[0-9]{1,3}%", bound):
        return None
    return had if desired is None else gate.pods(bound, desired)


# Deployments.


def _deployment(before: Json | None, asked: Json) -> list[Json]:
    if before is None or RELEASE not in _notes(before):
        return []
    deadline = asked["spec"].get("progressDeadlineSeconds", DEFAULT_DEADLINE)
    held = before["spec"].get("progressDeadlineSeconds") == HELD_DEADLINE and deadline != HELD_DEADLINE
    notes = {DEADLINE_WISH: str(deadline)} if held else {}
    if _unread(before, asked):
        notes |= {RELEASE: _notes(before)[RELEASE]}
        if DEADLINE_WISH in _notes(before) and DEADLINE_WISH not in {*notes, *_notes(asked)}:
            notes |= {DEADLINE_WISH: _notes(before)[DEADLINE_WISH]}
    kept = [_add("/spec/progressDeadlineSeconds", HELD_DEADLINE)] if held else []
    return [*kept, *_note(asked, notes)]


def _unread(before: Json, asked: Json) -> bool:
    """Who wrote this had not read what stands: no uid, or not the Deployment controller's own annotation."""
    return not asked["metadata"].get("uid") or _notes(asked).get(REVISION) != _notes(before).get(REVISION)


# Services.


def _service(before: Json | None, asked: Json) -> list[Json]:
    if before is None or RELEASING not in _notes(before):
        return []
    notes = _note(asked, {RELEASING: _notes(before)[RELEASING]})
    held, wanted = (obj["spec"].get("selector") or {} for obj in (before, asked))
    if held.get(HASH) == wanted.get(HASH):
        return notes
    if HASH not in held:
        return [*notes, {"op": "remove", "path": f"/spec/selector/{HASH}"}]
    if "selector" not in asked["spec"]:
        return [*notes, _add("/spec/selector", {HASH: held[HASH]})]
    return [*notes, _add(f"/spec/selector/{HASH}", held[HASH])]


# Routes.


def _route(before: Json | None, asked: Json) -> list[Json]:
    if before is None or RELEASING not in _notes(before):
        return []
    note, was, now = _notes(before)[RELEASING], before["spec"].get("rules") or [], asked["spec"].get("rules") or []
    origins = {index: old for index, old in enumerate(_origins(was, now)) if old is not None}
    held = {index: old for index, old in origins.items() if _leads_to_the_release(was[old], note)}
    return [
        *_note(asked, {RELEASING: note}),
        *_asking(asked, "\n".join(_asked_of_rules(before, asked, held))),
        *(
            _add(f"/spec/rules/{index}/backendRefs", was[old]["backendRefs"])
            for index, old in held.items()
            if was[old]["backendRefs"] != now[index].get("backendRefs")
        ),
        *(_add("/spec/rules/-", rule) for rule in _darkened(was, now)),
    ]


def _asked_of_rules(before: Json, asked: Json, held: Mapping[int, int]) -> Iterator[str]:
    """A line for each rule that is held and of which something else was asked, now or before."""
    note, so_far = _notes(before)[RELEASING], _notes(before).get(ASKED, "")
    known = _notes(asked).get(ASKED, so_far)
    for index, old in held.items():
        rule, origin = asked["spec"]["rules"][index], before["spec"]["rules"][old]
        refs = rule.get("backendRefs") or []
        if refs != origin["backendRefs"] and not dark.is_dark(rule) and not _of_the_release(refs, note):
            yield f"{index} {wishes.text(refs)}"
            continue
        # Asked again after another plugin: what was made of the write is there, by the indices of now.
        start = f"{index if known != so_far else old} "
        yield from (f"{index} {line.removeprefix(start)}" for line in known.split("\n") if line.startswith(start))


def _asking(asked: Json, wish: str) -> list[Json]:
    """Operations that leave this annotation of what was asked for, behind those of the note."""
    if wish == _notes(asked).get(ASKED, ""):
        return []
    path = f"/metadata/annotations/{ASKED.replace('/', '~1')}"
    return [_add(path, wish)] if wish else [{"op": "remove", "path": path}]


def _darkened(before: Sequence[Json], now: Sequence[Json]) -> list[Json]:
    """Rules of Tidegate's own that a write leaves out: they come behind all others, where there is room."""
    names = {rule.get("name") for rule in now}
    lost = [rule for rule in before if dark.is_dark(rule) and rule["name"] not in names]
    return lost if now and len(now) + len(lost) <= dark.MAX_RULES else []


def _origins(before: Sequence[Json], now: Sequence[Json]) -> list[int | None]:
    """For each rule, which it was: the rule of its name, else that of its matches, among several by their order."""
    named = {rule["name"]: old for old, rule in enumerate(before) if "name" in rule}
    names = {rule["name"] for rule in now if "name" in rule}
    lost = [old for old, rule in enumerate(before) if rule.get("name") not in names]
    found = [rule for rule in now if rule.get("name") not in named]
    by_matches = dict(zip(_keys([before[old] for old in lost]), lost, strict=True))
    keys = iter(_keys(found))
    return [named[rule["name"]] if rule.get("name") in named else by_matches.get(next(keys)) for rule in now]


def _keys(rules: Sequence[Json]) -> list[tuple[str, int]]:
    """What each matches, and how many before it match the same."""
    seen: Counter[str] = Counter()
    keys = []
    for rule in rules:
        matches = json.dumps(rule.get("matches", []), sort_keys=True)
        keys.append((matches, seen[matches]))
        seen[matches] += 1
    return keys


def _leads_to_the_release(rule: Json, note: str) -> bool:
    return _of_the_release(rule.get("backendRefs") or [], note)


def _of_the_release(refs: Sequence[Json], note: str) -> bool:
    """One of them is of the two Services of the release that wrote the note."""
    names = (str(ref.get("name", "")) for ref in refs)
    return any(name.endswith(("-stable", "-canary")) and f'"service":"{name[:-7]}"' in note for name in names)


# TraefikServices.


def _traefik_service(before: Json | None, asked: Json) -> list[Json]:
    if before is None or RELEASING not in _notes(before):
        return []
    note = _note(asked, {RELEASING: _notes(before)[RELEASING]})
    held = (before["spec"].get("weighted") or {}).get("services") or []
    if not _of_the_release(held, _notes(before)[RELEASING]):
        return note
    note += _asking(asked, _asked_of_a_list(before, asked, held))
    if "weighted" not in asked["spec"]:
        return [*note, _add("/spec/weighted", before["spec"]["weighted"])]
    kept = {"services": held, **_cookie(before)}
    changed = [key for key, value in kept.items() if asked["spec"]["weighted"].get(key) != value]
    return [*note, *(_add(f"/spec/weighted/{key}", kept[key]) for key in changed)]


def _asked_of_a_list(before: Json, asked: Json, held: Sequence[Json]) -> str:
    """What was asked for instead, now or before."""
    wanted = asked["spec"].get("weighted") or {}
    services = wanted.get("services") or []
    if services != held and not _of_the_release(services, _notes(before)[RELEASING]):
        return wishes.text(wanted)
    return _notes(asked).get(ASKED, _notes(before).get(ASKED, ""))


def _cookie(before: Json) -> Json:
    """What keeps visitors where they are, in a release that does so."""
    known = before["spec"]["weighted"].get("sticky")
    return {"sticky": known} if known and '"stay":' in _notes(before)[RELEASING] else {}


CLAMPS: Mapping[str, Clamp] = {
    "ReplicaSet": _replicaset,
    "Deployment": _deployment,
    "Service": _service,
    "HTTPRoute": _route,
    "GRPCRoute": _route,
    "TraefikService": _traefik_service,
}
"""By kind."""


# Ownership.

MANAGER = "tidegate"
"""Who writes, in metadata.managedFields."""
BORROWED = {"Deployment", "Service", "HTTPRoute", "GRPCRoute", "TraefikService"}
"""Kinds of the user's objects, of which a release writes fields and puts them back."""


def disowned(asked: Json) -> list[Json]:
    """What Tidegate writes makes it no owner (manifests/admission/ownership.yaml)."""
    owners = asked["metadata"].get("managedFields") or []
    # The last first, so that the places of the others stay.
    places = [place for place, owner in enumerate(owners) if owner.get("manager") == MANAGER][::-1]
    if len(places) < len(owners):
        return [{"op": "remove", "path": f"/metadata/managedFields/{place}"} for place in places]
    # Of an object without any, the API server takes all fields for somebody's.
    return [_replace(f"/metadata/managedFields/{place}/fieldsV1", {}) for place in places]


# JSON.


def _note(obj: Json, wanted: Mapping[str, str]) -> list[Json]:
    """Operations that give an object these annotations."""
    notes = _notes(obj)
    if wanted.items() <= notes.items():
        return []
    if not notes:
        return [_add("/metadata/annotations", dict(wanted))]
    return [_add(f"/metadata/annotations/{name.replace('/', '~1')}", value) for name, value in wanted.items()]


def _notes(obj: Json) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def _replicas(replicaset: Json) -> int:
    return int(replicaset["spec"]["replicas"])


def _add(path: str, value: object) -> Json:
    return {"op": "add", "path": path, "value": value}


def _replace(path: str, value: object) -> Json:
    return {"op": "replace", "path": path, "value": value}

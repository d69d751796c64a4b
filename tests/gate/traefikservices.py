"""TraefikServices in mid-release: they keep their list and take every other edit."""

from __future__ import annotations

from typing import Any

from tests.gate.case import ABSENT, Case, Json, Only, notes
from tidegate.core import wishes
from tidegate.core.hold import RELEASING
from tidegate.core.wishes import ASKED

NOTE = '{"release":"checkout","service":"checkout","services":[]}'
HELD = {RELEASING: NOTE, "by": "user"}
REST = [{"name": "checkout", "port": 80}]
STABLE, CANARY = {"name": "checkout-stable", "port": 80}, {"name": "checkout-canary", "port": 80}
SPLIT = [{**STABLE, "weight": 90}, {**CANARY, "weight": 10}]
OTHER = [{"name": "catalog", "port": 80, "weight": 1}]
STICKY = {"sticky": {"cookie": {"name": "shop"}}}
OURS = {"sticky": {"cookie": {"name": "stay-7d9f5", "maxAge": 60}}}
STAYING = {RELEASING: '{"release":"checkout","service":"checkout","services":[],"stay":{"cookie":"stay"}}'}


def service(services: list[Json], annotations: Json | None, more: Json | None = None) -> Json:
    """One of weights."""
    return {
        "apiVersion": "traefik.io/v1alpha1",
        "kind": "TraefikService",
        "metadata": {} if annotations is None else {"annotations": annotations},
        "spec": {"weighted": {"services": services, **(more or {})}},
    }


ASKED_BEFORE = {**HELD, ASKED: wishes.text({"services": OTHER})}
_OPTIONS: tuple[tuple[str, Any], ...] = (("held", HELD), ("kept", None), ("was", {}), ("is_", {}))


def _edit(
    before: list[Json], weighted: Json | None, after: list[Json], change: Json | None = None, **more: Any
) -> Case:
    held, kept, was, is_ = (more.pop(key, default) for key, default in _OPTIONS)
    noted = {} if held is None else (held if kept is None else kept)
    wanted = (weighted or {}).get("services") or []
    asked = wishes.text({key: value for key, value in (weighted or {}).items() if value is not None})
    said = more.pop("asked", asked if wanted != after and "-stable" not in str(wanted) else "")
    annotations = ABSENT if held is None else Only({**noted, **({ASKED: said} if said else {})})
    written: Json = {"spec": {"weighted": weighted}, **(change or {})}
    return Case(
        service(before, held, was),
        written,
        {"metadata": {"annotations": annotations}, "spec": {"weighted": {"services": after, **is_}}},
        **more,
    )


CASES = {
    "list set back": _edit(SPLIT, {"services": REST}, SPLIT),
    "only weights": _edit(SPLIT, {"services": [{**STABLE, "weight": 1}, {**CANARY, "weight": 9}]}, SPLIT),
    "one revision alone": _edit([{**STABLE, "weight": 100}], {"services": REST}, [{**STABLE, "weight": 100}]),
    "one more": _edit(SPLIT, {"services": [*SPLIT, *OTHER]}, SPLIT),
    "list kept, another field": _edit(SPLIT, {**STICKY, "services": SPLIT}, SPLIT, is_=STICKY),
    "a cookie of the user's": _edit(
        SPLIT, {"services": REST, "sticky": None}, SPLIT, was=STICKY, is_={"sticky": ABSENT}
    ),
    "the release's cookie left out": _edit(
        SPLIT, {"services": REST, "sticky": None}, SPLIT, held=STAYING, was=OURS, is_=OURS
    ),
    "the release's cookie changed": _edit(
        SPLIT,
        {**STICKY, "services": REST},
        SPLIT,
        held=STAYING,
        was=OURS,
        is_=OURS,
        asked=wishes.text({"services": REST, "sticky": {"cookie": {"name": "shop", "maxAge": 60}}}),
    ),
    "of another type, with the release's cookie": _edit(SPLIT, None, SPLIT, held=STAYING, was=OURS, is_=OURS),
    "a release that has no cookie yet": _edit(SPLIT, {**STICKY, "services": REST}, SPLIT, held=STAYING, is_=STICKY),
    "list left out": _edit(SPLIT, {"services": None}, SPLIT),
    "of another type": _edit(SPLIT, None, SPLIT),
    "the note removed": _edit(SPLIT, {"services": REST}, SPLIT, notes(**{RELEASING: None})),
    "all annotations removed": _edit(
        SPLIT, {"services": REST}, SPLIT, {"metadata": {"annotations": None}}, kept={RELEASING: NOTE}
    ),
    "another annotation": _edit(SPLIT, {"services": REST}, SPLIT, notes(team="shop"), kept={**HELD, "team": "shop"}),
    "another list asked for": _edit(
        SPLIT, {"services": OTHER}, SPLIT, asked='{"services":[{"name":"catalog", "port":80, "weight":1}]}'
    ),
    "a list and a cookie asked for": _edit(
        SPLIT,
        {**STICKY, "services": OTHER},
        SPLIT,
        held=STAYING,
        was=OURS,
        is_=OURS,
        asked=wishes.text({"services": OTHER, "sticky": {"cookie": {"name": "shop", "maxAge": 60}}}),
    ),
    "one more asked for, called as of a release": _edit(
        SPLIT,
        {"services": [*REST, {"name": "catalog-stable", "port": 80}]},
        SPLIT,
        asked=wishes.text({"services": [*REST, {"name": "catalog-stable", "port": 80}]}),
    ),
    "asked for again": _edit(
        SPLIT, {"services": REST}, SPLIT, held=ASKED_BEFORE, asked=wishes.text({"services": REST})
    ),
    "what was read written back, after something was asked for": _edit(
        SPLIT, {"services": SPLIT}, SPLIT, held=ASKED_BEFORE
    ),
    "all annotations removed, after something was asked for": _edit(
        SPLIT,
        {"services": SPLIT},
        SPLIT,
        {"metadata": {"annotations": None}},
        held=ASKED_BEFORE,
        kept={RELEASING: NOTE, ASKED: ASKED_BEFORE[ASKED]},
    ),
    "held, and of no release's Services": _edit(OTHER, {"services": REST}, REST),
    "at rest": _edit(REST, {"services": OTHER}, OTHER, held=None),
    "by Tidegate": _edit(
        SPLIT, {"services": REST}, REST, notes(**{RELEASING: None}), kept={"by": "user"}, by_tidegate=True
    ),
}

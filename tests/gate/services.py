"""Services in mid-release: they keep the revision in their selector and take every other edit."""

from __future__ import annotations

from typing import Any

from tests.gate.case import ABSENT, Case, Json, Only, notes
from tidegate.core.hold import RELEASING
from tidegate.core.reading import HASH

NOTE = '{"release":"checkout"}'
HELD = {RELEASING: NOTE}
WIDE = {"app": "checkout"}
NARROW = {**WIDE, HASH: "6fcbd"}
OTHER = {**WIDE, HASH: "7d9f5"}


def service(selector: Json | None, annotations: Json | None, port: int = 80) -> Json:
    """A Service of one port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {} if annotations is None else {"annotations": annotations},
        "spec": {"ports": [{"port": port}], **({} if selector is None else {"selector": selector})},
    }


def _then(selector: Json, annotations: Json | None = HELD, **spec: Any) -> Json:
    noted = ABSENT if annotations is None else Only(annotations)
    return {"spec": {"selector": Only(selector), **spec}, "metadata": {"annotations": noted}}


def _select(selector: Json | None) -> Json:
    return {"spec": {"selector": selector}}


CASES = {
    "narrowed, replaced": Case(service(NARROW, HELD), service(WIDE, None), _then(NARROW), whole=True),
    "narrowed, widened": Case(service(NARROW, HELD), _select({HASH: None}), _then(NARROW)),
    "narrowed, narrowed to another": Case(service(NARROW, HELD), _select(OTHER), _then(NARROW)),
    "narrowed, all else replaced": Case(
        service(NARROW, HELD),
        service({"app": "shop"}, {"team": "shop"}, 81),
        _then({"app": "shop", HASH: "6fcbd"}, {**HELD, "team": "shop"}, ports=[{"port": 81}]),
        whole=True,
    ),
    "narrowed, no selector left": Case(service(NARROW, HELD), _select(None), _then({HASH: "6fcbd"})),
    "wide, narrowed": Case(service(WIDE, HELD), _select(OTHER), _then(WIDE)),
    "wide, replaced": Case(service(WIDE, HELD), service(WIDE, None), _then(WIDE), whole=True),
    "of no selector, narrowed": Case(service(None, HELD), _select({HASH: "7d9f5"}), {"spec": {"selector": Only({})}}),
    "all annotations removed": Case(service(NARROW, HELD), {"metadata": {"annotations": None}}, _then(NARROW)),
    "the note removed": Case(
        service(NARROW, {**HELD, "by": "user"}), notes(**{RELEASING: None}), _then(NARROW, {**HELD, "by": "user"})
    ),
    "the note changed": Case(
        service(NARROW, HELD), notes(**{RELEASING: "{}", "by": "user"}), _then(NARROW, {**HELD, "by": "user"})
    ),
    "at rest, widened": Case(service(NARROW, None), _select({HASH: None}), _then(WIDE, None)),
    "at rest, narrowed": Case(service(WIDE, {"by": "user"}), _select(NARROW), _then(NARROW, {"by": "user"})),
    "by Tidegate": Case(
        service(NARROW, HELD),
        {"metadata": {"annotations": None}, **_select({HASH: None})},
        _then(WIDE, None),
        by_tidegate=True,
    ),
}

"""Routes in mid-release: they keep their weights and take every other edit."""

from __future__ import annotations

from typing import Any

from tests.gate.case import ABSENT, Case, Json, Only, notes
from tidegate.core import wishes
from tidegate.core.hold import RELEASING
from tidegate.core.wishes import ASKED

NOTE = '{"release":"checkout","rules":{},"service":"checkout"}'
HELD = {RELEASING: NOTE, "by": "user"}
FULL: Json = {"group": "", "kind": "Service"}
"""What the API server fills in where a ref does not say it."""
REST = [{**FULL, "name": "checkout", "port": 80, "weight": 1}]
MOVED = [{**FULL, "name": "checkout", "port": 8080, "weight": 1}]
STABLE: Json = {"name": "checkout-stable", "port": 80}
CANARY: Json = {"name": "checkout-canary", "port": 80}
SPLIT = [{**STABLE, "weight": 90}, {**CANARY, "weight": 10}]
OTHER = [{**FULL, "name": "catalog", "port": 80, "weight": 1}]
THEIRS = [*REST, {**FULL, "name": "catalog-stable", "port": 80, "weight": 1}]
"""Another's Service, which is called as if it were of a release."""
BOTH = [*SPLIT, *OTHER]


def route(rules: list[Json], annotations: Json | None, kind: str = "HTTPRoute") -> Json:
    """A route of old.example."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {} if annotations is None else {"annotations": annotations},
        "spec": {"hostnames": ["old.example"], "rules": rules},
    }


def rule(path: str, refs: list[Json] | None, name: str | None = None, **more: object) -> Json:
    """A rule of a path."""
    return {
        **({"name": name} if name else {}),
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        **({} if refs is None else {"backendRefs": refs}),
        **more,
    }


def plain(refs: list[Json] | None, **more: object) -> Json:
    """A rule of all paths."""
    return {**({} if refs is None else {"backendRefs": refs}), **more}


ASKED_FOR: Json = {"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "x-canary", "value": "always"}]}
DARK = {**rule("/", [CANARY], "tidegate-canary-0"), "matches": [ASKED_FOR]}
STAYS = [
    rule("/", [CANARY], "tidegate-canary-0-candidate"),
    rule("/", [STABLE], "tidegate-canary-0-stable"),
]


def _marked(ref: Json) -> Json:
    header = {"name": "Set-Cookie", "value": ref["name"]}
    return {**ref, "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [header]}}]}


HEADERS = {"set": [{"name": "x-shop", "value": 'caf\u00e9 "100%"\\ a\tb'}], "remove": ["x-old"]}
FILTERED = [{**MOVED[0], "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": HEADERS}]}]
FILTERED_LINE = (
    '0 [{"filters":[{"requestHeaderModifier":{"remove":["x-old"], "set":[{"name":"x-shop",'
    ' "value":"caf\u00e9 \\"100%\\"\\\\ a\\tb"}]}, "type":"RequestHeaderModifier"}], "group":"", "kind":"Service",'
    ' "name":"checkout", "port":8080, "weight":1}]'
)
MARKED = [_marked(ref) for ref in SPLIT]


def _call(service: str, refs: list[Json]) -> Json:
    return {"matches": [{"method": {"type": "Exact", "service": service}}], "backendRefs": refs}


def _edit(
    before: list[Json],
    written: list[Json] | None,
    refs: list[list[Json]],
    change: Json | None = None,
    *,
    held: Json | None = HELD,
    kept: Json | None = None,
    **more: Any,
) -> Case:
    """A write of the rules, the hostname and perhaps the annotations, and the refs of the rules then.

    What was asked of a rule and not granted stands in the annotation, unless the case says what does.
    """
    stored = more.pop("after", written) or []
    asked = {
        index: rule.get("backendRefs", [])
        for index, (rule, wanted) in enumerate(zip(written or [], refs, strict=False))
        if rule.get("backendRefs") != wanted and STABLE["name"] not in str(rule)
    }
    lines = more.pop("asked", wishes.by_lines(asked))
    rules = [{**asked, "backendRefs": wanted or ABSENT} for asked, wanted in zip(stored, refs, strict=True)]
    write: Json = {"spec": {"hostnames": ["new.example"], "rules": written}, **(change or {})}
    noted = {} if held is None else (held if kept is None else kept)
    said = {**{key: value for key, value in noted.items() if key != ASKED}, **({ASKED: lines} if lines else {})}
    annotations = ABSENT if held is None else Only(said)
    spec = {"hostnames": ["new.example"], **({"rules": rules} if written else {})}
    after = {"metadata": {"annotations": annotations}, "spec": spec}
    return Case(route(before, held, more.pop("kind", "HTTPRoute")), write, after, **more)


def _asked(**lines: list[Json]) -> Json:
    """Annotations of a route of which something was asked before."""
    return {**HELD, ASKED: wishes.by_lines({int(index[1:]): refs for index, refs in lines.items()})}


CASES = {
    "refs set back, one rule without a name": _edit([plain(SPLIT)], [plain(REST)], [SPLIT]),
    "refs set back, a rule with a name": _edit([rule("/", SPLIT, "main")], [rule("/", REST, "main")], [SPLIT]),
    "only weights": _edit([plain(SPLIT)], [plain([{**STABLE, "weight": 1}, {**CANARY, "weight": 99}])], [SPLIT]),
    "refs left out": _edit([plain(SPLIT)], [plain(None, timeouts={"request": "5s"})], [SPLIT]),
    "refs kept": _edit([plain(SPLIT)], [plain(SPLIT)], [SPLIT]),
    "another order, with names": _edit(
        [rule("/", SPLIT, "main"), rule("/x", OTHER, "other")],
        [rule("/x", OTHER, "other"), rule("/", REST, "main")],
        [OTHER, SPLIT],
    ),
    "another order, without names": _edit(
        [rule("/", SPLIT), rule("/x", OTHER)], [rule("/x", OTHER), rule("/", REST)], [OTHER, SPLIT]
    ),
    "a new rule in front": _edit([rule("/", SPLIT)], [rule("/new", OTHER), rule("/", REST)], [OTHER, SPLIT]),
    "a new rule to the Service": _edit([rule("/", SPLIT)], [rule("/", REST), rule("/new", REST)], [SPLIT, REST]),
    "a rule removed": _edit([rule("/", SPLIT), rule("/x", SPLIT)], [rule("/x", REST)], [SPLIT]),
    "all rules removed": _edit([rule("/x", SPLIT)], None, []),
    "two rules, each its own": _edit(
        [rule("/", SPLIT), rule("/x", BOTH)], [rule("/", REST), rule("/x", REST)], [SPLIT, BOTH]
    ),
    "a rule of another Service": _edit(
        [rule("/", SPLIT), rule("/x", OTHER)], [rule("/", REST), rule("/x", REST)], [SPLIT, REST]
    ),
    "a rule that had no refs": _edit(
        [rule("/", SPLIT), rule("/x", None)], [rule("/", REST), rule("/x", OTHER)], [SPLIT, OTHER]
    ),
    "a name given": _edit([rule("/", SPLIT)], [rule("/", REST, "main")], [SPLIT]),
    "a name taken away": _edit([rule("/", SPLIT, "main")], [rule("/", REST)], [SPLIT]),
    "other matches under the same name": _edit([rule("/", SPLIT, "main")], [rule("/shop", REST, "main")], [SPLIT]),
    "the name goes before the matches": _edit(
        [rule("/a", SPLIT, "a"), rule("/b", BOTH, "b")], [rule("/b", REST, "a"), rule("/a", REST, "b")], [SPLIT, BOTH]
    ),
    "another rule altogether": _edit([rule("/", SPLIT)], [rule("/shop", REST)], [REST]),
    "16 rules": _edit(
        [rule(f"/{number}", SPLIT) for number in range(16)],
        [rule(f"/{number}", REST) for number in range(16)],
        [SPLIT] * 16,
    ),
    "16 rules of 16 backends": _edit(
        [rule(f"/{number}", SPLIT, f"r{number}") for number in range(16)],
        [rule(f"/{number}", FILTERED * 16, f"r{number}") for number in range(16)],
        [SPLIT] * 16,
    ),
    # Rules that match the same are told apart by their order.
    "two rules of equal matches, each its own": _edit(
        [rule("/", SPLIT), rule("/", BOTH)], [rule("/", REST), rule("/", REST)], [SPLIT, BOTH]
    ),
    "of two rules of equal matches the second is held": _edit(
        [rule("/", OTHER), rule("/", SPLIT)], [rule("/", OTHER), rule("/", REST)], [OTHER, SPLIT]
    ),
    "rules of equal matches, told apart by names": _edit(
        [rule("/", OTHER), rule("/", SPLIT, "main")], [rule("/", REST, "main"), rule("/", OTHER)], [SPLIT, OTHER]
    ),
    "a name given to the second of equal matches": _edit(
        [rule("/", SPLIT, "a"), rule("/", BOTH)], [rule("/", REST, "a"), rule("/", REST, "b")], [SPLIT, BOTH]
    ),
    "one more rule of equal matches": _edit([rule("/", SPLIT)], [rule("/", REST), rule("/", REST)], [SPLIT, REST]),
    "16 rules of equal matches": _edit(
        [rule("/", SPLIT)] * 15 + [rule("/", OTHER)], [rule("/", REST)] * 16, [SPLIT] * 15 + [REST]
    ),
    "the note removed": _edit([plain(SPLIT)], [plain(REST)], [SPLIT], notes(**{RELEASING: None})),
    "the note changed": _edit([plain(SPLIT)], [plain(REST)], [SPLIT], notes(**{RELEASING: "{}"})),
    "all annotations removed": _edit(
        [plain(SPLIT)], [plain(REST)], [SPLIT], {"metadata": {"annotations": None}}, kept={RELEASING: NOTE}
    ),
    "another annotation": _edit(
        [plain(SPLIT)], [plain(REST)], [SPLIT], notes(team="shop"), kept={**HELD, "team": "shop"}
    ),
    "the rule of a dark launch left out": _edit(
        [rule("/", SPLIT), DARK], [rule("/", REST)], [SPLIT, [CANARY]], after=[rule("/", SPLIT), DARK]
    ),
    "the rule of a dark launch kept": _edit([rule("/", SPLIT), DARK], [rule("/", REST), DARK], [SPLIT, [CANARY]]),
    "the marks and rules of visitors who stay left out": _edit(
        [rule("/", MARKED), *STAYS], [rule("/", REST)], [MARKED, [CANARY], [STABLE]], after=[rule("/", MARKED), *STAYS]
    ),
    "the marks of visitors who stay changed": _edit(
        [plain(MARKED)], [plain([{**ref, "filters": []} for ref in SPLIT])], [MARKED]
    ),
    "no room for the rule of a dark launch": _edit(
        [rule("/", SPLIT), DARK], [rule(f"/{number}", REST) for number in range(16)], [REST] * 16
    ),
    "all rules removed, in a dark launch": _edit([rule("/x", SPLIT), DARK], None, []),
    "another port asked for": _edit([plain(SPLIT)], [plain(MOVED)], [SPLIT], asked="0 " + wishes.text(MOVED)),
    "another Service asked for": _edit([plain(SPLIT)], [plain(OTHER)], [SPLIT], asked="0 " + wishes.text(OTHER)),
    "one backend more asked for": _edit([plain(SPLIT)], [plain([*REST, *OTHER])], [SPLIT]),
    "one more asked for, called as of a release": _edit([plain(SPLIT)], [plain(THEIRS)], [SPLIT]),
    "a filter asked for": _edit([plain(SPLIT)], [plain(FILTERED)], [SPLIT], asked=FILTERED_LINE),
    "no backends asked for": _edit([plain(SPLIT)], [plain([])], [SPLIT], asked="0 []"),
    "asked for beside the Service, before it is shared": _edit(
        [plain([*REST, {**STABLE, "weight": 0}, {**CANARY, "weight": 0}])],
        [plain(MOVED)],
        [[*REST, {**STABLE, "weight": 0}, {**CANARY, "weight": 0}]],
        asked="0 " + wishes.text(MOVED),
    ),
    "asked for again": _edit(
        [plain(SPLIT)], [plain(MOVED)], [SPLIT], held=_asked(_0=REST), asked="0 " + wishes.text(MOVED)
    ),
    "what was read written back, after something was asked for": _edit(
        [plain(SPLIT)], [plain(SPLIT)], [SPLIT], held=_asked(_0=MOVED), asked="0 " + wishes.text(MOVED)
    ),
    "only weights, after something was asked for": _edit(
        [plain(SPLIT)],
        [plain([{**STABLE, "weight": 1}, {**CANARY, "weight": 99}])],
        [SPLIT],
        held=_asked(_0=MOVED),
        asked="0 " + wishes.text(MOVED),
    ),
    "what was asked for goes with its rule": _edit(
        [rule("/", SPLIT), rule("/x", BOTH)],
        [rule("/new", OTHER), rule("/x", BOTH), rule("/", SPLIT)],
        [OTHER, BOTH, SPLIT],
        held=_asked(_0=MOVED, _1=REST),
        asked=wishes.by_lines({1: REST, 2: MOVED}),
    ),
    "of one rule asked, of another asked before": _edit(
        [rule("/", SPLIT), rule("/x", BOTH)],
        [rule("/", SPLIT), rule("/x", OTHER)],
        [SPLIT, BOTH],
        held=_asked(_0=MOVED, _1=REST),
        asked=wishes.by_lines({0: MOVED, 1: OTHER}),
    ),
    "of the rules one to eleven": _edit(
        [rule(f"/{number}", SPLIT) for number in range(12)],
        [rule(f"/{number}", SPLIT) for number in range(12)],
        [SPLIT] * 12,
        held=_asked(_1=MOVED, _11=REST),
        asked=wishes.by_lines({1: MOVED, 11: REST}),
    ),
    "asked of a rule that is removed": _edit(
        [rule("/", SPLIT), rule("/x", SPLIT)], [rule("/", SPLIT)], [SPLIT], held=_asked(_1=MOVED), asked=""
    ),
    "the annotation of what was asked for removed": _edit(
        [plain(SPLIT)],
        [plain(SPLIT)],
        [SPLIT],
        notes(**{ASKED: None}),
        held=_asked(_0=MOVED),
        asked="0 " + wishes.text(MOVED),
    ),
    "all annotations removed, after something was asked for": _edit(
        [plain(SPLIT)],
        [plain(SPLIT)],
        [SPLIT],
        {"metadata": {"annotations": None}},
        held=_asked(_0=MOVED),
        kept={RELEASING: NOTE},
        asked="0 " + wishes.text(MOVED),
    ),
    # As when another plugin has changed the write: what the policy made of it the first time is what it sees.
    "judged a second time": _edit(
        [rule("/", SPLIT), rule("/x", BOTH)],
        [rule("/x", BOTH), rule("/", SPLIT)],
        [BOTH, SPLIT],
        notes(**{ASKED: wishes.by_lines({0: REST, 1: MOVED})}),
        held=_asked(_0=MOVED),
        asked=wishes.by_lines({0: REST, 1: MOVED}),
    ),
    "a rule of another's Services": _edit([plain(THEIRS[1:])], [plain(OTHER)], [OTHER]),
    "at rest": _edit([plain(REST)], [plain(OTHER)], [OTHER], held=None),
    "at rest, weights of the user's own": _edit([plain(SPLIT)], [plain(OTHER)], [OTHER], held={"by": "user"}),
    "by Tidegate": _edit(
        [plain(SPLIT)], [plain(REST)], [REST], notes(**{RELEASING: None}), kept={"by": "user"}, by_tidegate=True
    ),
    "of gRPC": _edit(
        [_call("shop.Checkout", SPLIT), _call("shop.Catalog", OTHER)],
        [_call("shop.Catalog", OTHER), _call("shop.Checkout", REST)],
        [OTHER, SPLIT],
        {"metadata": {"annotations": None}},
        kept={RELEASING: NOTE},
        kind="GRPCRoute",
    ),
    "of gRPC, at rest": _edit(
        [_call("shop.Checkout", SPLIT)], [_call("shop.Checkout", REST)], [REST], held=None, kind="GRPCRoute"
    ),
}

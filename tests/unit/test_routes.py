"""Weights of a route: the smallest patch, and nothing lost on the way back."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.cluster import patched

from tidegate.api.traffic import AT_REST, Match, Share
from tidegate.core import dark, routes, wishes
from tidegate.core.hold import RELEASING, Hold
from tidegate.core.observed import INTRODUCED, MIXED, Backends
from tidegate.core.wishes import ASKED

NAMES = Backends.of("shop", "checkout")
Json = dict[str, Any]


def route(*rules: Json, annotations: Json | None = None) -> Json:
    """An HTTPRoute with these rules."""
    meta: Json = {"name": "r", "namespace": "shop", "resourceVersion": "7"}
    if annotations is not None:
        meta["annotations"] = annotations
    return {"metadata": meta, "spec": {"rules": list(rules)}}


def to(*refs: Json | str, **rest: Any) -> Json:
    """A rule that leads to these backends."""
    return {**rest, "backendRefs": [{"name": ref, "port": 80} if isinstance(ref, str) else ref for ref in refs]}


def split(obj: Json, share: int | None) -> Json:
    """The route as it is after the patch."""
    return patched(obj, routes.patch(obj, NAMES, Share(share), Hold("mine")))


def test_one_rule_is_split_and_put_back() -> None:
    obj = route(to("checkout"))
    after = split(obj, 25)
    assert after["spec"]["rules"][0]["backendRefs"] == [
        {"name": "checkout-stable", "port": 80, "weight": 75},
        {"name": "checkout-canary", "port": 80, "weight": 25},
    ]
    assert routes.weight(after, NAMES) == 25
    note = json.loads(after["metadata"]["annotations"][RELEASING])
    assert (note["release"], note["weight"]) == ("mine", 25)
    assert split(after, None)["spec"] == obj["spec"]


def test_the_patch_is_guarded_by_the_version_and_by_the_rule() -> None:
    obj = route(to("other"), to("checkout", name="api"), to("checkout", matches=[{"path": {"value": "/x"}}]))
    operations = routes.patch(obj, NAMES, Share(5), Hold("mine"))
    assert operations[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    assert [(op["op"], op["path"]) for op in operations[1:]] == [
        ("test", "/spec/rules/1/name"),
        ("replace", "/spec/rules/1/backendRefs"),
        ("test", "/spec/rules/2/matches"),
        ("replace", "/spec/rules/2/backendRefs"),
        ("add", "/metadata/annotations"),
    ]


def test_what_is_so_already_needs_no_patch() -> None:
    after = split(route(to("checkout")), 25)
    assert routes.patch(after, NAMES, Share(25), Hold("mine")) == []
    assert routes.patch(route(to("checkout")), NAMES, AT_REST, Hold("mine")) == []


def test_other_backends_keep_their_proportion() -> None:
    shared = to({"name": "checkout", "port": 80, "weight": 3}, {"name": "old", "port": 80, "weight": 1})
    refs = split(route(shared), 10)["spec"]["rules"][0]["backendRefs"]
    assert [(ref["name"], ref["weight"]) for ref in refs] == [
        ("checkout-stable", 270),
        ("checkout-canary", 30),
        ("old", 100),
    ]


def test_filters_of_a_backend_are_on_both() -> None:
    filters = [{"type": "RequestMirror"}]
    refs = split(route(to({"name": "checkout", "port": 80, "filters": filters})), 10)["spec"]["rules"][0]["backendRefs"]
    assert [ref["filters"] for ref in refs] == [filters, filters]


def test_backends_of_other_namespaces_and_kinds_are_not_ours() -> None:
    foreign = to({"name": "checkout", "namespace": "other"}, {"name": "checkout", "kind": "Bucket"})
    assert not routes.leads_to(route(foreign), NAMES)
    assert routes.patch(route(foreign), NAMES, AT_REST, Hold("mine")) == []


def test_rules_that_do_not_agree_have_no_weight() -> None:
    after = split(route(to("checkout", name="a"), to("checkout", name="b")), 25)
    after["spec"]["rules"][1] = to("checkout", name="b")
    assert routes.weight(after, NAMES) == MIXED
    again = split(after, 25)
    assert routes.weight(again, NAMES) == 25


def test_a_route_that_was_reset_but_for_the_annotation_is_not_at_rest() -> None:
    after = split(route(to("checkout")), 25)
    after["spec"]["rules"] = [to("checkout")]
    assert routes.weight(after, NAMES) == MIXED
    assert RELEASING not in split(after, None)["metadata"]["annotations"]


def test_a_rule_that_was_inserted_moves_nothing() -> None:
    """An index changes when somebody inserts a rule; names and matches do not."""
    a = to({"name": "checkout", "port": 80, "weight": 5}, name="a")
    b = to({"name": "checkout", "port": 81}, matches=[{"path": {"value": "/b"}}])
    after = split(route(a, b), 25)
    after["spec"]["rules"].insert(0, to("static", name="new"))
    assert split(after, None)["spec"]["rules"] == [to("static", name="new"), a, b]


def test_the_two_are_introduced_beside_the_users_service() -> None:
    obj = route(to("checkout"), to({"name": "checkout", "port": 80, "weight": 9}, {"name": "old", "port": 80}))
    after = split(obj, INTRODUCED)
    assert routes.weight(after, NAMES) == INTRODUCED
    assert after["spec"]["rules"][0]["backendRefs"] == [
        {"name": "checkout", "port": 80},
        {"name": "checkout-stable", "port": 80, "weight": 0},
        {"name": "checkout-canary", "port": 80, "weight": 0},
    ]
    assert split(after, INTRODUCED) == after, "once is enough"
    assert routes.weight(split(after, 25), NAMES) == 25
    assert split(split(after, 25), None)["spec"] == obj["spec"]
    assert split(after, None)["spec"] == obj["spec"]
    del after["metadata"]["annotations"]
    assert split(after, None)["spec"] == obj["spec"], "also without the note"


def test_rules_without_weight_are_known_by_the_note() -> None:
    obj = route(to({"name": "checkout", "port": 80, "weight": 0}, {"name": "old", "port": 80, "weight": 1}))
    after = split(obj, 25)
    assert routes.weight(after, NAMES) == 25
    assert routes.weight(split(after, 0), NAMES) == 0
    assert split(after, None)["spec"] == obj["spec"]


def test_without_the_note_the_two_are_one_again() -> None:
    after = split(
        route(to({"name": "checkout", "port": 80, "weight": 3}, {"name": "old", "port": 80, "weight": 1})), 30
    )
    del after["metadata"]["annotations"]
    assert split(after, None)["spec"]["rules"][0]["backendRefs"] == [
        {"name": "checkout", "port": 80, "weight": 3},
        {"name": "old", "port": 80, "weight": 1},
    ]


def test_a_note_that_is_spoilt_is_as_good_as_none() -> None:
    after = split(route(to("checkout")), 25)
    after["metadata"]["annotations"][RELEASING] = "{"
    assert split(after, None)["spec"]["rules"] == [to("checkout")]


@pytest.mark.parametrize("rules", ["[]", '{"[]": 5}', '{"[]": ["checkout"]}'])
def test_a_note_whose_rules_are_spoilt_is_as_good_as_none(rules: str) -> None:
    after = split(route(to("checkout")), 25)
    after["metadata"]["annotations"][RELEASING] = f'{{"weight": 25, "rules": {rules}}}'
    assert split(after, None)["spec"]["rules"] == [to("checkout")]


@pytest.mark.parametrize("share", [INTRODUCED, 25, None])
def test_a_route_that_leads_to_the_service_no_more_is_put_back(share: int | None) -> None:
    after = split(route(to("checkout")), 25)
    after["spec"]["rules"] = [to("static")]
    assert routes.leads_to(after, NAMES), "as long as it carries the note"
    assert routes.weight(after, NAMES) == MIXED
    back = split(after, share)
    assert back["metadata"]["annotations"] == {}
    assert back["spec"] == after["spec"]
    assert not routes.leads_to(back, NAMES)


def test_weights_that_cannot_be_multiplied_are_the_users_to_mend() -> None:
    with pytest.raises(ValueError, match="under 10000"):
        split(route(to({"name": "checkout", "weight": 10_001}, {"name": "x", "weight": 1})), 0)


ref = st.fixed_dictionaries(
    {"name": st.sampled_from(["checkout", "checkout", "static", "other"]), "port": st.integers(80, 82)},
    optional={
        "weight": st.integers(1, 50),
        "kind": st.just("Service"),
        "filters": st.just([{"type": "RequestHeaderModifier"}]),
    },
)
rule = st.fixed_dictionaries(
    {"backendRefs": st.lists(ref, min_size=1, max_size=3)},
    optional={
        "matches": st.sampled_from([[], [{"path": {"value": "/a"}}], [{"path": {"value": "/b"}}]]),
        "filters": st.just([{"type": "URLRewrite"}]),
        "timeouts": st.just({"request": "1s"}),
    },
)


@given(
    rules=st.lists(rule, min_size=1, max_size=5),
    shares=st.lists(st.integers(0, 100), min_size=1, max_size=3),
    annotations=st.none() | st.just({"mine": "too"}),
)
def test_whatever_is_split_comes_back_as_it_was(rules: list[Json], shares: list[int], annotations: Json | None) -> None:
    obj = route(*rules, annotations=annotations)
    now = obj
    for share in shares:
        now = split(now, share)
        if routes.leads_to(obj, NAMES):
            assert routes.weight(now, NAMES) == share
        for before, after in zip(rules, now["spec"]["rules"], strict=True):
            assert {**before, "backendRefs": 0} == {**after, "backendRefs": 0}, "only backendRefs are written"
    back = split(now, None)
    assert back["spec"] == obj["spec"]
    assert RELEASING not in back["metadata"].get("annotations", {})
    assert back["metadata"].get("annotations", {}) == (annotations or {})


# What is asked for in mid-release.

MOVED = {"name": "checkout", "port": 8080, "weight": 1}


def asked_of(obj: Json, wishes_: dict[int, list[Json]]) -> Json:
    """The route as the policy leaves it."""
    notes = {**obj["metadata"].get("annotations", {}), ASKED: wishes.by_lines(wishes_)}
    return {**obj, "metadata": {**obj["metadata"], "annotations": notes}}


@pytest.mark.parametrize(
    "wish",
    [
        [MOVED],
        [{**MOVED, "filters": [{"type": "RequestMirror"}]}],
        [{"name": "catalog", "port": 80}],
        [{**MOVED, "weight": 20_000}, {"name": "catalog", "weight": 1}],
        [],
    ],
)
def test_what_was_asked_for_is_what_is_put_back(wish: list[Json]) -> None:
    obj = route(to("checkout"), to("checkout", name="api"), to("static", name="x"), annotations={"mine": "too"})
    after = asked_of(split(obj, 25), {1: wish})
    assert routes.pending(after, NAMES) == "spec.rules[1].backendRefs"
    assert routes.weight(after, NAMES) == 25, "until then nothing changes"
    later = split(after, 60)
    assert [ref["port"] for ref in later["spec"]["rules"][1]["backendRefs"]] == [80, 80]
    assert routes.pending(later, NAMES) == "spec.rules[1].backendRefs"
    back = split(later, None)
    assert back["metadata"]["annotations"] == {"mine": "too"}
    assert back["spec"]["rules"] == [
        to("checkout"),
        {**to(*wish, name="api")} if wish else {"name": "api"},
        to("static", name="x"),
    ]


def test_what_was_asked_for_may_be_left_out() -> None:
    obj = route(to("checkout"))
    after = asked_of(split(obj, 25), {0: [MOVED]})
    back = patched(after, routes.patch(after, NAMES, AT_REST, Hold("mine"), wished=False))
    assert back["spec"] == obj["spec"]
    assert back["metadata"]["annotations"] == {}


def test_the_manifest_applied_again_asks_for_nothing_new() -> None:
    obj = route(to("checkout"))
    after = asked_of(split(obj, 25), {0: obj["spec"]["rules"][0]["backendRefs"]})
    assert routes.pending(after, NAMES) == ""
    assert routes.patch(after, NAMES, Share(25), Hold("mine")) == []
    assert split(after, None)["spec"] == obj["spec"]


@pytest.mark.parametrize(
    "text", ["", "{", "0", "0 {", "0 5", "0 [5]", "x [{}]", "7 []", '0 [{"name":"checkout-canary"}]']
)
def test_what_cannot_be_read_or_is_of_the_release_is_asked_by_nobody(text: str) -> None:
    obj = route(to("checkout"))
    after = split(obj, 25)
    after["metadata"]["annotations"][ASKED] = text
    assert routes.pending(after, NAMES) == ""
    assert split(after, None)["spec"] == obj["spec"]
    assert ASKED not in split(after, None)["metadata"]["annotations"]


def test_what_was_asked_in_a_former_release_and_left_behind_is_no_wish_of_this_one() -> None:
    obj = asked_of(route(to("checkout")), {0: [MOVED]})
    after = split(obj, 25)
    assert set(after["metadata"]["annotations"]) == {RELEASING}
    assert split(after, None)["spec"] == obj["spec"]


def test_rules_of_ours_that_move_behind_the_others_take_no_wish_with_them() -> None:
    after = darkened(route(to("checkout"), to("checkout", name="api")))
    first, api, *ours = after["spec"]["rules"]
    after["spec"]["rules"] = [first, *ours, api]
    wished = asked_of(after, {0: [MOVED], 3: [{"name": "catalog"}]})
    alone = darkened(wished, 50, ())
    assert wishes.by_rule(alone) == {0: [MOVED], 1: [{"name": "catalog"}]}
    assert split(alone, None)["spec"]["rules"] == [to(MOVED), to({"name": "catalog"}, name="api")]


@pytest.mark.parametrize(
    "text", ["", "caf\u00e9", '"', "\\", "\\x41", "a\nb\tc", "\u2028\x85\x7f\0", "100%s", "\U0001f600"]
)
def test_what_is_written_is_read(text: str) -> None:
    refs = [{"name": text, text: [1, True, None, {"a": -2}]}]
    assert wishes.by_rule({"metadata": {"annotations": {ASKED: wishes.by_lines({3: refs, 11: []})}}}) == {
        3: refs,
        11: [],
    }


def test_characters_that_cel_prints_as_json_does_not_are_read() -> None:
    printed = r"""{"a":"\a\v\x7f\U0001f600\u00e9\\x41\\\"\n"}"""
    assert wishes.whole({"metadata": {"annotations": {ASKED: printed}}}) == {"a": '\a\v\x7f\U0001f600\u00e9\\x41\\"\n'}


# Dark launch.

STAFF = (Match(headers={"x-canary": "always"}), Match(cookies={"canary": "v.1"}, headers={"x-beta": "1"}))


def darkened(obj: Json, share: int = 0, asked: tuple[Match, ...] = STAFF) -> Json:
    """The route as it is after the patch."""
    return patched(obj, routes.patch(obj, NAMES, Share(share, asked), Hold("mine")))


def test_a_rule_for_each_of_the_user_s_comes_behind_them() -> None:
    path, header = {"path": {"value": "/api"}}, {"type": "Exact", "name": "X-Canary", "value": "no"}
    mine = to({"name": "checkout", "port": 80, "weight": 3}, "legacy", name="api", timeouts={"request": "5s"})
    mine["matches"] = [{**path, "headers": [header]}, path]
    obj = route(mine, to("static"), to("checkout"))
    after = darkened(obj)
    assert routes.share(after, NAMES).match == STAFF
    assert routes.weight(after, NAMES) == 0
    first, _, _, api, plain = after["spec"]["rules"]
    assert first["matches"] == mine["matches"]
    ours = {"type": "Exact", "name": "x-canary", "value": "always"}
    beta = {"type": "Exact", "name": "x-beta", "value": "1"}
    crumb = {"type": "RegularExpression", "name": "Cookie", "value": r"(^|.*;\s*)canary=v\.1(;.*|$)"}
    assert api == {
        "name": "tidegate-canary-0",
        "timeouts": {"request": "5s"},
        "matches": [
            {**path, "headers": [ours]},
            {**path, "headers": [header, beta, crumb]},
            {**path, "headers": [ours]},
            {**path, "headers": [beta, crumb]},
        ],
        "backendRefs": [{"name": "checkout-canary", "port": 80, "weight": 1}],
    }
    assert plain["matches"] == [{"headers": [ours]}, {"headers": [beta, crumb]}]
    assert routes.patch(after, NAMES, Share(0, STAFF), Hold("mine")) == [], "once is enough"
    assert split(after, None)["spec"] == obj["spec"]


def test_a_cookie_is_found_among_others_and_no_other_is_taken_for_it() -> None:
    (rule,) = dark.rules([to("checkout")], "checkout", "c", [Match(cookies={"canary": "v.1"})])
    pattern = rule["matches"][0]["headers"][0]["value"]
    for sent in ("canary=v.1", "a=b; canary=v.1", "canary=v.1; a=b", "a=b;canary=v.1;c=d"):
        assert re.fullmatch(pattern, sent)
        assert re.search(pattern, sent), "routers anchor it or not"
    for sent in ("xcanary=v.1", "canary=v.12", "canary=vx1", "a=canary=v.1"):
        assert not re.search(pattern, sent)


def test_the_match_goes_with_its_step() -> None:
    after = darkened(route(to("checkout")))
    beside = darkened(after, 25, STAFF[:1])
    assert (routes.weight(beside, NAMES), routes.share(beside, NAMES).match) == (25, STAFF[:1])
    assert len(beside["spec"]["rules"]) == 2
    alone = darkened(beside, 50, ())
    assert (routes.weight(alone, NAMES), routes.share(alone, NAMES).match) == (50, ())
    assert len(alone["spec"]["rules"]) == 1


@pytest.mark.parametrize("change", ["lost", "theirs", "first", "unasked"])
def test_rules_that_are_not_as_they_were_written_are_no_weight_and_are_put_right(change: str) -> None:
    after = darkened(route(to("checkout")))
    user, ours = after["spec"]["rules"]
    changed = {
        "lost": [user],
        "theirs": [{**user, "timeouts": {"request": "1s"}}, ours],
        "first": [{**ours, "matches": []}, user],
        "unasked": [user, ours, {**ours, "name": "tidegate-canary-7"}],
    }[change]
    over = {**after, "spec": {"rules": changed}}
    assert routes.weight(over, NAMES) == MIXED
    mended = darkened(over)
    assert routes.weight(mended, NAMES) == 0
    assert routes.share(mended, NAMES).match == STAFF
    assert not any(dark.is_dark(rule) for rule in split(over, None)["spec"]["rules"])


def test_another_release_s_match_is_none_of_ours() -> None:
    after = darkened(route(to("checkout"), to("cart")))
    assert routes.share(after, Backends.of("shop", "cart")).match == ()


def test_a_route_has_room_for_so_many_rules() -> None:
    full = route(*(to("checkout", name=f"r{number}") for number in range(9)))
    assert "has no room for 9 more rules" in routes.unmatchable(full, NAMES, STAFF)
    assert not routes.unmatchable(route(*full["spec"]["rules"][:8]), NAMES, STAFF)
    assert not routes.unmatchable(darkened(route(*full["spec"]["rules"][:8])), NAMES, STAFF), "they are there already"
    many = route(to("checkout", matches=[{"path": {"value": f"/{number}"}} for number in range(33)]))
    assert "more than 64" in routes.unmatchable(many, NAMES, STAFF)


def test_a_route_to_the_candidate_s_service_alone_is_its_owner_s() -> None:
    obj = route(to("checkout-canary"), to("checkout-canary", "other"))
    assert not routes.leads_to(obj, NAMES)
    assert routes.weight(obj, NAMES) is None
    assert not routes.patch(obj, NAMES, Share(25), Hold("mine"))
    assert not routes.patch(obj, NAMES, AT_REST, Hold("mine"))


@pytest.mark.parametrize("share", [INTRODUCED, 0, 25, 100])
def test_a_rule_to_the_candidate_s_service_alone_stays_beside_one_that_is_split(share: int) -> None:
    preview = to("checkout-canary", name="preview")
    obj = route(preview, to("checkout"))
    assert routes.weight(obj, NAMES) is None
    after = split(obj, share)
    assert after["spec"]["rules"][0] == preview
    assert routes.weight(after, NAMES) == share
    assert split(after, None)["spec"] == obj["spec"]
    assert split({**after, "metadata": route()["metadata"]}, None)["spec"] == obj["spec"], "without its note, too"

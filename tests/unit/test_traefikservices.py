"""The list of a TraefikService: the smallest change of it, and back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.cluster import patched

from tidegate.api.traffic import Share, Stay
from tidegate.core import traefikservices as lists
from tidegate.core import wishes
from tidegate.core.hold import RELEASING, Hold, holder
from tidegate.core.observed import INTRODUCED, MIXED, Backends
from tidegate.core.wishes import ASKED

NAMES = Backends.of("shop", "checkout")
HOLD = Hold("CanaryRelease/mine", 7)
Json = dict[str, Any]
MINE: Json = {"name": "checkout", "port": 80, "scheme": "h2c"}
OTHER: Json = {"name": "legacy", "kind": "Service", "port": 80, "weight": 1}
NESTED: Json = {"name": "checkout", "kind": "TraefikService"}
STABLE, CANARY = {**MINE, "name": "checkout-stable"}, {**MINE, "name": "checkout-canary"}


def service(*entries: Json, **notes: str) -> Json:
    annotations = {"annotations": dict(notes)} if notes else {}
    return {
        "metadata": {"name": "checkout", "namespace": "shop", "resourceVersion": "1", **annotations},
        "spec": {"weighted": {"services": list(entries), "sticky": {"cookie": {"name": "c"}}}},
    }


def after(obj: Json, share: int | None, hold: Hold = HOLD) -> Json:
    return patched(obj, lists.patch(obj, NAMES, Share(share), hold))


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (INTRODUCED, [MINE, {**STABLE, "weight": 0}]),
        (0, [{**STABLE, "weight": 100}]),
        (25, [{**STABLE, "weight": 75}, {**CANARY, "weight": 25}]),
        (100, [{**CANARY, "weight": 100}]),
    ],
)
def test_nobody_is_listed_who_may_have_no_endpoints(share: int, wanted: list[Json]) -> None:
    """Traefik takes all of it away where it lists a Service without endpoints, though its weight be 0."""
    rest = service(MINE)
    split = after(rest, share)
    assert lists.entries(split) == wanted
    assert lists.share(split, NAMES).weight == share
    assert lists.patch(split, NAMES, Share(share), HOLD) == [], "once is enough"
    assert after(split, None)["spec"] == rest["spec"]
    assert RELEASING not in after(split, None)["metadata"]["annotations"]


def test_the_others_keep_their_share() -> None:
    split = after(service({**MINE, "weight": 9}, OTHER, NESTED), 25)
    assert lists.entries(split) == [
        {**STABLE, "weight": 675},
        {**CANARY, "weight": 225},
        {**OTHER, "weight": 100},
        {**NESTED, "weight": 100},
    ]
    assert lists.entries(after(after(split, 60), None)) == [{**MINE, "weight": 9}, OTHER, NESTED]


def test_each_port_of_the_service_is_divided() -> None:
    split = after(service(MINE, {**MINE, "port": "admin"}), 10)
    assert [(entry["name"], entry["port"], entry["weight"]) for entry in lists.entries(split)] == [
        ("checkout-stable", 80, 90),
        ("checkout-canary", 80, 10),
        ("checkout-stable", "admin", 90),
        ("checkout-canary", "admin", 10),
    ]


@pytest.mark.parametrize(
    ("entry", "leads"),
    [
        (MINE, True),
        ({**MINE, "namespace": "shop"}, True),
        ({**MINE, "namespace": "other"}, False),
        (NESTED, False),
        (OTHER, False),
    ],
)
def test_what_leads_to_the_service(entry: Json, leads: bool) -> None:
    assert lists.leads_to(service(entry), NAMES) is leads


def test_one_of_another_type_leads_nowhere() -> None:
    mirroring = {"metadata": {"name": "m", "namespace": "shop"}, "spec": {"mirroring": {"name": "checkout"}}}
    assert not lists.leads_to(mirroring, NAMES)


def test_what_somebody_wrote_over_it_is_no_weight_and_is_put_right() -> None:
    split = after(service(MINE), 25)
    for entries in ([MINE], [{**STABLE, "weight": 1}, {**CANARY, "weight": 9}]):
        over = {**split, "spec": {"weighted": {**split["spec"]["weighted"], "services": entries}}}
        assert lists.share(over, NAMES).weight == MIXED
        assert lists.entries(after(over, 25)) == lists.entries(split)
        assert lists.entries(after(over, None)) == [MINE]


@pytest.mark.parametrize("spec", [{"weighted": {"services": [OTHER]}}, {"mirroring": {"name": "checkout"}}])
def test_one_that_lists_the_service_no_more_is_let_go(spec: Json) -> None:
    gone = {**after(service(MINE), 25), "spec": spec}
    assert lists.leads_to(gone, NAMES), "as long as it carries the note"
    assert lists.share(gone, NAMES).weight == MIXED
    free = after(gone, 25)
    assert free["spec"] == spec
    assert not lists.leads_to(free, NAMES)


def test_one_that_another_release_holds_is_left_alone() -> None:
    obj = after(service(MINE, {**OTHER, "name": "cart"}), 25)
    cart = Backends.of("shop", "cart")
    assert lists.patch(obj, cart, Share(50), Hold("CanaryRelease/cart")) == []
    assert lists.share(obj, cart).weight is None
    assert lists.leads_to(obj, cart)


def test_what_is_left_without_a_note_is_put_back_as_well_as_can_be() -> None:
    lost = service({**STABLE, "weight": 675}, {**CANARY, "weight": 225}, {**OTHER, "weight": 100})
    assert lists.share(lost, NAMES).weight == MIXED
    assert lists.entries(after(lost, None)) == [{**MINE, "weight": 9}, OTHER]
    alone = service({**CANARY, "weight": 100})
    assert lists.entries(after(alone, None)) == [{**MINE, "weight": 1}]
    assert lists.entries(after(service(MINE, {**STABLE, "weight": 0}), None)) == [MINE]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"service":"checkout","services":7}', '{"service":"checkout"}'])
def test_a_note_that_cannot_be_read_is_none(note: str) -> None:
    lists.share(service({**STABLE, "weight": 90}, {**CANARY, "weight": 10}, **{RELEASING: note}), NAMES)


def test_a_service_without_a_share_cannot_be_divided() -> None:
    assert lists.empty_weights(service({**MINE, "weight": 0}, OTHER), NAMES)
    assert not lists.empty_weights(service(MINE), NAMES)
    assert not lists.empty_weights(after(service(MINE), 25), NAMES)


def test_a_new_leader_writes_its_term_and_nothing_else() -> None:
    held = after(service(MINE), 25)
    seized = patched(held, lists.seize(held, Hold("CanaryRelease/mine", 8)))
    assert seized["spec"] == held["spec"]
    assert holder(seized) == Hold("CanaryRelease/mine", 8)
    assert json.loads(seized["metadata"]["annotations"][RELEASING])["services"] == [MINE]


# Visitors who stay.

STAY = Stay(cookie="stay", max_age=timedelta(hours=1), candidate="7d9f5")
STAYING = Share(25, (), STAY)


def unstuck() -> Json:
    obj = service(MINE)
    del obj["spec"]["weighted"]["sticky"]
    return obj


def staying(obj: Json, share: Share = STAYING) -> Json:
    return patched(obj, lists.patch(obj, NAMES, share, HOLD))


def test_a_cookie_of_the_candidate_s_comes_with_the_weight_and_goes_with_it() -> None:
    rest = unstuck()
    after_ = staying(rest)
    cookie = {"name": "stay-7d9f5", "maxAge": 3600, "path": "/", "httpOnly": True, "sameSite": "lax"}
    assert after_["spec"]["weighted"]["sticky"] == {"cookie": cookie}
    assert lists.share(after_, NAMES) == STAYING
    assert lists.patch(after_, NAMES, STAYING, HOLD) == [], "once is enough"
    assert not lists.unsticky(after_), "it is ours"
    for freed in (staying(after_, Share(0)), staying(after_, Share(100)), after(after_, None)):
        assert "sticky" not in freed["spec"]["weighted"]
    assert after(after_, None)["spec"] == rest["spec"]


@pytest.mark.parametrize("sticky", [{}, {"cookie": {"name": "theirs"}}, None])
def test_a_cookie_that_is_lost_is_put_right(sticky: Json | None) -> None:
    over = staying(unstuck())
    over["spec"]["weighted"]["sticky"] = sticky
    assert lists.share(over, NAMES) == Share(MIXED, (), STAY)
    assert staying(over)["spec"] == staying(unstuck())["spec"]


def test_one_that_lists_the_service_no_more_keeps_nobody() -> None:
    gone = staying(unstuck())
    gone["spec"]["weighted"]["services"] = [OTHER]
    assert staying(gone)["spec"] == {"weighted": {"services": [OTHER]}}


def test_a_cookie_of_the_user_s_own_is_left_alone_and_no_release_can_stay() -> None:
    mine = service(MINE)
    assert "a sticky cookie of its own" in lists.unsticky(mine)
    assert "a sticky cookie of its own" in lists.unsticky(after(mine, 25))
    assert after(after(mine, 25), None)["spec"] == mine["spec"]
    assert not lists.unsticky(unstuck())


# What is asked for in mid-release.


def asked_of(obj: Json, text: str) -> Json:
    """As the policy leaves it."""
    notes = {**obj["metadata"]["annotations"], ASKED: text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": notes}}


@pytest.mark.parametrize("wish", [[{**MINE, "port": 8080}], [OTHER], [{**MINE, "weight": 3}, OTHER]])
def test_the_list_that_was_asked_for_is_what_is_put_back(wish: list[Json]) -> None:
    split = asked_of(after(service(MINE, by="me"), 25), wishes.text({"services": wish}))
    assert lists.pending(split, NAMES) == "spec.weighted.services"
    assert lists.share(split, NAMES).weight == 25, "until then nothing changes"
    later = after(split, 60)
    assert lists.entries(later) == [{**STABLE, "weight": 40}, {**CANARY, "weight": 60}]
    back = after(later, None)
    assert lists.entries(back) == wish
    assert back["spec"]["weighted"]["sticky"] == {"cookie": {"name": "c"}}
    assert back["metadata"]["annotations"] == {"by": "me"}
    plain = patched(later, lists.patch(later, NAMES, Share(None), HOLD, wished=False))
    assert lists.entries(plain) == [MINE]


def test_one_that_was_to_be_of_another_type_is_so_at_the_end() -> None:
    split = asked_of(after(service(MINE), 25), "{}")
    split["spec"]["mirroring"] = {"name": "checkout"}
    assert lists.pending(split, NAMES) == "spec.weighted.services"
    assert after(split, None)["spec"] == {"mirroring": {"name": "checkout"}}


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"services":[5]}', '{"services":[{"name":"checkout-stable"}]}'])
def test_what_cannot_be_read_or_is_of_the_release_is_asked_by_nobody(text: str) -> None:
    rest = service(MINE)
    split = asked_of(after(rest, 25), text)
    assert lists.pending(split, NAMES) == ""
    assert after(split, None)["spec"] == rest["spec"]
    assert after(split, None)["metadata"]["annotations"] == {}


def test_what_a_former_release_left_behind_is_no_wish_of_this_one() -> None:
    rest = service(MINE, **{ASKED: wishes.text({"services": [OTHER]})})
    split = after(rest, 25)
    assert set(split["metadata"]["annotations"]) == {RELEASING}
    assert after(split, None)["spec"] == rest["spec"]


def test_a_cookie_that_was_asked_for_comes_for_ours() -> None:
    rest = service(MINE)
    del rest["spec"]["weighted"]["sticky"]
    stay = Share(25, stay=Stay(cookie="stay", seconds=60, candidate="7d9f5"))
    split = patched(rest, lists.patch(rest, NAMES, stay, HOLD))
    ours = split["spec"]["weighted"]["sticky"]
    theirs = {"cookie": {"name": "shop"}}
    asked = asked_of(split, wishes.text({"services": [MINE], "sticky": theirs}))
    assert lists.pending(asked, NAMES) == "spec.weighted.sticky"
    assert after(asked, None)["spec"]["weighted"] == {"services": [MINE], "sticky": theirs}
    kept = asked_of(split, wishes.text({"services": [OTHER], "sticky": ours}))
    assert lists.pending(kept, NAMES) == "spec.weighted.services"
    assert after(kept, None)["spec"]["weighted"] == {"services": [OTHER]}


@pytest.mark.parametrize("others", [(), (OTHER,)])
def test_a_list_of_the_candidate_s_service_without_the_user_s_is_its_owner_s(others: tuple[Json, ...]) -> None:
    assert not lists.leads_to(service(CANARY, *others), NAMES)
    assert lists.leads_to(after(service(MINE), 100), NAMES), "but for one that a release holds"

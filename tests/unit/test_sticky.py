"""Visitors who stay where a route sent them: marks, rules, and routes on which it cannot be."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.cluster import patched
from tests.unit.test_routes import NAMES, route, to

from tidegate.api.traffic import ALL_STABLE, AT_REST, Match, Share, Stay
from tidegate.core import dark, routes
from tidegate.core.hold import RELEASING, Hold, noted_share
from tidegate.core.observed import INTRODUCED, MIXED

Json = dict[str, Any]
STAY = Stay(cookie="stay", max_age=timedelta(hours=1), candidate="7d9f5")
STAFF = (Match(headers={"x-canary": "always"}),)


def marked(obj: Json, share: Share) -> Json:
    """The route as it is after the patch."""
    return patched(obj, routes.patch(obj, NAMES, share, Hold("mine")))


def told(value: str, age: int = 3600) -> Json:
    """The filter that tells a visitor."""
    header = {"name": "Set-Cookie", "value": f"stay={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax"}
    return {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [header]}}


def pattern(rule: Json) -> str:
    """What a rule of ours asks of the cookie."""
    (found,) = (header for match in rule["matches"] for header in match["headers"] if header["name"] == "Cookie")
    return str(found["value"])


def test_answers_tell_visitors_where_they_were_and_rules_send_them_there() -> None:
    obj = route(to("checkout", matches=[{"path": {"value": "/api"}}], timeouts={"request": "5s"}), to("static"))
    after = marked(obj, Share(25, (), STAY))
    user, static, candidate, stable = after["spec"]["rules"]
    assert user["backendRefs"] == [
        {"name": "checkout-stable", "port": 80, "weight": 75, "filters": [told("stable.7d9f5")]},
        {"name": "checkout-canary", "port": 80, "weight": 25, "filters": [told("candidate.7d9f5")]},
    ]
    assert static == to("static")
    for rule, name, value in ((candidate, "canary", "candidate.7d9f5"), (stable, "stable", "stable.7d9f5")):
        assert rule["backendRefs"] == [{"name": f"checkout-{name}", "port": 80, "weight": 1}], "and sets it no more"
        assert rule["timeouts"] == {"request": "5s"}
        assert rule["matches"][0]["path"] == {"value": "/api"}
        assert re.fullmatch(pattern(rule), f"a=b; stay={value}; c=d")
        assert not re.search(pattern(rule), "stay=candidate.6fcbd"), "of an earlier release"
    assert routes.share(after, NAMES) == Share(25, (), STAY)
    assert routes.patch(after, NAMES, Share(25, (), STAY), Hold("mine")) == [], "once is enough"


@pytest.mark.parametrize("share", [ALL_STABLE, Share(100), AT_REST, Share(0, STAFF)])
def test_the_write_that_ends_it_frees_everybody(share: Share) -> None:
    obj = route(to("checkout"))
    freed = marked(marked(obj, Share(25, (), STAY)), share)
    assert "stay" not in json.dumps(freed)
    assert routes.share(freed, NAMES) == share
    assert marked(freed, AT_REST)["spec"] == obj["spec"]


def test_filters_of_the_user_s_are_kept_and_come_back() -> None:
    headers = {"set": [{"name": "x-a", "value": "1"}], "add": [{"name": "x-b", "value": "2"}]}
    theirs = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-c"]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers},
    ]
    obj = route(to({"name": "checkout", "port": 80, "filters": theirs}))
    after = marked(obj, Share(25, (), STAY))
    stable = after["spec"]["rules"][0]["backendRefs"][0]["filters"]
    mark = told("stable.7d9f5")["responseHeaderModifier"]["add"]
    assert stable == [
        theirs[0],
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {**headers, "add": [*headers["add"], *mark]}},
    ]
    assert after["spec"]["rules"][1]["backendRefs"][0]["filters"] == theirs
    assert marked(after, AT_REST)["spec"] == obj["spec"]


def test_who_asks_for_the_candidate_comes_before_who_stays() -> None:
    after = marked(route(to("checkout")), Share(25, STAFF, STAY))
    names = [rule.get("name") for rule in after["spec"]["rules"]]
    assert names == [None, "tidegate-canary-0", "tidegate-canary-0-candidate", "tidegate-canary-0-stable"]
    assert routes.share(after, NAMES) == Share(25, STAFF, STAY)
    assert all(dark.is_dark(rule) for rule in after["spec"]["rules"][1:])


@pytest.mark.parametrize("change", ["rule", "mark", "both marks alike"])
def test_what_is_not_as_it_was_written_is_no_weight_and_is_put_right(change: str) -> None:
    share = Share(25, (), STAY)
    after = marked(route(to("checkout")), share)
    user, *ours = after["spec"]["rules"]
    stable, candidate = user["backendRefs"]
    changed = {
        "rule": [user, *ours[1:]],
        "mark": [{**user, "backendRefs": [{**stable, "filters": []}, candidate]}, *ours],
        "both marks alike": [
            {**user, "backendRefs": [stable, {**candidate, "filters": stable["filters"]}]},
            *ours,
        ],
    }[change]
    over = {**after, "spec": {"rules": changed}}
    assert routes.share(over, NAMES) == Share(MIXED, (), STAY)
    assert marked(over, share)["spec"] == after["spec"]


def test_another_candidate_or_age_is_another_share() -> None:
    after = marked(route(to("checkout")), Share(25, (), STAY))
    for other in (STAY.model_copy(update={"candidate": "9a"}), STAY.model_copy(update={"max_age": timedelta(0, 60)})):
        assert routes.share(after, NAMES) != Share(25, (), other)
        changed = marked(after, Share(25, (), other))
        assert routes.share(changed, NAMES) == Share(25, (), other)
        assert len(changed["spec"]["rules"]) == 3


def test_an_introduced_route_tells_nobody_anything() -> None:
    assert "filters" not in json.dumps(marked(route(to("checkout")), Share(INTRODUCED)))


@pytest.mark.parametrize("note", ['{"weight":25,"stay":7}', '{"weight":25,"match":7}', '{"weight":25,"stay":{}}'])
def test_a_note_that_is_spoilt_tells_the_weight_at_most(note: str) -> None:
    assert noted_share({"metadata": {"annotations": {RELEASING: note}}}) == Share(25)


# Where it cannot be.


def modifier(**more: Any) -> Json:
    return {"type": "ResponseHeaderModifier", "responseHeaderModifier": more}


COOKIE = {"headers": [{"name": "cookie", "type": "RegularExpression", "value": "beta=1"}]}


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (to("checkout"), ""),
        (to("checkout", "legacy"), "leads to others beside the Service"),
        (to("checkout", matches=[COOKIE]), "looks at the header Cookie itself"),
        (to("checkout", filters=[modifier(remove=["set-cookie"])]), "takes the header Set-Cookie"),
        (to("checkout", filters=[modifier(set=[{"name": "Set-Cookie", "value": "a=b"}])]), "takes the header"),
        (to("checkout", filters=[modifier(add=[{"name": "Set-Cookie", "value": "a=b"}])]), ""),
        (
            to({"name": "checkout", "filters": [modifier(add=[{"name": "Set-Cookie", "value": "a=b"}])]}),
            "changes the header Set-Cookie",
        ),
        (to({"name": "checkout", "filters": [modifier(add=[{"name": "X", "value": "a=b"}])]}), ""),
    ],
)
def test_rules_on_which_visitors_cannot_be_kept(rule: Json, why: str) -> None:
    found = routes.unsticky(route(rule), NAMES, ())
    assert bool(found) == bool(why)
    assert why in found


def at(path: str = "/", method: str = "", params: int = 0, **headers: str) -> Json:
    """A match."""
    told_: Json = {"path": {"type": "PathPrefix", "value": path}}
    told_ |= {"method": method} if method else {}
    told_ |= {"headers": [{"name": name, "value": value} for name, value in headers.items()]} if headers else {}
    return told_ | ({"queryParams": [{"name": f"q{n}", "value": "1"} for n in range(params)]} if params else {})


@pytest.mark.parametrize(
    ("mine", "other", "first", "loses"),
    [
        (at(), at(params=1), False, True),
        (at(), at(params=1), True, True),
        (at(), at("/x", params=1), False, False),
        (at(), at(method="GET", params=1), False, False),
        (at(), at(tenant="b"), False, False),
        (at(tenant="a"), at(beta="1"), True, True),
        (at(tenant="a"), at(beta="1"), False, False),
        (at(tenant="a"), at(tenant="b"), True, False),
        (at(params=1), at(beta="1"), True, True),
    ],
)
def test_a_rule_of_ours_must_not_come_before_one_to_elsewhere(
    mine: Json, other: Json, first: bool, loses: bool
) -> None:
    """With the cookie's header it would be more specific than one that is more specific than the user's."""
    rules = [to("checkout", matches=[mine]), to("static", matches=[other])]
    found = routes.unsticky(route(*(rules[::-1] if first else rules)), NAMES, ())
    assert ("rule to elsewhere" in found) is loses


def test_two_rules_more_for_each_need_room() -> None:
    five = [to("checkout", name=f"r{number}", matches=[at(f"/{number}")]) for number in range(6)]
    assert "no room for 12 more rules" in routes.unsticky(route(*five), NAMES, ())
    assert not routes.unsticky(route(*five[:5]), NAMES, ())
    assert "no room for 15 more rules" in routes.unsticky(route(*five[:5]), NAMES, STAFF), "beside a match"
    assert not routes.unsticky(marked(route(*five[:5]), Share(5, (), STAY)), NAMES, ()), "they are there already"
    many = route(to("checkout", matches=[at(f"/{number}") for number in range(50)]))
    assert "more than 128 in all" in routes.unsticky(many, NAMES, ())

"""Steps of a canary: what makes sense, and what is refused with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.api.canary import CanarySpec

STAFF = {"match": [{"headers": {"x-canary": "always"}}]}


def spec(*steps: dict[str, Any], **more: Any) -> CanarySpec:
    return CanarySpec.model_validate({"targetRef": {"name": "x"}, "steps": list(steps), **more})


def test_steps_of_a_match_come_before_the_first_weight_and_beside_any() -> None:
    plan = spec(STAFF, {"match": [{"cookies": {"beta": "yes"}}]}, {"weight": 5, **STAFF}, {"weight": 25}).plan()
    assert [(step.weight, step.pods, len(step.match)) for step in plan] == [
        (0, 1, 1),
        (0, 1, 1),
        (5, 5, 1),
        (25, 25, 0),
        (100, 100, 0),
    ]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"weight": 25}, STAFF], "weights must grow"),
        ([{"weight": 25, **STAFF}, {"weight": 25}], "weights must grow"),
        ([{"weight": 0}, {"weight": 0}], "weights must grow"),
        ([{"bake": "5m"}], "a step needs a weight, or a match"),
        ([{"match": [{}]}], "name a header or a cookie"),
        ([{"match": [{"headers": {}}]}], "name a header or a cookie"),
        ([{"match": [{"headers": {"a b": "x"}}]}], "names of headers and cookies are of letters"),
        ([{"match": [{"headers": {"a": "x;y"}}]}], "String should match pattern"),
        ([{"match": [{"cookies": {"a": "x", "b": "y"}}]}], "at most 1 item"),
    ],
)
def test_what_makes_no_sense_is_refused(steps: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        spec(*steps)


def test_a_match_needs_somebody_who_looks_at_requests() -> None:
    with pytest.raises(ValueError, match="match needs a router"):
        spec(STAFF, traffic={"podShare": {}})


# Stickiness.

STICKY = {"cookie": "stay", "maxAge": "90s"}


def test_visitors_stay_while_there_are_two_revisions_to_be_sent_to() -> None:
    plan = spec(STAFF, {"weight": 5}, {"weight": 50, **STAFF}, {"weight": 100}, stickiness=STICKY).plan()
    assert [step.sticky.seconds if step.sticky else None for step in plan] == [None, 90, 90, None]
    stay = plan[1].share("7d9f5").stay
    assert stay
    assert stay.wire() == {"cookie": "stay", "maxAge": "1m30s", "candidate": "7d9f5"}
    assert plan[0].share("7d9f5").stay is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"stickiness": {"cookie": "a;b"}}, "String should match pattern"),
        ({"stickiness": {}}, "Field required"),
        ({"stickiness": {**STICKY, "maxAge": "500ms"}}, "at least 1s"),
        ({"stickiness": STICKY, "traffic": {"podShare": {}}}, "spec.stickiness needs a router"),
        ({"stickiness": {"cookie": "canary"}}, "the cookie of a match is another"),
    ],
)
def test_a_stickiness_that_cannot_be_is_refused(more: dict[str, Any], told: str) -> None:
    dark: list[dict[str, Any]] = [] if "traffic" in more else [{"match": [{"cookies": {"canary": "always"}}]}]
    with pytest.raises(ValueError, match=told):
        spec(*dark, {"weight": 5}, **more)

"""The clamp as functions: the table of cases, and how the API server is answered."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.gate import CASES, births, routes, sizes
from tests.gate.case import merge, mismatch
from tests.gate.functions import TIDEGATE, admitted, asked_for, review

from tidegate.adapters.kubernetes import WRITE
from tidegate.core import clamp
from tidegate.core.gate import Bounds

Json = dict[str, Any]


@pytest.mark.parametrize("name", CASES)
def test_what_admission_makes_of_a_write(name: str) -> None:
    case = CASES[name]
    before, asked = asked_for(case)
    found = admitted(before, asked, TIDEGATE if case.by_tidegate else "alice")
    assert mismatch(found, case.after) is None


@pytest.mark.parametrize("name", [name for name in CASES if not CASES[name].by_tidegate])
def test_asked_again_it_comes_to_the_same(name: str) -> None:
    """The API server asks again where another plugin changed the write after it."""
    before, asked = asked_for(CASES[name])
    once = admitted(before, asked)
    assert admitted(before, once) == once


@pytest.mark.parametrize("name", sizes.SIZES)
def test_what_tidegate_reckons_with_is_what_is_granted(name: str) -> None:
    asked, granted = sizes.SIZES[name]
    desired = int(asked.of or asked.desired or 0)
    assert Bounds(asked.floor, asked.ceiling).size(asked.size, desired) == granted


def test_a_write_that_asks_for_no_more_than_is_granted_is_answered_without_a_patch() -> None:
    before, asked = asked_for(CASES["route: refs kept"])
    assert "patch" not in clamp.answer(review(before, asked, "alice"), TIDEGATE)["response"]


def owners(*managers: str) -> Json:
    return {"managedFields": [{"manager": name, "fieldsV1": {f"f:{name}": {}}} for name in managers]}


@pytest.mark.parametrize(
    ("noted", "left"),
    [
        (owners("helm", "tidegate", "kubectl", "tidegate"), owners("helm", "kubectl")),
        (owners("tidegate", "tidegate"), {"managedFields": [{"manager": "tidegate", "fieldsV1": {}}] * 2}),
        (owners("helm"), owners("helm")),
        ({}, {}),
    ],
)
@pytest.mark.parametrize("name", ["route: by Tidegate", "service: by Tidegate", "deployment: by Tidegate"])
def test_what_tidegate_writes_makes_it_no_owner(name: str, noted: Json, left: Json) -> None:
    before, asked = asked_for(CASES[name])
    asked["metadata"].pop("managedFields", None)
    found = admitted(before, merge(asked, {"metadata": noted}), TIDEGATE)
    assert {key: value for key, value in found["metadata"].items() if key == "managedFields"} == left


def test_what_others_write_stays_theirs() -> None:
    before, asked = asked_for(CASES["service: at rest, widened"])
    noted = merge(asked, {"metadata": owners("tidegate", "helm")})
    assert admitted(before, noted) == noted


def test_the_manager_is_the_one_that_the_operator_writes_by() -> None:
    assert parse_qs(WRITE)["fieldManager"] == [clamp.MANAGER]


def test_other_kinds_subresources_and_operations_pass() -> None:
    pod = {"kind": "Pod", "metadata": {}, "spec": {}}
    assert clamp.patch("Pod", None, pod) == []
    asking = review(*asked_for(CASES["size: none, below a floor"]), "alice")
    for change in ({"subResource": "scale"}, {"operation": "DELETE"}):
        assert "patch" not in clamp.answer({**asking, "request": {**asking["request"], **change}}, TIDEGATE)["response"]


def test_the_table_would_notice_a_clamp_that_does_nothing() -> None:
    changed = [name for name, case in CASES.items() if mismatch(asked_for(case)[1], case.after) is not None]
    assert len(changed) > len(CASES) / 3
    for title in ("birth", "size", "route", "service", "deployment"):
        assert any(name.startswith(title) for name in changed)


def test_a_review_takes_less_than_5_ms() -> None:
    heavy = [
        (None, births.CASES["a new revision"].write),
        asked_for(CASES["route: 16 rules of equal matches"]),
        asked_for(CASES["deployment: in mid-release, replaced"]),
    ]
    asked = [json.dumps(review(*pair, "alice")) for pair in heavy]
    began, rounds = time.process_time(), 100
    for _ in range(rounds):
        for body in asked:
            json.dumps(clamp.answer(json.loads(body), TIDEGATE))
    assert (time.process_time() - began) / (rounds * len(asked)) < 0.005


def test_routes_of_16_rules_are_in_the_table() -> None:
    assert any(len(case.write["spec"]["rules"] or ()) == 16 for case in routes.CASES.values())

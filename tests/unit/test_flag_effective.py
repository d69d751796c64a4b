"""What of a flag holds now: a person's word, automation's, the rollout's share, the last spec that was right."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagStatus, Override, RolloutStatus
from tidegate.core.flags.check import read, typed
from tidegate.core.flags.effective import Choice, Declared, choice, rollout_digest

Json = dict[str, Any]
ROLLOUT: Json = {"rollout": {"steps": [{"percentage": 1}, {"percentage": 100}]}}
BROKEN: Json = {"offVariant": "of"}


def digest(spec: Json) -> str:
    return rollout_digest(FlagSpec.model_validate(spec))


def status(spec: Json, milli: int = 5000, **other: Any) -> FlagStatus:
    return FlagStatus(rollout=RolloutStatus(digest=digest(spec), milli=milli), **other)


def override(rollout: str) -> Override:
    return Override(reason="LimitExceeded", since=datetime(2026, 1, 1, tzinfo=UTC), rollout=rollout)


def chosen(spec: Json, status: FlagStatus | None = None) -> Choice:
    return choice(Declared("checkout", "shop", spec, status))


def test_nobody_is_in_before_there_is_a_status() -> None:
    assert chosen(ROLLOUT).candidates[0].milli == 0


def test_the_status_says_how_many_are_in() -> None:
    assert chosen(ROLLOUT, status(ROLLOUT)).candidates[0].milli == 5000


@pytest.mark.parametrize("milli", [-1, 100_001])
def test_never_less_than_nobody_nor_more_than_everybody(milli: int) -> None:
    assert chosen(ROLLOUT, status(ROLLOUT, milli)).candidates[0].milli in (0, 100_000)


def test_another_rollout_begins_at_nobody() -> None:
    other = {"rollout": {**ROLLOUT["rollout"], "by": "user.id"}}
    assert chosen(other, status(ROLLOUT)).candidates[0].milli == 0


def test_other_steps_are_no_other_rollout() -> None:
    assert digest(ROLLOUT) == digest({"rollout": {"steps": [{"percentage": 3}], "serve": "on"}})


def test_a_breach_is_of_its_rollout_alone() -> None:
    assert chosen(ROLLOUT, status(ROLLOUT, override=override(digest(ROLLOUT)))).candidates[0].off
    assert not chosen(ROLLOUT, status(ROLLOUT, override=override("another"))).candidates[0].off


def test_what_is_wrong_is_told_and_the_last_that_was_right_is_served() -> None:
    found = chosen({**ROLLOUT, **BROKEN}, status(ROLLOUT, accepted=json.dumps(ROLLOUT)))
    assert [candidate.spec for candidate in found.candidates] == [FlagSpec.model_validate(ROLLOUT)]
    assert found.candidates[0].milli == 5000
    assert [str(problem) for problem in found.problems] == [
        "spec: offVariant: of is no variant of this flag: it has on, off"
    ]


def test_the_kill_switch_works_in_a_spec_that_is_wrong() -> None:
    found = chosen({**ROLLOUT, **BROKEN, "enabled": False}, status(ROLLOUT, accepted=json.dumps(ROLLOUT)))
    assert found.candidates[0].killed


def test_what_was_killed_stays_so_while_the_spec_is_wrong() -> None:
    found = chosen({**ROLLOUT, **BROKEN}, status(ROLLOUT, accepted=json.dumps({**ROLLOUT, "enabled": False})))
    assert found.candidates[0].killed


def test_a_spec_that_goes_too_deep_for_those_who_read_it_is_told_and_the_kill_switch_works() -> None:
    def spec(levels: int) -> Json:
        value: Json = {}
        for _ in range(levels):
            value = {"a": value}
        return {"type": "Object", "variants": [{"name": "off", "value": value}], "offVariant": "off"}

    assert isinstance(read(spec(60)), FlagSpec)
    for levels in (61, 900, 5000):
        found = chosen({**spec(levels), "enabled": False}, FlagStatus(accepted=json.dumps({})))
        assert "deeper than 64 levels" in str(found.problems[0])
        assert found.candidates[0].killed


def test_what_was_never_right_is_not_served() -> None:
    assert chosen(BROKEN).candidates == ()


@pytest.mark.parametrize(
    ("type_", "value", "told"),
    [
        ("Boolean", "true", 'variant a is "true", which is not true or false'),
        ("Boolean", 1, "which is not true or false"),
        ("String", True, "in quotes"),
        ("Integer", 1.5, "a whole number"),
        ("Integer", True, "a whole number"),
        ("Integer", 2**53, "JavaScript"),
        ("Number", "1", "a number"),
        ("Number", True, "a number"),
        ("Object", [], "an object"),
        ("Object", None, "an object"),
    ],
)
def test_a_value_of_another_type_is_told(type_: str, value: object, told: str) -> None:
    found = read({"type": type_, "variants": [{"name": "a", "value": value}], "offVariant": "a"})
    assert isinstance(found, tuple)
    assert found[0].field == "spec.variants[0].value"
    assert told in found[0].message


@pytest.mark.parametrize(("type_", "value", "as_json"), [("Integer", 1.0, "1"), ("Number", 1, "1.0")])
def test_values_are_of_the_type_that_sdks_insist_on(type_: str, value: object, as_json: str) -> None:
    spec = read({"type": type_, "variants": [{"name": "a", "value": value}], "offVariant": "a"})
    assert isinstance(spec, FlagSpec)
    assert json.dumps(typed(spec.type, spec.variants[0].value)) == as_json

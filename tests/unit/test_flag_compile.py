"""What each question holds of, each kind of value that may be asked about, and the reasons that are given."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagStatus, RolloutStatus
from tidegate.core.flags.compile import Answer, Reason, compile_set
from tidegate.core.flags.effective import Declared, rollout_digest
from tidegate.core.flags.flagset import flag_set

Json = dict[str, Any]
ROLLOUT: Json = {"steps": [{"percentage": 1}, {"percentage": 100}]}
VALUES: tuple[Any, ...] = (
    None,
    "",
    "beta",
    "1",
    1,
    1.0,
    0,
    2.5,
    True,
    False,
    ["beta"],
    [],
    {"beta": 1},
    "2.1.0",
    "Ünï",
)


def answer(spec: Json, context: Json, milli: int = 0) -> Answer:
    digest = rollout_digest(FlagSpec.model_validate(spec))
    status = FlagStatus(rollout=RolloutStatus(digest=digest, milli=milli))
    flags = flag_set([Declared("flag", "shop", spec, status)])
    assert not flags.problems
    return compile_set(flags.programs)["flag"](context)


def holds(when: Json, context: Json) -> bool:
    rule = {"name": "rule", "when": when, "serve": "on"}
    return answer({"rules": [rule]}, context).variant == "on"


@pytest.mark.parametrize(
    ("comparison", "of"),
    [
        ({"equals": "beta"}, ["beta"]),
        ({"equals": "1"}, ["1"]),
        ({"equals": ""}, [""]),
        ({"in": ["beta", "1"]}, ["beta", "1"]),
        ({"notIn": ["beta", "1"]}, ["", 1, 1.0, 0, 2.5, True, False, ["beta"], [], {"beta": 1}, "2.1.0", "Ünï"]),
        ({"startsWith": "be"}, ["beta"]),
        ({"endsWith": "ï"}, ["Ünï"]),
        ({"contains": "eta"}, ["beta"]),
        ({"contains": "beta"}, ["beta", ["beta"]]),
        ({"is": True}, [True]),
        ({"is": False}, [False]),
        ({"atLeast": 1}, [1, 1.0, 2.5]),
        ({"atMost": 1}, [1, 1.0, 0]),
        ({"above": 1}, [2.5]),
        ({"below": 1}, [0]),
        ({"semver": ">=1.0.0"}, ["1", "2.1.0"]),
        ({"exists": True}, list(VALUES[1:])),
        ({"exists": False}, [None]),
    ],
)
def test_a_comparison_holds_of_these_and_no_other(comparison: Json, of: list[Any]) -> None:
    found = [value for value in VALUES if holds({"attribute": "x", **comparison}, {"x": value})]
    assert list(map(repr, found)) == list(map(repr, of))
    assert holds({"attribute": "x", **comparison}, {}) is (comparison == {"exists": False})


def test_a_dot_goes_into_an_object() -> None:
    when = {"attribute": "user.plan", "equals": "beta"}
    assert holds(when, {"user": {"plan": "beta"}})
    others: tuple[Any, ...] = (None, "beta", ["plan"], {}, 5)
    assert not any(holds(when, {"user": other}) for other in others)
    assert not holds(when, {"user.plan": "beta"})


def test_several_questions() -> None:
    beta, old = {"attribute": "plan", "equals": "beta"}, {"attribute": "age", "atLeast": 18}
    assert holds({"all": [beta, old]}, {"plan": "beta", "age": 18})
    assert not holds({"all": [beta, old]}, {"plan": "beta", "age": 17})
    assert holds({"any": [beta, old]}, {"age": 18})
    assert not holds({"any": [beta, old]}, {})
    assert holds({"all": [{"not": beta}, {"any": [old, beta]}]}, {"plan": "pro", "age": 20})
    assert not holds({"not": {"any": [beta, old]}}, {"plan": "pro", "age": 20})


ANN = {"targetingKey": "ann"}
"""Who is at place 30_000 or so by the flag's own seed, in both of its hashes."""
RULE = {"name": "beta", "when": {"attribute": "plan", "equals": "beta"}}


@pytest.mark.parametrize(
    ("spec", "context", "milli", "variant", "reason"),
    [
        ({}, ANN, 0, "off", Reason.STATIC),
        ({"enabled": False, "defaultVariant": "on"}, ANN, 0, "off", Reason.STATIC),
        ({"rollout": ROLLOUT}, ANN, 0, "off", Reason.STATIC),
        ({"rollout": ROLLOUT}, ANN, 1, "off", Reason.DEFAULT),
        ({"rollout": ROLLOUT}, ANN, 99_999, "on", Reason.SPLIT),
        ({"rollout": ROLLOUT}, {}, 99_999, "off", Reason.DEFAULT),
        ({"rollout": ROLLOUT}, {}, 100_000, "on", Reason.STATIC),
        ({"rules": [{**RULE, "serve": "on"}]}, {"plan": "beta"}, 0, "on", Reason.TARGETING_MATCH),
        ({"rules": [{**RULE, "serve": "on"}]}, ANN, 0, "off", Reason.DEFAULT),
        ({"rules": [{**RULE, "serve": "off"}], "rollout": ROLLOUT}, {}, 100_000, "on", Reason.TARGETING_MATCH),
        ({"rules": [{**RULE, "split": {"on": 1}}]}, {"plan": "beta", **ANN}, 0, "on", Reason.SPLIT),
        ({"rules": [{**RULE, "split": {"on": 1}}]}, {"plan": "beta"}, 0, "off", Reason.DEFAULT),
        ({"rollout": {**ROLLOUT, "split": {"on": 1, "off": 0}}}, ANN, 100_000, "on", Reason.SPLIT),
    ],
)
def test_who_is_served_what_and_why(spec: Json, context: Json, milli: int, variant: str, reason: Reason) -> None:
    found = answer(spec, context, milli)
    assert (found.variant, found.value, found.reason) == (variant, variant == "on", reason)


def test_the_same_seed_chooses_the_same_people() -> None:
    people = [{"targetingKey": f"user-{number}"} for number in range(200)]

    def chosen(seed: str) -> list[bool]:
        spec = {"rollout": ROLLOUT, "bucketing": {"seed": seed}}
        evaluate = compile_set(
            flag_set(
                [
                    Declared(
                        seed,
                        "shop",
                        {**spec, "key": seed},
                        FlagStatus(
                            rollout=RolloutStatus(digest=rollout_digest(FlagSpec.model_validate(spec)), milli=50_000)
                        ),
                    )
                ]
            ).programs
        )[seed]
        return [evaluate(person).variant == "on" for person in people]

    assert chosen("a") == chosen("a")
    assert chosen("a") != chosen("b")

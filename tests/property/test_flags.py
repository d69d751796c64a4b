"""What holds for all flags: who is in stays in, nobody changes variants, shares are as asked, 100 % is everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracle.chance import Chance

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagStatus, RolloutStatus
from tidegate.core.flags.compile import Answer, Evaluate, compile_set
from tidegate.core.flags.effective import Declared, rollout_digest
from tidegate.core.flags.flagset import flag_set
from tidegate.core.flags.trace import trace

Json = dict[str, Any]
USERS = [{"targetingKey": f"user-{number}"} for number in range(20_000)]
THREE: Json = {
    "type": "String",
    "variants": [{"name": name, "value": name} for name in ("a", "b", "c", "off")],
    "offVariant": "off",
}
WEIGHTS = {"a": 1, "b": 2, "c": 5}


def at(spec: Json, milli: int) -> Evaluate:
    digest = rollout_digest(FlagSpec.model_validate(spec))
    status = FlagStatus(rollout=RolloutStatus(digest=digest, milli=milli))
    return compile_set(flag_set([Declared("flag", "shop", spec, status)]).programs)["flag"]


def splitting(revision: str) -> Json:
    return {
        **THREE,
        "rollout": {"steps": [{"percentage": 100}], "split": WEIGHTS},
        "bucketing": {"revision": revision},
    }


@pytest.mark.parametrize("revision", ["v2", "v3"])
def test_nobody_changes_while_a_rollout_grows(revision: str, record_property: Callable[[str, object], None]) -> None:
    spec = splitting(revision)
    before: list[str] = ["off"] * len(USERS)
    changed = 0
    for percentage in range(1, 101):
        evaluate = at(spec, percentage * 1000)
        after = [evaluate(user).variant for user in USERS]
        changed += sum(one not in ("off", other) for one, other in zip(before, after, strict=True))
        share = 100 * sum(variant != "off" for variant in after) / len(USERS)
        assert share == pytest.approx(percentage, abs=1.5)
        before = after
    record_property("users who changed", changed)
    assert changed == 0
    assert "off" not in before


@pytest.mark.parametrize("revision", ["v2", "v3"])
@pytest.mark.parametrize("milli", [30_000, 100_000])
def test_shares_are_as_asked_at_any_share_of_everybody(revision: str, milli: int) -> None:
    evaluate = at(splitting(revision), milli)
    served = [variant for user in USERS if (variant := evaluate(user).variant) != "off"]
    for name, weight in WEIGHTS.items():
        assert served.count(name) / len(served) == pytest.approx(weight / sum(WEIGHTS.values()), abs=0.02)


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
def test_everybody_is_everybody(context: Json) -> None:
    assert at({"rollout": {"steps": [{"percentage": 100}]}}, 100_000)(context).variant == "on"


@given(st.text(), st.integers(0, 100_000), st.integers(0, 100_000), st.sampled_from(["v2", "v3"]))
def test_who_is_in_stays_in(key: str, one: int, other: int, revision: str) -> None:
    spec = {"rollout": {"steps": [{"percentage": 100}]}, "bucketing": {"revision": revision}}
    less, more = sorted((one, other))
    if at(spec, less)({"targetingKey": key}).variant == "on":
        assert at(spec, more)({"targetingKey": key}).variant == "on"


@settings(deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(["v2", "v3"]))
def test_the_trace_ends_where_the_answer_comes_from(seed: int, revision: str) -> None:
    chance = Chance(seed, revision=revision, ascii_keys=False)
    flags = flag_set(chance.flags(4))
    evaluate = compile_set(flags.programs)
    for key, program in flags.programs.items():
        context = chance.person()
        found = trace(program, context)
        answer: Answer = evaluate[key](context)
        assert found.answer == answer
        assert [step.matched for step in found.steps] == [False] * (len(found.steps) - 1) + [True]
        last = found.steps[-1].what
        branches = {f"rule {branch.name}" if branch.name else "rollout": branch for branch in program.branches}
        if last in branches and isinstance(branches[last].serve, str):
            assert answer.variant == branches[last].serve
        if last == "default":
            assert answer.variant == program.default

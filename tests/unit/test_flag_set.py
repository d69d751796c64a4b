"""Flags that need others, and what becomes of them when these are wrong or gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagStatus, RolloutStatus
from tidegate.core.flags import flagset
from tidegate.core.flags.check import read
from tidegate.core.flags.compile import Reason, compile_set
from tidegate.core.flags.effective import Declared, rollout_digest
from tidegate.core.flags.flagset import FlagSet, flag_set

Json = dict[str, Any]
BETA: Json = {"rules": [{"name": "beta", "when": {"attribute": "plan", "equals": "beta"}, "serve": "on"}]}


def needs(*flags: str, variants: tuple[str, ...] = ("on",), **more: Any) -> Json:
    return {
        "prerequisites": [{"flag": flag, "variants": list(variants)} for flag in flags],
        "defaultVariant": "on",
        **more,
    }


def declared(name: str, spec: Json, accepted: Json | None = None) -> Declared:
    return Declared(name, "shop", spec, FlagStatus(accepted=json.dumps(accepted) if accepted is not None else ""))


def served(flags: FlagSet, key: str, **context: Any) -> str:
    return compile_set(flags.programs)[key](context).variant


def told(flags: FlagSet, key: str) -> str:
    return "; ".join(map(str, flags.problems[key]))


def test_what_is_needed_decides_for_each_who_asks() -> None:
    flags = flag_set([declared("new", needs("base")), declared("base", BETA)])
    assert served(flags, "new", plan="beta") == "on"
    assert served(flags, "new", plan="free") == "off"
    assert not flags.problems


def test_a_kill_switch_reaches_those_that_need_the_flag() -> None:
    flags = flag_set([declared("c", needs("b")), declared("b", needs("a")), declared("a", {"enabled": False})])
    assert [served(flags, key) for key in "abc"] == ["off", "off", "off"]
    assert flags.programs["c"].static


def test_what_everybody_has_is_not_asked() -> None:
    flags = flag_set([declared("new", needs("base")), declared("base", {"defaultVariant": "on"})])
    answer = compile_set(flags.programs)["new"]({})
    assert (answer.variant, answer.reason) == ("on", Reason.STATIC)


def test_what_is_needed_and_not_there_is_not_met() -> None:
    flags = flag_set([declared("new", needs("bsae")), declared("base", BETA)])
    assert served(flags, "new", plan="beta") == "off"
    assert told(flags, "new") == (
        "spec.prerequisites[0].flag: 'bsae' is no flag of this set that can be served: it has base, new"
    )


def test_a_variant_that_is_none_is_told() -> None:
    flags = flag_set([declared("new", needs("base", variants=("onn",))), declared("base", BETA)])
    assert told(flags, "new") == "spec.prerequisites[0].variants: 'onn': flag base has on, off"


def test_flags_that_need_each_other_are_off_and_hurt_no_other() -> None:
    flags = flag_set(
        [declared("a", needs("b")), declared("b", needs("a")), declared("c", needs("a")), declared("d", BETA)]
    )
    assert [served(flags, key, plan="beta") for key in "abcd"] == ["off", "off", "off", "on"]
    assert "a needs b needs a: a flag cannot need itself" in told(flags, "a")
    assert "b needs a needs b" in told(flags, "b")
    assert set(flags.problems) == {"a", "b"}


def test_a_change_that_cannot_be_leaves_what_was() -> None:
    flags = flag_set([declared("new", needs("bsae"), accepted=needs("base")), declared("base", BETA)])
    assert served(flags, "new", plan="beta") == "on"
    assert "bsae" in told(flags, "new")


def test_flags_that_hash_otherwise_cannot_be_needed() -> None:
    flags = flag_set([declared("new", needs("base", bucketing={"revision": "v3"})), declared("base", BETA)])
    assert "give both the same bucketing.revision" in told(flags, "new")


def test_more_flags_than_can_be_written_into_one() -> None:
    chain = [declared(f"f{i}", needs(f"f{i + 1}", f"g{i + 1}")) for i in range(4)]
    leaves = [declared(name, BETA) for name in ("f4", "g4")]
    wide = [declared(f"g{i}", needs(f"f{i + 1}", f"g{i + 1}")) for i in range(1, 4)]
    flags = flag_set([*chain, *wide, *leaves])
    assert "more than 16 flags" in told(flags, "f0")
    assert served(flags, "f1", plan="beta") == "on"


def test_the_last_spec_that_was_right_keeps_its_share() -> None:
    rollout = {"rollout": {"steps": [{"percentage": 1}]}}
    status = FlagStatus(
        accepted=json.dumps(rollout),
        rollout=RolloutStatus(digest=rollout_digest(FlagSpec.model_validate(rollout)), milli=100_000),
    )
    flags = flag_set([Declared("a", "shop", {**rollout, "offVariant": "of"}, status)])
    assert served(flags, "a") == "on"


def test_a_time_longer_than_any_is_told_and_keeps_nobody_from_the_kill_switch() -> None:
    before: Json = {"defaultVariant": "on"}
    endless = {**before, "enabled": False, "removal": {"after": "9999999999999h"}}
    flags = flag_set([declared("a", endless, accepted=before), declared("b", before)])
    assert (served(flags, "a"), served(flags, "b")) == ("off", "on")
    assert "spec.removal.after: '9999999999999h' is longer than 36500d" in told(flags, "a")


def test_a_value_that_is_wrong_is_told_no_further_than_it_is_known_by() -> None:
    variants = [{"name": "a", "value": 1}, {"name": "b", "value": "x" * 200_000}]
    wrong = told(flag_set([declared("a", {"type": "Integer", "offVariant": "a", "variants": variants})]), "a")
    assert len(wrong) < 300
    assert 'variant b is "xxx' in wrong


def test_which_flags_there_are_is_found_once_for_all_that_need_another(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []

    def known(chosen: Any, found: Any = flagset._known) -> str:
        times.append(1)
        return str(found(chosen))

    monkeypatch.setattr(flagset, "_known", known)
    needing = [Declared(f"f{n}", "shop", {"prerequisites": [{"flag": "gone", "variants": ["on"]}]}) for n in range(300)]
    made = flag_set(needing)
    assert len(made.problems) == 300
    assert len(times) <= 2
    (problem,) = flag_set(
        [Declared("a", "shop", {"prerequisites": [{"flag": "x" * 128, "variants": ["on"]}]})]
    ).problems["a"]
    assert len(str(problem)) < 200


def test_no_value_is_told_further_than_it_is_known_by() -> None:
    long = "9" * 5000
    for spec in (
        {"removal": {"after": long}},
        {"rollout": {"steps": [{"percentage": 1, "bake": long}, {"percentage": 100}]}},
        {"rollout": {"split": {long: 1}, "steps": [{"percentage": 100}]}},
        {"rules": [{"name": "r", "when": {"attribute": "v", "semver": long}, "serve": "on"}]},
    ):
        found = read(spec)
        assert isinstance(found, tuple)
        assert all(len(str(one)) < 400 for one in found), found

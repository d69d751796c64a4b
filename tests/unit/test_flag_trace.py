"""Why somebody is served what, for a person to read."""

from __future__ import annotations

from typing import Any

from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagStatus, RolloutStatus
from tidegate.core.flags.effective import Declared, rollout_digest
from tidegate.core.flags.flagset import flag_set
from tidegate.core.flags.trace import Trace, trace

Json = dict[str, Any]
SPEC: Json = {
    "rules": [
        {
            "name": "beta",
            "when": {
                "all": [{"attribute": "plan", "in": ["beta", "pro"]}, {"attribute": "version", "semver": ">=2.3.0"}]
            },
            "serve": "on",
        },
        {"name": "guests", "when": {"not": {"attribute": "plan", "exists": True}}, "serve": "off"},
    ],
    "rollout": {"steps": [{"percentage": 25}]},
}


def traced(context: Json, spec: Json = SPEC, milli: int = 25_000) -> Trace:
    digest = rollout_digest(FlagSpec.model_validate(spec))
    status = FlagStatus(rollout=RolloutStatus(digest=digest, milli=milli))
    base = Declared("base", "shop", {"rules": [{**SPEC["rules"][1], "serve": "on"}]})
    return trace(flag_set([Declared("checkout", "shop", spec, status), base]).programs["checkout"], context)


def lines(found: Trace) -> list[str]:
    return [f"{'+' if step.matched else '-'} {step.what}: {step.why}" for step in found.steps]


def test_each_rule_says_which_attribute_failed() -> None:
    assert lines(traced({"plan": "pro", "version": "2.1.0", "targetingKey": "user-2"})) == [
        '- rule beta: version is "2.1.0": not version {"semver": ">=2.3.0"}',
        '- rule guests: not: plan {"exists": true} holds',
        "- rollout: place 84534 of 100000, beyond 25 %",
        "+ default: nothing else speaks of who asks: off",
    ]


def test_nothing_is_told_of_what_was_not_asked() -> None:
    assert lines(traced({})) == [
        '- rule beta: plan is missing: not plan {"in": ["beta", "pro"]}',
        "+ rule guests: speaks of who asks",
    ]


def test_who_has_no_key() -> None:
    assert lines(traced({"plan": "free", "targetingKey": ""}))[-2:] == [
        '- rollout: targetingKey is "": no key to hash',
        "+ default: nothing else speaks of who asks: off",
    ]


def test_shares_of_a_split() -> None:
    split = {"rollout": {**SPEC["rollout"], "split": {"on": 1, "off": 3}}}
    assert lines(traced({"targetingKey": "user-1"}, split, 60_000)) == [
        "+ rollout: place 58835 of 100000, within 60 %; place 2 of 4, split into off 3, on 1"
    ]


def test_a_prerequisite_that_is_not_met() -> None:
    spec = {"prerequisites": [{"flag": "base", "variants": ["on"]}], "defaultVariant": "on"}
    assert lines(traced({"plan": "free"}, spec)) == ["+ prerequisite base: serves off, not on"]
    assert lines(traced({}, spec)) == [
        "- prerequisite base: serves on, as on",
        "+ default: nothing else speaks of who asks: on",
    ]


def test_the_kill_switch() -> None:
    assert lines(traced({}, {**SPEC, "enabled": False})) == ["+ spec.enabled: false: off for everybody"]

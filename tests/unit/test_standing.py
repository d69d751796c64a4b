"""What stands is compared with what this version needs: differences that matter are told, others are none."""

from __future__ import annotations

import copy
import hashlib
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import generate

from tidegate.api.conditions import Reason
from tidegate.core import standing
from tidegate.engine.gate import WEBHOOK, needed

Json = dict[str, Any]
OURS = "system:serviceaccount:team-a:tidegate"
OBJECTS = [obj for _, obj in (*needed(), *needed(WEBHOOK))]
POLICIES = [obj for obj in OBJECTS if obj["kind"] == "MutatingAdmissionPolicy"]
WEBHOOKS = OBJECTS[-1]
BINDINGS = [obj for obj in OBJECTS if obj["kind"] == "MutatingAdmissionPolicyBinding"]
NUMBERS = Path(__file__).parent / "gate_numbers.json"


def installed(obj: Json) -> Json:
    """As the API server has it: for our account, with its defaults, and texts folded anew."""
    found: Json = json.loads(json.dumps(obj).replace(standing.ACCOUNT, OURS))
    found["metadata"] |= {"uid": "1", "resourceVersion": "7", "labels": {"app.kubernetes.io/part-of": "tidegate"}}
    if obj["kind"] == "MutatingAdmissionPolicy":
        defaults = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
        found["spec"]["matchConstraints"] |= defaults
        for variable in found["spec"]["variables"]:
            expression = variable["expression"]
            variable["expression"] = textwrap.fill(expression, 60, break_long_words=False, break_on_hyphens=False)
    for hook in found.get("webhooks", ()):
        hook |= {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
        hook["clientConfig"]["caBundle"] = "Cg=="
    return found


def judged(obj: Json, change: Callable[[Json], object] = lambda _: None) -> tuple[Reason, str] | None:
    """What is said of an object that was installed and then changed."""
    found = installed(obj)
    change(found)
    problem = standing.judge(found, obj, OURS)
    return (problem.reason, problem.message) if problem else None


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: f"{obj['kind']} {obj['metadata']['name']}")
def test_what_is_installed_stands(obj: Json) -> None:
    assert judged(obj) is None


def narrow(spec: Json) -> None:
    spec["matchConstraints"]["namespaceSelector"] = {"matchLabels": {"team": "a"}}


CHANGES: dict[str, Callable[[Json], object]] = {
    "failurePolicy": lambda spec: spec.update(failurePolicy="Ignore"),
    "reinvocationPolicy": lambda spec: spec.update(reinvocationPolicy="Never"),
    "mutations": lambda spec: spec["mutations"][0]["jsonPatch"].update(expression="[]"),
    "mutations ": lambda spec: spec["mutations"].append(copy.deepcopy(spec["mutations"][0])),
    "variables": lambda spec: spec["variables"][0].update(expression="[]"),
    "variables ": lambda spec: spec["variables"].pop(),
    "matchConditions": lambda spec: spec["matchConditions"].append({"name": "never", "expression": "false"}),
    "matchConditions ": lambda spec: spec["matchConditions"].pop(),
    "matchConditions: nobody is exempt": lambda spec: spec["matchConditions"].pop(0),
    "rules": lambda spec: spec["matchConstraints"]["resourceRules"][0].update(operations=["DELETE"]),
    "rules ": lambda spec: spec["matchConstraints"]["resourceRules"].pop(),
    "rules: some objects only": lambda spec: spec["matchConstraints"]["resourceRules"][0].update(resourceNames=["a"]),
    "narrowing": narrow,
    "narrowing ": lambda spec: spec["matchConstraints"].update(matchPolicy="Exact"),
    "paramKind": lambda spec: spec.update(paramKind={"apiVersion": "v1", "kind": "ConfigMap"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_policy_is_told_by_the_field(change: str) -> None:
    for policy in POLICIES:
        found = judged(policy, lambda obj: CHANGES[change](obj["spec"]))
        assert found is not None
        assert found[0] is Reason.GATE_CHANGED
        assert f"(spec.{change.strip().partition(':')[0]})" in found[1]
        assert "apply the manifests of this version" in found[1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"policyName": "another"}, "policyName"),
        ({"paramRef": {"name": "x"}}, "paramRef"),
        ({"matchResources": {"objectSelector": {"matchLabels": {"team": "a"}}}}, "narrowing"),
        ({"matchResources": {"resourceRules": [{"apiGroups": ["apps"]}]}}, "narrowing"),
    ],
)
def test_a_narrowed_binding_is_told(change: Json, field: str) -> None:
    for binding in BINDINGS:
        found = judged(binding, lambda obj: obj["spec"].update(change))
        assert found is not None
        assert found[0] is Reason.GATE_CHANGED
        assert f"(spec.{field})" in found[1]


def test_a_binding_that_selects_everything_is_none_the_narrower() -> None:
    resources = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
    assert judged(BINDINGS[0], lambda obj: obj["spec"].update(matchResources=resources)) is None


def more(obj: Json) -> None:
    rules = obj["spec"]["matchConstraints"]["resourceRules"]
    rules[0]["resources"].append("tlsroutes")
    rules.append({"apiGroups": ["x"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["ys"], "scope": "*"})
    obj["spec"]["variables"].append({"name": "another", "expression": "1"})
    obj["metadata"]["annotations"]["team"] = "a"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"failurePolicy": "Ignore"}, ".failurePolicy"),
        ({"objectSelector": {"matchLabels": {"team": "a"}}}, ".narrowing"),
        ({"matchConditions": []}, ".matchConditions"),
        ({"rules": []}, ".rules"),
        ({"name": "another.tidegate.dev"}, ""),
    ],
)
def test_a_changed_webhook_is_told(change: Json, field: str) -> None:
    needed_ones = [hook["name"] for hook in WEBHOOKS["webhooks"] if hook["failurePolicy"] == "Fail"]
    assert len(needed_ones) == 5
    for at, name in enumerate(needed_ones):
        found = judged(WEBHOOKS, lambda obj: obj["webhooks"][at].update(change))  # noqa: B023 - called at once
        assert found is not None
        assert found[0] is Reason.GATE_CHANGED
        assert f"(webhooks: {name}{field})" in found[1]


def test_webhooks_called_elsewhere_and_more_of_them_are_no_change() -> None:
    def elsewhere(obj: Json) -> None:
        obj["webhooks"][0]["clientConfig"] = {"url": "https://example/clamp", "caBundle": "Cg=="}
        obj["webhooks"].append({**obj["webhooks"][0], "name": "more.tidegate.dev"})

    assert judged(WEBHOOKS, elsewhere) is None


def test_the_webhook_on_the_operator_s_own_writes_may_be_missing() -> None:
    assert judged(WEBHOOKS, lambda obj: obj["webhooks"].pop()) is None


def test_webhooks_that_exempt_another_are_foreign() -> None:
    theirs = json.loads(json.dumps(WEBHOOKS).replace(standing.ACCOUNT, "theirs"))
    problem = standing.judge(theirs, WEBHOOKS, OURS)
    assert problem is not None
    assert problem.reason is Reason.GATE_FOREIGN


def test_additions_that_narrow_nothing_are_no_change() -> None:
    for policy in POLICIES:
        assert judged(policy, more) is None


def anew(obj: Json) -> None:
    """As a newer version may have it."""
    obj["metadata"]["annotations"][standing.NUMBER] = "1000"
    obj["spec"]["mutations"][0]["jsonPatch"]["expression"] = "[another]"
    obj["spec"]["matchConditions"][1]["expression"] = "another"
    obj["spec"]["variables"] = []


def test_a_newer_gate_is_trusted_but_for_its_frame() -> None:
    for policy in POLICIES:
        assert judged(policy, anew) is None
        for change in ("failurePolicy", "narrowing", "paramKind", "rules"):

            def both(obj: Json, change: str = change) -> None:
                anew(obj)
                CHANGES[change](obj["spec"])

            found = judged(policy, both)
            assert found is not None
            assert f"(spec.{change})" in found[1]


def test_an_older_gate_is_none_that_this_version_knows() -> None:
    def older(obj: Json) -> None:
        anew(obj)
        del obj["metadata"]["annotations"][standing.NUMBER]

    for policy in POLICIES:
        found = judged(policy, older)
        assert found is not None
        assert found[0] is Reason.GATE_CHANGED


def test_a_gate_that_exempts_another_and_not_us_is_foreign() -> None:
    theirs = "system:serviceaccount:team-b:tidegate"
    for policy in POLICIES:
        found: Json = json.loads(json.dumps(policy).replace(standing.ACCOUNT, theirs))
        for number in ("1", "1000"):
            found["metadata"]["annotations"][standing.NUMBER] = number
            problem = standing.judge(found, policy, OURS)
            assert problem is not None
            assert problem.reason is Reason.GATE_FOREIGN
            assert theirs in problem.message
            assert OURS in problem.message


def test_a_changed_gate_has_another_number() -> None:
    """Operators of another version go by it, so no two gates may have the same: raise it, and note the new digest."""
    text = json.dumps([{**obj, "metadata": obj["metadata"]["name"]} for obj in OBJECTS], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    (number,) = {obj["metadata"].get("annotations", {}).get(standing.NUMBER) for obj in OBJECTS}
    known: dict[str, str] = json.loads(NUMBERS.read_text())
    assert known.get(number) == digest, f"{standing.NUMBER} {number} is taken, the next is {len(known) + 1}: {digest}"


def test_the_package_has_what_the_manifests_have() -> None:
    assert generate.PACKED not in generate.stale()

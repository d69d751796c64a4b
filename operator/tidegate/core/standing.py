"""Whether what stands in the cluster is the gate that this version needs. Objects in, a problem out.

The API server fills in defaults, kustomize folds expressions anew, an installation has a name of its own: none of that
is a difference. What is, and what is not (docs/decisions.md):

* An object of a higher number (annotation tidegate.dev/gate) is of a newer installation. A newer gate holds all that
  an older operator relies on, so only what it is exempt by and bound by is compared.
* More kinds of objects than are needed, and variables that no expression of ours uses, narrow nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.api.base import GROUP
from tidegate.api.conditions import Reason
from tidegate.core.observed import Problem

Json = Mapping[str, Any]

NUMBER = f"{GROUP}/gate"
"""On each object of the gate: raised whenever one of them changes, so that older and newer can be told apart."""
ACCOUNT = "system:serviceaccount:tidegate-system:tidegate"
"""Who is exempt in the manifests as they are packaged."""
FALLEN = (Reason.GATE_MISSING, Reason.GATE_CHANGED)
"""What lets everything through."""
APPLY = "apply the manifests of this version"


def missing(kind: str, name: str, *, holds_sizes: bool) -> Problem:
    """There is no such object."""
    so = "nothing would hold a new revision" if holds_sizes else "not all that a release holds would stay"
    return Problem(Reason.GATE_MISSING, f"{kind} {name} is missing, so {so}; {APPLY}", loose=holds_sizes)


def judge(found: Json, needed: Json, identity: str) -> Problem | None:
    """What is wrong with an object of the gate, for an operator that runs as ``identity``."""
    what = f"{needed['kind']} {needed['metadata']['name']}"
    needed = json.loads(json.dumps(needed).replace(ACCOUNT, identity))
    other = _exempt(found)
    if _exempt(needed) and other and identity not in other:
        told = f"{what} is of another installation: it exempts {', '.join(other)}, and this operator runs as {identity}"
        return Problem(Reason.GATE_FOREIGN, f"{told}; remove one of the two, or run this one as that account")
    part = _difference(found, needed, newer=_number(found) > _number(needed))
    if part:
        return Problem(Reason.GATE_CHANGED, f"{what} is not as this version needs it ({part}); {APPLY}")
    return None


def older(found: Json, needed: Json) -> bool:
    """It is an earlier version's: it differs, and holds what it held then."""
    return 0 < _number(found) < _number(needed)


def _exempt(obj: Json) -> list[str]:
    """Users that the conditions name."""
    conditions = [condition for part in _parts(obj) for condition in part.get("matchConditions") or ()]
    about_users = [str(condition["expression"]) for condition in conditions if "userInfo" in condition["expression"]]
    return re.findall(r"['\"]([^'\"]+)['\"]", " ".join(about_users))


def _parts(obj: Json) -> Sequence[Json]:
    """A policy's or a binding's spec; the webhooks of a configuration."""
    return obj["webhooks"] if "webhooks" in obj else [obj.get("spec") or {}]


def _number(obj: Json) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(NUMBER, "")
    return int(text) if text.isdecimal() else 0


def _difference(found: Json, needed: Json, *, newer: bool) -> str:
    """The first field that differs; empty where none does."""
    if "webhooks" not in needed:
        return _differs(_form(found.get("spec") or {}), _form(needed["spec"]), "spec", newer=newer)
    by_name = {webhook["name"]: webhook for webhook in found.get("webhooks") or ()}
    for webhook in needed["webhooks"]:
        name = webhook["name"]
        if webhook["failurePolicy"] == "Ignore":
            continue  # without it nothing is unsafe
        if name not in by_name:
            return f"webhooks: {name}"
        differs = _differs(_form(by_name[name]), _form(webhook), f"webhooks: {name}", newer=newer)
        if differs:
            return differs
    return ""


def _differs(found: Json, needed: Json, path: str, *, newer: bool) -> str:
    for field in FRAME if newer else (*FRAME, *CONTENT):
        if found[field] != needed[field]:
            return f"{path}.{field}"
    if not all(any(_covers(rule, wanted) for rule in found["rules"]) for wanted in needed["rules"]):
        return f"{path}.rules"
    if not newer and not needed["variables"].items() <= found["variables"].items():
        return f"{path}.variables"
    return ""


FRAME = ("policyName", "paramRef", "paramKind", "failurePolicy", "narrowing")
"""What no newer installation may have otherwise."""
CONTENT = ("matchConditions", "mutations", "reinvocationPolicy")


def _form(part: Json) -> Json:
    """A spec or webhook with its defaults, and expressions without the spaces that mean nothing."""
    match = part.get("matchConstraints") or part.get("matchResources") or part
    return {
        "policyName": part.get("policyName"),
        "paramRef": part.get("paramRef"),
        "paramKind": part.get("paramKind"),
        "failurePolicy": part.get("failurePolicy", "Fail"),
        "reinvocationPolicy": part.get("reinvocationPolicy", "Never"),
        "narrowing": (
            match.get("matchPolicy", "Equivalent"),
            match.get("namespaceSelector") or {},
            match.get("objectSelector") or {},
            match.get("excludeResourceRules") or [],
            (part.get("matchResources") or {}).get("resourceRules") or [],
        ),
        "rules": match.get("resourceRules") or match.get("rules") or [],
        "matchConditions": _squeezed(part.get("matchConditions") or []),
        "variables": {each["name"]: _squeezed(each["expression"]) for each in part.get("variables") or ()},
        "mutations": _squeezed(part.get("mutations") or []),
    }


def _covers(rule: Json, wanted: Json) -> bool:
    """A rule that matches all that is wanted, and perhaps more."""
    scope = rule.get("scope", "*")
    lists = ("apiGroups", "apiVersions", "operations", "resources")
    return (
        all("*" in rule[key] or set(wanted[key]) <= set(rule[key]) for key in lists)
        and scope in ("*", wanted.get("scope", "*"))
        and not rule.get("resourceNames")
    )


def _squeezed(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        return [_squeezed(part) for part in value]
    return {key: _squeezed(part) for key, part in value.items()} if isinstance(value, Mapping) else value

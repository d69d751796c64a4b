"""From the models to the CRDs: one source, deterministic, structural. ``make generate`` writes them.

Defaults are left out on purpose: a default that the API server writes into the spec is frozen there when the default
changes, and GitOps tools see a difference that nobody made. ``status.effective`` shows them instead. The one default
is of the status: kstatus takes an object without conditions for one that is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from tidegate.api.base import GROUP, VERSION, Named
from tidegate.api.bluegreen import BlueGreenRelease
from tidegate.api.canary import CanaryRelease
from tidegate.api.flag import FeatureFlag
from tidegate.api.rolling import RollingRelease
from tidegate.api.template import AnalysisTemplate

ReleaseKind = type[CanaryRelease] | type[BlueGreenRelease] | type[RollingRelease]
RELEASES: tuple[ReleaseKind, ...] = (CanaryRelease, BlueGreenRelease, RollingRelease)
"""Kinds that take a Deployment to another revision."""
Kind = ReleaseKind | type[FeatureFlag]
KINDS: tuple[Kind, ...] = (*RELEASES, FeatureFlag)
"""Kinds that are worked on: they have a status."""
Defined = Kind | type[AnalysisTemplate]
DEFINED: tuple[Defined, ...] = (*KINDS, AnalysisTemplate)
"""Kinds of which there is a CRD."""
UNSEEN = {"observedGeneration": -1}
"""The status of an object that the operator has not seen: Helm, Flux and kstatus wait for its generation."""
Json = dict[str, Any]

_KEPT = (
    "type",
    "description",
    "enum",
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minItems",
    "maxProperties",
    "maxItems",
    "minProperties",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
)


def crds() -> Iterator[tuple[str, Json]]:
    """File name and CustomResourceDefinition of each kind."""
    for kind in DEFINED:
        yield f"{GROUP}_{kind.plural}.yaml", _crd(kind)


def mistyped(kind: Kind, value: object) -> str:
    """Where an object is of other types than the API server takes, and which it takes; nothing where it is right."""
    return next(_mistyped(_schema(kind), value, ""), "")


_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "object": ("an object", (dict,)),
    "array": ("a list", (list,)),
    "boolean": ("true or false", (bool,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "string": ("text, in quotes where YAML would take it for something else", (str,)),
}


def _mistyped(schema: Json, value: object, where: str) -> Iterator[str]:
    named, types = _TYPES.get(schema.get("type", ""), ("", (object,)))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
        yield f"{where.removeprefix('.') or 'it'}: {str(value)[:64]!r} is to be {named}"
    elif isinstance(value, dict):
        for name, child in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
            yield from _mistyped(inner, child, f"{where}.{name}")
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _mistyped(schema.get("items") or {}, child, f"{where}[{number}]")


def _crd(kind: Defined) -> Json:
    worked_on: Json = {"subresources": {"status": {}}} if "status" in kind.model_fields else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": list(kind.short_names),
                "categories": ["tidegate"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    **worked_on,
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path} for name, type_, path in kind.columns
                    ],
                    "schema": {"openAPIV3Schema": _schema(kind)},
                }
            ],
        },
    }


def _schema(kind: Defined) -> Json:
    whole = kind.model_json_schema(by_alias=True, mode="serialization")
    rules = {model.__name__: _rules(model) for model in _models(kind)}
    schema = _structural(whole, whole.get("$defs", {}), rules)
    meta = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    schema["properties"] = {**meta, **schema["properties"]}
    if "status" in schema["properties"]:
        schema["properties"]["status"]["default"] = UNSEEN
    schema["required"] = ["spec"]
    return _with_rules(schema, rules[kind.__name__])


def _structural(node: Json, defs: Json, rules: dict[str, list[Json]]) -> Json:
    """A JSON schema of pydantic as a structural schema: no references, no null, no titles, no defaults."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        found = {**defs[name], **{key: value for key, value in node.items() if key != "$ref"}}
        return _with_rules(_structural(found, defs, rules), rules.get(name, []))
    choices = [choice for choice in node.get("anyOf") or node.get("allOf") or () if choice.get("type") != "null"]
    if len(choices) == 1:
        rest = {key: value for key, value in node.items() if key not in ("anyOf", "allOf")}
        return _structural({**choices[0], **rest}, defs, rules)
    schema = {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        schema["enum"] = [node["const"]]
    for old, new in (("minimum", "minimum"), ("maximum", "maximum")):
        if old in node:
            schema[new] = node[old]
    if node.get("type") == "integer":
        schema["format"] = "int64"
    if "properties" in node:
        schema["properties"] = {name: _structural(child, defs, rules) for name, child in node["properties"].items()}
        required = [name for name in node.get("required", ()) if "default" not in node["properties"][name]]
        if required:
            schema["required"] = required
    elif isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = _structural(node["additionalProperties"], defs, rules)
    elif node.get("type") == "object":
        schema["x-kubernetes-preserve-unknown-fields"] = True
    if "items" in node:
        schema["items"] = _structural(node["items"], defs, rules)
    return schema


def _with_rules(schema: Json, rules: list[Json]) -> Json:
    return {**schema, "x-kubernetes-validations": rules} if rules else schema


def _rules(model: type[BaseModel]) -> list[Json]:
    return [_rule(rule, message) for rule, message in getattr(model, "cel_rules", ())]


def _rule(rule: str, message: str) -> Json:
    told = {"messageExpression": message.expression} if isinstance(message, Named) else {}
    return {"rule": rule, "message": str(message), **told}


def _models(root: type[BaseModel]) -> set[type[BaseModel]]:
    """Every model below this one."""
    found, todo = set(), [root]
    while todo:
        model = todo.pop()
        if model not in found:
            found.add(model)
            todo += [part for field in dict(model.model_fields).values() for part in _parts(field.annotation)]
    return found


def _parts(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _parts(part)

"""The CRDs: structural, without defaults, and on disk as the models say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tidegate.api.crd import KINDS, RELEASES, Kind, crds
from tidegate.api.flag import FeatureFlag, FlagSpec

ON_DISK = Path(__file__).parents[2] / "crds"
Json = dict[str, Any]


def nodes(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema within a schema."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def versions(kinds: tuple[Kind, ...] = KINDS) -> Iterator[Json]:
    """All versions of the kinds."""
    files = dict(crds())
    for kind in kinds:
        yield from files[f"tidegate.dev_{kind.plural}.yaml"]["spec"]["versions"]


def test_they_are_structural() -> None:
    allowed = {
        *(
            "default",
            "type",
            "description",
            "enum",
            "pattern",
            "format",
            "properties",
            "required",
            "items",
            "minimum",
            "maximum",
        ),
        *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "additionalProperties"),
        *("x-kubernetes-validations", "x-kubernetes-preserve-unknown-fields"),
        *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string"),
    }
    for version in versions():
        for path, node in nodes(version["schema"]["openAPIV3Schema"]):
            assert set(node) <= allowed, path
            typed = node.get("type") in ("object", "array", "string", "integer", "number", "boolean")
            marks = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")
            assert typed or any(node.get(mark) for mark in marks), path
            assert None not in node.get("enum", ()), path


def test_no_default_is_frozen_into_objects() -> None:
    for version in versions():
        found = {
            path: node["default"] for path, node in nodes(version["schema"]["openAPIV3Schema"]) if "default" in node
        }
        assert found == {".status": {"observedGeneration": -1}}


def test_what_is_required_exists() -> None:
    for version in versions():
        for path, node in nodes(version["schema"]["openAPIV3Schema"]):
            assert set(node.get("required", ())) <= set(node.get("properties", {})), path


def test_every_field_of_the_spec_says_what_it_is() -> None:
    for version in versions():
        spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        silent = [path for path, node in nodes(spec) if "description" not in node and not path.endswith("[]")]
        assert silent == []


def test_a_target_alone_is_a_valid_release() -> None:
    for version in versions(RELEASES):
        schema = version["schema"]["openAPIV3Schema"]
        assert schema["required"] == ["spec"]
        assert schema["properties"]["spec"]["required"] == ["targetRef"]
        assert schema["properties"]["spec"]["properties"]["targetRef"]["required"] == ["name"]
        assert version["subresources"] == {"status": {}}


def test_an_empty_spec_is_a_flag_that_is_off() -> None:
    (version,) = versions((FeatureFlag,))
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert "required" not in spec
    assert FlagSpec.model_validate({}).default == "off"


def test_a_value_of_a_variant_may_be_anything_and_is_kept() -> None:
    (version,) = versions((FeatureFlag,))
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    value = spec["variants"]["items"]["properties"]["value"]
    assert "type" not in value
    assert value["x-kubernetes-preserve-unknown-fields"] is True


def test_variants_by_weight_are_a_map_that_rules_can_see() -> None:
    (version,) = versions((FeatureFlag,))
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for split in (spec["rollout"]["properties"]["split"], spec["rules"]["items"]["properties"]["split"]):
        assert split["additionalProperties"]["type"] == "integer"
        assert split["maxProperties"] == 16


def test_a_message_names_the_rule_that_it_speaks_of() -> None:
    (version,) = versions((FeatureFlag,))
    rules = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["rules"]["items"]
    for rule in rules["x-kubernetes-validations"]:
        assert rule["messageExpression"].startswith("'rule ' + self.name + ': ")
        assert rule["message"]


def test_the_files_on_disk_are_these() -> None:
    generated = dict(crds())
    assert {path.name for path in ON_DISK.glob("tidegate.dev_*.yaml")} == set(generated)
    for name, crd in generated.items():
        assert yaml.safe_load((ON_DISK / name).read_text()) == crd, "run make generate"

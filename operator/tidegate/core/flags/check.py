"""Whether a spec can be served, by itself: what cannot be right is told, as data, and hurts no other flag.

Most of it the API server refuses by the same rules (``api/flag.py``). It cannot see into the variants' values, and a
spec may come from an older version, or from a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tidegate.api.flag import FlagSpec, FlagType
from tidegate.core import depth

SAFE = 2**53 - 1
"""JavaScript holds no greater integer exactly."""
MOST_BYTES = 256 * 1024
"""Of a spec as JSON: the status keeps another copy of what is served, and etcd takes objects of 1.5 MiB."""
MOST_TOLD = 64
"""Characters of a value in a message."""
_RIGHT = {
    FlagType.BOOLEAN: "true or false",
    FlagType.STRING: "a text, in quotes where YAML would take it for something else",
    FlagType.INTEGER: f"a whole number from -{SAFE} to {SAFE}, which JavaScript holds exactly",
    FlagType.NUMBER: "a number",
    FlagType.OBJECT: "an object",
}


@dataclass(frozen=True)
class Problem:
    """Why a spec is not served."""

    field: str
    """Where it stands."""
    message: str
    """What stands there, and what would be right."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def read(spec: Mapping[str, Any]) -> FlagSpec | tuple[Problem, ...]:
    """A spec that can be served, its values of the flag's type, or what is wrong with it."""
    if depth.deeper(spec, depth.SPEC):
        # For one of some hundreds of levels, Python's SDKs cannot read its whole set.
        return (Problem("spec", f"goes deeper than {depth.SPEC} levels: have values name what is kept elsewhere"),)
    try:
        found = FlagSpec.model_validate(spec)
    except ValidationError as error:
        return tuple(_problem(one["loc"], one["msg"]) for one in error.errors(include_url=False, include_input=False))
    problems = (*_too_large(spec), *_wrong_values(found))
    return problems or found


def typed(type_: FlagType, value: object) -> object:
    """The value as the SDKs expect it: a Number is 1.0, an Integer 1. JSON in a cluster keeps no difference."""
    if type_ is FlagType.NUMBER and type(value) is int:
        return float(value)
    if type_ is FlagType.INTEGER and isinstance(value, float):
        return int(value)
    return value


def _problem(loc: tuple[int | str, ...], message: str) -> Problem:
    field = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part[:MOST_TOLD]}" for part in loc)
    return Problem(field, message.removeprefix("Value error, "))


def _wrong_values(spec: FlagSpec) -> Iterator[Problem]:
    for number, variant in enumerate(spec.variants):
        if not _fits(spec.type, variant.value):
            yield Problem(
                f"spec.variants[{number}].value",
                f"variant {variant.name} is {_short(variant.value)}, which is not {_RIGHT[spec.type]}, as a flag"
                f" of type {spec.type} serves",
            )


def _short(value: object) -> str:
    """As JSON, as far as is needed to know it by: it is told in several places of the status."""
    text = json.dumps(value)
    return text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}…"


def some(names: Sequence[str]) -> str:
    """The first of them, for who looks for another."""
    return ", ".join(name[:MOST_TOLD] for name in names[:8]) + ("…" if len(names) > 8 else "")


def shallow(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec, without what is too deep to be written down and read again; ``read`` tells of it all the same."""
    fits: Mapping[str, Any] = depth.shallow(spec, depth.SPEC + 1) if depth.deeper(spec, depth.SPEC) else spec
    return fits


def _too_large(spec: Mapping[str, Any]) -> Iterator[Problem]:
    size = len(json.dumps(dict(spec), separators=(",", ":")))
    if size > MOST_BYTES:
        yield Problem("spec", f"{size} bytes as JSON, of at most {MOST_BYTES}: have values name what is kept elsewhere")


def _fits(type_: FlagType, value: object) -> bool:
    if type_ is FlagType.INTEGER:
        whole = type(value) is int or (isinstance(value, float) and value.is_integer())
        return whole and -SAFE <= value <= SAFE  # type: ignore[operator]  # a number, as asked
    if type_ is FlagType.NUMBER:
        return type(value) is int or type(value) is float
    kind = {FlagType.BOOLEAN: bool, FlagType.STRING: str, FlagType.OBJECT: dict}[type_]
    return isinstance(value, kind)

"""A case of the table: what was, who writes what, and what then stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
ABSENT: Any = "(absent)"
"""Expected of a field: that it is not there."""


@dataclass(frozen=True)
class Only:
    """Expected of a mapping: these entries and no other; of no entries, it need not be there."""

    entries: Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One write."""

    before: Json | None
    """The object; None: the write creates it."""
    write: Json
    after: Json
    """What is expected of the object then. What is not named here is not asked for."""
    whole: bool = False
    """The write is a PUT of a manifest, else a merge patch."""
    by_tidegate: bool = False

    @property
    def kind(self) -> str:
        """Of the object."""
        return str((self.before or self.write)["kind"])


def mismatch(found: Any, wanted: Any, path: str = "") -> str | None:
    """Where an object is not what is expected; None where it is."""
    if isinstance(wanted, Only):
        entries = {} if found == ABSENT else found
        return None if entries == dict(wanted.entries) else f"{path}: {found}, not {dict(wanted.entries)}"
    if isinstance(wanted, dict) and isinstance(found, dict):
        parts = [(f"{path}.{key}", found.get(key, ABSENT), value) for key, value in wanted.items()]
    elif isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        parts = [(f"{path}[{at}]", *pair) for at, pair in enumerate(zip(found, wanted, strict=True))]
    else:
        return None if found == wanted else f"{path}: {found}, not {wanted}"
    return next((wrong for at, was, value in parts if (wrong := mismatch(was, value, at))), None)


def merge(old: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return change
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        result[key] = merge(result.get(key), value)
    return {key: value for key, value in result.items() if value is not None}


def notes(**values: str | None) -> Json:
    """A change of annotations."""
    return {"metadata": {"annotations": values}}

"""A store whose objects refuse to be asked for what the real one does not keep of them.

Without it a new reading of a field that is cut off would find nothing, take its default, and be wrong in silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tidegate.core import depth
from tidegate.engine.keep import FEW, KEPT, Fields, field
from tidegate.engine.store import Key, Store
from tidegate.ports.cluster import Kind, Object


class StrictStore(Store):
    """The store of all simulations.

    An object is read once a version, as most are looked at hundreds of times. Who was given one may write to its upper
    parts, as to any copy; that nobody writes further down is looked at when another version comes.
    """

    def __init__(self, kinds: Iterable[Kind]) -> None:
        super().__init__(kinds)
        self._read: dict[tuple[Kind, Key], tuple[str, Object]] = {}

    def get(self, kind: Kind, key: Key) -> Object | None:
        """One object."""
        kept = self._shelves[kind].kept.get(key)
        if kept is None:
            return None
        text, known = kept.text, self._read.get((kind, key))
        if known is None or known[0] != text:
            if known and depth.dumps(known[1]) != known[0]:
                raise AssertionError(f"somebody wrote to a {kind.name} of the store: {known[0]}")
            read = depth.loads(text)
            known = self._read[kind, key] = text, strict(read, KEPT[kind], kind.name) if kind in KEPT else read
        if kind in KEPT or kind in FEW:
            return known[1]
        return {**known[1], "metadata": {**known[1]["metadata"]}}


class _Cut(dict[str, Any]):
    """A part of an object of which some fields are kept."""

    def __init__(self, value: dict[str, Any], fields: Fields, where: str) -> None:
        super().__init__(
            {key: strict(inner, field(fields, key) or {}, f"{where}.{key}") for key, inner in value.items()}
        )
        self._fields, self._where = fields, where

    def _asked(self, key: object) -> None:
        if field(self._fields, str(key)) is None:
            raise AssertionError(f"{self._where}.{key} is not kept: add it to KEPT in engine/keep.py, or read it live")

    def __getitem__(self, key: str) -> Any:
        self._asked(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._asked(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of any dict."""
        self._asked(key)
        return super().get(key, default)


def strict(value: Any, fields: Fields, where: str) -> Any:
    """The value, refusing to be asked for other fields."""
    if not fields:
        return value
    if isinstance(value, list):
        return [strict(item, fields, f"{where}[]") for item in value]
    return _Cut(value, fields, where) if isinstance(value, dict) else value

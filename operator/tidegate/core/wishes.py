"""What people asked of a route in mid-release, kept for its end: an annotation on the route, beside the note.

The admission policies write it when they keep what the release holds against a write of somebody else's: of a route a
line for each such rule, its index and its backendRefs; of a TraefikService its ``weighted``. It is JSON as CEL prints
it, which has no other way to make text of a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tidegate.api.base import GROUP

ASKED = f"{GROUP}/asked"
"""The annotation."""

_ESCAPE = re.compile(r"\\(?:x(?P<hex>[0-9a-f]{2})|U(?P<long>[0-9a-f]{8})|(?P<bell>a)|(?P<tab>v)|.)")


def text(value: object) -> str:
    """As ``'%s'.format([value])`` is in CEL."""
    return json.dumps(value, sort_keys=True, separators=(", ", ":"), ensure_ascii=False)


def whole(obj: Mapping[str, Any]) -> Any:
    """What was asked for, in one; None where nothing was, or nothing that can be read."""
    return _read(_annotation(obj))


def by_rule(obj: Mapping[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """The backendRefs that were asked for, by index of the rule as it stands, as far as they can be read."""
    lines = (line.partition(" ") for line in _annotation(obj).split("\n"))
    found = {int(index): _read(refs) for index, _, refs in lines if index.isdecimal()}
    return {index: refs for index, refs in found.items() if _is_a_list(refs)}


def by_lines(wishes: Mapping[int, object]) -> str:
    """The annotation of these, by index of the rule."""
    return "\n".join(f"{index} {text(refs)}" for index, refs in sorted(wishes.items()))


def _annotation(obj: Mapping[str, Any]) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(ASKED, ""))


def _is_a_list(refs: object) -> bool:
    return isinstance(refs, list) and all(isinstance(ref, dict) for ref in refs)


def _read(printed: str) -> Any:
    try:
        return json.loads(_ESCAPE.sub(_as_json, printed))
    except ValueError:
        return None


def _as_json(escape: re.Match[str]) -> str:
    """CEL quotes as Go does, which has escapes of characters that JSON has not."""
    if escape["hex"]:
        return f"\\u00{escape['hex']}"
    if escape["long"]:
        return chr(int(escape["long"], 16))
    if escape["bell"] or escape["tab"]:
        return r"\u0007" if escape["bell"] else r"\u000b"
    return escape[0]

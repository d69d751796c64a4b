"""How deep objects go. API servers take JSON of 10,000 levels, and Python reads a thousand.

Who watches, and cannot read one object, sees none that comes after it: so what goes too deep is cut as it comes, and
whoever made it is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

SPEC = 64
"""Objects and lists within each other that a spec may have."""
READ = 500
"""Those that are read as they are. Python's own limit is twice that, less what is under way when it is met."""
LEFT = 128
"""Those that are left of what goes deeper; below is null."""

_SIGN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{}]')
_value = json.JSONDecoder().raw_decode


def cut(text: str) -> str:
    """JSON that Python reads, of one that may go too deep."""
    if text.count("{") + text.count("[") <= READ:
        return text
    parts, depth, deepest, end = list[str](), 0, 0, 0
    for found in _SIGN.finditer(text):
        sign = found[0]
        if sign in {"{", "["}:
            depth += 1
            deepest = max(deepest, depth)
            if depth == LEFT + 1:
                parts += text[end : found.start()], "null"
        elif sign in {"}", "]"}:
            if depth == LEFT + 1:
                end = found.end()
            depth -= 1
    return "".join((*parts, text[end:])) if deepest > READ else text


def loads(text: str) -> Any:
    """As that of json, of what may go too deep. Raises ValueError.

    By pydantic's reader, which takes a third of the time; what goes deeper than its 200 levels by Python's.
    """
    try:
        return from_json(text)
    except ValueError:
        try:
            return json.loads(text)
        except RecursionError:
            return json.loads(cut(text))


def dumps(value: object) -> str:
    """As that of json, without spaces. By pydantic's writer, and what goes deeper than its 255 levels by Python's."""
    try:
        return to_json(value).decode()
    except ValueError:
        return json.dumps(value, separators=(",", ":"))


def decoded(text: str, at: int) -> tuple[Any, int]:
    """The value that begins there, and where it ends, in a text that may go too deep. Raises ValueError."""
    try:
        return _value(text, at)
    except RecursionError:
        end = _end(text, at)
        return loads(text[at:end]), end


def deeper(value: object, levels: int) -> bool:
    """Whether it has more objects and lists within each other than these."""
    layer = [value]
    for _ in range(levels):
        inner = (one.values() if isinstance(one, Mapping) else one for one in layer if isinstance(one, (Mapping, list)))
        layer = [each for values in inner for each in values]
    return any(isinstance(one, (Mapping, list)) for one in layer)


def shallow(value: Any, levels: int) -> Any:
    """The value, with null below so many levels."""
    if isinstance(value, Mapping):
        return {key: shallow(one, levels - 1) for key, one in value.items()} if levels else None
    if isinstance(value, list):
        return [shallow(one, levels - 1) for one in value] if levels else None
    return value


def _end(text: str, at: int) -> int:
    depth = 0
    for found in _SIGN.finditer(text, at):
        depth += (found[0] in {"{", "["}) - (found[0] in {"}", "]"})
        if not depth:
            return found.end()
    raise ValueError("it has no end")

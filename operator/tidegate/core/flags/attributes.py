"""What the evaluation context says of who asks: reading an attribute, and what of it is a key to hash by.

SDKs of several languages evaluate the same rules by themselves. What their languages see differently (is ``true`` the
number 1, is ``1e15`` the text "1000000000000000") is here on neither side: it matches nothing, or is nobody's key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import methodcaller
from typing import Any

Context = Mapping[str, Any]
"""JSON: who asks. ``targetingKey`` is by what somebody stays the same."""
KEYS_BELOW = 10**15
"""Numbers are keys if they are whole and from 1 to below this: all languages write them alike."""


def reader(attribute: str) -> Callable[[Context], Any]:
    """Reads the attribute; None is as good as missing."""
    first, dot, second = attribute.partition(".")
    if not dot:
        return methodcaller("get", first)

    def inner(context: Context) -> Any:
        value = context.get(first)
        return value.get(second) if isinstance(value, Mapping) else None

    return inner


def is_number(value: object) -> bool:
    """Whether it is a number; Python takes a boolean for one."""
    return type(value) is int or type(value) is float


def key_of(value: object) -> str | None:
    """By which somebody is hashed: a text, or a whole number as text. None: somebody without a key."""
    if type(value) is str:
        return value or None
    if is_number(value) and 0 < value < KEYS_BELOW and value % 1 == 0:  # type: ignore[operator]  # a number, as asked
        return str(int(value))  # type: ignore[call-overload]  # the same
    return None

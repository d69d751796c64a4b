"""A list of the API server, read one object at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tidegate.core.depth import decoded
from tidegate.ports.cluster import Object, Unavailable

_SPACE = re.compile(r"[ \t\n\r]*")


class Listed:
    """The objects of a list in JSON, which raise Unavailable where it is none: something between us and the API server
    gave it, or cut it off. When the last has been taken, ``rest`` is all else that the list says.

    Parsed, an object takes five times its text, and what is kept of it is put between: taken from whole pages, it
    stands so far apart that two fifths of the memory around it cannot be given back.
    """

    def __init__(self, text: str) -> None:
        self._text, self._at = text, _past_space(text, 0)
        self.rest: Object = {}

    def __iter__(self) -> Iterator[Object]:
        if not self._passes("{"):
            raise Unavailable(f"no list of objects: {self._text[:64]!r}")
        while not self._passes("}"):
            name = self._next()
            self._passes(":")
            if name == "items" and self._passes("["):
                while not self._passes("]"):
                    yield self._next()
                    self._passes(",")
            else:
                self.rest[name] = self._next()
            self._passes(",")

    def _passes(self, sign: str) -> bool:
        """Whether this comes next; then what comes after it is next."""
        found = self._text.startswith(sign, self._at)
        self._at = _past_space(self._text, self._at + found)
        return found

    def _next(self) -> Any:
        try:
            value, end = decoded(self._text, self._at)
        except ValueError as error:
            raise Unavailable(f"a list that cannot be read: {error}") from error
        self._at = _past_space(self._text, end)
        return value


def _past_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at

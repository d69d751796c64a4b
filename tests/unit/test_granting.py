"""A route is put back as it was asked for, else as it was before."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.adapters.routers.granting import granted
from tidegate.ports.cluster import Conflict, Rejected

ASKED, BEFORE = [{"op": "add", "path": "/asked"}], [{"op": "add", "path": "/before"}]


class Refusing:
    """Writes, of which some are refused."""

    def __init__(self, *refused: list[dict[str, Any]], error: type[Exception] = Rejected) -> None:
        self.refused, self.error = refused, error
        self.written: list[list[dict[str, Any]]] = []

    async def __call__(self, patch: list[dict[str, Any]]) -> None:
        if patch in self.refused:
            raise self.error("port: must be less than 65536")
        self.written.append(patch)


def patch(*, wished: bool = True) -> list[dict[str, Any]]:
    return ASKED if wished else BEFORE


async def test_what_was_asked_for_is_written() -> None:
    write = Refusing()
    await granted("HTTPRoute/r", patch, write)
    assert write.written == [ASKED]


async def test_where_that_is_refused_it_is_as_before_and_that_is_told() -> None:
    write = Refusing(ASKED)
    with pytest.raises(Rejected, match=r"HTTPRoute/r: what was asked .* apply its manifest again: port: must be less"):
        await granted("HTTPRoute/r", patch, write)
    assert write.written == [BEFORE]


async def test_where_all_is_refused_nothing_is_given_up() -> None:
    write = Refusing(ASKED, BEFORE)
    with pytest.raises(Rejected, match=r"^port: must be less"):
        await granted("HTTPRoute/r", patch, write)


async def test_where_nothing_was_asked_for_it_is_not_tried_again() -> None:
    write = Refusing(BEFORE)
    with pytest.raises(Rejected, match=r"^port: must be less"):
        await granted("HTTPRoute/r", lambda **_: BEFORE, write)


async def test_whoever_was_too_late_looks_again() -> None:
    write = Refusing(ASKED, error=Conflict)
    with pytest.raises(Conflict):
        await granted("HTTPRoute/r", patch, write)
    assert write.written == []

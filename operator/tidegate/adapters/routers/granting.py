"""What was asked of a route in mid-release, when the route is put back: until then nobody has judged it.

The API server validates what the admission policies leave of a write, and that had the release's backends.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from tidegate.ports.cluster import Rejected

Json = dict[str, Any]


class Patch(Protocol):
    """The patch of one route, with what was asked for or without."""

    def __call__(self, *, wished: bool = True) -> list[Json]:
        """The operations."""
        ...


class Write(Protocol):
    """Sends a patch to the API server."""

    def __call__(self, patch: list[Json], /) -> Awaitable[None]:
        """All of it or nothing."""
        ...


async def granted(route: str, patch: Patch, write: Write) -> None:
    """Write it as it was asked for; where that is refused, as it was before, as a release must come to its end."""
    asked, before = patch(), patch(wished=False)
    try:
        await write(asked)
    except Rejected as error:
        if asked == before:
            raise
        await write(before)
        told = "what was asked for in mid-release is refused, and it is as it was before; apply its manifest again"
        raise Rejected(f"{route}: {told}: {error}") from error

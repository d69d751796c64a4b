"""Which pages of other origins may ask: those that are listed."""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.flags.answers import Header, Response

ALLOWED = (
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, if-none-match, x-api-key, flagd-selector"),
    (b"access-control-max-age", b"600"),
)
EXPOSED = (b"access-control-expose-headers", b"etag, retry-after, x-config-age")
VARIES = (b"vary", b"Origin")


class Cors:
    """An allow-list of origins; ``*`` is all of them, ``https://*.example.com`` those below."""

    def __init__(self, origins: Iterable[str]) -> None:
        listed = {origin.strip().rstrip("/").lower() for origin in origins if origin.strip()}
        self._all = "*" in listed
        self._exact = frozenset(origin for origin in listed if "*" not in origin)
        self._below = [tuple(origin.split("*", 1)) for origin in listed if "*" in origin and origin != "*"]

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """What lets a page of this origin read an answer; none if it may not."""
        if origin is None:
            return ()
        if not self.allows(origin.decode("latin-1").lower()):
            return (VARIES,)
        return ((b"access-control-allow-origin", origin), EXPOSED, VARIES)

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin may ask."""
        if self._all or origin in self._exact:
            return True
        return any(
            origin.startswith(start) and origin.endswith(end) and len(origin) > len(start) + len(end)
            for start, end in self._below
        )

    @staticmethod
    def preflight() -> Response:
        """What may be asked, for a browser that asks before it does."""
        return Response(204, headers=ALLOWED)

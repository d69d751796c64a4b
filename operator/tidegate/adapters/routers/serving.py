"""What a data plane serves by: as it says where it can be asked, and by the time that has passed where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.ports.clock import Clock
from tidegate.ports.cluster import Object


@dataclass(frozen=True)
class Serving:
    """What a data plane does with a route."""

    waiting: str
    """Why it does not serve by the route yet; empty when it does."""
    servers: Mapping[str, frozenset[str] | None]
    """Addresses behind each of its Services; None of one that it cannot be asked of."""
    dropped: bool = False
    """It knows the route not at all."""


class Patience:
    """A router that cannot be asked has this long, from when an object was first seen to be as it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[str, datetime]] = {}

    def waiting(self, obj: Object, state: str, propagation: timedelta) -> str:
        """Why it is not served by yet; empty when it is. ``state`` tells what routers see of the object."""
        uid, now = str(obj["metadata"]["uid"]), self._clock.now()
        known, since = self._seen.get(uid, ("", now))
        if known != state:
            since = now
        self._seen[uid] = state, since
        if now < since + propagation:
            return f"waiting {propagation.total_seconds():.0f} s for the router to apply it"
        return ""

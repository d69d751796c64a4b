"""A router, as the engine uses it: which routes lead to a Service, what they say, and changing one share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tidegate.api.release import RouteRef
from tidegate.core.counters import RouterSeries
from tidegate.core.hold import Hold
from tidegate.core.observed import Backends, Problem, Route


@dataclass(frozen=True)
class Routing:
    """What a router makes of a Service."""

    routes: tuple[Route, ...]
    problems: tuple[Problem, ...] = ()
    series: RouterSeries | None = None
    """Where it counts the requests of the two revisions, if it is known to."""


class Router(Protocol):
    """One kind of routes. Raises ClusterError only."""

    async def read(
        self, backends: Backends, named: Sequence[RouteRef] | None, propagation: timedelta | None
    ) -> Routing:
        """The routes that lead to the Service (those ``named``, or all that do), and what they say.

        Without a ``propagation`` the router itself is not asked, and ``applied`` says only what routes tell.
        """
        ...

    async def split(self, backends: Backends, named: Sequence[RouteRef] | None, weight: int | None, hold: Hold) -> None:
        """Write the candidate's share to all of them; None puts them back as they were."""
        ...

    async def seize(self, backends: Backends, named: Sequence[RouteRef] | None, hold: Hold) -> None:
        """Write the leader's term to those that are held, and change nothing else."""
        ...

"""A router, as the engine uses it: which routes lead to a Service, what they say, and changing one share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tidegate.core.counters import RouterSeries
from tidegate.core.observed import Problem, Route


@dataclass(frozen=True)
class Backends:
    """The user's Service and the two of a release."""

    namespace: str
    service: str
    stable: str
    canary: str

    @classmethod
    def of(cls, namespace: str, service: str) -> Backends:
        """The two Services of a release are named after the user's."""
        return cls(namespace, service, f"{service}-stable", f"{service}-canary")


@dataclass(frozen=True)
class Routing:
    """What a router makes of a Service."""

    routes: tuple[Route, ...]
    problems: tuple[Problem, ...] = ()
    series: RouterSeries | None = None
    """Where it counts the requests of the two revisions, if it is known to."""


class Router(Protocol):
    """One kind of routes. Raises ClusterError only."""

    async def read(self, backends: Backends, named: Sequence[str] | None, propagation: timedelta) -> Routing:
        """The routes that lead to the Service (those ``named``, or all that do), and what they say."""
        ...

    async def split(self, backends: Backends, named: Sequence[str] | None, weight: int | None, release: str) -> None:
        """Write the candidate's share to all of them; None puts them back as they were."""
        ...

"""A router, as the engine uses it: which routes lead to a Service, what they say, and changing one share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tidegate.api.conditions import Reason
from tidegate.api.release import Step
from tidegate.api.traffic import Matches, Share, Stickiness
from tidegate.core.counters import RouterSeries, Uncounted
from tidegate.core.hold import Hold
from tidegate.core.observed import Backends, Problem, Route


@dataclass(frozen=True)
class Routing:
    """What a router makes of a Service."""

    routes: tuple[Route, ...]
    problems: tuple[Problem, ...] = ()
    series: RouterSeries | Uncounted | None = None
    """Where it counts the requests of the two revisions, if it is known to; or why it is known not to."""
    passed_over: tuple[Problem, ...] = ()
    """Why something that leads to the Service is no route here: said where there is no other."""


Names = Sequence[str] | None
"""Routes as ``Kind/name``; ``Kind/*`` for all of a kind that lead to the Service; None for all that do, of any kind."""


def unmatchable(route: str, steps: Sequence[Step], why: Callable[[Matches], str]) -> Iterator[Problem]:
    """The problems of steps whose match a route cannot do."""
    for number, step in enumerate(steps):
        told = why(step.match) if step.match else ""
        if told:
            yield Problem(Reason.ROUTE_UNSUPPORTED, f"spec.steps[{number}].match: {route} {told}", wish=True)


def stickiness(steps: Sequence[Step]) -> Stickiness | None:
    """How visitors are to stay where they were sent, if they are to in any step."""
    return next((step.sticky for step in steps if step.sticky), None)


def unsticky(route: str, why: str) -> list[Problem]:
    """The problem of a release whose visitors a route cannot keep where they are."""
    return [Problem(Reason.ROUTE_UNSUPPORTED, f"spec.stickiness: {route} {why}", wish=True)] if why else []


def named(names: Names, kinds: Collection[str]) -> list[str] | None:
    """Those of some kinds; None for all of them."""
    mine = [name for name in names or () if name.partition("/")[0] in kinds]
    return None if names is None or any(name.endswith("/*") for name in mine) else mine


class Router(Protocol):
    """One kind of routes. Raises ClusterError only."""

    @property
    def kinds(self) -> Sequence[str]:
        """Kinds of its routes, as in ``Route.name``. It is asked for no others."""
        ...

    async def read(
        self, backends: Backends, names: Names, propagation: timedelta | None, steps: Sequence[Step] = ()
    ) -> Routing:
        """The routes that lead to the Service (those that are named, or all that do), and what they say.

        Without a ``propagation`` the router itself is not asked, and ``applied`` says only what routes tell. What the
        release is going to ask for in its ``steps``, and the router has no way to do, is a problem.
        """
        ...

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """Write the candidate's share to all of them, or put them back as they were."""
        ...

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """Write the leader's term to those that are held, and change nothing else."""
        ...

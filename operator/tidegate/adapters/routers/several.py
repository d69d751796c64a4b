"""Routers as one: each is asked for its own kinds of routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from tidegate.api.conditions import Reason
from tidegate.api.release import Step
from tidegate.api.traffic import Share
from tidegate.core.counters import RouterSeries, Uncounted, joined
from tidegate.core.hold import Hold
from tidegate.core.observed import Backends, Problem
from tidegate.ports.router import Names, Router, Routing


class Routers:
    """The router port over several. With nothing named all take part; else those of whose kinds something is."""

    def __init__(self, routers: Sequence[Router]) -> None:
        self._routers = routers
        self.kinds = [kind for router in routers for kind in router.kinds]

    async def read(
        self, backends: Backends, names: Names, propagation: timedelta | None, steps: Sequence[Step] = ()
    ) -> Routing:
        """The routes of all of them. Where there is none at all, one problem says so for all."""
        found = [await router.read(backends, names, propagation, steps) for router in self._asked(names)]
        problems = [problem for one in found for problem in one.problems]
        routes = [route for one in found for route in one.routes]
        if not routes and not problems:
            problems = [problem for one in found for problem in one.passed_over] or [self._none(backends)]
        return Routing(tuple(routes), tuple(problems), _series(found))

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """Write the candidate's share to the routes of all of them."""
        for router in self._asked(names):
            await router.split(backends, names, share, hold)

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """Write the leader's term to what they hold."""
        for router in self._asked(names):
            await router.seize(backends, names, hold)

    def _asked(self, names: Names) -> Iterator[Router]:
        kinds = None if names is None else {name.partition("/")[0] for name in names}
        return (router for router in self._routers if kinds is None or kinds & set(router.kinds))

    def _none(self, backends: Backends) -> Problem:
        *others, last = self.kinds
        kinds = f"{', '.join(others)} or {last}" if others else last
        return Problem(
            Reason.ROUTE_NOT_FOUND,
            f"no {kinds} of namespace {backends.namespace} points at Service {backends.service};"
            " point one at it, or name one in spec.traffic",
        )


def _series(found: Sequence[Routing]) -> RouterSeries | Uncounted | None:
    """Where all of them count. Where one that has routes does not, none of them tells the whole."""
    counting = [one.series for one in found if one.routes]
    if blind := next((one for one in counting if isinstance(one, Uncounted)), None):
        return blind
    series = [one for one in counting if isinstance(one, RouterSeries)]
    return joined(series) if series and len(series) == len(counting) else None

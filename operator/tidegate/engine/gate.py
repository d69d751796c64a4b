"""Whether the gate stands: the admission that keeps what a release holds, as this version needs it, and us exempt."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files

from tidegate.api.base import GROUP
from tidegate.api.conditions import Reason
from tidegate.core import standing
from tidegate.core.observed import Problem
from tidegate.engine.meters import Meters
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import POLICIES, POLICY_BINDINGS, WEBHOOKS, Cluster, Kind, NotFound, Object

log = logging.getLogger("tidegate.gate")

LET_GO = f"{GROUP}/let-go"
"""On the holder: everything is to be let go. It goes with the holder, so a new installation is free."""


@dataclass(frozen=True)
class Form:
    """What the gate is made of. Of the same effect, whichever it is (tests/gate)."""

    kinds: tuple[Kind, ...]
    holder: tuple[Kind, str]
    """The object that holds new revisions."""


POLICY = Form((POLICIES, POLICY_BINDINGS), (POLICIES, "tidegate-replicasets"))
"""The API server by itself (manifests/admission)."""
WEBHOOK = Form((WEBHOOKS,), (WEBHOOKS, "tidegate"))
"""The API server asks us (manifests/webhook)."""
FORMS = {"policy": POLICY, "webhook": WEBHOOK}


@cache
def needed(form: Form = POLICY) -> Sequence[tuple[Kind, Object]]:
    """The objects that this version comes with, as `make generate` packed them."""
    packed = json.loads(files("tidegate.engine").joinpath("gate.json").read_text(encoding="utf-8"))
    kinds = {kind.name: kind for kind in form.kinds}
    return [(kinds[obj["kind"]], obj) for obj in packed if obj["kind"] in kinds]


class _Standing:
    """What stands in the cluster again holds nothing before each API server has read it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fell: Problem | None = None
        """Why it could not be relied on, until it can be again."""
        self.holds_at: datetime | None = None
        """When it can, where it stands again."""

    def seen(self, problem: Problem | None) -> Problem | None:
        """What keeps it from being relied on, given what is wrong with it now."""
        if problem:
            self._fell, self.holds_at = (problem if problem.reason in standing.FALLEN else None), None
            return problem
        if self._fell is None:
            return None
        self.holds_at = self.holds_at or self._clock.now() + READ_IN
        if self._clock.now() < self.holds_at:
            return replace(self._fell, message="the gate stands again, and API servers take a moment to read it")
        self._fell = self.holds_at = None
        return None


class GateCheck:
    """Asks what stands. Read from the watches and judged once a version, so it costs nothing to ask each time."""

    def __init__(self, cluster: Cluster, identity: str, meters: Meters, clock: Clock, form: Form = POLICY) -> None:
        self._cluster, self._identity, self._meters, self._clock, self._form = cluster, identity, meters, clock, form
        self._judged: dict[str, tuple[str, Problem | None]] = {}
        """By kind and name: the version that was judged, and how."""
        self._said: Problem | None = None
        self._let_go = False
        self._sizes, self._others = _Standing(clock), _Standing(clock)
        """What holds sizes of revisions, and all else."""

    @property
    def holds_at(self) -> datetime | None:
        """When what stands again can be relied on."""
        return min(filter(None, (self._sizes.holds_at, self._others.holds_at)), default=None)

    async def let_go(self) -> bool:
        """Whether everything is to be let go. Where the holder is gone, what it said last holds."""
        kind, name = self._form.holder
        with contextlib.suppress(NotFound):
            found = await self._cluster.get(kind, "", name)
            self._let_go = LET_GO in (found["metadata"].get("annotations") or {})
        return self._let_go

    async def problems(self) -> tuple[Problem, ...]:
        """What keeps the gate from holding, the worst first; nothing where it holds."""
        judged = [await self._one(kind, obj) for kind, obj in needed(self._form)]
        found = sorted((each for each in judged if each), key=_badness)
        loose = self._sizes.seen(next((each for each in found if each.loose), None))
        other = self._others.seen(next((each for each in found if not each.loose), None))
        problem = min(filter(None, (loose, other)), key=_badness, default=None)
        self._say(problem)
        return (problem,) if problem else ()

    async def foreign(self) -> Problem | None:
        """The gate is another installation's: nothing may be written to releases or flags, which are its own."""
        return next((each for each in await self.problems() if each.reason is Reason.GATE_FOREIGN), None)

    async def _one(self, kind: Kind, obj: Object) -> Problem | None:
        name = obj["metadata"]["name"]
        holds_sizes = name == self._form.holder[1]
        try:
            found = await self._cluster.get(kind, "", name)
        except NotFound:
            return standing.missing(kind.name, name, holds_sizes=holds_sizes)
        key, version = f"{kind.name}/{name}", str(found["metadata"].get("resourceVersion", ""))
        if key not in self._judged or self._judged[key][0] != version:
            problem = standing.judge(found, obj, self._identity)
            loose = holds_sizes and not standing.older(found, obj)
            self._judged[key] = version, problem and replace(problem, loose=loose)
        return self._judged[key][1]

    def _say(self, problem: Problem | None) -> None:
        if problem == self._said:
            return
        self._said = problem
        self._meters.gate(problem.reason if problem else None)
        if problem:
            log.warning("%s: %s", problem.reason, problem.message)
        else:
            log.info("the gate stands")


STANDING_BY = timedelta(seconds=30)
"""Between two looks whether the gate is still another installation's."""
READ_IN = timedelta(seconds=5)
"""How long API servers may take to read a gate that was put back. They look at policies once a second."""
WORST = (Reason.GATE_FOREIGN, Reason.GATE_MISSING, Reason.GATE_CHANGED)


def _badness(problem: Problem) -> tuple[bool, bool, int]:
    """The worst comes first."""
    return problem.reason is not Reason.GATE_FOREIGN, not problem.loose, WORST.index(problem.reason)

"""A flag and nothing else: decisions in a row, each when the last one asked for it. Weeks pass in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tidegate.api.flagstatus import FlagStatus, RolloutStatus
from tidegate.api.requests import RequestAction
from tidegate.core.counters import Answer, Missing, Series
from tidegate.core.flags import telemetry
from tidegate.core.flags.draft import Flag, FlagPlan, Observed
from tidegate.core.flags.effective import Declared
from tidegate.core.flags.flagset import flag_set
from tidegate.core.flags.machine import decide, wants
from tidegate.core.flags.program import Program
from tidegate.core.flags.telemetry import Role

Json = dict[str, Any]
MONDAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
STEPS: list[Json] = [{"percentage": 1, "bake": "1h"}, {"percentage": 10, "bake": "4h"}, {"percentage": 100}]


@dataclass
class Life:
    """See the module."""

    spec: Json
    now: datetime = MONDAY
    status: FlagStatus | None = None
    peers: Sequence[Flag] = ()
    request: str = ""
    generation: int = 1
    metrics: Callable[[frozenset[str], datetime], Mapping[str, Answer] | None] = lambda queries, _: dict.fromkeys(
        queries, Missing("nobody answers")
    )
    """What is answered to PromQL of looks."""
    counts: Callable[[datetime], Mapping[Role, Answer]] = lambda _: {}
    counted: bool = True
    """Whether the answer to how often it is evaluated is there when it is asked for."""
    events: list[str] = field(default_factory=list)
    wake: datetime | None = None
    served: list[int] = field(default_factory=list)
    """Thousandths of a percent that were served, decision by decision; 0 when it is off."""

    def decide(self) -> FlagPlan:
        """Once, now."""
        declared = Declared("new-checkout", "shop", self.spec, self.status, "2026")
        flag = Flag(declared, "u1", self.generation, self.request)
        obs = Observed(flag, self.peers)
        looks, counts = wants(obs, self.now)
        answers = None if looks is None else self.metrics(looks, self.now)
        plan = decide(
            Observed(flag, self.peers, answers, self.counts(self.now) if counts and self.counted else None), self.now
        )
        # As the API server would give it back.
        self.status = FlagStatus.model_validate(json.loads(json.dumps(plan.status.wire())))
        self.events += [str(event.reason) for event in plan.events]
        self.wake = plan.wake
        self.served.append(self.milli)
        return plan

    def until(self, end: datetime, *, most: int = 20_000) -> Life:
        """As long as anything is to be done until then."""
        self.decide()
        for _ in range(most):
            if self.wake is None or self.wake > end:
                break
            self.now = max(self.wake, self.now + timedelta(milliseconds=1))
            self.decide()
        else:
            raise AssertionError(f"it turns in a circle: {self.status}")
        self.now = end
        return self

    def passes(self, **time: float) -> Life:
        """So much time."""
        return self.until(self.now + timedelta(**time))

    def later(self, **time: float) -> Life:
        """So much later, and nobody has decided anything meanwhile."""
        self.now += timedelta(**time)
        self.decide()
        return self

    def writes(self, **spec: Any) -> Life:
        """Its owner changes the spec."""
        self.spec = {**self.spec, **spec}
        self.generation += 1
        self.decide()
        return self

    def ask(self, action: RequestAction) -> str:
        """Somebody asks; the answer."""
        id_ = f"{action}-{self.now.timestamp()}-{len(self.events)}"
        self.request = json.dumps({"id": id_, "action": action, "hash": self.rollout.digest, "by": "ada"})
        self.decide()
        assert self.status
        assert self.status.last_request
        return self.status.last_request.message or str(self.status.last_request.outcome)

    @property
    def rollout(self) -> RolloutStatus:
        """How far it is."""
        return (self.status and self.status.rollout) or RolloutStatus(digest="")

    @property
    def program(self) -> Program:
        """What gateways serve."""
        return flag_set([Declared("new-checkout", "shop", self.spec, self.status)]).programs["new-checkout"]

    @property
    def milli(self) -> int:
        """Of everybody, as gateways serve it."""
        effective = self.program.effective
        return 0 if effective.off else effective.milli

    def condition(self, type_: str) -> str:
        """Its status."""
        assert self.status
        return next(one.status for one in self.status.conditions if one.type == type_)


def counted(inside: int, outside: int, share: float, gateways: int = 1) -> Mapping[Role, Answer]:
    """What gateways count: evaluations of on and off, and as many people."""
    at = MONDAY.timestamp()

    def series(value: float, **labels: str) -> Series:
        return Series(labels, ((at, value),))

    people = [
        one
        for number in range(gateways)
        for one in (
            series(inside, arm="in", pod=f"gateway-{number}"),
            series(outside, arm="out", pod=f"gateway-{number}"),
            series(share, pod=f"gateway-{number}", __name__=telemetry.SHARE),
        )
    ]
    return {
        Role.WATCHED: (series(1.0),),
        Role.GATEWAYS: (series(inside, variant="on"), series(outside, variant="off")),
        Role.HOOKS: (),
        Role.USERS: tuple(people),
        Role.UNSEEN: (),
    }

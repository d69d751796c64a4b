"""One release in virtual time, from its first moment to what becomes of it.

All that is decided, ``core.machine.decide`` decides, of an ideal cluster and a world that is drawn. It is asked when
something has happened; a look in mid-bake that changes nothing (``core.ruling`` says wait) is not worth a question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property

from tidegate.api.analysis import AnalysisStatus, Reason, Verdict
from tidegate.api.conditions import ConditionType
from tidegate.api.conditions import Reason as Told
from tidegate.api.release import ReleaseSpec
from tidegate.api.releasestatus import Stage, StepStatus
from tidegate.core import analysis, looking, machine, ruling
from tidegate.core.answered import Trouble
from tidegate.core.arms import Arms, Side
from tidegate.core.bake import AHEAD
from tidegate.core.counters import Answer, Counted
from tidegate.core.metric import Journal
from tidegate.core.plan import Plan
from tidegate.simulation.cluster import IdealCluster
from tidegate.simulation.recording import Recording
from tidegate.simulation.scenario import Scenario
from tidegate.simulation.world import DOWN, Truth, World

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
_EPOCH = START.timestamp()
_MOST = timedelta(days=7)
"""A release that goes on for longer is not followed any more."""
_ROUTER = timedelta(milliseconds=100)
"""How long what is written takes to be seen."""
_NO_SERIES = Trouble(Reason.NoSeries, "no request has been scraped yet")
_NOT_EXPOSED = Trouble(Reason.NoSeries, "nothing exposes it")
_UNREADABLE = Trouble(Reason.QueryFailed, DOWN)
_FOR_SOMEBODY = frozenset({Told.HOLD_EXPIRED, Told.ANALYSIS_PAUSED})
_WORTH_TELLING = frozenset({Told.ANALYSIS_UNKNOWN, Told.ANALYSIS_INCONCLUSIVE})


class End(StrEnum):
    """What becomes of a release."""

    PROMOTED = "promoted"
    REVERTED = "reverted"
    HELD = "held"
    """Somebody is called, as there is too little evidence, or none. What comes after that is not followed."""
    UNFINISHED = "unfinished"
    """The recording ends before the release does."""


@dataclass(frozen=True)
class Happening:
    """Something that somebody who watches would be told."""

    at: float
    """Seconds from the start."""
    weight: int
    what: str


@dataclass(frozen=True)
class Sight:
    """What a look found."""

    at: float
    weight: int
    evidence: float
    """How far the evidence is on its way to failing, from 0 to 1: of the metric that has gone furthest."""
    verdict: Verdict


@dataclass(frozen=True)
class Story:
    """A simulated release."""

    end: End
    at: float
    """When that was decided, in seconds from the start."""
    first: float
    """When the candidate had its first requests."""
    step: int
    """At which step it was decided, from 1."""
    weight: int
    why: str
    truth: Truth
    """What had really happened by then."""
    extended: int = 0
    """How many times a bake was extended."""
    happenings: tuple[Happening, ...] = ()
    sights: tuple[Sight, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What is simulated: a release, and what it meets."""

    kind: str
    name: str
    spec: ReleaseSpec
    scenario: Scenario


def told(setting: Setting, seed: int) -> Story:
    """A release with all that is to be told of it. The machine looks by itself, at samples, as it does of real ones."""
    cluster = _cluster(setting)
    return _Told(setting, cluster, _world(setting, cluster, seed, remembers=True)).story()


def replayed(setting: Setting, recording: Recording) -> Story:
    """The same of what was recorded."""
    return _Told(setting, _cluster(setting), recording).story()


def brief(setting: Setting, seed: int) -> Story:
    """What becomes of a release: the same, for those who want to know it of many."""
    cluster = _cluster(setting)
    return _Brief(setting, cluster, _world(setting, cluster, seed, remembers=False)).story()


def _cluster(setting: Setting) -> IdealCluster:
    return IdealCluster(setting.kind, setting.name, setting.spec, setting.scenario, START)


def _world(setting: Setting, cluster: IdealCluster, seed: int, *, remembers: bool) -> World:
    return World(setting.scenario, seed, router=cluster.router is not None, remembers=remembers)


class _Run:
    """A release under way."""

    def __init__(self, setting: Setting, cluster: IdealCluster, world: World | Recording) -> None:
        self.rules, self.cluster, self.world = setting.spec.analysis, cluster, world
        self.extended = 0
        self._steps = setting.spec.plan()
        self._began = self.cluster.observed(START)

    def story(self) -> Story:
        """Until it is known what becomes of it."""
        now, cluster = START, self.cluster
        while True:
            if self.worth_asking(now):
                began = cluster.status
                decided = machine.decide(cluster.observed(now, self.answers(now)), now)
                acted = cluster.carried_out(decided, now)
                acted = acted or began.journal is None or _stage(decided) is not began.journal.stage
                self.told(decided, now)
                more = self.at.extensions - (began.step.extensions if began.step else 0)
                self.extended += max(0, more)
                if end := self._end(decided, now):
                    return end
                self._begun(before=began.analysis)
                pause = self._pause(decided, now, acted=acted)
            else:
                pause = self._pause(None, now, acted=False)
            self.world.opened(*cluster.serving(now))
            now += pause
            self.world.passes(_seconds(now))
            self.world.opened(*cluster.serving(now))

    def worth_asking(self, now: datetime) -> bool:
        """Whether something has happened that the machine is to decide upon."""
        raise NotImplementedError

    def answers(self, now: datetime) -> Mapping[str, Answer] | None:
        """What the metrics answer, where the machine is to look."""
        raise NotImplementedError

    def told(self, decided: Plan, now: datetime) -> None:
        """What there is to tell."""

    def due(self) -> datetime | None:
        """When the next look is due, if there is to be one."""
        found = self.cluster.status.analysis
        watched = found is not None and looking.looks_at(self._began, self.cluster.status)
        return looking.look_due(self.rules, found, self.cluster.status.step) if watched and found else None

    @cached_property
    def _arms(self) -> Arms:
        found = looking.arms(self.cluster.observed(START))
        assert found is not None
        return found

    def arms(self, now: datetime) -> Arms:
        """The two that are compared."""
        _, pods, _ = self.cluster.serving(now)
        return replace(self._arms, pods=pods)

    @property
    def at(self) -> StepStatus:
        """The step."""
        return self.cluster.status.step or StepStatus(index=1, of=1, weight=0)

    def _begun(self, before: AnalysisStatus | None) -> None:
        """Whether an analysis has begun with the last decision."""
        found = self.cluster.status.analysis
        if found is not None and before is None:
            started = Journal.times(found.journal)[0] / 1000 - _EPOCH
            self.world.watched(started + self.rules.warmup.total_seconds())

    def _pause(self, decided: Plan | None, now: datetime, *, acted: bool) -> timedelta:
        """Until something may happen next."""
        if acted:
            return _ROUTER
        at, journal = self.at, self.cluster.status.journal
        whens = [self.due(), self.cluster.next_birth(now)]
        if journal is not None and journal.stage is Stage.BAKE and at.until is not None:
            ahead = at.until - min(AHEAD, self._steps[min(at.index, len(self._steps)) - 1].bake / 2)
            unknown = journal.unknown_since
            expires = unknown + self.rules.on_unknown.deadline if unknown else None
            whens += [ahead, at.until, expires]
        elif decided is not None:
            whens.append(decided.wake)
        return min((when - now for when in whens if when is not None and when > now), default=_MOST)

    def _end(self, decided: Plan, now: datetime) -> Story | None:
        """What has become of it, once that is known."""
        status = decided.status
        journal = status.journal
        if journal is not None and journal.outcome is not None:
            return self._story(End.REVERTED, journal.message, now)
        if journal is not None and journal.retreated:
            return self._story(End.REVERTED, journal.retreated, now)
        if any(event.reason is Told.PROMOTING for event in decided.events):
            return self._story(End.PROMOTED, "it passed its steps", now)
        stalled = next((one for one in status.conditions if one.type == ConditionType.STALLED), None)
        held = stalled is not None and stalled.status == "True" and stalled.reason in _FOR_SOMEBODY
        settled = self.world.since(_seconds(now)) >= self.world.settles
        if _seconds(now) > self.world.ends:
            return self._story(End.UNFINISHED, f"the recording ends; {status.message}", now)
        if (held and settled) or now >= START + _MOST:
            return self._story(End.HELD, status.message, now)
        return None

    def _story(self, end: End, why: str, now: datetime) -> Story:
        return Story(
            end=end,
            at=_seconds(now),
            first=self.world.first or 0.0,
            step=self.at.index,
            weight=self.at.weight,
            why=why,
            truth=self.world.truth,
            extended=self.extended,
        )


class _Told(_Run):
    """The machine does all of it."""

    def __init__(self, setting: Setting, cluster: IdealCluster, world: World | Recording) -> None:
        super().__init__(setting, cluster, world)
        self._happenings: list[Happening] = []
        self._sights: list[Sight] = []
        self._last = ""
        self._looks = False

    def worth_asking(self, now: datetime) -> bool:  # noqa: ARG002 - always
        return True

    def answers(self, now: datetime) -> Mapping[str, Answer] | None:
        due = self.due()
        self._looks = due is not None and due <= now
        if not self._looks:
            return None
        answers = self.world.answers(self.rules, self.arms(now), _seconds(now), _EPOCH)
        status = self.cluster.status.analysis
        if status is None or not analysis.is_first(status):
            return answers
        return {**answers, **self.world.history(self.rules, self.arms(now), _seconds(now), _EPOCH)}

    def told(self, decided: Plan, now: datetime) -> None:
        at, found = _seconds(now), decided.status.analysis
        self._happenings += [Happening(at, self.at.weight, event.message) for event in decided.events]
        ready = next((one for one in decided.status.conditions if one.type == ConditionType.READY), None)
        reason = ready.reason if ready else ""
        if reason != self._last and reason in _WORTH_TELLING:
            self._happenings.append(Happening(at, self.at.weight, decided.status.message))
        self._last = reason
        if found is not None and self._looks:
            evidence = max((one.evidence for one in found.metrics), default=0.0)
            self._sights.append(Sight(at, self.at.weight, evidence, found.verdict))

    def _story(self, end: End, why: str, now: datetime) -> Story:
        story = super()._story(end, why, now)
        return replace(story, happenings=tuple(self._happenings), sights=tuple(self._sights))


class _Brief(_Run):
    """Looks are taken here, by the same evidence and without texts; the machine is asked where they may matter."""

    def __init__(self, setting: Setting, cluster: IdealCluster, world: World) -> None:
        super().__init__(setting, cluster, world)
        self._drawn = world
        self._tests = analysis.plans(self.rules)
        self._journal: Journal | None = None
        self._heading = ""

    def answers(self, now: datetime) -> Mapping[str, Answer] | None:  # noqa: ARG002 - never
        return None

    def worth_asking(self, now: datetime) -> bool:
        due = self.due()
        if due is None or due > now:
            return True
        self._look(now)
        status = self.cluster.status
        seen, journal, at = status.analysis, status.journal, self.at
        if seen is None or journal is None or seen.verdict is Verdict.Fail or journal.unknown_since is not None:
            return True
        if journal.stage is not Stage.BAKE or at.until is None:
            return True
        ahead = at.until - AHEAD
        waits = ruling.rule(self.rules, seen, ruling.Bake(at.until, at.extensions), now) is ruling.Word.WAIT
        return not waits or now >= ahead

    def _look(self, now: datetime) -> None:
        status = self.cluster.status
        assert status.analysis is not None
        assert status.journal is not None
        history = None
        if self._journal is None or status.analysis.journal is not self._heading:
            self._journal = Journal.load(status.analysis.journal, self.rules)
            history = self._drawn.history(self.rules, self.arms(now), _seconds(now), _EPOCH)
        sampled = self._drawn.sampled
        journal = replace(
            self._journal,
            sampled=None if sampled is None else round((_EPOCH + sampled) * 1000),
            period=round(self._drawn.period * 1000),
        )
        index = looking.looked_step(status)
        seen, self._journal = analysis.look_at(
            self.rules,
            self._tests,
            journal,
            self.arms(now),
            self._counted(now),
            now,
            step_changed=index != status.journal.looked_step,
            history=history,
        )
        self._heading = seen.journal
        noted = status.journal.model_copy(update={"looked_step": index})
        self.cluster.status = status.model_copy(update={"analysis": seen, "journal": noted})

    def _counted(self, now: datetime) -> Mapping[str, Mapping[Side, Counted] | Trouble]:
        world = self._drawn
        if not world.readable(_seconds(now)):
            return {one.name: _UNREADABLE for one in self.rules.metrics}
        if not all(world.has(side) for side in Side):
            return {one.name: _NO_SERIES if world.exposes(one) else _NOT_EXPOSED for one in self.rules.metrics}
        grown = world.grown(self.rules)
        return {one.name: grown.get(one.name, _NOT_EXPOSED) for one in self.rules.metrics}


def _stage(decided: Plan) -> Stage | None:
    return decided.status.journal.stage if decided.status.journal else None


def _seconds(now: datetime) -> float:
    return (now - START).total_seconds()

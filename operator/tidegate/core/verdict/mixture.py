"""Evidence that grows poll by poll: mixtures of bets over effect sizes and, to fail, over start times. ANALYSIS.md
§2.1.

A process starts at 1 and under its null never grows on average, so the chance that it ever reaches 1/alpha is at most
alpha, however often one looks (Ville). All arithmetic is in logarithms. States are immutable and go through JSON
unharmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

FROM_THE_START, AT_STEPS, AT_ANY_POLL, BEYOND = 0.55, 0.2, 0.2, 0.05
"""When a regression begins, as the prior has it: at once; with one of the planned steps; with any planned poll; with
a step or a poll that nobody planned, as when somebody holds the release for days."""

CAP = 0.6
"""The share of the way to a verdict that a single poll may go: no single scrape decides."""

_DIGITS = 11
_NOTHING = -math.inf


def log_sum(logs: Sequence[float]) -> float:
    """The log of the sum of what these are the logs of.

    In plain floats, here and below: there are a dozen of them, of which numpy takes ten times as long.
    """
    top = max(logs)
    return top if math.isinf(top) else top + math.log(sum([math.exp(one - top) for one in logs]))


def _log_sum_of_two(one: float, other: float) -> float:
    low, top = (one, other) if one < other else (other, one)
    return top if low == _NOTHING else top + math.log1p(math.exp(low - top))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else _NOTHING


def _dump(values: tuple[float, ...]) -> list[float | None]:
    return [None if value == _NOTHING else round(value, _DIGITS) for value in values]


def _load(values: list[float | None]) -> tuple[float, ...]:
    return tuple(_NOTHING if value is None else value for value in values)


@dataclass(frozen=True)
class Pace:
    """How the mass of the start-time prior is handed out: over so many planned polls and steps."""

    polls: int
    steps: int

    def of_poll(self, number: int) -> float:
        """The mass of a poll, numbered from 0."""
        return _handed_out(AT_ANY_POLL, number, self.polls)

    def of_step(self, number: int) -> float:
        """The mass of a step, numbered from 0."""
        return _handed_out(AT_STEPS, number, self.steps)


def _handed_out(mass: float, number: int, planned: int) -> float:
    """In equal parts to what is planned; beyond that half of ``BEYOND``, which thins out and never ends."""
    planned = max(planned, 1)
    return mass / planned if number < planned else BEYOND / 2 * planned / (number * (number + 1))


@dataclass(frozen=True)
class FailProcess:
    """Evidence for failing. It is never reset: a bad candidate does not become good with the next step."""

    log_s: tuple[float, ...]
    """Per effect: log of what the bets placed so far have become."""
    left: float = 1.0
    """The mass not yet bet."""
    due: float = FROM_THE_START
    """The mass that the next poll starts in addition to its own."""
    polls: int = 0
    steps: int = 0
    """That have begun since the first."""

    @staticmethod
    def new(effects: int) -> FailProcess:
        """No bet placed yet."""
        return FailProcess((_NOTHING,) * effects)

    @cached_property
    def log_m(self) -> float:
        """The log of the evidence: of all bets, and of the mass not bet."""
        return _log_sum_of_two(log_sum(self.log_s), _log(self.left))

    def stepped(self, pace: Pace) -> FailProcess:
        """The next step of the release begins: a regression that comes with it starts with the next poll."""
        return replace(self, due=self.due + pace.of_step(self.steps), steps=self.steps + 1)

    def after(
        self, log_e: Iterable[float], log_prior: Iterable[float], pace: Pace, *, cap: float, phi: float = 1.0
    ) -> FailProcess:
        """With one more poll: ``log_e`` per effect, tempered by ``phi``, the gain cut at ``cap`` nats.

        ``phi`` >= 1 from the past, and any cut, only lower the expectation.
        """
        weight = self.due + pace.of_poll(self.polls)
        left = self.left - weight
        started = _log(weight)
        log_s = [
            _log_sum_of_two(so_far, prior + started) + gain / phi
            for so_far, prior, gain in zip(self.log_s, log_prior, log_e, strict=True)
        ]
        bets = log_sum(log_s)
        if _log_sum_of_two(bets, _log(left)) - self.log_m > cap:
            # What the bets may have become, so that with the mass not bet the whole is at the cap.
            room = self.log_m + cap
            excess = bets - room - math.log1p(-math.exp(_log(left) - room))
            log_s = [one - excess for one in log_s]
        return FailProcess(tuple(log_s), left, 0.0, self.polls + 1, self.steps)

    def dump(self) -> list[object]:
        """As JSON."""
        return [self.polls, self.steps, self.left, self.due, *_dump(self.log_s)]

    @staticmethod
    def load(data: list[float | None]) -> FailProcess:
        """The inverse of ``dump``."""
        polls, steps, left, due, *log_s = data
        return FailProcess(_load(log_s), left or 0.0, due or 0.0, int(polls or 0), int(steps or 0))


def harder(phi: float) -> float:
    """By what evidence for passing is divided: more than that for failing, as a wrong pass is the costlier mistake."""
    return 1 + 1.5 * (phi - 1)


@dataclass(frozen=True)
class PassProcess:
    """Evidence for passing, of one step: little load does not vouch for more."""

    log_s: tuple[float, ...]
    """Per effect: log of what the bet has become; their prior is uniform and in it."""
    polls: int = 0

    @staticmethod
    def new(effects: int) -> PassProcess:
        """No poll yet."""
        return PassProcess((-math.log(effects),) * effects)

    @cached_property
    def log_m(self) -> float:
        """The log of the evidence."""
        return log_sum(self.log_s)

    def after(self, log_e: Iterable[float], *, cap: float, phi: float = 1.0) -> PassProcess:
        """With one more poll."""
        divisor = harder(phi)
        log_s = [so_far + gain / divisor for so_far, gain in zip(self.log_s, log_e, strict=True)]
        excess = max(log_sum(log_s) - self.log_m - cap, 0.0)
        return PassProcess(tuple([one - excess for one in log_s]), self.polls + 1)

    def dump(self) -> list[object]:
        """As JSON."""
        return [self.polls, *_dump(self.log_s)]

    @staticmethod
    def load(data: list[float | None]) -> PassProcess:
        """The inverse of ``dump``."""
        polls, *log_s = data
        return PassProcess(_load(log_s), int(polls or 0))

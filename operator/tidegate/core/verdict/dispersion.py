"""How much more counts vary than chance explains: phi, by which evidence is divided. ANALYSIS.md §3.1.

Evidence takes events to be independent. They are not: errors come in clusters, and pods differ from minute to minute.
How much so is seen among stable's own pods, which all run the same: given the events of a block of looks, each pod
should have its share of them, and the squares of what it has more or less tell how far chance alone is from the
truth. Events that all pods share, an outage say, do not count, as they do not count in the comparison. Clusters show
in blocks of one look, pods that are slow for minutes in long ones.

phi is 1 where chance explains all. It is taken from past looks alone, so that dividing by it can only make evidence
less.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tidegate.core.verdict.kernel import Floats, Poll, Tally

LENGTHS = (1, 4, 20)
"""Looks per block."""
_PRIOR, _PRIOR_FREEDOM = 1.05, 30
_NAME = 4
"""Characters of a pod's name that are kept: should two agree in them, they are taken for one, and no harm is done."""
_NOTHING = Tally()
_MOST_PODS = 24
"""Whose blocks are kept: more tell little more, and the journal is bounded."""

_LASTING = 1.4
"""Times as much as in blocks of a few looks is what pods differ by in the longest ones, where it stays with them."""
_VOUCHERS = 3
"""Pods of the candidate that can vouch for their version there: of fewer nobody can tell the pod from the version."""

_BLIND, _BLIND_LOOKS = 1.2, 20
"""Where no pods are told apart: what is assumed, as if so many looks had shown it."""
_BLIND_LENGTHS = (1, 4)
_FADING = 0.95
_MOST_SQUARE = 400.0


@dataclass(frozen=True)
class Spread:
    """What blocks of one length have shown."""

    squares: float = 0.0
    """Of what pods had more or less events than their share, summed."""
    expected: float = 0.0
    """What these would be by chance."""
    freedom: int = 0
    """How many pods of how many blocks were free to differ."""

    def after_blocks(self, requests: Floats, events: Floats) -> Spread:
        """With more blocks, each a row with a pod per column."""
        total, happened = requests.sum(axis=1), events.sum(axis=1)
        telling = (total > 0) & (happened > 0)
        share = requests[telling] / total[telling, None]
        mean = share * happened[telling, None]
        return Spread(
            round(self.squares + float(((events[telling] - mean) ** 2).sum()), 6),
            round(self.expected + float((mean * (1 - share)).sum()), 6),
            self.freedom + int(np.maximum((requests[telling] > 0).sum(axis=1) - 1, 0).sum()),
        )

    def after_block(self, pods: Collection[Tally]) -> Spread:
        """With one more block, of which these are the pods."""
        total, happened = sum(pod.requests for pod in pods), sum(pod.events for pod in pods)
        if total <= 0 or happened <= 0:
            return self
        squares = expected = 0.0
        for pod in pods:
            share = pod.requests / total
            squares += (pod.events - share * happened) ** 2
            expected += share * happened * (1 - share)
        freedom = max(sum(1 for pod in pods if pod.requests > 0) - 1, 0)
        return Spread(round(self.squares + squares, 6), round(self.expected + expected, 6), self.freedom + freedom)

    @property
    def phi(self) -> float:
        """Shrunk towards what is usual, as long as little is known."""
        seen = self.freedom * self.squares / self.expected if self.expected > 0 else 0.0
        freedom = self.freedom if self.expected > 0 else 0
        return (_PRIOR_FREEDOM * _PRIOR + seen) / (_PRIOR_FREEDOM + freedom)


@dataclass(frozen=True)
class AmongPods:
    """What stable's pods have shown, block by block."""

    spreads: tuple[Spread, ...] = (Spread(),) * len(LENGTHS)
    told: int = 0
    """In how many looks of pods, with at least two of them, there were requests."""
    events: float = 0.0
    """Of these looks."""
    looks: int = 0
    """That the blocks below are of."""
    under_way: Mapping[str, tuple[Tally, Tally]] = field(default_factory=dict)
    """Per pod, what it had in the blocks of the longer lengths that are not over."""

    def after_history(self, requests: Floats, events: Floats) -> AmongPods:
        """With looks before the release: a row each, with a pod per column."""
        at_work = requests > 0
        shared = at_work.sum(axis=1) > 1
        return replace(
            self,
            spreads=tuple(
                spread.after_blocks(_blocks(requests, length), _blocks(events, length))
                for spread, length in zip(self.spreads, LENGTHS, strict=True)
            ),
            told=self.told + int(at_work[shared].sum()),
            events=self.events + round(float(events[shared].sum()), 2),
        )

    def after(self, pods: Mapping[str, Tally]) -> AmongPods:
        """With one more look."""
        named: dict[str, Tally] = {}
        for key, tally in sorted(pods.items())[:_MOST_PODS]:
            if tally.requests > 0:
                name = key[:_NAME]
                named[name] = named[name] + tally if name in named else tally
        if not named:
            return self
        looks = self.looks + 1
        spreads = [self.spreads[0].after_block(named.values())]
        blocks = []
        for index, length in enumerate(LENGTHS[1:]):
            block = {key: tallies[index] for key, tallies in self.under_way.items()}
            for key, tally in named.items():
                block[key] = _rounded(block.get(key, _NOTHING), tally)
            over = looks % length == 0
            spreads.append(self.spreads[index + 1].after_block(block.values()) if over else self.spreads[index + 1])
            blocks.append({} if over else block)
        several = len(named) > 1
        return AmongPods(
            tuple(spreads),
            self.told + (len(named) if several else 0),
            round(self.events + (sum(tally.events for tally in named.values()) if several else 0), 2),
            looks,
            {key: (blocks[0].get(key, _NOTHING), blocks[1].get(key, _NOTHING)) for key in {**blocks[1], **blocks[0]}},
        )

    def phi(self, expected: float) -> float:
        """At least 1. ``expected`` are the events that one look is to bring to a candidate's pod: where these are more
        than a pod of stable had, what pods differ by weighs more against chance, in the same proportion."""
        most = max(1.0, *(spread.phi for spread in self.spreads))
        usual = self.events / self.told if self.told else 0.0
        return 1 + (most - 1) * (max(1.0, expected / usual) if usual > 0 else 1.0)

    @property
    def lasts(self) -> bool:
        """Whether pods are better or worse for as long as the longest blocks are, rather than from look to look."""
        *_, short, long = self.spreads
        return long.phi > _LASTING * short.phi

    def dump(self) -> list[object]:
        """As JSON."""
        numbers = [
            _short(number)
            for tallies in self.under_way.values()
            for tally in tallies
            for number in (tally.requests, tally.events)
        ]
        spreads = [number for one in self.spreads for number in (one.squares, one.expected, one.freedom)]
        return [*spreads, self.told, _short(self.events), self.looks, " ".join(self.under_way), numbers]

    @staticmethod
    def load(data: list[Any]) -> AmongPods:
        """The inverse of ``dump``."""
        *spread, told, events, looks, names, numbers = data
        spreads = tuple(Spread(*spread[at : at + 3]) for at in range(0, len(spread), 3))
        rows = (numbers[at : at + 4] for at in range(0, len(numbers), 4))
        under_way = {
            name: (Tally(x4, n4), Tally(x20, n20)) for name, (n4, x4, n20, x20) in zip(names.split(), rows, strict=True)
        }
        return AmongPods(spreads, told, float(events), looks, under_way)


def _blocks(looks: Floats, length: int) -> Floats:
    """Looks, a row each, summed to whole blocks; what is left over is the oldest."""
    whole = len(looks) // length
    blocks: Floats = looks[len(looks) - whole * length :].reshape(whole, length, looks.shape[1]).sum(axis=1)
    return blocks


def _rounded(so_far: Tally, more: Tally) -> Tally:
    """Their sum as the journal keeps it, so that a restart changes nothing: finer than chance is. Whole events stay
    whole: what is cut off at each look of a block adds up."""
    return Tally(_plain(so_far.events + more.events, 3), _plain(so_far.requests + more.requests, 4))


def _plain(value: float, digits: int) -> float:
    return value if value == int(value) else round(value, max(0, digits - 1 - math.floor(math.log10(value))))


def _short(value: float) -> float:
    return int(value) if value == int(value) else value


@dataclass(frozen=True)
class BetweenArms:
    """For where no pods are told apart, as by a router's counters or a sum: how the candidate's share of the events
    moves from look to look. Weaker: what one arm's pods differ by for minutes is not told from what its version is."""

    past: Poll = Poll()
    """Fading: what the candidate's share is expected to be."""
    squares: tuple[float, ...] = (0.0,) * len(_BLIND_LENGTHS)
    blocks: tuple[int, ...] = (0,) * len(_BLIND_LENGTHS)
    """That were over and had events."""
    surplus: float = 0.0
    """The candidate's events beyond what was expected, in the longer block that is not over..."""
    variance: float = 0.0
    """...and how far chance takes that."""
    looks: int = 0

    def after(self, poll: Poll) -> BetweenArms:
        """With one more look, at which both arms had requests."""
        surplus, variance = self._residual(poll)
        looks = self.looks + 1
        longer = self.surplus + surplus, self.variance + variance
        over = looks % _BLIND_LENGTHS[1] == 0
        found = ((surplus, variance), longer if over else (0.0, 0.0))
        past = Poll(_faded(self.past.candidate, poll.candidate), _faded(self.past.stable, poll.stable))
        return BetweenArms(
            past,
            tuple(sum_ + _square(*one) for sum_, one in zip(self.squares, found, strict=True)),
            tuple(count + int(one[1] > 0) for count, one in zip(self.blocks, found, strict=True)),
            *((0.0, 0.0) if over else longer),
            looks,
        )

    def _residual(self, poll: Poll) -> tuple[float, float]:
        """The candidate's events beyond its share of both arms', and their variance by chance."""
        past = self.past
        if not (past.candidate.requests and past.stable.requests):
            return 0.0, 0.0
        even = past.candidate.requests / (past.candidate.requests + past.stable.requests)
        # One event more, shared as requests are: with few of them, the arms are taken to be alike.
        rate_c = (past.candidate.events + even) / past.candidate.requests
        rate_s = (past.stable.events + 1 - even) / past.stable.requests
        ours, theirs = rate_c * poll.candidate.requests, rate_s * poll.stable.requests
        share, together = ours / (ours + theirs), poll.candidate.events + poll.stable.events
        return poll.candidate.events - share * together, share * (1 - share) * together

    @property
    def phi(self) -> float:
        """At least 1."""
        found = zip(self.squares, self.blocks, strict=True)
        return max(1.0, *((_BLIND_LOOKS * _BLIND + sum_) / (_BLIND_LOOKS + count) for sum_, count in found))

    def dump(self) -> list[float]:
        """As JSON."""
        tallies = (self.past.candidate, self.past.stable)
        past = [number for tally in tallies for number in (tally.events, tally.requests)]
        return [*past, *self.squares, *self.blocks, self.surplus, self.variance, self.looks]

    @staticmethod
    def load(data: Sequence[Any]) -> BetweenArms:
        """The inverse of ``dump``."""
        x_c, n_c, x_s, n_s, *rest = data
        squares, blocks = tuple(rest[:2]), tuple(rest[2:4])
        return BetweenArms(Poll(Tally(x_c, n_c), Tally(x_s, n_s)), squares, blocks, *rest[4:])


def _faded(past: Tally, more: Tally) -> Tally:
    return Tally(_FADING * past.events + more.events, _FADING * past.requests + more.requests)


def _square(surplus: float, variance: float) -> float:
    return min(surplus**2 / variance, _MOST_SQUARE) if variance > 0 else 0.0


@dataclass(frozen=True)
class Dispersion:
    """What is known of phi for one metric: by stable's pods, and until they are told apart by the two arms."""

    pods: AmongPods = AmongPods()
    arms: BetweenArms = BetweenArms()

    def phi(self, expected: float = 0.0) -> float:
        """By what evidence of the next look is divided; ``expected`` as for ``AmongPods.phi``."""
        return self.pods.phi(expected) if self.pods.told else self.arms.phi

    def vouched_by(self, pods: int) -> bool:
        """Whether so many pods of the candidate may prove that it is within its limits; 0: nobody knows how many there
        are. Where stable's differ for long, one that does well may be one of the better ones."""
        return not 0 < pods < _VOUCHERS or not self.pods.lasts

    def after_history(self, requests: Floats, events: Floats) -> Dispersion:
        """With what stable's pods did before the release: a row for each look, a column for each pod."""
        return replace(self, pods=self.pods.after_history(requests, events))

    def after(self, pods: Mapping[str, Tally], poll: Poll) -> Dispersion:
        """With one more look: what each of stable's pods did, where they are told apart, and what both arms did."""
        among = self.pods.after(pods)
        if among.told or not (poll.candidate.requests and poll.stable.requests):
            return replace(self, pods=among)
        return Dispersion(among, self.arms.after(poll))

    def dump(self) -> dict[str, Any]:
        """As JSON: of the two what phi is taken from."""
        among = {"pods": self.pods.dump()} if self.pods.looks or self.pods.told else {}
        return among if self.pods.told else {**among, "arms": self.arms.dump()}

    @staticmethod
    def load(data: Mapping[str, Any]) -> Dispersion:
        """The inverse of ``dump``."""
        return Dispersion(
            AmongPods.load(data["pods"]) if "pods" in data else AmongPods(),
            BetweenArms.load(data["arms"]) if "arms" in data else BetweenArms(),
        )

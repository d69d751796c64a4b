"""Worlds in which releases are judged: what the pods of both arms were asked, and what they failed, look by look.

A world is a function of a seed and a case. What it does to traffic and to rates is the same for both arms unless its
name says otherwise; the candidate's own rate is ``ratio`` times stable's. Where the ratio is 1 nothing is wrong with
the candidate, whatever the world does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True)
class Case:
    """One cell of a table."""

    rps: float
    """The candidate's requests a second, all its pods together."""
    base: float
    """Stable's error rate."""
    ratio: float = 1.0
    """The candidate's error rate, as a multiple of stable's. Infinite: every request fails."""
    onset: int = 0
    """The look with which the ratio begins."""
    looks: int = 120
    seconds: float = 30.0
    """From look to look."""
    share: float = 0.1
    """Of all requests, the candidate's."""
    pods: tuple[int, int] = (1, 9)
    """The candidate's and stable's."""
    history: int = 120
    """Looks before the release from which stable is known."""

    @property
    def stable_rps(self) -> float:
        """Stable's requests a second."""
        return self.rps * (1 - self.share) / self.share

    @property
    def span(self) -> int:
        """Looks of the history and of the release."""
        return self.history + self.looks


@dataclass(frozen=True)
class Arm:
    """Per run, look and pod: requests, and those of them that failed."""

    requests: Array
    events: Array

    @property
    def totals(self) -> tuple[Array, Array]:
        """Events and requests of all pods, per run and look."""
        return self.events.sum(axis=2), self.requests.sum(axis=2)

    def looks(self, first: int, last: int) -> Arm:
        """A part of the looks."""
        return Arm(self.requests[:, first:last], self.events[:, first:last])


@dataclass(frozen=True)
class Trace:
    """What happened in some runs of a case."""

    candidate: Arm
    stable: Arm
    past: Arm
    """Stable, before the release."""
    steps: tuple[int, ...] = ()
    """Looks with which another step of the release begins, after its first."""

    @property
    def runs(self) -> int:
        """How many."""
        return len(self.candidate.requests)


World = Callable[[Random, int, Case], Trace]


@dataclass(frozen=True)
class Weather:
    """What both arms meet, per run and look, history first; whole or a single number."""

    traffic: Array | float = 1.0
    """Factor on the requests."""
    rate: Array | float = 1.0
    """Factor on the error rate."""
    outage: Array | float = 0.0
    """Share of the requests that fail in any case."""


Noise = Callable[[Random, tuple[int, int, int]], Array]
"""Factors on the error rate of pods, by (runs, looks, pods): the candidate's first."""
Draw = Callable[[Random, Array, Array], tuple[Array, Array]]
"""From requests expected and error rates: requests, and failed ones."""


def _independent(rng: Random, expected: Array, rate: Array) -> tuple[Array, Array]:
    requests = rng.poisson(expected)
    return requests.astype(float), rng.binomial(requests, rate).astype(float)


def _calm(_: Random, shape: tuple[int, int, int]) -> Array:
    return np.ones(shape)


def _made(
    rng: Random,
    runs: int,
    case: Case,
    weather: Weather | None = None,
    noise: Noise = _calm,
    draw: Draw = _independent,
    share: Array | None = None,
    ratio: Array | None = None,
) -> Trace:
    """A trace of this weather and noise. ``share`` and ``ratio``: by look of the release, where they are not the
    case's."""
    weather = weather or Weather()
    ours, theirs = case.pods
    factors = noise(rng, (runs, case.span, ours + theirs))
    worse = _worse(case) if ratio is None else ratio
    of_candidate = np.full(case.looks, case.share) if share is None else share
    total = case.rps / case.share * case.seconds * np.broadcast_to(_per_look(weather.traffic), (runs, case.span, 1))
    rate = case.base * _per_look(weather.rate) * factors
    outage = np.broadcast_to(_per_look(weather.outage), (runs, case.span, 1))
    began = case.history
    candidate = draw(
        rng,
        np.repeat(total[:, began:] * of_candidate[None, :, None] / ours, ours, axis=2),
        _rate(_times(rate[:, began:, :ours], worse[None, :, None]), outage[:, began:]),
    )
    left = np.concatenate([np.ones(began), 1 - of_candidate])
    stable = draw(
        rng, np.repeat(total * left[None, :, None] / theirs, theirs, axis=2), _rate(rate[:, :, ours:], outage)
    )
    whole = Arm(*stable)
    return Trace(Arm(*candidate), whole.looks(began, case.span), whole.looks(0, began))


def _per_look(value: Array | float) -> Array | float:
    return value[:, :, None] if isinstance(value, np.ndarray) else value


def _worse(case: Case) -> Array:
    return np.where(np.arange(case.looks) >= case.onset, case.ratio, 1.0)


def _times(rate: Array, ratio: Array) -> Array:
    """The candidate's rate. An infinite ratio: everything fails, whatever stable's rate."""
    return np.where(np.isinf(ratio), 1.0, rate * np.where(np.isinf(ratio), 1.0, ratio))


def _rate(rate: Array, outage: Array) -> Array:
    clipped: Array = np.clip(rate, 0.0, 1.0)
    return outage + (1 - outage) * clipped


def stationary(rng: Random, runs: int, case: Case) -> Trace:
    """Nothing changes."""
    return _made(rng, runs, case)


def diurnal(rng: Random, runs: int, case: Case) -> Trace:
    """Traffic and rate rise and fall, to a fifth and to fivefold, out of phase."""
    at = np.arange(case.span) * case.seconds / 3600
    phases = rng.uniform(0, 2 * np.pi, (2, runs, 1))
    traffic, rate = np.exp(np.log(5) / 2 * np.sin(2 * np.pi * at + phases))
    return _made(rng, runs, case, Weather(traffic=traffic, rate=rate))


def _outages(rng: Random, runs: int, span: int, number: int, lengths: tuple[int, int]) -> Array:
    """The share that fails in outages of 30 to 60 %, so many a run, of lengths in slots."""
    share = np.zeros((runs, span))
    begin = rng.integers(0, span, (runs, number))
    length = rng.integers(lengths[0], lengths[1] + 1, (runs, number))
    depth = rng.uniform(0.3, 0.6, (runs, number))
    slots = np.arange(span)
    for one in range(number):
        hit = (slots >= begin[:, one, None]) & (slots < (begin + length)[:, one, None])
        share = np.where(hit, depth[:, one, None], share)
    return share


def outages(rng: Random, runs: int, case: Case) -> Trace:
    """Outages that both arms share: some minutes with 30 to 60 % of errors, three in the release."""
    share = _outages(rng, runs, case.span, 6, (2, 8))
    return _made(rng, runs, case, Weather(outage=share))


_SLOT = 10.0


def _scraped(rng: Random, runs: int, case: Case, share: Callable[[int], Array], early: NDArray[np.int64]) -> Trace:
    """A world of slots of ten seconds, of which the candidate's scrapes end ``early`` ones before stable's."""
    per = round(case.seconds / _SLOT)
    pad = 2
    fine = replace(
        case,
        seconds=_SLOT,
        looks=case.looks * per + 2 * pad,
        history=case.history * per,
        onset=case.onset * per + pad,
    )
    made = _made(rng, runs, fine, Weather(outage=share(fine.span)))
    ends = pad + per * np.arange(case.looks + 1)
    stable = np.broadcast_to(ends, (runs, case.looks + 1))
    return Trace(
        _between(made.candidate, stable - early),
        _between(made.stable, stable),
        _between(made.past, np.broadcast_to(per * np.arange(case.history + 1), (runs, case.history + 1))),
    )


def _between(arm: Arm, ends: NDArray[np.int64]) -> Arm:
    """What was counted from end to end."""

    def grown(counts: Array) -> Array:
        first = np.zeros((counts.shape[0], 1, counts.shape[2]))
        counter = np.concatenate([first, np.cumsum(counts, axis=1)], axis=1)
        difference: Array = np.diff(np.take_along_axis(counter, ends[:, :, None], axis=1), axis=1)
        return difference

    return Arm(grown(arm.requests), grown(arm.events))


def outages_skewed(rng: Random, runs: int, case: Case) -> Trace:
    """The same outages, with the candidate scraped ten seconds before stable."""
    early = np.ones((runs, case.looks + 1), dtype=np.int64)
    return _scraped(rng, runs, case, lambda span: _outages(rng, runs, span, 6, (6, 24)), early)


def flaps(rng: Random, runs: int, case: Case) -> Trace:
    """Six short outages in the release that both arms share, with scrapes that come up to ten seconds too early or
    late."""
    early = rng.integers(-1, 2, (runs, case.looks + 1))
    return _scraped(rng, runs, case, lambda span: _outages(rng, runs, span, 12, (1, 4)), early)


def clusters(rng: Random, runs: int, case: Case) -> Trace:
    """Errors come in clusters of five on average: a timeout that takes along what waits behind it."""
    return _made(rng, runs, case, draw=lambda rng, expected, rate: _clustered(rng, expected, rate, 5.0))


def _clustered(rng: Random, expected: Array, rate: Array, size: float) -> tuple[Array, Array]:
    requests = rng.poisson(expected)
    number = rng.poisson(requests * rate / size)
    # So many clusters of geometric size each: as many failures beyond them as a negative binomial has.
    extra = np.where(number > 0, rng.negative_binomial(np.maximum(number, 1), 1 / size), 0)
    certain = rate >= 1
    events = np.where(certain, requests, np.minimum(number + extra, requests))
    return requests.astype(float), events.astype(float)


def gamma(cv: float) -> World:
    """The rate of each pod jumps from look to look, with this coefficient of variation."""

    def noise(rng: Random, shape: tuple[int, int, int]) -> Array:
        return rng.gamma(cv**-2, cv**2, shape)

    return lambda rng, runs, case: _made(rng, runs, case, noise=noise)


def bursts(rng: Random, runs: int, case: Case) -> Trace:
    """In one of a hundred looks of a pod, 30 % of its requests fail."""

    def noise(rng: Random, shape: tuple[int, int, int]) -> Array:
        return np.where(rng.random(shape) < 0.01, 0.3 / case.base, 1.0)

    return _made(rng, runs, case, noise=noise)


def drift(rng: Random, runs: int, case: Case) -> Trace:
    """The rate of each pod drifts slowly, by 30 %."""
    return _made(rng, runs, case, noise=_drift)


def _drift(rng: Random, shape: tuple[int, int, int]) -> Array:
    deviation, memory = 0.3, 0.9
    state = rng.normal(0, deviation, (shape[0], shape[2]))
    logs = np.empty(shape)
    for look in range(shape[1]):
        logs[:, look] = state
        state = memory * state + rng.normal(0, deviation * (1 - memory**2) ** 0.5, state.shape)
    factors: Array = np.exp(logs - deviation**2 / 2)
    return factors


def offsets(rng: Random, runs: int, case: Case) -> Trace:
    """Each pod has a rate of its own, for as long as it lives, 20 % up or down."""

    def noise(rng: Random, shape: tuple[int, int, int]) -> Array:
        return np.exp(np.broadcast_to(rng.normal(-0.02, 0.2, (shape[0], 1, shape[2])), shape))

    return _made(rng, runs, case, noise=noise)


def retries(rng: Random, runs: int, case: Case) -> Trace:
    """Callers try again, up to three times, and seven of ten tries fail again: failures come in rows, and bring
    traffic of their own."""

    def draw(rng: Random, expected: Array, rate: Array) -> tuple[Array, Array]:
        requests, failed = _independent(rng, expected, rate)
        tries = failed
        for _ in range(3):
            lost = rng.binomial(tries.astype(np.int64), np.maximum(rate, 0.7)).astype(float)
            requests, failed, tries = requests + tries, failed + lost, lost
        return requests, failed

    return _made(rng, runs, case, _brownouts(rng, runs, case), draw=draw)


def _brownouts(rng: Random, runs: int, case: Case) -> Weather:
    """Four in the release, of one to three minutes, in which both arms have five times the errors."""
    hit = _outages(rng, runs, case.span, 8, (2, 6)) > 0
    return Weather(rate=np.where(hit, 5.0, 1.0))


def ramp(rng: Random, runs: int, case: Case) -> Trace:
    """The release goes on, 5, 10, 25, 50 %, in the middle of looks, while the base rate doubles with the load."""
    steps = (0.05, 0.1, 0.25, 0.5)
    borders = [round(case.looks * number / len(steps)) for number in range(1, len(steps))]
    share = np.full(case.looks, steps[0])
    for border, before, after in zip(borders, steps, steps[1:], strict=False):
        share[border:] = after
        share[border - 1] = (before + after) / 2
    load = np.concatenate([np.ones(case.history), np.linspace(1, 2, case.looks)])
    # The case's rate of requests is the one at 10 %.
    whole = _made(rng, runs, replace(case, share=0.1), Weather(rate=np.tile(load, (runs, 1))), share=share)
    return replace(whole, steps=tuple(borders))


def neighbour(rng: Random, runs: int, case: Case) -> Trace:
    """One pod of stable has a noisy neighbour: ten minutes in every thirty, it fails eight times as much."""

    def noise(rng: Random, shape: tuple[int, int, int]) -> Array:
        factors = np.ones(shape)
        period, length = max(1, round(1800 / case.seconds)), round(600 / case.seconds)
        at = (np.arange(shape[1]) + rng.integers(0, period, (shape[0], 1))) % period < length
        factors[:, :, -1] = np.where(at, 8.0, 1.0)
        return factors

    return _made(rng, runs, case, noise=noise)


def sparse(rng: Random, runs: int, case: Case) -> Trace:
    """Little traffic, and none in four of five looks: calls by timers."""
    busy = rng.random((runs, case.span)) < 0.2
    return _made(rng, runs, replace(case, rps=case.rps / 5), Weather(traffic=np.where(busy, 5.0, 0.0)))


def cold(rng: Random, runs: int, case: Case) -> Trace:
    """Caches are cold for longer than the warm-up: the candidate has 45 % more errors at first, half of it three
    minutes later."""
    at = np.arange(case.looks) * case.seconds / 60
    warming = 1 + 0.45 * 0.5 ** (at / 3)
    return _made(rng, runs, case, ratio=np.maximum(_worse(case), warming))


def crashes(rng: Random, runs: int, case: Case) -> Trace:
    """Pods of both arms are rescheduled now and then, and fail a third of their requests for one look."""

    def noise(rng: Random, shape: tuple[int, int, int]) -> Array:
        return np.where(rng.random(shape) < 0.3 / 120, 0.33 / case.base, 1.0)

    return _made(rng, runs, case, noise=noise)


KNOWN: Mapping[str, World] = {
    "stationary": stationary,
    "diurnal traffic and rate": diurnal,
    "shared outages": outages,
    "shared outages, candidate scraped 10 s early": outages_skewed,
    "6 flaps, scrapes ±10 s": flaps,
    "clusters of 5": clusters,
    "pod noise, CV 0.3": gamma(0.3),
    "pod noise, CV 1": gamma(1.0),
    "bursts to 30 %": bursts,
    "slow drift of pods": drift,
    "persistent offsets of pods": offsets,
}
"""Those of the study."""
NEW: Mapping[str, World] = {
    "retries amplify errors": retries,
    "weights shift in mid-look": ramp,
    "a noisy neighbour": neighbour,
    "traffic in one look of five": sparse,
    "cold caches after the warm-up": cold,
    "pods that are rescheduled": crashes,
}
"""Those that the engine was not built for."""
WORLDS: Mapping[str, World] = {**KNOWN, **NEW}

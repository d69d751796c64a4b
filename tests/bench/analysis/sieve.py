"""The verdicts on many runs at once, where the engine takes a twentieth of a second for one.

This is the engine's arithmetic on arrays with a row for each run, with the engine's own bets, priors, caps and tilts.
Nobody's word for it need be taken: ``measure`` has runs of every cell judged by the engine too, all of those that are
near a verdict or that a bar counts, up to a number, and the bench stops where the two differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.bench.analysis.engine import NEVER, Judge
from tests.bench.analysis.worlds import Arm, Array, Trace
from tidegate.core.verdict import dispersion, kernel, surplus
from tidegate.core.verdict import evidence as bets
from tidegate.core.verdict.evidence import Check, Rule
from tidegate.core.verdict.kernel import Boundary
from tidegate.core.verdict.mixture import CAP, FROM_THE_START, Pace

_HARDER = 1.5
"""How much harder than evidence for failing that for passing is tempered."""


@dataclass
class _Process:
    """One test's evidence, of all runs."""

    prior: Array
    log_s: Array
    left: Array
    due: Array
    polls: NDArray[np.int64]

    @staticmethod
    def new(test: Check, rule: Rule, runs: int) -> _Process:
        prior = np.array(bets._log_prior(test, rule))
        nothing = np.full((runs, len(prior)), -np.inf)
        ones = np.ones(runs)
        return _Process(prior, nothing, ones, FROM_THE_START * ones, np.zeros(runs, dtype=np.int64))

    @property
    def log_m(self) -> Array:
        return np.logaddexp(_logsumexp(self.log_s), _log(self.left))

    def take(self, log_e: Array, shares: Array, cap: float, informed: NDArray[np.bool_]) -> None:
        """One look: in the rows that are ``informed``."""
        weight = self.due + shares[self.polls]
        left = self.left - weight
        log_s = np.logaddexp(self.log_s, self.prior + _log(weight)[:, None]) + log_e
        if math.isfinite(cap):
            room = self.log_m + cap
            whole = _logsumexp(log_s)
            beyond = np.logaddexp(whole, _log(left)) > room
            with np.errstate(invalid="ignore", divide="ignore"):
                cut = room + np.log1p(-np.exp(_log(left) - room)) - whole
            log_s = np.where(beyond[:, None], log_s + cut[:, None], log_s)
        self.log_s = np.where(informed[:, None], log_s, self.log_s)
        self.left = np.where(informed, left, self.left)
        self.due = np.where(informed, 0.0, self.due)
        self.polls = self.polls + informed

    def keep(self, going: NDArray[np.bool_]) -> None:
        """Only these rows."""
        for name in ("log_s", "left", "due", "polls"):
            setattr(self, name, getattr(self, name)[going])


@dataclass(frozen=True)
class Found:
    """What many runs came to, one number each."""

    top: Array
    """How far evidence for failing came, in nats: 0 and more is failing."""
    failed: NDArray[np.int64]
    """The look with which it failed, or ``NEVER``."""
    passed: NDArray[np.int64]
    """The look with which it passed, or ``NEVER``; where that was wanted, and if it had not failed before."""


def found(judge: Judge, trace: Trace, *, proving: bool = False) -> Found:
    """All runs of a trace, each until it fails; or, where somebody wants them ``proving``, until it fails or passes."""
    walk = _Walk.begun(judge, trace, proving=proving)
    top = np.full(trace.runs, -np.inf)
    failed, passed = (np.full(trace.runs, NEVER) for _ in range(2))
    for look in range(trace.candidate.requests.shape[1]):
        reached, proven = walk.look(look)
        top[walk.rows] = np.maximum(top[walk.rows], reached)
        failed[walk.rows[reached >= 0]] = look
        passed[walk.rows[proven & (reached < 0)]] = look
        walk.keep((reached < 0) & ~proven)
        if not len(walk.rows):
            break
    return Found(top, failed, passed)


@dataclass
class _Walk:
    """A way through the looks, of the runs that have not ended."""

    judge: Judge
    trace: Trace
    pace: Pace
    shares: Array
    rows: NDArray[np.int64]
    processes: dict[Check, _Process]
    passing: dict[Check, _Passing]
    events: Array
    requests: Array
    totals: tuple[Array, Array, Array, Array]
    surplus: Array
    spreads: tuple[Array, ...]
    usual: Array

    @staticmethod
    def begun(judge: Judge, trace: Trace, *, proving: bool) -> _Walk:
        runs, looks = trace.candidate.requests.shape[:2]
        pace = Pace(looks, len(trace.steps) + 1)
        past = [one.sum(axis=1) for one in trace.past.totals]
        rate = np.where(past[1] > 0, (past[0] + 0.5) / (past[1] + 1), judge.rule.usual)
        passing = [test for test in judge.rule.tests if test in bets._BETTER] if proving else []
        return _Walk(
            judge,
            trace,
            pace,
            np.array([pace.of_poll(number) for number in range(looks + 1)]),
            np.arange(runs),
            {test: _Process.new(test, judge.rule, runs) for test in judge.rule.tests},
            {test: _Passing.new(test, judge.rule, runs) for test in passing},
            bets._PRIOR_REQUESTS * rate,
            np.full(runs, bets._PRIOR_REQUESTS),
            (*trace.candidate.totals, *trace.stable.totals),
            np.zeros((4, runs)),
            _spreads(trace) if judge.tempered else (np.ones((runs, looks + 1)),) * len(dispersion.LENGTHS),
            _usual(trace),
        )

    def look(self, look: int) -> tuple[Array, NDArray[np.bool_]]:
        """How far each run is from failing, and which of them have passed."""
        rule = self.judge.rule
        if look in self.trace.steps:
            for process in self.processes.values():
                process.due = process.due + self.pace.of_step(self.trace.steps.index(look))
            self.passing = {test: _Passing.new(test, rule, len(self.rows)) for test in self.passing}
        x_c, n_c, x_s, n_s = (total[self.rows, look] for total in self.totals)
        counts = _Counts(x_c, n_c, x_s, n_s, self.events / self.requests)
        phi = self._phi(look, counts)
        caps = self.judge.plan.caps_of(self.judge.name)
        for test, process in self.processes.items():
            informed = (counts.n_c > 0) & ((counts.n_s > 0) | (test is Check.Absolute))
            divisor = np.clip(counts.n_c / bets._GROSS_REQUESTS, 1, phi) if test is Check.Gross else phi
            log_e = _against(rule, test, counts)
            process.take(log_e / divisor[:, None], self.shares, caps[test], informed)
            if test in self.passing:
                better = _log_e(rule, rule.to_pass, test, counts, rule.better(test))
                harder = 1 + _HARDER * (phi - 1)
                self.passing[test].take(better / harder[:, None], counts, informed)
        self.surplus = self.surplus + _surplus(counts, phi)
        self.events = bets._DECAY * self.events + counts.x_s
        self.requests = bets._DECAY * self.requests + counts.n_s
        ours = {test: one.log_m for test, one in self.processes.items()}
        weights = self.judge.plan.weights
        terms = [math.log(weights[self.judge.name, test]) + log_m for test, log_m in ours.items()]
        leans = np.any([log_m > bets.LEANING for log_m in ours.values()], axis=0)
        if rule.relative is not None:
            leans |= _speaks_against(self.surplus, rule.relative, rising=rule.rising)
        proven = [one.proven(self.judge, test) for test, one in self.passing.items()]
        passed = np.all(proven, axis=0) & ~leans if proven else np.zeros(len(self.rows), dtype=bool)
        if self.trace.candidate.requests.shape[2] < dispersion._VOUCHERS:
            # Unlike phi, which is of the looks before this one.
            *_, short, long = (one[self.rows, look + 1] for one in self.spreads)
            passed &= long <= dispersion._LASTING * short
        return np.logaddexp.reduce(terms) + math.log(self.judge.plan.alpha), passed

    def _phi(self, look: int, counts: _Counts) -> Array:
        expected = counts.p * counts.n_c / self.trace.candidate.requests.shape[2]
        usual = self.usual[self.rows, look]
        more = np.where(usual > 0, np.maximum(1, expected / np.maximum(usual, 1e-300)), 1.0)
        most = np.maximum(1, np.max([one[self.rows, look] for one in self.spreads], axis=0))
        phi: Array = 1 + (most - 1) * more
        return phi

    def keep(self, going: NDArray[np.bool_]) -> None:
        """Go on with these alone."""
        if going.all():
            return
        self.rows = self.rows[going]
        self.events, self.requests, self.surplus = self.events[going], self.requests[going], self.surplus[:, going]
        for failing in self.processes.values():
            failing.keep(going)
        for passing in self.passing.values():
            passing.keep(going)


@dataclass
class _Passing:
    """One test's evidence for passing in a step, of all runs, and what the step has counted."""

    log_s: Array
    polls: NDArray[np.int64]
    x_c: Array
    n_c: Array
    x_s: Array
    n_s: Array

    @staticmethod
    def new(test: Check, rule: Rule, runs: int) -> _Passing:
        effects = len(rule.better(test))
        zero = np.zeros(runs)
        return _Passing(
            np.full((runs, effects), -math.log(effects)), np.zeros(runs, dtype=np.int64), zero, zero, zero, zero
        )

    def take(self, log_e: Array, counts: _Counts, informed: NDArray[np.bool_]) -> None:
        """One look: evidence in the rows that are ``informed``."""
        log_s = self.log_s + log_e
        excess = _logsumexp(log_s) - _logsumexp(self.log_s) + CAP * math.log(bets.BETA)
        self.log_s = np.where(informed[:, None], log_s - np.maximum(excess, 0)[:, None], self.log_s)
        self.polls = self.polls + informed
        self.x_c, self.n_c = self.x_c + counts.x_c, self.n_c + counts.n_c
        self.x_s, self.n_s = self.x_s + counts.x_s, self.n_s + counts.n_s

    def keep(self, going: NDArray[np.bool_]) -> None:
        """Only these rows."""
        for name in ("log_s", "polls", "x_c", "n_c", "x_s", "n_s"):
            setattr(self, name, getattr(self, name)[going])

    def proven(self, judge: Judge, test: Check) -> NDArray[np.bool_]:
        shown = (self.polls >= 2) & (_logsumexp(self.log_s) >= -math.log(bets.BETA))
        rate, of_stable = (self.x_c + 0.5) / (self.n_c + 1), (self.x_s + 0.5) / (self.n_s + 1)
        boundary = judge.rule.to_pass
        if test is Check.Absolute or boundary is None:
            return shown & (rate <= (judge.rule.absolute or 0.0))
        limit = boundary.rho * of_stable + boundary.delta
        return shown & (rate <= limit if judge.rule.rising else rate >= limit)


@dataclass(frozen=True)
class _Counts:
    """One look of all runs."""

    x_c: Array
    n_c: Array
    x_s: Array
    n_s: Array
    p: Array
    """Stable's rate, as the past has it."""

    @property
    def kappa(self) -> Array:
        kappa: Array = self.n_c / np.maximum(self.n_s, 1)
        return np.maximum(kappa, 1e-9)


def _surplus(counts: _Counts, phi: Array) -> Array:
    """What a look adds to ``Surplus``: its four sums, of all runs."""
    both = (counts.n_c > 0) & (counts.n_s > 0)
    share, together = counts.n_c / np.maximum(counts.n_c + counts.n_s, 1e-9), counts.x_c + counts.x_s
    candidate, stable = counts.x_c * (1 - share), counts.x_s * share
    sums = np.stack([candidate, stable, candidate - stable, phi * share * (1 - share) * together])
    return np.where(both, sums, 0.0)


def _speaks_against(sums: Array, boundary: Boundary, *, rising: bool) -> NDArray[np.bool_]:
    candidate, stable, events, variance = sums
    limit, far = (1 + surplus._NEAR * (boundary.rho - 1)) * stable, surplus._DIFFERS * np.sqrt(variance)
    if rising:
        return np.asarray((candidate > limit) & (events > far))
    return np.asarray((candidate < limit) & (-events > far))


def _against(rule: Rule, test: Check, counts: _Counts) -> Array:
    """For failing."""
    log_e = _log_e(rule, rule.relative, test, counts, rule.worse(test))
    if test is not Check.Absolute:
        return log_e
    worse = _log_e(rule, bets.WORSE_THAN_STABLE, Check.Relative, counts, rule.worse(test))
    return np.where((counts.n_s > 0)[:, None], np.minimum(log_e, worse), log_e)


def _log_e(rule: Rule, boundary: Boundary | None, test: Check, counts: _Counts, effects: Array) -> Array:
    """Per run and effect; of no meaning where an arm has no requests."""
    x_c, n_c, x_s = (one[:, None] for one in (counts.x_c, counts.n_c, counts.x_s))
    kappa, p = counts.kappa[:, None], np.maximum(counts.p, kernel._LEAST_RATE)[:, None]
    if test is Check.Relative:
        assert boundary is not None
        # Typed for one poll, and true for many.
        tilt = kernel._two_arm_tilt(boundary, kappa, effects, p)  # type: ignore[arg-type]
        stable: Array = x_s * np.log1p(-boundary.rho * kappa * tilt)
        return x_c * np.log1p(tilt) + stable - tilt * n_c * boundary.delta
    if test is Check.Absolute:
        limit = rule.absolute
        assert limit is not None
        wanted = np.minimum(effects * limit, 1 - (1 - limit) * 1e-2)
        return _bernoulli(x_c, n_c, limit, (wanted - limit) / (limit * (1 - limit)))
    wanted = np.minimum(effects * (kernel.GROSS_RHO * counts.p[:, None] + kernel.GROSS_DELTA), 0.98)
    tilt = kernel._gross_tilt(wanted, kappa, p)  # type: ignore[arg-type]
    costs: Array = x_s * np.log1p(-kernel.GROSS_RHO * kappa * tilt)
    return _bernoulli(x_c, n_c, kernel.GROSS_DELTA, tilt) + costs


def _bernoulli(events: Array, requests: Array, delta: float, tilt: Array) -> Array:
    log_e: Array = events * np.log1p(tilt * (1 - delta)) + (requests - events) * np.log1p(-tilt * delta)
    return log_e


def _spreads(trace: Trace) -> tuple[Array, ...]:
    """For each length of blocks, per run and number of looks gone: phi of what stable's pods did in these, for a
    candidate's pod with no more events than theirs."""
    runs, looks = trace.candidate.requests.shape[:2]
    found = []
    prior, freedom = dispersion._PRIOR, dispersion._PRIOR_FREEDOM
    # Looks at which nobody was asked anything are in no block: they go behind the others.
    idle = trace.stable.requests[:, :, : dispersion._MOST_PODS].sum(axis=2) == 0
    order = np.argsort(idle, axis=1, kind="stable")[:, :, None]
    watched = (one[:, :, : dispersion._MOST_PODS] for one in (trace.stable.requests, trace.stable.events))
    requests, events = (np.take_along_axis(one, order, axis=1) for one in watched)
    gone = np.concatenate([np.zeros((runs, 1)), np.cumsum(~idle, axis=1)], axis=1).astype(np.int64)
    for length in dispersion.LENGTHS:
        past = _block(*(_summed(one, length) for one in (trace.past.requests, trace.past.events))).sum(axis=2)
        kept = _kept(requests, 4, length), _kept(events, 3, length)
        blocks = np.cumsum(_block(*kept), axis=2)
        over = np.broadcast_to(gone // length, (3, runs, looks + 1))
        shown = np.concatenate([np.zeros((3, runs, 1)), blocks], axis=2)
        known = np.take_along_axis(shown, over, axis=2) + past[:, :, None]
        squares, expected, free = known
        free = np.where(expected > 0, free, 0)
        ratio = np.divide(squares, expected, out=np.zeros_like(squares), where=expected > 0)
        found.append((freedom * prior + free * ratio) / (freedom + free))
    return tuple(found)


def _summed(looks: Array, length: int) -> Array:
    """Per run, whole block and pod; what is left over is the oldest."""
    runs, many, pods = looks.shape
    blocks: Array = looks[:, many % length :].reshape(runs, -1, length, pods).sum(axis=2)
    return blocks


def _kept(looks: Array, digits: int, length: int) -> Array:
    """The same of looks that are taken one by one, as the journal rounds them; what is left over is the newest."""
    runs, many, pods = looks.shape
    parts = looks[:, : many // length * length].reshape(runs, -1, length, pods)
    if length == 1:
        return parts[:, :, 0]
    block = np.zeros_like(parts[:, :, 0])
    for look in range(length):
        block = _plain(block + parts[:, :, look], digits)
    return block


def _plain(values: Array, digits: int) -> Array:
    size = np.minimum(1, 10.0 ** (np.floor(np.log10(np.maximum(values, 1e-9))) - digits + 1))
    plain: Array = np.where(values > 0, np.round(values / size) * size, 0.0)
    return plain


def _block(n: Array, x: Array) -> Array:
    """Squares, what these would be by chance, and freedom, per run and block; of requests and events."""
    total, happened = n.sum(axis=2), x.sum(axis=2)
    telling = (total > 0) & (happened > 0)
    share = n / np.maximum(total, 1)[:, :, None]
    mean = share * happened[:, :, None]
    squares, chance = ((x - mean) ** 2).sum(axis=2), (mean * (1 - share)).sum(axis=2)
    free = np.maximum((n > 0).sum(axis=2) - 1, 0)
    return np.stack([np.where(telling, one, 0.0) for one in (squares, chance, free)])


def _usual(trace: Trace) -> Array:
    """Per run and look: the events of one of stable's pods at a look, as the past has it."""
    most = dispersion._MOST_PODS
    watched = Arm(trace.stable.requests[:, :, :most], trace.stable.events[:, :, :most])
    told, happened = (
        np.concatenate([_told(trace.past)[at].sum(axis=1, keepdims=True), _told(watched)[at][:, :-1]], axis=1)
        for at in (0, 1)
    )
    told, happened = np.cumsum(told, axis=1), np.cumsum(happened, axis=1)
    usual: Array = np.divide(happened, told, out=np.zeros_like(told), where=told > 0)
    return usual


def _told(arm: Arm) -> tuple[Array, Array]:
    at_work = (arm.requests > 0).sum(axis=2)
    several = at_work > 1
    return np.where(several, at_work, 0).astype(float), np.where(several, arm.totals[0], 0.0)


def _logsumexp(values: Array) -> Array:
    top = values.max(axis=1, keepdims=True)
    safe = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        summed: Array = safe[:, 0] + np.log(np.exp(values - safe).sum(axis=1))
    return summed


def _log(values: Array) -> Array:
    with np.errstate(divide="ignore"):
        logs: Array = np.log(np.maximum(values, 0))
    return logs

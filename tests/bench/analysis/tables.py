"""The tables of the report, by the numbers that the study of the engine gave them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.bench.analysis import durations, engine, levels, plot, sieve
from tests.bench.analysis import releases as releases_of
from tests.bench.analysis.durations import Slowness
from tests.bench.analysis.engine import NEVER, Judge
from tests.bench.analysis.levels import Level
from tests.bench.analysis.measure import (
    Cell,
    Ends,
    Setting,
    audit,
    bounds,
    by_us,
    keyed,
    random_of,
    spread,
)  # fmt: skip
from tests.bench.analysis.releases import Service, Story, story
from tests.bench.analysis.sheet import Sheet, count, minutes, percent
from tests.bench.analysis.worlds import KNOWN, WORLDS, Arm, Case, Trace
from tests.bench.bars import Row
from tidegate.api.analysis import DEFAULT_METRICS, AnalysisSpec, MetricSpec, RatioSpec
from tidegate.core.verdict.decision import Family, Plan
from tidegate.core.verdict.evidence import Rule
from tidegate.core.verdict.kernel import Boundary, divergence

TIDEGATE, STRICT, SURE, UNTEMPERED, DEFAULT = (
    "tidegate",
    "tidegate, 20 %",
    "tidegate, confidence 99 %",
    "untempered",
    "default metric",
)
PEEKING, ONCE, FLAGGER, ROW, ARGO = (
    "Kayenta, each minute",
    "Kayenta, once at 60 min",
    "Flagger, 5 failed checks",
    "3 failed checks in a row",
    "Argo, failureLimit 3",
)
_RATES = ((1, 0.001), (1, 0.01), (10, 0.001), (10, 0.01), (1000, 0.001), (1000, 0.01))
"""The candidate's requests a second, and the base rate."""


def _exactly(ends: Ends | None, where: str) -> str:
    if ends is None:
        return where
    low, high = bounds(ends.share() * len(ends.looks), len(ends.looks))
    return f"{percent(low)} to {percent(high)} %; {where}"


# 7.1


@dataclass(frozen=True)
class Race:
    """A candidate so much worse, looked at so often that looks do not matter."""

    kappa: float
    base: float
    ratio: float
    alpha: float

    @property
    def bound(self) -> float:
        """Candidate requests that the best of all tests needs on average."""
        return -math.log(self.alpha) / information(min(1.0, self.ratio * self.base), self.base, self.kappa)

    @property
    def each(self) -> int:
        """Candidate requests of a look."""
        return max(1, round(self.bound / _FINE))


_BOUNDARY = Boundary(rho=1.5, delta=1e-5)
_FINE, _BOUNDS = 60, 8
"""Looks to a bound, and bounds that are waited for."""


def information(p_c: float, p_s: float, kappa: float) -> float:
    """Nats per candidate request: the least, over stable's rates q, of what both arms tell."""
    rates = np.geomspace(min(p_s, p_c / 2) / 2, min(1.0, p_c / _BOUNDARY.rho), 4000).tolist()
    return min(divergence(p_c, min(1.0, _BOUNDARY.at(q))) + divergence(p_s, q) / kappa for q in rates)


def _kernel_judge(alpha: float) -> Judge:
    rule = Rule(relative=_BOUNDARY, margin=1e-3, absolute=None, breaker=False, banded=False, usual=1e-3)
    return Judge(rule, Plan.of({"errors": (Family.Errors, rule)}, alpha), tempered=False)


def _race(job: tuple[Race, int, int, int]) -> tuple[list[float], int]:
    race, runs, seed, part = job
    rng = random_of(seed, race, part)
    each = race.each
    shape = (runs, math.ceil(race.bound * _BOUNDS / each), 1)
    n_c, n_s = np.full(shape, each), np.full(shape, round(each / race.kappa))
    p_c = min(1.0, race.ratio * race.base)
    arms = [
        Arm(n.astype(float), rng.binomial(n, p).astype(float)) for n, p in ((n_c, p_c), (n_s, race.base))
    ]  # fmt: skip
    nothing = Arm(np.zeros((runs, 1, 1)), np.zeros((runs, 1, 1)))
    trace = Trace(arms[0], arms[1], nothing)
    judge = _kernel_judge(race.alpha)
    found = sieve.found(judge, trace)
    audit(judge, trace, 0, (int(found.failed[0]), NEVER))
    taken = np.cumsum(n_c[:, :, 0], axis=1)[np.arange(runs), found.failed]
    used = np.where(found.failed == NEVER, math.inf, taken) / race.bound
    return used.tolist(), int((found.failed == NEVER).sum())


def _median_bounds(values: Sequence[float]) -> tuple[float, float]:
    """Where the median truly is, with 95 %: order statistics."""
    ordered, many = sorted(values), len(values)
    half = 0.98 * math.sqrt(many)
    return ordered[max(0, math.floor(many / 2 - half))], ordered[min(many - 1, math.ceil(many / 2 + half))]


def kernel(setting: Setting) -> Sheet:
    """Requests that it takes, against the bound that no test can beat."""
    races = [
        Race(kappa, base, ratio, alpha)
        for alpha in (0.01, 0.05)
        for kappa in (1.0, 1 / 9, 1 / 19)
        for base in (0.001, 0.01)
        for ratio in (2.0, 3.0, 5.0, 10.0, 20.0)
    ]
    jobs = [(race, runs, setting.seed, part) for race in races for part, runs in enumerate(setting.parts())]
    used: dict[Race, list[float]] = {race: [] for race in races}
    for (race, *_), (some, _) in zip(jobs, spread(_race, jobs, setting.cores), strict=True):
        used[race] += some
    rows = [
        [
            f"{race.alpha:.0%}",
            f"1:{1 / race.kappa:.0f}",
            f"{race.base:.1%}",
            f"×{race.ratio:g}",
            count(race.bound),
            f"{np.median(some):.2f}",
            f"{np.mean(some):.2f}" if np.isfinite(some).all() else "–",
            percent(float(np.mean(np.isinf(some)))),
        ]
        for race, some in used.items()
    ]
    medians = {race: float(np.median(some)) for race, some in used.items()}
    worst = max((race for race in races if race.alpha == 0.01), key=lambda race: medians[race])
    low, high = _median_bounds(used[worst])
    where = f"{low:.2f} to {high:.2f}; arms 1:{1 / worst.kappa:.0f}, base {worst.base:.1%}, ×{worst.ratio:g}"
    bar = Row("requests until the revert, median, by the bound, alpha 1 %", 1.6, medians[worst], "×", where)
    text = (
        "Independent requests, looks so close that they cost nothing, one test, no tempering. The bound is"
        " log(1/alpha) divided by the information of a request; no valid test needs fewer on average."
    )
    head = ("alpha", "arms", "base", "candidate", "bound", "median", "mean", "never, %")
    return Sheet("7.1", "Requests that it takes to revert", text, head, rows, (bar,))


# 7.2


def false_reverts(setting: Setting) -> Sheet:
    """Healthy candidates that are reverted, in each world."""
    cells = {
        (world, rps, base, ratio): Cell(
            world,
            Case(rps, base, ratio),
            (TIDEGATE, SURE, UNTEMPERED, DEFAULT) if ratio == 1 else (TIDEGATE,),
            (PEEKING, ONCE, FLAGGER, ARGO) if ratio == 1 else (),
        )
        for world in WORLDS
        for rps, base in _RATES
        for ratio in (1.0, 1.2, 1.5)
    }
    found = keyed(cells, setting)

    def worst(world: str, ratio: float, name: str) -> tuple[Ends, str]:
        keys = [(world, rps, base, ratio) for rps, base in _RATES]
        key = max(keys, key=lambda key: found[key][name].share())
        return found[key][name], f"{key[1]:g} rps, base {key[2]:.1%}"

    def share(world: str, ratio: float, name: str) -> float:
        return worst(world, ratio, name)[0].share()

    rows, bars = [], []
    for world in WORLDS:
        ours = [percent(share(world, ratio, TIDEGATE)) for ratio in (1.0, 1.2, 1.5)]
        others = (SURE, UNTEMPERED, DEFAULT, PEEKING, ONCE, FLAGGER, ARGO)
        told = world if world in KNOWN else f"*{world}*"
        rows.append([told, *ours, *(percent(share(world, 1.0, name)) for name in others)])
        for ratio, most in ((1.0, 0.5), (1.2, 5.0)):
            ends, where = worst(world, ratio, TIDEGATE)
            what = f"{world}: reverted at true ratio {ratio:g}"
            bars.append(Row(what, most, 100 * ends.share(), "%", _exactly(ends, where)))
    series = {name: [100 * share(world, 1.0, name) for world in WORLDS] for name in (TIDEGATE, PEEKING, FLAGGER, ARGO)}
    chart = plot.dots("Healthy releases reverted, percent, worst of six rates", list(WORLDS), series, 0.05)
    text = (
        "Percent of releases reverted within an hour, the worst of 1, 10 and 1000 rps at base rates of 0.1 and 1 %"
        " (the candidate's requests, stable has nine times as many; one pod against nine). Tidegate: errors,"
        " maxIncrease 50 %, confidence 95 %, a look every 30 s. The columns ×1.2 and ×1.5 are candidates that are"
        " worse, though not by more than is allowed; all others are healthy ones. Untempered: as if pods did not"
        " differ. With limit: the default metric, which has max 5 % as well. Worlds in italics are those that the"
        " engine was not built for."
    )
    head = (
        "world", "Tidegate", "×1.2", "×1.5", "confidence 99 %", "untempered", "with limit", "Kayenta peeking",
        "Kayenta once", "Flagger", "Argo",
    )  # fmt: skip
    return Sheet(
        "7.2", "Healthy releases that are reverted", text, head, rows, bars, {"Healthy releases reverted": chart}
    )


# 7.3


_GONE = math.inf
_EARLY = tuple(
    Case(rps, base, ratio)
    for rps, base, ratio in (
        (1, 0.001, 5), (1, 0.001, 20), (1, 0.001, _GONE), (1, 0.01, 5), (10, 0.001, 2), (10, 0.001, 5), (10, 0.001, 20),
        (10, 0.001, _GONE), (10, 0.01, 2), (10, 0.01, 5), (10, 0.01, 20), (10, 0.01, _GONE), (1000, 0.001, 2),
        (1000, 0.001, 5), (1000, 0.01, 2), (1000, 0.01, 5), (1000, 0.01, _GONE),
    )
)  # fmt: skip
_LATE = tuple(
    Case(rps, base, ratio, onset=40)
    for rps, base, ratio in (
        (10, 0.001, 5), (10, 0.01, 2), (10, 0.01, 5), (10, 0.01, 20), (10, 0.01, _GONE), (1000, 0.001, 5),
        (1000, 0.01, 2), (1000, 0.01, 5),
    )
)  # fmt: skip


def _told(case: Case) -> str:
    worse = "all fail" if math.isinf(case.ratio) else f"×{case.ratio:g}"
    return f"{case.rps:g} rps, {case.base:.1%}, {worse}"


def _often(case: Case) -> Case:
    """With looks as close as they are by default."""
    return dataclasses.replace(case, seconds=15, looks=case.looks * 2, onset=case.onset * 2, history=case.history * 2)


_THEIRS = (PEEKING, FLAGGER, ROW, ARGO)


def _compared(cases: Sequence[Case], setting: Setting) -> dict[Case, dict[str, Ends]]:
    """Under all rules; ours also with closer looks, as "closer"."""
    known = keyed({case: Cell("stationary", case, (TIDEGATE, STRICT), _THEIRS) for case in cases}, setting)
    close = keyed({case: Cell("stationary", _often(case)) for case in cases}, setting)
    return {case: {**known[case], "closer": close[case][TIDEGATE]} for case in cases}


def _line(case: Case, found: Mapping[str, Ends]) -> list[str]:
    cells = [_told(case)]
    for name in (TIDEGATE, "closer", STRICT, *_THEIRS):
        its = _often(case) if name == "closer" else case
        ends = found[name].after(its.onset)
        rare = "" if ends.share() > 0.995 else f"{percent(ends.share())} % "
        cells.append(f"{rare}{minutes(ends.delay(its))} {count(float(ends.exposure.mean()))}")
    return cells


def _against(case: Case, found: Mapping[str, Ends], other: str, most: float) -> Row:
    ours, theirs = (float(found[name].after(case.onset).exposure.mean()) for name in (TIDEGATE, other))
    close = float(found["closer"].after(_often(case).onset).exposure.mean())
    doubt = f"{count(ours)} of {count(theirs)} requests; with looks every 15 s {close / theirs:.2f} ×"
    return Row(f"{_told(case)}: failed requests, of those with {other}", most, ours / theirs, "×", doubt)


_HEAD = ("candidate", "Tidegate", "looks 15 s", "maxIncrease 20 %", *_THEIRS)
_READ = (
    "Each cell: how many are reverted within the hour, if not all; minutes from the onset to the revert, median of all"
    " runs; failed requests of the candidate until then, mean. Runs that were reverted before the onset are left out."
)


def detection(setting: Setting) -> Sheet:
    """How soon a bad candidate is reverted, and what it costs users."""
    found = _compared(_EARLY, setting)
    bars = [
        _against(case, found[case], other, most)
        for case in _EARLY
        if case.ratio >= 5 and case.rps >= 10
        for other, most in ((ROW, 0.4), (PEEKING, 0.7))
    ]
    shown = (TIDEGATE, PEEKING, FLAGGER, ROW)
    series = {name: [float(found[case][name].exposure.mean()) for case in _EARLY] for name in shown}
    chart = plot.dots("Failed requests of the candidate until it is reverted", [_told(c) for c in _EARLY], series, 1)
    rows = [_line(case, found[case]) for case in _EARLY]
    text = f"A candidate that is bad from the start, in the world where nothing else happens. {_READ}"
    return Sheet("7.3", "Bad releases: delay and cost", text, _HEAD, rows, bars, {"Failed requests": chart})


def late(setting: Setting) -> Sheet:
    """The same for regressions that begin in mid-release."""
    found = _compared(_LATE, setting)
    bars = []
    for case in _LATE:
        ours, theirs = (found[case][name].after(case.onset).delay(case) for name in (TIDEGATE, PEEKING))
        close = found[case]["closer"].after(2 * case.onset).delay(_often(case))
        doubt = f"{minutes(ours)} against {minutes(theirs)}; with looks every 15 s {minutes(close)}"
        bars.append(Row(f"{_told(case)}, from minute 20: delay, of Kayenta's", 0.5, ours / theirs, "×", doubt))
    rows = [_line(case, found[case]) for case in _LATE]
    text = f"A candidate that turns bad after 20 minutes: a leak, a cron job, an expired cache. {_READ}"
    return Sheet("late", "Late regressions", text, _HEAD, rows, bars)


# 7.4


_PASSING = ("stationary", "pod noise, CV 0.3", "pod noise, CV 1", "clusters of 5", "slow drift of pods")
_MARGINAL = 1.6
"""At a base of 1 %: half as much again, and a tenth of a percent."""


def wrong_passes(setting: Setting) -> Sheet:
    """Bad candidates that are taken for proven."""
    worlds = (*_PASSING, "persistent offsets of pods", "retries amplify errors", "bursts to 30 %", "a noisy neighbour")
    pods = ((1, 9), (3, 27))
    cells = {
        (world, many, rps, ratio): Cell(world, Case(rps, 0.01, ratio, pods=many), (TIDEGATE, UNTEMPERED), proving=True)
        for world in worlds
        for many in pods
        for rps in (10, 1000)
        for ratio in (1.0, _MARGINAL, 2.0)
    }
    found = keyed(cells, setting)

    def passed(key: tuple[str, tuple[int, int], int, float], name: str = TIDEGATE) -> float:
        return float(np.mean(found[key][name].passed != NEVER))

    rows, bars = [], []
    for world, many in itertools.product(worlds, pods):
        healthy = [found[world, many, rps, 1.0][TIDEGATE].passed for rps in (10, 1000)]
        when = [float(np.median(np.where(looks == NEVER, math.inf, looks)) + 1) / 2 for looks in healthy]
        cells_of = [
            percent(max(passed((world, many, rps, ratio), name) for rps in (10, 1000)))
            for ratio in (_MARGINAL, 2.0)
            for name in (TIDEGATE, UNTEMPERED)
        ]
        rows.append([world, f"{many[0]} of {sum(many)}", *cells_of, *map(minutes, when)])
        key = max(((world, many, rps, 2.0) for rps in (10, 1000)), key=passed)
        low, high = bounds(passed(key) * setting.runs, setting.runs)
        doubt = f"{percent(low)} to {percent(high)} %; {key[2]} rps"
        bars.append(Row(f"{world}, {many[0]} pods: twice as bad, proven", 0.5, 100 * passed(key), "%", doubt))
    text = (
        "Candidates that were ever `Pass` within an hour of one step, base 1 %, the worse of 10 and 1000 rps: such that"
        " are bad by exactly what is allowed (1.5 times and 0.1 points, beta is 5 %), and such that are twice as bad."
        " The last columns are healthy ones: minutes until they are proven, median, at 10 and at 1000 rps."
    )
    head = (
        "world", "pods", "at the margin, %", "untempered", "twice as bad, %", "untempered", "healthy, 10 rps",
        "healthy, 1000 rps",
    )  # fmt: skip
    return Sheet("7.4", "Bad releases that are proven", text, head, rows, bars)


# 7.6


_SALE = 0.03
_HOURS = 4


def business(setting: Setting) -> Sheet:
    """A rate that ought not to fall."""
    cells = [(sessions, drop) for sessions in (1, 10, 100) for drop in (0.0, 0.05, 0.1, 0.2, 0.5)]
    many = min(setting.runs, 1000)
    jobs = [
        (cell, runs, setting.seed, part) for cell in cells for part, runs in enumerate(setting.parts(many, size=125))
    ]
    found: dict[tuple[float, float], list[Ends]] = {cell: [] for cell in cells}
    for (cell, *_), ends in zip(jobs, spread(_sold, jobs, setting.cores), strict=True):
        found[cell].append(ends)
    rows, bars = [], []
    for (sessions, drop), parts in found.items():
        ends = Ends.joined(parts)
        rows.append([f"{sessions} a second", f"{drop:.0%}", percent(ends.share()), minutes(ends.delay(Case(1, _SALE)))])
        if drop <= 0.05:
            what = "no drop" if not drop else "a drop of just what is allowed"
            bars.append(Row(f"{what}, {sessions} sessions a second", 5, 100 * ends.share(), "%", _exactly(ends, "")))
    text = (
        "Orders per session, 3 %, with `maxDecrease: 5%`: reverted within four hours, and minutes until then, median of"
        " all. The bar is alpha. What is allowed is narrow: a small service cannot tell a tenth less in an afternoon."
    )
    return Sheet("7.6", "Business rates", text, ("sessions", "drop", "reverted, %", "delay"), rows, bars)


def _sold(job: tuple[tuple[float, float], int, int, int]) -> Ends:
    (sessions, drop), runs, seed, part = job
    case = Case(sessions, _SALE, 1 - drop, looks=_HOURS * 120)
    rng = random_of(seed, ("business", sessions, drop), part)
    ratio = RatioSpec(of="orders_total", to="sessions_total")
    judge = Judge.of(MetricSpec(name="orders", ratio=ratio, max_decrease=0.05))
    return by_us(judge, WORLDS["stationary"](rng, runs, case), case, rng)


# 7.7


def limits(setting: Setting) -> Sheet:
    """An absolute limit alone."""
    jobs = [
        ((rps, rate), runs, setting.seed, part)
        for rps in (1, 10, 1000)
        for rate in (0.01, 0.05, 0.07, 0.1, 0.3)
        for part, runs in enumerate(setting.parts())
    ]
    found: dict[tuple[float, float], list[Ends]] = {}
    for (key, *_), ends in zip(jobs, spread(_limited, jobs, setting.cores), strict=True):
        found.setdefault(key, []).append(ends)
    rows = []
    for (rps, rate), parts in found.items():
        ends = Ends.joined(parts)
        rows.append([f"{rps:g} rps", f"{rate:.0%}", percent(ends.share()), minutes(ends.delay(Case(rps, 0.01)))])
    edge = Ends.joined([one for (_, rate), parts in found.items() if rate == 0.05 for one in parts])
    bar = Row("reverted at exactly the limit", 5, 100 * edge.share(), "%", _exactly(edge, "all rates; alpha is 5 %"))
    text = "Errors with `max: 5%` and no comparison. Reverted within an hour, and minutes until then, median of all."
    return Sheet("7.7", "Absolute limits", text, ("requests", "errors", "reverted, %", "delay"), rows, (bar,))


def _limited(job: tuple[tuple[float, float], int, int, int]) -> Ends:
    (rps, rate), runs, seed, part = job
    case = Case(rps, 0.01, rate / 0.01)
    rng = random_of(seed, ("limit", rps, rate), part)
    return by_us(engine.errors(increase=None, limit="5%"), WORLDS["stationary"](rng, runs, case), case, rng)


# 7.5


def latency(setting: Setting) -> Sheet:
    """Slow candidates, in histograms of three kinds."""
    cells = [
        Slowness(edges, rps, ratio)
        for edges in durations.EDGES
        for rps, ratio in itertools.product((1, 10, 1000), (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 2.0, 4.0))
    ]
    jobs = [
        (cell, runs, setting.seed, part)
        for cell in cells
        for part, runs in enumerate(setting.parts(min(setting.runs, 500), size=25))
    ]
    found: dict[Slowness, list[Ends | None]] = {cell: [] for cell in cells}
    for (cell, *_), ends in zip(jobs, spread(_slow, jobs, setting.cores), strict=True):
        found[cell].append(ends)
    rows, bars = [], []
    for edges, rps in itertools.product(durations.EDGES, (1, 10, 1000)):
        line = [edges, f"{rps:g} rps"]
        for cell in (cell for cell in cells if (cell.edges, cell.rps) == (edges, rps)):
            parts = [one for one in found[cell] if one is not None]
            if len(parts) < len(found[cell]):
                line.append("not told")
                continue
            ends = Ends.joined(parts)
            share, delay = percent(ends.share()), ends.delay(cell.case)
            line.append(f"{share}" if math.isinf(delay) else f"{share}, {minutes(delay)}")
            healthy = {1.0: 0.5, 1.2: 5.0}.get(cell.ratio)
            if healthy is not None and edges != "classic, default":
                what = f"{edges}, {rps:g} rps: reverted at {cell.ratio:g} times the duration"
                bars.append(Row(what, healthy, 100 * ends.share(), "%", _exactly(ends, "")))
        rows.append(line)
    text = (
        "Durations are lognormal (sigma 0.8, median 100 ms); the metric is p99 with maxIncrease 30 %. Reverted within"
        " an hour, in percent, and minutes until then where at least half are. Not told: a histogram that does not show"
        " the difference, and says so. Default edges are up to 2.5 times apart, so that the limit is where they are."
    )
    head = ("histogram", "candidate", "×1", "×1.1", "×1.2", "×1.3", "×1.4", "×1.5", "×2", "×4")
    return Sheet("7.5", "Latency", text, head, rows, bars)


def _slow(job: tuple[Slowness, int, int, int]) -> Ends | None:
    slowness, runs, seed, part = job
    rng = random_of(seed, slowness, part)
    trace = durations.trace(rng, runs, slowness)
    return None if trace is None else by_us(durations.judge(), trace, slowness.case, rng)


# 7.8


def gauges(setting: Setting) -> Sheet:
    """Levels that may be a fifth higher."""
    kinds, ratios = ((0.8, 0.1), (0.8, 0.2), (0.95, 0.3)), (1.0, 1.1, 1.2, 1.5, 2.0)
    many = min(setting.runs, 1000)
    jobs = [
        (Level(memory, deviation, ratio), runs, setting.seed, part)
        for memory, deviation in kinds
        for ratio in ratios
        for part, runs in enumerate(setting.parts(many))
    ]
    found: dict[Level, list[int]] = {}
    for (level, *_), some in zip(jobs, spread(_paused, jobs, setting.cores), strict=True):
        found.setdefault(level, []).extend(some)
    rows = []
    for memory, deviation in kinds:
        line = [f"{memory:g}", f"{deviation:.0%}"]
        for ratio in ratios:
            looks = np.array(found[Level(memory, deviation, ratio)])
            when = float(np.median(np.where(looks == NEVER, math.inf, looks + 1))) * levels.SECONDS / 60
            share = percent(float(np.mean(looks != NEVER)))
            line.append(share if math.isinf(when) else f"{share}, {minutes(when)}")
        rows.append(line)
    text = (
        "A level with `maxIncrease: 20%`, one pod against nine; looks every 30 s, an hour. Memory: the share of a pod's"
        " surplus that is left at the next look. Paused, in percent, and minutes until then where at least half are."
        " No law covers this, so there is no bar; a gauge pauses and does not revert."
    )
    head = ("memory", "deviation", *(f"×{ratio:g}" for ratio in ratios))
    return Sheet("7.8", "Gauges", text, head, rows)


def _paused(job: tuple[Level, int, int, int]) -> list[int]:
    level, runs, seed, part = job
    return levels.ended(level, random_of(seed, level, part), runs)


# Whole releases


_SERVICES = tuple(
    Service(rps, base, ratio, noise)
    for rps, base, ratio, noise in (
        (10, 0.01, 1.0, 0.0), (10, 0.01, 1.2, 0.0), (10, 0.01, 2.0, 0.0), (10, 0.01, 5.0, 0.0), (10, 0.01, 1.0, 0.5),
        (10, 0.01, 2.0, 0.5), (100, 0.001, 1.0, 0.0), (100, 0.001, 2.0, 0.0), (1, 0.001, 1.0, 0.0),
        (1, 0.001, 2.0, 0.0),
    )
)  # fmt: skip


def releases(setting: Setting) -> Sheet:
    """From the first weight to the end."""
    many = max(1, setting.runs // 4)
    jobs = [
        (service, runs, setting.seed, part)
        for service in _SERVICES
        for part, runs in enumerate(setting.parts(many, size=10))
    ]
    found: dict[Service, list[Story]] = {service: [] for service in _SERVICES}
    for (service, *_), stories in zip(jobs, spread(_released, jobs, setting.cores), strict=True):
        found[service] += stories
    rows, bars = [], []
    for service, stories in found.items():
        ends = {end: sum(one.ended == end for one in stories) / many for end in ("promoted", "reverted", "held")}
        noise = f", pods ±{service.noise:.0%}" if service.noise else ""
        told = f"{service.rps:g} rps, {service.base:.1%}, ×{service.ratio:g}{noise}"
        took = float(np.median([one.took for one in stories]))
        failed = float(np.mean([one.failed for one in stories]))
        rows.append([told, *(percent(share) for share in ends.values()), f"{took:.0f} m", count(failed)])
        wrong = {1.0: "reverted", 2.0: "promoted"}.get(service.ratio)
        if wrong is not None and service.rps >= 10:
            low, high = bounds(ends[wrong] * many, many)
            doubt = f"{percent(low)} to {percent(high)} %"
            bars.append(Row(f"{told}: {wrong}", 1.0, 100 * ends[wrong], "%", doubt))
    text = (
        "Default steps and the default analysis (`advance: Baked`, errors and, as no histogram is exposed, no latency),"
        f" the Service's requests as given, ten replicas, scrapes every 15 s; {many} releases each. Held: somebody is"
        " to decide. Failed: requests that the candidate failed until the end, mean. At 1 rps and 0.1 % a release has"
        " about two errors in its first hour: there is nothing to tell by, as `tidegate plan` says before it."
    )
    head = ("release", "promoted, %", "reverted, %", "held, %", "took, median", "failed")
    return Sheet("whole", "Whole releases", text, head, rows, bars)


def _released(job: tuple[Service, int, int, int]) -> list[Story]:
    service, runs, seed, part = job
    rng = random_of(seed, service, part)
    return [story(service, AnalysisSpec(), rng) for _ in range(runs)]


# What it costs


def cost(setting: Setting) -> Sheet:
    """The operator's time for a look, and what it keeps."""
    rows, bars = [], []
    least = math.inf
    for replicas in (3, 10, 32):
        service = Service(200, 0.01, replicas=replicas)
        spec = AnalysisSpec(metrics=DEFAULT_METRICS[:1])
        looks = releases_of.looks(service, spec, random_of(setting.seed, service, 0), 240)
        spent = float(np.median([look.seconds for look in looks])) * 1000
        kept = max(look.kept for look in looks) / 1024
        rows.append([str(replicas), f"{spent:.2f} ms", f"{kept:.2f} KB"])
        bars.append(Row(f"a look with {replicas} pods: time of one metric", 1, spent, "ms", "median of 240"))
        least = min(least, spent)
        bars.append(Row(f"a look with {replicas} pods: what is kept of one metric", 4, kept, "KB", "the most of 240"))
    bars.append(Row("a look with 32 pods: time, of one with 3", 3, spent / least, "×", "on any machine"))
    text = (
        "`core.analysis.look` with the errors of so many pods of each revision: answers counted, journal read and"
        " written, findings told. Processor time, on whatever machine this ran."
    )
    return Sheet("cost", "What a look costs", text, ("pods of an arm", "time", "kept"), rows, bars)


TABLES: Mapping[str, Callable[[Setting], Sheet]] = {
    "7.1": kernel,
    "7.2": false_reverts,
    "7.3": detection,
    "late": late,
    "7.4": wrong_passes,
    "7.5": latency,
    "7.6": business,
    "7.7": limits,
    "7.8": gauges,
    "whole": releases,
    "cost": cost,
}

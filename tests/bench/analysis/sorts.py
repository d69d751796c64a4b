"""Tables 7.5 to 7.8: durations, business rates, limits and gauges."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tests.bench.analysis import durations, engine, levels
from tests.bench.analysis.durations import Slowness
from tests.bench.analysis.engine import NEVER, Judge
from tests.bench.analysis.levels import Level
from tests.bench.analysis.measure import Ends, Setting, by_us, random_of, spread
from tests.bench.analysis.sheet import Sheet, minutes, percent, share_bar
from tests.bench.analysis.worlds import WORLDS, Case
from tidegate.api.analysis import MetricSpec, RatioSpec

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
            bars.append(share_bar(f"{what}, {sessions} sessions a second", 5, ends.share(), len(ends.looks)))
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
    runs = len(edge.looks)
    bar = share_bar("reverted at exactly the limit", 5, edge.share(), runs, "all rates; alpha is 5 %")
    text = "Errors with `max: 5%` and no comparison. Reverted within an hour, and minutes until then, median of all."
    return Sheet("7.7", "Absolute limits", text, ("requests", "errors", "reverted, %", "delay"), rows, (bar,))


def _limited(job: tuple[tuple[float, float], int, int, int]) -> Ends:
    (rps, rate), runs, seed, part = job
    case = Case(rps, 0.01, rate / 0.01)
    rng = random_of(seed, ("limit", rps, rate), part)
    return by_us(engine.errors(increase=None, limit="5%"), WORLDS["stationary"](rng, runs, case), case, rng)


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
                bars.append(share_bar(what, healthy, ends.share(), len(ends.looks)))
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

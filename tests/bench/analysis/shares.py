"""Tables 7.2 to 7.4: shares of requests that fail, of healthy and of bad candidates."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tests.bench.analysis import plot
from tests.bench.analysis.engine import NEVER
from tests.bench.analysis.measure import Cell, Ends, Setting, keyed
from tests.bench.analysis.sheet import Sheet, count, minutes, percent, share_bar
from tests.bench.analysis.worlds import KNOWN, WORLDS, Case
from tests.bench.bars import Row

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
            bars.append(share_bar(what, most, ends.share(), len(ends.looks), where))
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
        what = f"{world}, {many[0]} pods: twice as bad, proven"
        bars.append(share_bar(what, 0.5, passed(key), setting.runs, f"{key[2]} rps"))
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

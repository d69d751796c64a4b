"""The bench of the analysis is right about the engine, and about the rules of others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.bench.analysis import __main__ as command
from tests.bench.analysis import engine, rivals, sieve
from tests.bench.analysis.durations import Slowness, judge, trace
from tests.bench.analysis.engine import NEVER, Judge
from tests.bench.analysis.measure import Cell, Ends, Setting, measured
from tests.bench.analysis.plot import dots
from tests.bench.analysis.releases import Service, story
from tests.bench.analysis.rivals import Minutes
from tests.bench.analysis.sheet import Sheet
from tests.bench.analysis.tables import TABLES
from tests.bench.analysis.worlds import WORLDS, Array, Case
from tests.bench.bars import Row

from tidegate.api.analysis import AnalysisSpec, MetricSpec, RatioSpec

SALES = Judge.of(
    MetricSpec(name="sales", ratio=RatioSpec(of="orders_total", to="sessions_total"), max_decrease=0.05)
)  # fmt: skip


@pytest.mark.parametrize("world", WORLDS)
def test_the_arrays_judge_as_the_engine_does(world: str) -> None:
    made = WORLDS[world](np.random.default_rng(3), 4, Case(10, 0.01, 2.5, looks=40))
    found = sieve.found(engine.errors(limit="5%"), made, proving=True)
    truth = [engine.ended(engine.errors(limit="5%"), made, run, proving=True) for run in range(4)]
    assert list(zip(found.failed.tolist(), found.passed.tolist(), strict=True)) == truth


@pytest.mark.parametrize("pods", [(1, 9), (3, 27)])
def test_one_pod_proves_nothing_where_pods_differ_for_long(pods: tuple[int, int]) -> None:
    made = WORLDS["persistent offsets of pods"](np.random.default_rng(4), 8, Case(10, 0.01, looks=60, pods=pods))
    for by, most in ((engine.errors(), 4 if pods[0] == 1 else 8), (replace(engine.errors(), tempered=False), 8)):
        found = sieve.found(by, made, proving=True)
        assert found.passed.tolist() == [engine.ended(by, made, run, proving=True)[1] for run in range(8)]
        assert most - 4 <= (found.passed != NEVER).sum() <= most


@pytest.mark.parametrize(
    ("by", "case"),
    [
        (SALES, Case(100, 0.03, 0.7, looks=40)),
        (engine.errors(increase=None, limit="5%"), Case(10, 0.01, 8, looks=40)),
        (engine.errors(), Case(1, 0.01, math.inf, onset=10, looks=20)),
        (engine.errors(increase=0.2, confidence=0.99), Case(1000, 0.01, 1.5, looks=20, pods=(3, 27))),
    ],
)
def test_of_any_metric(by: Judge, case: Case) -> None:
    made = WORLDS["pod noise, CV 0.3"](np.random.default_rng(5), 4, case)
    found = sieve.found(by, made)
    assert [engine.ended(by, made, run)[0] for run in range(4)] == found.failed.tolist()
    assert (found.failed != NEVER).any()


@pytest.mark.parametrize("world", WORLDS)
def test_a_healthy_candidate_is_as_stable_is(world: str) -> None:
    made = WORLDS[world](np.random.default_rng(1), 100, Case(100, 0.01))
    for arm in (made.candidate, made.stable, made.past):
        assert (arm.events <= arm.requests).all()
    ours, theirs = (arm.events.sum() / arm.requests.sum() for arm in (made.candidate, made.stable))
    differs = {
        "a noisy neighbour": (0.5, 0.9),  # it is stable's
        "cold caches after the warm-up": (1.0, 1.2),
        "weights shift in mid-look": (1.1, 1.3),  # most of its requests come when all fail more
    }
    low, high = differs.get(world, (0.9, 1.1))
    assert low < ours / theirs < high


def minutes(candidate: list[float], stable: list[float], requests: float = 1000) -> Minutes:
    def arm(rates: list[float]) -> tuple[Array, Array]:
        asked = np.array([[0.0 if math.isnan(rate) else requests for rate in rates]])
        return np.nan_to_num(np.array([rates])) * requests, asked

    return Minutes(arm(candidate), arm(stable))


NONE = math.nan
BAD, GOOD = 0.02, 0.001


@pytest.mark.parametrize(
    ("rule", "rates", "minute"),
    [
        (rivals.flagger, [BAD, GOOD] * 5, 8),
        (rivals.flagger, [NONE] * 5, 4),
        (rivals.flagger, [BAD] * 4 + [GOOD] * 5, NEVER),
        (rivals.in_a_row, [BAD, BAD, GOOD, BAD, BAD, BAD], 5),
        (rivals.in_a_row, [BAD, BAD, GOOD] * 4, NEVER),
        (rivals.argo, [BAD, GOOD] * 4, 6),
        (rivals.argo, [GOOD] + [NONE] * 4, 4),
        (rivals.argo, [NONE] * 5 + [GOOD], 4),
        (rivals.argo_two_sided, [0.015] * 10, NEVER),
        (rivals.argo_two_sided, [0.03] * 4, 3),
    ],
)
def test_thresholds_count_as_the_tools_do(
    rule: Callable[[Minutes, float], rivals.Whole], rates: list[float], minute: int
) -> None:
    assert rule(minutes(rates, [GOOD] * len(rates)), 0.01).tolist() == [minute]


@pytest.mark.parametrize(
    ("candidate", "stable", "minute"),
    [
        ([6.0, 7, 8, 9, 10], [0.0, 1, 2, 3, 4], 4),
        ([5.0, 6, 7, 8, 9], [0.0, 1, 2, 3, 4], NEVER),
        ([6.0, 7, 8, 9], [0.0, 1, 2, 3], NEVER),
        ([2.0] * 10, [2.0] * 10, NEVER),
        ([4.0, 3, 2, 1, 0], [9.0, 8, 7, 6, 5], NEVER),
        ([6.0, NONE, 7, 8, 9, 10], [0.0, 1, 2, 3, 4, 4], 5),
    ],
)
def test_kayenta_needs_five_points_and_an_interval_that_is_well_above_zero(
    candidate: list[float], stable: list[float], minute: int
) -> None:
    ours, theirs = ([rate / 100 for rate in rates] for rates in (candidate, stable))
    assert rivals.kayenta_peeking(minutes(ours, theirs), 0.01).tolist() == [minute]


def test_exposure_ends_with_the_revert_and_begins_with_the_onset() -> None:
    cell = Cell("stationary", Case(10, 0.01, math.inf, onset=10, looks=40), rules=("3 failed checks in a row",))
    ends = measured([cell], Setting(runs=20, seed=1, cores=1))[cell]
    ours, theirs = ends["tidegate"], ends["3 failed checks in a row"]
    assert ours.looks.tolist() == [10] * 20
    assert ours.exposure.mean() == pytest.approx(300, rel=0.1)
    assert theirs.delay(cell.case) == 3
    assert theirs.exposure.mean() == pytest.approx(1800, rel=0.1)


def test_the_same_seed_is_the_same_figure() -> None:
    cell = Cell("clusters of 5", Case(10, 0.01, 3))
    first, second = (measured([cell], Setting(runs=10, seed=4, cores=cores))[cell]["tidegate"] for cores in (1, 2))
    assert first.looks.tolist() == second.looks.tolist()


def test_slow_requests_are_cut_by_the_engine() -> None:
    slow, healthy = (
        sieve.found(judge(), made)
        for ratio in (4.0, 1.0)
        if (made := trace(np.random.default_rng(1), 3, Slowness("native, schema 3", 10, ratio)))
    )
    assert (slow.failed != NEVER).all()
    assert (healthy.failed == NEVER).all()


def test_a_whole_release_ends() -> None:
    good, bad = (story(Service(20, 0.01, ratio), AnalysisSpec(), np.random.default_rng(2)) for ratio in (1.0, 20.0))
    assert (good.ended, good.took) == ("promoted", 65)
    assert bad.ended == "reverted"
    assert bad.took < 10


def test_the_report_keeps_its_other_sections(tmp_path: Path) -> None:
    first = Sheet(
        "7.2", "Second", "text", ("a",), [("1",)], (Row("x", 1, 2, "%"),), {"plot": dots("t", ["r"], {"s": [1]}, 0.1)}
    )
    other = Sheet("7.1", "First", "text", ("a",), [("2",)])
    for sheet in (first, other, first):
        command.write(tmp_path, sheet, "Seed 1.")
    told = (tmp_path / "analysis-figures.md").read_text()
    assert told.index("## First") < told.index("## Second")
    assert told.count("## Second") == 1
    assert "| x | ≤ 1 % | 2 % |  | **no** |" in told
    assert "![plot](analysis-figures-7.2.svg)" in told
    assert (tmp_path / "analysis-figures-7.2.svg").read_text().startswith("<svg")


def test_a_table_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--runs", "2", "--cores", "1", "--table", "7.8"]) == 0
    assert "## Gauges" in capsys.readouterr().out
    assert len(TABLES) == 11


def test_never_is_not_soon() -> None:
    ends = Ends(np.array([NEVER, NEVER, 3]), np.zeros(3), np.full(3, NEVER))
    assert ends.delay(Case(1, 0.1)) == math.inf

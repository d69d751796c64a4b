"""The tables of the report, by the numbers that the study of the engine gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.bench.analysis.kernel import kernel
from tests.bench.analysis.measure import Setting
from tests.bench.analysis.shares import detection, false_reverts, late, wrong_passes
from tests.bench.analysis.sheet import Sheet
from tests.bench.analysis.sorts import business, gauges, latency, limits
from tests.bench.analysis.whole import cost, releases

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

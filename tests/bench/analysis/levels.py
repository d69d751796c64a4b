"""Gauges: levels of both arms that move slowly, judged by the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tests.bench.analysis.engine import NEVER
from tests.bench.analysis.worlds import Array, Random
from tidegate.api.analysis import AnalysisSpec, GaugeSpec, MetricSpec, OnFail
from tidegate.core import metric as held
from tidegate.core.verdict import decision, gauge
from tidegate.core.verdict.evidence import Evidence
from tidegate.core.verdict.gauge import Levels
from tidegate.core.verdict.mixture import Pace

LOOKS, SECONDS = 120, 30.0
_PODS = 9
_METRIC = MetricSpec(name="memory", gauge=GaugeSpec(query='memory_bytes{pod=~"{{pods}}"}'), max_increase=0.2)


@dataclass(frozen=True)
class Level:
    """A gauge that is so much higher in the candidate's one pod than in stable's nine."""

    memory: float
    """How much of its surplus a pod's level keeps until the next look."""
    deviation: float
    """Of a pod's level, as a share of it."""
    ratio: float


def ended(level: Level, rng: Random, runs: int) -> list[int]:
    """The look with which each run is paused, or ``NEVER``."""
    walks = _walks(level, rng, runs)
    return [_ended(level.ratio * walk[:, 0], walk[:, 1:].mean(axis=1)) for walk in walks]


def _walks(level: Level, rng: Random, runs: int) -> Array:
    """Per run, look and pod."""
    state = rng.normal(0, level.deviation, (runs, 1 + _PODS))
    found = np.empty((runs, LOOKS, 1 + _PODS))
    fresh = level.deviation * math.sqrt(1 - level.memory**2)
    for look in range(LOOKS):
        found[:, look] = np.maximum(1 + state, 0.0)
        state = level.memory * state + rng.normal(0, fresh, state.shape)
    return found


def _ended(candidate: Array, stable: Array) -> int:
    spec, rule = AnalysisSpec(metrics=(_METRIC,), min_requests=0), held.rule(_METRIC)
    plan = held.plan(spec, OnFail.Pause)
    caps = plan.caps_of(_METRIC.name)
    lasts = max(gauge.BLOCK / SECONDS, gauge.LEAST_LOOKS)
    pace = Pace(math.ceil(LOOKS / lasts), 1)
    evidence, levels = Evidence.new(rule), Levels()
    for look, (ours, theirs) in enumerate(zip(candidate.tolist(), stable.tolist(), strict=True)):
        levels, block = levels.after(ours, theirs, look * SECONDS)
        if block is not None:
            evidence = evidence.after_block(block, rule, pace, caps)
            if decision.judge(plan, {_METRIC.name: evidence}).failed:
                return look
    return NEVER

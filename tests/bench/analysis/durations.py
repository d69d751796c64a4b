"""Slow requests: durations of both arms in histograms, cut and counted by the engine's own functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tests.bench.analysis.engine import Judge
from tests.bench.analysis.worlds import Arm, Array, Case, Random, Trace
from tidegate.api.analysis import MetricSpec, Preset
from tidegate.core import metric as held
from tidegate.core.verdict import histogram
from tidegate.core.verdict.latency import Latency

CLASSIC = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
"""The edges that client libraries have by default."""
NATIVE = (*(2 ** (exponent / 8) for exponent in range(-48, 33)), math.inf)
"""Those of a native histogram of schema 3."""
SUITED = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.3, 2.0, 5.0, math.inf)
"""Edges as somebody would choose them who knows the service."""
EDGES = {"native, schema 3": NATIVE, "classic, suited": SUITED, "classic, default": CLASSIC}

_METRIC = MetricSpec(name="errors", preset=Preset.Latency, quantile="p99", max_increase=0.3)


@dataclass(frozen=True)
class Slowness:
    """A candidate that is so much slower."""

    edges: str
    rps: float
    ratio: float
    sigma: float = 0.8
    """Of the logarithm of the durations."""
    median: float = 0.1
    """Stable's, in seconds."""

    @property
    def case(self) -> Case:
        """As the other worlds have it."""
        return Case(self.rps, 0.01, self.ratio)


def judge() -> Judge:
    """p99, at most 30 % more."""
    return Judge.of(_METRIC)


def _shares(slowness: Slowness, scale: float) -> Array:
    """Of requests, by bucket."""
    below = [
        1.0 if math.isinf(edge) else NormalDist(0, slowness.sigma).cdf(math.log(edge / (slowness.median * scale)))
        for edge in EDGES[slowness.edges]
    ]
    shares: Array = np.diff([0.0, *below])
    return shares


def trace(rng: Random, runs: int, slowness: Slowness) -> Trace | None:
    """What counts as slow, of requests of both arms; None where the buckets do not tell."""
    case, edges = slowness.case, EDGES[slowness.edges]
    counts = {
        "candidate": _counted(rng, (runs, case.looks, case.pods[0]), case.rps * case.seconds, slowness, slowness.ratio),
        "stable": _counted(rng, (runs, case.span, case.pods[1]), case.stable_rps * case.seconds, slowness, 1.0),
    }
    cuts = held.cuts(_METRIC)
    arms = []
    for run in range(runs):
        before = counts["stable"][run, : case.history].sum(axis=(0, 1))
        latency = Latency().starting_from([dict(zip(edges, np.cumsum(before).tolist(), strict=True))]).cut(cuts)
        if latency.slow is None or not latency.resolved:
            return None
        weights = [_slow(edges, cut) for cut in (latency.slow * (cuts.factor or 1), latency.slow)]
        arms.append((counts["candidate"][run] @ weights[0], counts["stable"][run] @ weights[1]))
    whole = Arm(counts["stable"].sum(axis=3), np.array([stable for _, stable in arms]))
    candidate = Arm(counts["candidate"].sum(axis=3), np.array([ours for ours, _ in arms]))
    return Trace(candidate, whole.looks(case.history, case.span), whole.looks(0, case.history))


def _counted(rng: Random, shape: tuple[int, int, int], expected: float, slowness: Slowness, scale: float) -> Array:
    requests = rng.poisson(expected / shape[2], shape)
    return rng.multinomial(requests, _shares(slowness, scale)).astype(float)


def _slow(edges: tuple[float, ...], cut: float) -> Array:
    """How much of a request in each bucket counts as slower than ``cut``."""
    return np.array(
        [
            histogram.slower({edge: float(at >= bucket) for at, edge in enumerate(edges)}, cut)
            for bucket in range(len(edges))
        ]
    )

"""A metric: its limits as tests, what is known of it, and how that is kept from look to look."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from tidegate.api.analysis import AnalysisSpec, MetricSpec, OnFail, Preset
from tidegate.core.answered import Trouble
from tidegate.core.arms import Side
from tidegate.core.counters import Ledger
from tidegate.core.verdict.decision import Family, Plan
from tidegate.core.verdict.dispersion import Dispersion
from tidegate.core.verdict.evidence import Evidence, Rule
from tidegate.core.verdict.gauge import Levels
from tidegate.core.verdict.kernel import Boundary
from tidegate.core.verdict.latency import Cuts, Latency
from tidegate.core.verdict.mixture import Pace

FORM = 3
"""Of what is kept from look to look; evidence of another form, of another version's, is void."""
_METRICS = 4096
"""Of so many what only depends on their specs is not worked out again at each look."""


@lru_cache(_METRICS)
def rule(metric: MetricSpec) -> Rule:
    """The boundaries of a metric's tests. ANALYSIS.md §4."""
    increase, limit = metric.max_increase, metric.limit
    if metric.preset is Preset.Latency:
        beyond = 1 - metric.level
        return Rule(
            relative=None if increase is None else Boundary(rho=1.0, delta=beyond / 100),
            margin=beyond / 10,
            absolute=None if limit is None else beyond,
            breaker=False,
            banded=False,
            usual=beyond,
        )
    if metric.gauge is not None:
        return Rule(
            relative=None if increase is None else Boundary(rho=1 + increase, delta=0.0),
            margin=0.0,
            absolute=limit,
            breaker=False,
            banded=False,
            usual=1e-3,
            level=True,
        )
    if metric.max_decrease is not None:
        least = Boundary(rho=1 - metric.max_decrease, delta=0.0)
        return Rule(relative=least, margin=0.0, absolute=None, breaker=False, banded=True, usual=1e-2, rising=False)
    return Rule(
        relative=None if increase is None else Boundary(rho=1 + increase, delta=1e-5),
        margin=1e-3,
        absolute=limit,
        breaker=metric.preset is Preset.ErrorRatio,
        banded=True,
        usual=1e-3,
    )


def cuts(metric: MetricSpec) -> Cuts:
    """What is slow, for a latency metric."""
    factor = None if metric.max_increase is None else 1 + metric.max_increase
    return Cuts(metric.level, factor, metric.limit)


@lru_cache(_METRICS)
def plan(spec: AnalysisSpec, on_fail: OnFail = OnFail.Revert) -> Plan:
    """The weights of all tests of the metrics that do this when they fail: what only pauses takes nothing from what
    reverts, and adds nothing to it."""
    metrics = [metric for metric in spec.metrics if metric.fails_by is on_fail]
    return Plan.of({metric.name: (_family(metric), rule(metric)) for metric in metrics}, 1 - spec.confidence)


def _family(metric: MetricSpec) -> Family:
    if metric.max_decrease is not None:
        return Family.Business
    if metric.preset is None:
        return Family.Other
    return Family.Latency if metric.preset is Preset.Latency else Family.Errors


@dataclass(frozen=True)
class Known:
    """What is known of a metric."""

    evidence: Evidence
    ledgers: Mapping[Side, Ledger]
    latency: Latency
    source: str | None = None
    """Whose counters it goes by; None until that is seen."""
    settled: bool = True
    """It is not to be looked for again: else the source holds for this look, and is not kept."""
    dispersion: Dispersion = Dispersion()
    levels: Levels = Levels()
    failed: bool = False
    """Whether it is beyond its limits and pauses the release. It stays so until somebody decides."""
    trouble: Trouble | None = None
    """Why it could not be measured in this look; not kept."""
    caveat: str = ""
    """Of the first look: what stable's pods did before that makes the comparison weak; not kept."""

    @staticmethod
    def nothing(metric: MetricSpec) -> Known:
        """At the beginning."""
        return Known(Evidence.new(rule(metric)), dict.fromkeys(Side, Ledger()), Latency())

    @property
    def had_data(self) -> bool:
        """Whether there was ever a sample."""
        return self.levels != Levels() or any(ledger.marks for ledger in self.ledgers.values())

    def forgiven(self, metric: MetricSpec) -> Known:
        """Somebody has decided that the release goes on: the evidence begins anew, and what was counted is known."""
        return replace(self, evidence=Evidence.new(rule(metric)), failed=False) if self.failed else self

    def dump(self, metric: MetricSpec, origin: int) -> dict[str, Any]:
        """As JSON; ``origin`` as for ``Ledger.dump``."""
        kept = {
            "spec": _fingerprint(metric),
            "source": self.source if self.settled else None,
            **{side.value: self.ledgers[side].dump(origin) for side in Side},
            "latency": self.latency.dump() if metric.preset is Preset.Latency else None,
            "levels": self.levels.dump() if metric.gauge else None,
            "failed": self.failed,
            "dispersion": self.dispersion.dump() if metric.gauge is None else None,
            "evidence": self.evidence.dump(),
        }
        return {name: one for name, one in kept.items() if one is not None}

    @staticmethod
    def load(data: Mapping[str, Any] | None, metric: MetricSpec, origin: int) -> Known:
        """The inverse of ``dump``; nothing is known of a metric that is new, or that is held to other limits now."""
        if data is None or data["spec"] != _fingerprint(metric):
            return Known.nothing(metric)
        latency = Latency.load(data["latency"]) if "latency" in data else Latency()
        ledgers = {side: Ledger.load(data[side.value], origin) for side in Side}
        dispersion = Dispersion.load(data["dispersion"]) if "dispersion" in data else Dispersion()
        levels = Levels.load(data["levels"]) if "levels" in data else Levels()
        evidence = Evidence.load(data["evidence"])
        return Known(
            evidence, ledgers, latency, data.get("source"), dispersion=dispersion, levels=levels, failed=data["failed"]
        )


def _text(kept: object) -> str:
    """As JSON: by pydantic's writer, as the numbers are many and ``json`` takes six times as long."""
    return to_json(kept).decode()


@lru_cache(_METRICS)
def _fingerprint(metric: MetricSpec) -> int:
    return zlib.crc32(json.dumps(metric.wire(), sort_keys=True).encode(), FORM)


@dataclass(frozen=True)
class Journal:
    """What is kept from look to look. Times are Unix milliseconds, as Prometheus has them."""

    compared: tuple[str, str]
    """The names of both arms: of no others does the evidence speak."""
    started: int
    pace: Pace
    sampled: int | None = None
    """The candidate's newest sample."""
    period: int | None = None
    """How often counters are scraped."""
    metrics: Mapping[str, Known] = field(default_factory=dict)

    def dump(self, spec: AnalysisSpec) -> str:
        """As JSON text."""
        kept = {metric.name: self.metrics[metric.name].dump(metric, self.started) for metric in spec.metrics}
        return _text({"journal": self._head, "metrics": kept})

    def heading(self) -> str:
        """The beginning of it, of which ``times`` reads: where the rest is kept as it is."""
        return _text(self._head)

    @property
    def _head(self) -> list[object]:
        return [*self.compared, self.started, self.pace.polls, self.pace.steps, self.sampled, self.period]

    @staticmethod
    def times(text: str) -> tuple[int, int | None, int | None]:
        """``started``, ``sampled`` and ``period`` alone: the text begins with them, and the evidence is long."""
        head, _ = json.JSONDecoder().raw_decode(text, text.index("["))
        return head[2], head[5], head[6]

    @staticmethod
    def sources(text: str, spec: AnalysisSpec, compared: tuple[str, str]) -> dict[str, str | None]:
        """By metric, whose counters it goes by; not of those whose evidence ``load`` would not go on with."""
        data = from_json(text)
        if tuple(data["journal"][:2]) != compared:
            return {}
        kept = ((metric, data["metrics"].get(metric.name)) for metric in spec.metrics)
        return {metric.name: one.get("source") for metric, one in kept if one and one["spec"] == _fingerprint(metric)}

    @staticmethod
    def load(text: str, spec: AnalysisSpec) -> Journal:
        """The inverse of ``dump``."""
        data = from_json(text)
        stable, candidate, started, polls, steps, sampled, period = data["journal"]
        kept = data["metrics"]
        metrics = {metric.name: Known.load(kept.get(metric.name), metric, started) for metric in spec.metrics}
        return Journal((stable, candidate), started, Pace(polls, steps), sampled, period, metrics)

"""How the rollout of a FeatureFlag grows, step by step, and what it is watched by."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from tidegate.api.analysis import COUNTER_NAME, AnalysisSpec, CounterSource, Source, is_counter_name
from tidegate.api.base import Duration, Model, Named, Rules, Time
from tidegate.api.cel import first, literal, quoted
from tidegate.api.flagrules import (
    BUILT_IN,
    NO_BOOLEAN_WORDS,
    NO_BUILT_IN,
    NOT_ALL_ZERO,
    NOT_BOOLEAN_WORDS,
    NOT_SERVE_AND_SPLIT,
    SOMEBODY,
    Attribute,
    Split,
    VariantName,
    wrong_split,
)


class Approval(StrEnum):
    """Who decides that a step is entered."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"
    """Somebody: `kubectl tidegate approve featureflag/NAME`."""


THOUSANDTHS = "percentage: at most three decimal places: what is finer is nobody, or everybody"


class RolloutStep(Model):
    """A share of everybody, and how long it is watched."""

    percentage: Annotated[float, Field(ge=0, le=100)]
    """Of all who ask, to three decimal places. 100 is everybody, also those without a key."""
    bake: Duration = timedelta(0)
    """How long it is watched before the next."""
    approval: Approval = Approval.AUTOMATIC
    """Manual: the step is entered when somebody approves."""

    cel_rules: ClassVar[Rules] = (
        (
            "[self.percentage * 1000.0 - double(int(self.percentage * 1000.0 + 0.5))]"
            ".all(rest, rest < 0.000001 && rest > -0.000001)",
            THOUSANDTHS,
        ),
    )

    @model_validator(mode="after")
    def _is_no_finer_than_buckets(self) -> Self:
        if abs(self.percentage * 1000 - round(self.percentage * 1000)) > 1e-6:
            raise ValueError(f"{THOUSANDTHS} (got {self.percentage!r})")
        return self


ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class Weekday(StrEnum):
    """Days of a window."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class Window(Model):
    """When a rollout may grow."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = tuple(Weekday)
    """On which days it begins."""
    start: Annotated[ClockTime, Field(alias="from")] = "00:00"
    """From then on, as the clocks of the time zone show it."""
    to: ClockTime = "23:59"
    """Until then; one that is not after `from` is of the next day."""
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    """As in the time zone database: Europe/Berlin."""


class Schedule(Model):
    """When a rollout may begin and grow. It holds growth, never the way back."""

    start_at: Time | None = None
    """Not before."""
    windows: Annotated[tuple[Window, ...], Field(max_length=16)] = ()
    """Within one of these only. Default: at any time."""


STEPS_GROW = "steps: percentages must grow from step to step: a rollout that shrinks in its middle proves nothing"
TELLS_VARIANTS_APART = (
    "analysis: of and to must tell who is in from who is not: give the bare name of a counter, or use {{variant}} in"
    " the query"
)


GAUGE_TELLS_VARIANTS_APART = "analysis: gauge.query must tell who is in from who is not: use {{variant}} in the query"
NO_PODS = (
    "analysis: source: Pods is of releases: who evaluates a flag may be any pod, and nobody knows which to read; leave"
    " it out, or set source: Prometheus"
)
NO_ROUTER = "analysis: from: Router is of releases: no router knows who is served what; leave it out, or set from: Pods"


NO_TEMPLATES = "analysis: templateRefs are of releases: write the metrics of a flag in analysis.metrics"
_TELLS_NOTHING = (
    "has(self.analysis.metrics[i].ratio) && [self.analysis.metrics[i].ratio.of, self.analysis.metrics[i].ratio.to]"
    f".exists(q, !q.matches('{COUNTER_NAME}') && !q.contains('{{{{variant}}}}'))"
)


NEEDS_BAKE = (
    "rollout.steps: with metrics, each step that lets some in and not all needs a bake, in which they are looked at:"
    " write bake: 1h, or approval: Manual at the step after it; or analysis.metrics: [], and nothing is looked at"
)


class Rollout(Model):
    """Everybody whom no rule speaks of, by and by. Who is in stays in: it only ever grows."""

    by: Attribute = "targetingKey"
    """The attribute that tells who somebody is. Who has none waits for 100 %."""
    serve: VariantName | None = None
    """The variant for who is in. Default of a Boolean flag: on."""
    split: Split | None = None
    """Or variants by weight; nobody changes from one to another as the rollout grows."""
    steps: Annotated[tuple[RolloutStep, ...], Field(min_length=1, max_length=20)]
    """Each of a greater percentage than the one before."""
    schedule: Schedule = Schedule()
    """When it may begin and grow."""
    analysis: AnalysisSpec | None = None
    """Who is in, compared with who is not, at the same time; a breach serves offVariant to everybody at once. Bare
    counters are read by their labels `feature_flag_key` and `feature_flag_variant`; in PromQL `{{variant}}` and
    `{{flag}}` stand for an arm's. Default: steps only bake."""
    min_exposures: Annotated[int, Field(ge=0)] = 1000
    """Fewer evaluations of either arm since the step began: the step holds. Only where there is an analysis."""

    cel_rules: ClassVar[Rules] = (
        ("!(has(self.serve) && has(self.split))", NOT_SERVE_AND_SPLIT),
        (NOT_ALL_ZERO, SOMEBODY),
        (NO_BOOLEAN_WORDS, NOT_BOOLEAN_WORDS),
        (
            "self.steps.map(s, s.percentage).isSorted() &&"
            " self.steps.all(a, self.steps.exists_one(b, b.percentage == a.percentage))",
            STEPS_GROW,
        ),
        (
            "!has(self.analysis) || (has(self.analysis.metrics) && self.analysis.metrics.size() == 0) ||"
            f" {list(range(20))}.all(i, i >= self.steps.size() || self.steps[i].percentage <= 0.0 ||"
            " self.steps[i].percentage >= 100.0 ||"
            " (has(self.steps[i].bake) && self.steps[i].bake.matches('[1-9]')) ||"
            " (i + 1 < self.steps.size() && has(self.steps[i + 1].approval) &&"
            " self.steps[i + 1].approval == 'Manual'))",
            NEEDS_BAKE,
        ),
        (
            "!has(self.analysis) || !has(self.analysis.metrics) || self.analysis.metrics.all(m, !has(m.ratio) ||"
            f" [m.ratio.of, m.ratio.to].all(q, q.matches('{COUNTER_NAME}') || q.contains('{{{{variant}}}}')))",
            Named(
                TELLS_VARIANTS_APART,
                f"'metric ' + {first('self.analysis.metrics', _TELLS_NOTHING, 8)}.name"
                f" + {literal(': ' + TELLS_VARIANTS_APART)}",
            ),
        ),
        (
            "!has(self.analysis) || !has(self.analysis.metrics) || self.analysis.metrics.all(m, !has(m.gauge) ||"
            " m.gauge.query.contains('{{variant}}'))",
            GAUGE_TELLS_VARIANTS_APART,
        ),
        (
            "!has(self.analysis) || !has(self.analysis.metrics) || self.analysis.metrics.all(m, !has(m.from) ||"
            " m.from != 'Router')",
            NO_ROUTER,
        ),
        ("!has(self.analysis) || !has(self.analysis.templateRefs)", NO_TEMPLATES),
        ("!has(self.analysis) || !has(self.analysis.source) || self.analysis.source != 'Pods'", NO_PODS),
        (f"!has(self.by) || !self.by.matches({quoted(BUILT_IN)})", NO_BUILT_IN.replace("attribute", "by")),
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        shares = [step.percentage for step in self.steps]
        if self.serve is not None and self.split is not None:
            raise ValueError(NOT_SERVE_AND_SPLIT)
        if wrong := wrong_split(self.split):
            raise ValueError(wrong)
        if any(later <= earlier for earlier, later in pairwise(shares)):
            raise ValueError(f"{STEPS_GROW} (got {', '.join(f'{share:g}' for share in shares)})")
        if bare := self._unwatched():
            raise ValueError(f"{NEEDS_BAKE} (got none at {', '.join(f'{share:g} %' for share in bare)})")
        if self.analysis and self.analysis.template_refs:
            raise ValueError(NO_TEMPLATES)
        if self.analysis and self.analysis.source is Source.Pods:
            raise ValueError(NO_PODS)
        for metric in self.analysis.metrics if self.analysis else ():
            queries = metric.texts
            if metric.gauge is not None and "{{variant}}" not in metric.gauge.query:
                raise ValueError(f"metric {metric.name}: {GAUGE_TELLS_VARIANTS_APART}")
            if not all(is_counter_name(query) or "{{variant}}" in query for query in queries):
                raise ValueError(f"metric {metric.name}: {TELLS_VARIANTS_APART}")
            if metric.source is CounterSource.Router:
                raise ValueError(f"metric {metric.name}: {NO_ROUTER}")
        if re.search(BUILT_IN, self.by):
            raise ValueError(NO_BUILT_IN.replace("attribute", "by"))
        return self

    def _unwatched(self) -> list[float]:
        """Percentages that would be gone through with nothing seen of them, and nobody asked."""
        if self.analysis is None or not self.analysis.metrics:
            return []
        after = [*(step.approval for step in self.steps[1:]), Approval.AUTOMATIC]
        return [
            step.percentage
            for step, approval in zip(self.steps, after, strict=True)
            if 0 < step.percentage < 100 and not step.bake and approval is not Approval.MANUAL
        ]

"""FeatureFlag: who sees a feature. In Git like a release, answered by the flag gateway, grown step by step.

Names of variants that YAML reads as booleans (``on``, ``off``) are written in quotes; a Boolean flag has them unsaid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tidegate.api.analysis import COUNTER_NAME, AnalysisSpec, AnalysisStatus, CounterSource, Source, is_counter_name
from tidegate.api.base import Duration, Model, Named, Rules, Time
from tidegate.api.conditions import Condition
from tidegate.api.release import RequestStatus

Text = Annotated[str, Field(max_length=256)]
Part = Annotated[str, Field(min_length=1, max_length=256)]
VARIANT_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
VariantName = Annotated[str, Field(pattern=VARIANT_NAME, max_length=63)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=128)]
"""Of a flag: a part of a URL's path."""
Attribute = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)?$", max_length=63)]
"""Of the evaluation context. ``targetingKey`` is who asks; one dot goes into an object. Not deeper, and not by names
that JavaScript finds in every object or text (``BUILT_IN``): SDKs in different languages would answer differently."""
BUILT_IN = (
    r"^__|\.__|\.length$|^(constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|toLocaleString|toString"
    r"|valueOf)\."
)
_NUMBER = r"(0|[1-9][0-9]{0,14})"
_WORD = r"(0|[1-9][0-9]{0,14}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER_PATTERN = (
    rf"^(=|!=|<|<=|>|>=|~|\^)? ?v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(-{_WORD}(\.{_WORD})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$"
)
Json = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]


class FlagType(StrEnum):
    """Of which type all values of a flag are: SDKs refuse an answer of another."""

    BOOLEAN = "Boolean"
    STRING = "String"
    INTEGER = "Integer"
    NUMBER = "Number"
    OBJECT = "Object"


class Purpose(StrEnum):
    """Why the flag exists: it says for how long."""

    RELEASE = "Release"
    """It takes a feature to everybody, then it goes."""
    EXPERIMENT = "Experiment"
    """It compares, then it goes."""
    MIGRATION = "Migration"
    """It takes a system through a migration, then it goes."""
    OPERATIONAL = "Operational"
    """It sheds load, or turns off what fails. It stays, and is to be looked at now and then."""
    PERMISSION = "Permission"
    """Some may and others may not. It stays."""


REMIND_AFTER = {
    Purpose.RELEASE: timedelta(days=14),
    Purpose.EXPERIMENT: timedelta(days=14),
    Purpose.MIGRATION: timedelta(days=7),
    Purpose.OPERATIONAL: timedelta(days=90),
}
"""After how long with one answer for all a flag is Stale. Permissions never are."""


NOT_BOOLEAN_WORDS = (
    "'true' and 'false' are no names of variants: YAML reads an unquoted on, yes or true as true, and off, no or"
    ' false as false; write the name in quotes: "on", "off"'
)


class Variant(Model):
    """One of the answers."""

    name: VariantName
    """By which it is served."""
    value: Json
    """What the application gets, of the flag's type."""

    cel_rules: ClassVar[Rules] = (("!(self.name in ['true', 'false'])", NOT_BOOLEAN_WORDS),)

    @model_validator(mode="after")
    def _is_named_in_quotes(self) -> Self:
        if self.name in {"true", "false"}:
            raise ValueError(NOT_BOOLEAN_WORDS)
        return self


ON_OFF = (Variant(name="on", value=True), Variant(name="off", value=False))
"""The variants of a Boolean flag that names none."""


COMPARISONS = (
    *("equals", "in_", "not_in", "starts_with", "ends_with", "contains", "is_"),
    *("at_least", "at_most", "above", "below", "semver", "exists"),
)
"""Fields of a Test that compare."""
_GIVEN = "[{}].filter(given, given).size()".format(
    ", ".join(
        f"has(self.{name})"
        for name in (
            *("equals", "__in__", "notIn", "startsWith", "endsWith", "contains", "is"),
            *("atLeast", "atMost", "above", "below", "semver", "exists"),
        )
    )
)
ONE_COMPARISON = (
    "give an attribute with exactly one comparison: equals, in, notIn, startsWith, endsWith, contains, is, atLeast,"
    " atMost, above, below, semver or exists; several questions go into all or any"
)
ONE_QUESTION = (
    "give one of: an attribute with exactly one comparison (equals, in, notIn, startsWith, endsWith, contains, is,"
    " atLeast, atMost, above, below, semver, exists), all, any, or not"
)
NO_BUILT_IN = "attribute is a name that means something else in some SDKs (length, toString, __proto__…): use another"


def _asks(*others: str) -> Rules:
    """A question is one comparison of an attribute, or one of these other fields."""
    one, message = f"has(self.attribute) && {_GIVEN} == 1", ONE_COMPARISON
    if others:
        message = ONE_QUESTION
        which = f"[{', '.join(f'has(self.{name})' for name in others)}].filter(given, given).size()"
        one = f"has(self.attribute) ? {_GIVEN} == 1 && {which} == 0 : {_GIVEN} == 0 && {which} == 1"
    return (
        (
            one,
            Named(
                message,
                f"(has(self.attribute) ? 'attribute ' + self.attribute + ': ' : '') + {_literal(message)}",
            ),
        ),
        (f"!has(self.attribute) || !self.attribute.matches({_quoted(BUILT_IN)})", NO_BUILT_IN),
    )


def _quoted(pattern: str) -> str:
    """A regular expression as a literal of CEL."""
    return f"r'{pattern}'"


def _literal(text: str) -> str:
    """A text as a literal of CEL."""
    return "'" + text.replace("'", "\\'") + "'"


def _first(items: str, wrong: str, most: int) -> str:
    """The first item ``i`` that is wrong. Found by its number: the API server counts on the longest text there is for
    what comes out of a filter, and refuses the message as too costly."""
    return f"{items}[{list(range(most))}.filter(i, i < {items}.size() && {wrong})[0]]"


class Test(Model):
    """A question about one attribute of who asks. Exactly one comparison."""

    attribute: Attribute | None = None
    """Which. One that is missing matches nothing but `exists: false`; text compares with text, numbers with numbers."""
    equals: Text | None = None
    """It is this text."""
    in_: Annotated[tuple[Text, ...] | None, Field(alias="in", min_length=1, max_length=256)] = None
    """It is one of these."""
    not_in: Annotated[tuple[Text, ...] | None, Field(min_length=1, max_length=256)] = None
    """It is there, and none of these."""
    starts_with: Part | None = None
    """It begins with this."""
    ends_with: Part | None = None
    """It ends with this."""
    contains: Part | None = None
    """This is a part of it, or one of it where it is a list."""
    is_: Annotated[bool | None, Field(alias="is")] = None
    """It is this boolean."""
    at_least: float | None = None
    """A number, and not less than this."""
    at_most: float | None = None
    """A number, and not more than this."""
    above: float | None = None
    """A number, and more than this."""
    below: float | None = None
    """A number, and less than this."""
    semver: Annotated[str, Field(pattern=SEMVER_PATTERN, max_length=128)] | None = None
    """A version that compares so: `>=2.3.0`, `~1.4.0` (same minor), `^2.0.0` (same major), `=1.0.0`, or `1.0.0`."""
    exists: bool | None = None
    """It is there at all, or it is not."""

    cel_rules: ClassVar[Rules] = _asks()

    @model_validator(mode="after")
    def _asks_one_question(self) -> Self:
        for holds, (_, message) in zip(self._held(), self.cel_rules, strict=True):
            if not holds:
                raise ValueError(message)
        return self

    def _held(self) -> tuple[bool, ...]:
        given = sum(getattr(self, field) is not None for field in COMPARISONS)
        return self.attribute is not None and given == 1, self._names_no_built_in()

    def _names_no_built_in(self) -> bool:
        return self.attribute is None or re.search(BUILT_IN, self.attribute) is None


class _Combination(Test):
    """A question, or several of them, in its fields all, any and not_."""

    cel_rules: ClassVar[Rules] = _asks("all", "any", "not")

    def _held(self) -> tuple[bool, ...]:
        compared = sum(getattr(self, field) is not None for field in COMPARISONS)
        combined = sum(getattr(self, field) is not None for field in ("all", "any", "not_"))
        wanted = (1, 0) if self.attribute is not None else (0, 1)
        return (compared, combined) == wanted, self._names_no_built_in()


class InnerWhen(_Combination):
    """A question, or several of them."""

    all: Annotated[tuple[Test, ...] | None, Field(min_length=1, max_length=16)] = None
    """All of these hold."""
    any: Annotated[tuple[Test, ...] | None, Field(min_length=1, max_length=16)] = None
    """One of these holds, at least."""
    not_: Annotated[Test | None, Field(alias="not")] = None
    """This does not hold."""


class When(_Combination):
    """Of whom a rule speaks: a question of an attribute, or `all`, `any` or `not` of others, at most three levels."""

    all: Annotated[tuple[InnerWhen, ...] | None, Field(min_length=1, max_length=16)] = None
    """All of these hold."""
    any: Annotated[tuple[InnerWhen, ...] | None, Field(min_length=1, max_length=16)] = None
    """One of these holds, at least."""
    not_: Annotated[InnerWhen | None, Field(alias="not")] = None
    """This does not hold."""


Split = Annotated[
    dict[str, Annotated[int, Field(ge=0, le=100_000)]],
    Field(min_length=1, max_length=16),
    AfterValidator(lambda weights: dict(sorted(weights.items()))),
]
"""Variants by their weights, in the order of their names: a file's order is lost in the cluster, and users go by it."""
SOMEBODY = "split: at least one weight must be above 0"
ONE_OF_SERVE_AND_SPLIT = "give exactly one of serve and split"
NOT_SERVE_AND_SPLIT = "give serve or split, not both"
_NOT_ALL_ZERO = "!has(self.split) || self.split.exists(name, self.split[name] > 0)"
_NO_BOOLEAN_WORDS = "!has(self.split) || !('true' in self.split || 'false' in self.split)"


def _wrong_split(split: dict[str, int] | None) -> str | None:
    """What is wrong with the weights."""
    if split is not None and split.keys() & {"true", "false"}:
        return NOT_BOOLEAN_WORDS
    return SOMEBODY if split is not None and not any(split.values()) else None


class Rule(Model):
    """Who is served what, whatever the rollout. The first rule that speaks of somebody decides."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    """By which messages and traces call it."""
    when: When
    """Of whom it speaks."""
    serve: VariantName | None = None
    """The variant for all of them."""
    split: Split | None = None
    """Or variants by weight, each stays with its own: by `rollout.by`, else `targetingKey`. Who has none goes on to
    the next rule."""

    cel_rules: ClassVar[Rules] = tuple(
        (rule, Named(message, f"'rule ' + self.name + {_literal(': ' + message)}"))
        for rule, message in (
            ("has(self.serve) != has(self.split)", ONE_OF_SERVE_AND_SPLIT),
            (_NOT_ALL_ZERO, SOMEBODY),
            (_NO_BOOLEAN_WORDS, NOT_BOOLEAN_WORDS),
        )
    )

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        wrong = ONE_OF_SERVE_AND_SPLIT if (self.serve is None) == (self.split is None) else _wrong_split(self.split)
        if wrong:
            raise ValueError(f"rule {self.name}: {wrong}")
        return self


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


class Weekday(StrEnum):
    """Days of a window."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


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
        (_NOT_ALL_ZERO, SOMEBODY),
        (_NO_BOOLEAN_WORDS, NOT_BOOLEAN_WORDS),
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
                f"'metric ' + {_first('self.analysis.metrics', _TELLS_NOTHING, 8)}.name"
                f" + {_literal(': ' + TELLS_VARIANTS_APART)}",
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
        (f"!has(self.by) || !self.by.matches({_quoted(BUILT_IN)})", NO_BUILT_IN.replace("attribute", "by")),
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        shares = [step.percentage for step in self.steps]
        if self.serve is not None and self.split is not None:
            raise ValueError(NOT_SERVE_AND_SPLIT)
        if wrong := _wrong_split(self.split):
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


class Removal(Model):
    """When somebody is asked to remove the flag."""

    after: Duration | None = None
    """So long with one answer for everybody: the flag is Stale. Default by purpose: 14d for Release and Experiment,
    7d for Migration, 90d for Operational, never for Permission."""
    ticket: Text | None = None
    """Where its removal is planned."""


class Prerequisite(Model):
    """Another flag of the same set that must serve one of some variants to whoever asks; else offVariant is served."""

    flag: Key
    """Its key."""
    variants: Annotated[tuple[VariantName, ...], Field(min_length=1, max_length=16)]
    """Which will do."""


class BucketingRevision(StrEnum):
    """How a key becomes a share. SDKs that evaluate by themselves must know it."""

    V2 = "v2"
    """As flagd 0.15 and newer, npm flagd-core 4, Python flagd-core 1."""
    V3 = "v3"
    """As Python flagd-core 2."""


class Bucketing(Model):
    """How keys become shares. Pinned: another way would serve something else to most."""

    revision: BucketingRevision = BucketingRevision.V2
    """Which hash."""
    seed: Key | None = None
    """Flags of the same seed choose the same people. Default: the flag's key."""


_NAMES = "(has(self.variants) && self.variants.size() > 0 ? self.variants.map(v, v.name) : ['on', 'off'])"
NEEDS_VARIANTS = "variants and offVariant are needed where type is not Boolean"
NEEDS_SERVE = "rollout: give exactly one of serve and split; only a Boolean flag serves on unsaid"
DISTINCT_VARIANTS = "variants must have distinct names"
DISTINCT_RULES = "rules must have distinct names"
DISTINCT_PREREQUISITES = "prerequisites: name each flag once"
NO_SUCH_VARIANT = "is no variant of this flag"
NOT_ITSELF = "prerequisites: a flag cannot be its own prerequisite"


def _exists(field: str, given: str, named: str) -> tuple[str, str]:
    """A rule: a name that is given is one of the flag's variants. Which there are is more than a message may cost."""
    told = f"{_literal(field + ': ')} + {named} + {_literal(' ' + NO_SUCH_VARIANT)}"
    return f"!({given}) || {named} in {_NAMES}", Named(f"{field} {NO_SUCH_VARIANT}", told)


def _all_exist(wrong: str, field: str) -> tuple[str, str]:
    """A rule: the flag's rules serve what there is."""
    name = f"{_first('self.rules', wrong.replace('r.', 'self.rules[i].'), 32)}.name"
    told = f"'rule ' + {name} + {_literal(f': {field} names what {NO_SUCH_VARIANT}')}"
    return f"!has(self.rules) || !self.rules.exists(r, {wrong})", Named(f"rules: {field} {NO_SUCH_VARIANT}", told)


_BOOLEAN = "(!has(self.type) || self.type == 'Boolean')"


class FlagSpec(Model):
    """Who is served what."""

    key: Key | None = None
    """By which applications ask. Default: metadata.name."""
    flag_set: Key | None = None
    """The set of flags that an application reads. Default: the namespace."""
    type: FlagType = FlagType.BOOLEAN
    """Of all values."""
    variants: Annotated[tuple[Variant, ...], Field(max_length=64)] = ()
    """All answers. Default of a Boolean flag: on (true) and off (false)."""
    enabled: bool = True
    """The kill switch: false serves offVariant to everybody, at once."""
    off_variant: VariantName | None = None
    """What is served when the flag is off, killed or breached. Default of a Boolean flag: off."""
    default_variant: VariantName | None = None
    """What is served to whom neither a rule nor the rollout speaks of. Default: offVariant."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """What it is for."""
    purpose: Purpose = Purpose.RELEASE
    """Why it exists, which says for how long."""
    owner: Annotated[str, Field(max_length=128)] = ""
    """Who answers for it."""
    client_side: bool = False
    """Whether browsers and apps may read it, with a token of kind client."""
    prerequisites: Annotated[tuple[Prerequisite, ...], Field(max_length=8)] = ()
    """Other flags of the set that must be on."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=32)] = ()
    """Who is served what whatever the rollout; the first match serves."""
    rollout: Rollout | None = None
    """Everybody else, by and by."""
    bucketing: Bucketing = Bucketing()
    """How keys become shares."""
    removal: Removal = Removal()
    """When somebody is asked to remove it."""

    cel_rules: ClassVar[Rules] = (
        (
            f"{_BOOLEAN} || (has(self.variants) && self.variants.size() > 0 && has(self.offVariant))",
            NEEDS_VARIANTS,
        ),
        (
            f"!has(self.rollout) || {_BOOLEAN} || has(self.rollout.serve) || has(self.rollout.split)",
            NEEDS_SERVE,
        ),
        (
            "!has(self.variants) || self.variants.all(a, self.variants.exists_one(b, b.name == a.name))",
            DISTINCT_VARIANTS,
        ),
        ("!has(self.rules) || self.rules.all(a, self.rules.exists_one(b, b.name == a.name))", DISTINCT_RULES),
        (
            "!has(self.prerequisites) || self.prerequisites.all(a, self.prerequisites.exists_one(b, b.flag == a.flag))",
            DISTINCT_PREREQUISITES,
        ),
        _exists(
            "offVariant",
            f"has(self.offVariant) || {_BOOLEAN}",
            "(has(self.offVariant) ? self.offVariant : 'off')",
        ),
        _exists("defaultVariant", "has(self.defaultVariant)", "self.defaultVariant"),
        _all_exist(f"has(r.serve) && !(r.serve in {_NAMES})", "serve"),
        _all_exist(f"has(r.split) && r.split.exists(name, !(name in {_NAMES}))", "split"),
        _exists(
            "rollout.serve",
            f"has(self.rollout) && (has(self.rollout.serve) || {_BOOLEAN} && !has(self.rollout.split))",
            "(has(self.rollout.serve) ? self.rollout.serve : 'on')",
        ),
        (
            f"!has(self.rollout) || !has(self.rollout.split) || self.rollout.split.all(name, name in {_NAMES})",
            f"rollout.split names what {NO_SUCH_VARIANT}",
        ),
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        boolean = self.type is FlagType.BOOLEAN
        held = (
            (boolean or (self.variants and self.off_variant is not None), NEEDS_VARIANTS),
            (boolean or not self.rollout or self.rollout.serve or self.rollout.split, NEEDS_SERVE),
            (_distinct(variant.name for variant in self.variants), DISTINCT_VARIANTS),
            (_distinct(rule.name for rule in self.rules), DISTINCT_RULES),
            (_distinct(one.flag for one in self.prerequisites), DISTINCT_PREREQUISITES),
        )
        for holds, message in held:
            if not holds:
                raise ValueError(message)
        names = [variant.name for variant in self.all_variants]
        for field, name in self._named():
            if name not in names:
                known = f"{', '.join(names[:8])}{'…' if len(names) > 8 else ''}"
                raise ValueError(f"{field}: {name[:64]} {NO_SUCH_VARIANT}: it has {known}")
        return self

    def _named(self) -> Iterator[tuple[str, str]]:
        """All names of variants, and where they stand."""
        yield "offVariant", self.off
        yield "defaultVariant", self.default
        for rule in self.rules:
            yield from ((f"rule {rule.name}: {field}", name) for field, name in _served(rule.serve, rule.split))
        if self.rollout:
            serve = None if self.rollout.split else self.rollout.serve or "on"
            yield from ((f"rollout.{field}", name) for field, name in _served(serve, self.rollout.split))

    @property
    def all_variants(self) -> tuple[Variant, ...]:
        """All answers, those of a Boolean flag that names none among them."""
        return self.variants or ON_OFF

    @property
    def off(self) -> str:
        """What is served when the flag is off."""
        return self.off_variant or "off"

    @property
    def default(self) -> str:
        """What is served to whom nothing speaks of."""
        return self.default_variant or self.off


def _distinct(names: Iterable[str]) -> bool:
    every = list(names)
    return len(every) == len(set(every))


def _served(serve: str | None, split: dict[str, int] | None) -> Iterator[tuple[str, str]]:
    if serve is not None:
        yield "serve", serve
    yield from (("split", name) for name in split or ())


class FlagPhase(StrEnum):
    """Where a flag stands; for readers."""

    SERVING = "Serving"
    """One answer for who is spoken of, nothing under way."""
    ROLLING_OUT = "RollingOut"
    WAITING = "Waiting"
    """For somebody, a window, evidence, or another flag."""
    KILLED = "Killed"
    """By spec.enabled."""
    BREACHED = "Breached"
    """By its analysis."""
    INVALID = "Invalid"


class Override(Model):
    """What is served instead of what the spec says: by automation, and only ever the off variant."""

    reason: str
    """A machine's word for why."""
    message: str = ""
    """A person's words for why."""
    since: Time
    """Since when."""
    rollout: str
    """Digest of the rollout that breached: another one begins anew."""


class RolloutStatus(Model):
    """How far a rollout is."""

    digest: str
    """Of what it serves and by what: another one begins anew, other steps do not."""
    milli: int = 0
    """Thousandths of a percent of everybody who are in. What the gateway serves by."""
    step: int = 0
    """The step's number, from 1; 0 before the first."""
    of: int = 0
    """How many steps there are."""
    started_at: Time | None = None
    """When the step began."""
    until: Time | None = None
    """When its bake ends."""
    bake: Duration | None = None
    """How long that is, as the spec had it: another length moves the end."""
    passed: bool = False
    """The last step has passed: only a failed analysis changes anything now."""
    full_since: Time | None = None
    """Since when everybody is in."""
    extensions: int = 0
    """How many times the bake was extended for want of evidence."""
    unknown_since: Time | None = None
    """Since when the analysis has had no answer."""
    lacking_since: Time | None = None
    """Since when a bake that is over waits for evaluations, or for arms of the right size."""
    looked: int | None = None
    """The share, in thousandths of a percent, that the analysis last looked at: numbers of steps change by an edit."""
    paused: bool = False
    """Held by a request."""
    approved: int | None = None
    """The share, in thousandths of a percent, that somebody approved."""
    skipped: bool = False
    """The rest of the bake is skipped by a request."""
    hurried: bool = False
    """All bakes, windows and approvals are skipped by a request."""


class Exposure(Model):
    """How often a variant was served."""

    variant: str
    """Which."""
    evaluations: int = 0
    """Since the step began, while an analysis watches; else in the last two hours. Answers in bulk are not counted."""


class FlagStatus(Model):
    """What is."""

    observed_generation: int = 0
    """The generation that this status speaks of."""
    phase: FlagPhase = FlagPhase.SERVING
    """Where the flag stands."""
    message: str = ""
    """The same in a sentence."""
    key: str = ""
    """By which applications ask."""
    flag_set: str = ""
    """The set that it is in."""
    enabled: bool = True
    """Whether it is: `spec.enabled`, where that is said."""
    serving: str = ""
    """Who is served what, in short: `off`, `on 10 %`, `on`."""
    percentage: str = ""
    """How far the rollout is, for the printed column."""
    rollout: RolloutStatus | None = None
    """How far the rollout is."""
    override: Override | None = None
    """What is served instead of what the spec says."""
    analysis: AnalysisStatus | None = None
    """Who is in, compared with who is not."""
    exposures: Annotated[tuple[Exposure, ...], Field(max_length=64)] = ()
    """How often each variant was served, where gateways are asked or Prometheus knows."""
    accepted: str = ""
    """The spec that compiled last, as JSON: served while a newer one does not."""
    bucketing: BucketingRevision | None = None
    """The revision that serves."""
    one_answer_since: Time | None = None
    """Since when everybody is served the same."""
    counted_at: Time | None = None
    """When evaluations were last asked about."""
    answered_at: Time | None = None
    """When it was last told whether it was evaluated."""
    watched_since: Time | None = None
    """Since when evaluations of flags are counted, as far as was seen."""
    evaluated_at: Time | None = None
    """When it was last seen to be asked for, where that is known."""
    reminded_at: Time | None = None
    """When its owner was last reminded."""
    last_request: RequestStatus | None = None
    """The answer to the last request."""
    conditions: tuple[Condition, ...] = ()
    """As in the API conventions."""


STAYS = "cannot change: SDKs and buckets go by it; make another flag, and remove this one when nobody asks for it"
_KEY = "(has(self.spec.key) ? self.spec.key : self.metadata.name)"


class FeatureFlag(Model):
    """Who sees a feature: kill switch, rules, sticky percentages, a guarded rollout."""

    spec: FlagSpec
    """What is wanted."""
    status: FlagStatus | None = None
    """What is."""

    cel_rules: ClassVar[Rules] = (
        (
            f"!has(self.spec.prerequisites) || self.spec.prerequisites.all(p, p.flag != {_KEY})",
            NOT_ITSELF,
        ),
        *(
            (f"{new} == {new.replace('self', 'oldSelf')}", f"{field} {STAYS}")
            for field, new in (
                ("key", _KEY),
                ("flagSet", "(has(self.spec.flagSet) ? self.spec.flagSet : '')"),
                ("type", "(has(self.spec.type) ? self.spec.type : 'Boolean')"),
                (
                    "bucketing.seed",
                    f"(has(self.spec.bucketing) && has(self.spec.bucketing.seed) ? self.spec.bucketing.seed : {_KEY})",
                ),
                (
                    "bucketing.revision",
                    "(has(self.spec.bucketing) && has(self.spec.bucketing.revision) ? self.spec.bucketing.revision"
                    " : 'v2')",
                ),
            )
        ),
    )
    kind: ClassVar[str] = "FeatureFlag"
    plural: ClassVar[str] = "featureflags"
    short_names: ClassVar[tuple[str, ...]] = ("flag", "flags")
    columns: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("Key", "string", ".status.key"),
        ("Enabled", "boolean", ".status.enabled"),
        ("Serving", "string", ".status.serving"),
        ("Rollout", "string", ".status.percentage"),
        ("Verdict", "string", ".status.analysis.verdict"),
        ("Stale", "string", ".status.conditions[?(@.type=='Stale')].status"),
        ("Age", "date", ".metadata.creationTimestamp"),
    )

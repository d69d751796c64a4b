"""FeatureFlag: who sees a feature. In Git like a release, answered by the flag gateway, grown step by step.

Names of variants that YAML reads as booleans (``on``, ``off``) are written in quotes; a Boolean flag has them unsaid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from tidegate.api.base import Duration, Model, Named, Rules
from tidegate.api.bucketing import Bucketing
from tidegate.api.cel import first, literal
from tidegate.api.flagrules import NOT_BOOLEAN_WORDS, Json, Key, Rule, Text, VariantName
from tidegate.api.flagstatus import FlagStatus
from tidegate.api.rollout import Rollout


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
    told = f"{literal(field + ': ')} + {named} + {literal(' ' + NO_SUCH_VARIANT)}"
    return f"!({given}) || {named} in {_NAMES}", Named(f"{field} {NO_SUCH_VARIANT}", told)


def _all_exist(wrong: str, field: str) -> tuple[str, str]:
    """A rule: the flag's rules serve what there is."""
    name = f"{first('self.rules', wrong.replace('r.', 'self.rules[i].'), 32)}.name"
    told = f"'rule ' + {name} + {literal(f': {field} names what {NO_SUCH_VARIANT}')}"
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

"""Of whom the rules of a FeatureFlag speak, and what these are served."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tidegate.api.base import Model, Named, Rules
from tidegate.api.cel import literal, quoted

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
NOT_BOOLEAN_WORDS = (
    "'true' and 'false' are no names of variants: YAML reads an unquoted on, yes or true as true, and off, no or"
    ' false as false; write the name in quotes: "on", "off"'
)
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
                f"(has(self.attribute) ? 'attribute ' + self.attribute + ': ' : '') + {literal(message)}",
            ),
        ),
        (f"!has(self.attribute) || !self.attribute.matches({quoted(BUILT_IN)})", NO_BUILT_IN),
    )


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
NOT_ALL_ZERO = "!has(self.split) || self.split.exists(name, self.split[name] > 0)"
NO_BOOLEAN_WORDS = "!has(self.split) || !('true' in self.split || 'false' in self.split)"


def wrong_split(split: dict[str, int] | None) -> str | None:
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
        (rule, Named(message, f"'rule ' + self.name + {literal(': ' + message)}"))
        for rule, message in (
            ("has(self.serve) != has(self.split)", ONE_OF_SERVE_AND_SPLIT),
            (NOT_ALL_ZERO, SOMEBODY),
            (NO_BOOLEAN_WORDS, NOT_BOOLEAN_WORDS),
        )
    )

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        wrong = ONE_OF_SERVE_AND_SPLIT if (self.serve is None) == (self.split is None) else wrong_split(self.split)
        if wrong:
            raise ValueError(f"rule {self.name}: {wrong}")
        return self

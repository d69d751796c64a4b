"""What every object of the API is made of: the model base, durations, percentages, weights.

The models are the one source of the CRDs (``api/crd.py``): what a field accepts is said here, once, in terms
that a structural schema can carry.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import BeforeValidator

GROUP = "tidegate.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
Rules = tuple[tuple[str, str], ...]
"""CEL rules of a model: (expression on ``self``, message that names the field and the way out)."""


class Named(str):
    """The message of a CEL rule that names what it speaks of: told by an expression on ``self``, or else as it is."""

    __slots__ = ("expression",)

    def __new__(cls, text: str, expression: str) -> Self:
        """The text, and the CEL expression that says the same by name."""
        made = super().__new__(cls, text)
        made.expression = expression
        return made

    expression: str


class Model(BaseModel):
    """A value of the API: frozen, camelCase on the wire, unknown fields pruned as the API server does."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True
    )

    def wire(self) -> dict[str, object]:
        """The object as JSON for the API server: aliases, and nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MOST_CHARACTERS = 32
"""Of a duration, and of a percentage."""
MOST_TOLD = 64
"""Characters of a value in a message: a status tells it in several places."""
LONGEST = timedelta(days=36_500)
"""A duration is no longer: a time so far off can still be reckoned with."""
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"


def parse_duration(text: object) -> timedelta:
    """``"1h30m"`` as a timedelta. Raises ValueError that says what would be right."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{str(text)[:MOST_TOLD]!r} is not a duration: write it like 30s, 15m or 1h30m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text[:MOST_TOLD]!r} is longer than {LONGEST.days}d: write what is meant, or leave it out")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The shortest Go-style text: ``timedelta(minutes=90)`` is ``"1h30m"``."""
    rest = round(value.total_seconds() * 1000)
    if rest == 0:
        return "0s"
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": MOST_CHARACTERS}),
]
"""A Go-style duration on the wire (``15m``), a timedelta in the code."""

PERCENT_PATTERN = r"^[0-9]+(\.[0-9]+)?%$"


def parse_percent(text: object) -> float:
    """``"50%"`` as 0.5. Raises ValueError that says what would be right."""
    if isinstance(text, int | float):
        return float(text)
    if not isinstance(text, str) or not re.fullmatch(PERCENT_PATTERN, text) or not math.isfinite(float(text[:-1])):
        raise ValueError(f"{str(text)[:MOST_TOLD]!r} is not a percentage: write it like 5% or 0.5%")
    return float(text[:-1]) / 100


Percent = Annotated[
    float,
    BeforeValidator(parse_percent),
    PlainSerializer(lambda value: f"{value * 100:.6g}%", return_type=str),
    WithJsonSchema({"type": "string", "pattern": PERCENT_PATTERN, "maxLength": MOST_CHARACTERS}),
]
"""A percentage on the wire (``"50%"``), a fraction in the code."""

Weight = Annotated[int, Field(ge=0, le=100)]
"""The candidate's share of requests, in percent."""


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: the journal's timers need more than seconds."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An absolute time in UTC."""

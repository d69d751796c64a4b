"""``spec.health`` and ``status.health``: what the operator asks of every candidate pod, and what was answered."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from tidegate.api.base import Duration, Model, Rules

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Headers = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$", max_length=128)],
        Annotated[str, Field(max_length=1024, pattern=r"^[^\r\n]*$")],
    ],
    Field(default_factory=dict, max_length=16),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {"type": "string", "maxLength": 1024, "pattern": r"^[^\r\n]*$"},
        }
    ),
]
Port = Annotated[
    Annotated[int, Field(ge=1, le=65535)] | Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")],
    WithJsonSchema({"x-kubernetes-int-or-string": True}),
]
Scalar = bool | int | float | str
Fields = Annotated[
    dict[Annotated[str, Field(max_length=256)], Scalar],
    Field(alias="json", default_factory=dict, max_length=16),
    WithJsonSchema({"type": "object"}),
]
"""Of a JSON answer; free in the schema, for a value may be of several types."""


def lasts(field: str, least: str, most: str) -> str:
    """The CEL of a duration within bounds. CEL knows no days."""
    return (
        f"!has(self.{field}) || (!self.{field}.contains('d') && duration(self.{field}) >= duration('{least}')"
        f" && duration(self.{field}) <= duration('{most}'))"
    )


class Expect(Model):
    """What an answer must be."""

    status: Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(min_length=1, max_length=16)] = (200,)
    """Status codes that will do."""
    fields: Fields
    """Fields of the JSON object that is answered, each with its value: text, number or truth value. A dot leads into
    the object below, as in `checks.db`."""


class HttpCheck(Model):
    """A GET of a pod, on its own address. Redirects are not followed."""

    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=1024)]
    """Path and query."""
    port: Port
    """Number of the port, or the name that a container of the pod gives to it."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    """With HTTPS any certificate will do, as for the kubelet."""
    headers: Headers
    """Sent with the request."""
    expect: Expect = Expect()
    """What must be answered."""

    cel_rules: ClassVar[Rules] = (
        (
            "type(self.port) == string || (self.port > 0 && self.port < 65536)",
            "port must be a number from 1 to 65535, or the name of a container's port",
        ),
    )


INTERVAL = "interval must be from 1s to 5m"
TIMEOUT = "timeout must be from 100ms to 30s"


class HealthCheck(Model):
    """A question that proves that a pod works: its database, its cache, what it calls; not that its process is up."""

    name: Label
    """How messages and the status call it."""
    http: HttpCheck
    """What is asked."""
    interval: Duration = timedelta(seconds=5)
    """How often each pod is asked."""
    timeout: Duration = timedelta(seconds=2)
    """How long an answer may take."""
    failure_threshold: Annotated[int, Field(ge=1, le=20)] = 3
    """So many failures of one pod in a row make the release revert."""

    cel_rules: ClassVar[Rules] = (
        (lasts("interval", "1s", "5m"), INTERVAL),
        (lasts("timeout", "100ms", "30s"), TIMEOUT),
    )

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if not timedelta(seconds=1) <= self.interval <= timedelta(minutes=5):
            raise ValueError(f"check {self.name}: {INTERVAL}")
        if not timedelta(milliseconds=100) <= self.timeout <= timedelta(seconds=30):
            raise ValueError(f"check {self.name}: {TIMEOUT}")
        return self


DISTINCT = "health.checks must have distinct names"


class HealthSpec(Model):
    """What is asked of every candidate pod, before it gets traffic and while it has it."""

    checks: Annotated[tuple[HealthCheck, ...], Field(max_length=8)] = ()
    """Each of them must pass."""

    cel_rules: ClassVar[Rules] = (
        ("!has(self.checks) || self.checks.all(a, self.checks.exists_one(b, b.name == a.name))", DISTINCT),
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [check.name for check in self.checks]
        if len(set(names)) < len(names):
            raise ValueError(DISTINCT)
        return self


class CheckStatus(Model):
    """What came of one check."""

    name: str
    """Its name in the spec."""
    passed: int
    """Candidate pods whose last answer was as expected."""
    of: int
    """Candidate pods."""
    last_failure: str = ""
    """What was answered instead, and by which pod, when that last began."""


class HealthStatus(Model):
    """What the candidate's pods answered."""

    checks: tuple[CheckStatus, ...] = ()
    """Check by check."""

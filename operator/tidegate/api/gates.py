"""``spec.gates`` and ``status.gates``: who or what must say yes, and at which point of a release."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from tidegate.api.addresses import forbidden, literal
from tidegate.api.base import Duration, Model, Rules, Time
from tidegate.api.health import Expect, Headers, Label, lasts


class GateAt(StrEnum):
    """Where a release stops until its gates have passed."""

    BEFORE_START = "BeforeStart"
    """Nothing of it has begun."""
    BEFORE_TRAFFIC = "BeforeTraffic"
    """Pods of the candidate are ready and healthy, its Service leads to them, and no user is sent there."""
    BEFORE_STEP = "BeforeStep"
    """The same before each step: its pods are ready, its weight is not written."""
    BEFORE_PROMOTION = "BeforePromotion"
    """The last step is over."""
    AFTER_PROMOTION = "AfterPromotion"
    """The candidate is stable. What fails here is told, and nothing is reverted."""


class GateState(StrEnum):
    """Where a gate stands."""

    PENDING = "Pending"
    """The release is not there yet, or the next attempt is yet to begin."""
    RUNNING = "Running"
    """Its answer is waited for."""
    PASSED = "Passed"
    FAILED = "Failed"
    TIMED_OUT = "TimedOut"
    WITHDRAWN = "Withdrawn"
    """The release went back while its answer was waited for."""


NO_CONTAINERS = "job.template must be a pod template: give spec.containers"


class JobGate(Model):
    """A Job that must succeed."""

    template: Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]
    """What runs: a pod template, as `spec.template` of a Job."""
    backoff_limit: Annotated[int, Field(ge=0, le=10)] = 0
    """Pods that may fail before the Job has."""

    @model_validator(mode="after")
    def _has_containers(self) -> Self:
        spec = self.template.get("spec")
        if not isinstance(spec, dict) or not isinstance(spec.get("containers"), list) or not spec["containers"]:
            raise ValueError(NO_CONTAINERS)
        return self


URL = "url must be http:// or https://, a host, and no user or password: give secrets to a Job instead"
NO_HOST = "url leads to this machine or its own network, which no gate may ask: name a Service or another host"
_OWN = (
    "(?i)^https?://(([^/?#]*[.])?localhost|metadata[.]google[.]internal|127[.][0-9.]*|0[.][0-9.]*|169[.]254[.][0-9.]*"
    "|100[.]100[.]100[.]200|168[.]63[.]129[.]16|192[.]0[.]0[.]192"
    "|[^a-z0-9]::1?[^a-z0-9]|[^a-z0-9]fe[89ab][0-9a-f]*:.*|[^a-z0-9]fd00:ec2::254[^a-z0-9])([:/?#].*)?$"
)
"""As much of that as a text shows; the rest is seen when the host is resolved."""


IN_THE_OPEN = (
    "headers: with Authorization, Cookie or Proxy-Authorization a secret would stand in the release for all to read:"
    " use a job instead, which has it from a Secret of its own namespace by env.valueFrom.secretKeyRef"
)
_TELLING = "(?i)^(authorization|cookie|proxy-authorization)$"


class HttpGate(Model):
    """A request that must be answered as expected. Redirects are not followed."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=2048)]
    """Who is asked. Addresses of loopback, link-local and metadata services are refused."""
    method: Literal["GET", "HEAD", "POST", "PUT"] = "GET"
    """How. There is no body; headers tell of whom it is asked."""
    headers: Headers
    """Sent with the request."""
    expect: Expect = Expect()
    """What must be answered."""

    cel_rules: ClassVar[Rules] = (
        ("isURL(self.url) && url(self.url).getHostname() != ''", URL),
        (f"!self.url.matches('{_OWN}')", NO_HOST),
        (f"!has(self.headers) || !self.headers.exists(name, name.matches('{_TELLING}'))", IN_THE_OPEN),
    )

    @model_validator(mode="after")
    def _may_be_asked(self) -> Self:
        try:
            split = urlsplit(self.url)
            host, _ = (split.hostname or "").lower(), split.port
        except ValueError:
            raise ValueError(URL) from None
        if not host:
            raise ValueError(URL)
        address = literal(host)
        if re.match(_OWN, self.url) or (address and forbidden(address)):
            raise ValueError(NO_HOST)
        if any(re.match(_TELLING, name) for name in self.headers):
            raise ValueError(IN_THE_OPEN)
        return self


class ManualGate(Model):
    """Somebody must approve: `kubectl tidegate approve`, or the request `Approve`."""


ONE_OF = "give exactly one of job, http and manual"
NOT_AFTER = "at: a manual gate cannot hold what is over: use BeforePromotion, or another point before"
LASTS = "timeout must be from 1s to 720h"
NO_RETRIES = "retries is for gates that ask by themselves: remove it from a manual gate"


class Gate(Model):
    """Somebody or something that must say yes."""

    name: Label
    """How messages, requests and the status call it."""
    at: GateAt
    """Where the release stops for it. Gates of one point are asked side by side."""
    job: JobGate | None = None
    """A Job that must succeed."""
    http: HttpGate | None = None
    """A request that must be answered as expected."""
    manual: ManualGate | None = None
    """Somebody who must approve."""
    timeout: Duration | None = None
    """How long an attempt may take. Default: 5m; of a manual gate, for ever."""
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    """How many more attempts follow one that failed or timed out."""

    cel_rules: ClassVar[Rules] = (
        ("[has(self.job), has(self.http), has(self.manual)].filter(given, given).size() == 1", ONE_OF),
        ("!has(self.manual) || self.at != 'AfterPromotion'", NOT_AFTER),
        (lasts("timeout", "1s", "720h"), LASTS),
        ("!has(self.manual) || !has(self.retries) || self.retries == 0", NO_RETRIES),
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        held = (
            sum(kind is not None for kind in (self.job, self.http, self.manual)) == 1,
            self.manual is None or self.at is not GateAt.AFTER_PROMOTION,
            self.timeout is None or timedelta(seconds=1) <= self.timeout <= timedelta(hours=720),
            self.manual is None or self.retries == 0,
        )
        for holds, (_, message) in zip(held, self.cel_rules, strict=True):
            if not holds:
                raise ValueError(f"gate {self.name}: {message}")
        return self

    @property
    def lasts(self) -> timedelta | None:
        """How long an attempt may take; None is for ever."""
        return self.timeout or (None if self.manual else timedelta(minutes=5))


def _distinct(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    if len({gate.name for gate in gates}) < len(gates):
        raise ValueError("gates must have distinct names")
    return gates


Gates = Annotated[
    tuple[Gate, ...],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ),
    AfterValidator(_distinct),
]


class GateStatus(Model):
    """What became of a gate, for this candidate."""

    name: str
    """Its name in the spec."""
    state: GateState = GateState.PENDING
    """Where it stands."""
    by: str = ""
    """Who or what answers, or did: `job/NAME`, `http`, or who approved."""
    message: str = ""
    """What was answered, or is waited for."""
    at: Time | None = None
    """Since when its state is what it is."""
    attempts: int = 0
    """How many were begun."""
    step: int | None = None
    """Of a gate before each step: the step that it was asked for."""

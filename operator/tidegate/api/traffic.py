"""How the requests of a release are steered: who is sent where, and who stays there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tidegate.api.base import Duration, Model, Rules

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=NAME_PATTERN)]
NAMES_SOMETHING = "match: name a header or a cookie"
PLAIN_NAMES = "match: names of headers and cookies are of letters, digits, '_' and '-'"
AGE_TOO_SHORT = "stickiness.maxAge must be at least 1s"


class RouteRef(Model):
    """A route in the namespace of the release."""

    kind: Literal["HTTPRoute", "GRPCRoute"] = "HTTPRoute"
    """Its kind."""
    name: Name
    """Its name."""

    @classmethod
    def of(cls, name: str) -> Self:
        """From Kind/name."""
        return cls.model_validate(dict(zip(("kind", "name"), name.split("/"), strict=True)))


class GatewayTraffic(Model):
    """Traffic steered by routes of the Gateway API."""

    routes: Annotated[tuple[RouteRef, ...], Field(min_length=1, max_length=16)]
    """The routes whose rules point at the Service. Each must."""

    def names(self) -> tuple[str, ...]:
        """As Kind/name."""
        return tuple(f"{route.kind}/{route.name}" for route in self.routes)

    @classmethod
    def of(cls, names: Sequence[str]) -> GatewayTraffic | None:
        """With those of the names that are its; None where there is none."""
        refs = [RouteRef.of(name) for name in names if name.startswith(("HTTPRoute/", "GRPCRoute/"))]
        return cls.model_construct(routes=tuple(refs)) if refs else None


class NginxTraffic(Model):
    """Traffic steered by an Ingress, with the canary annotations of ingress-nginx."""

    ingress: Name | None = None
    """The Ingress whose paths lead to the Service. Default: every Ingress of the namespace that leads to it."""

    def names(self) -> tuple[str, ...]:
        """As Kind/name."""
        return (f"Ingress/{self.ingress or '*'}",)

    @classmethod
    def of(cls, names: Sequence[str]) -> Self | None:
        """With that of the names which is its; with none where there are several; None where there is none."""
        found = [name.partition("/")[2] for name in names if name.startswith("Ingress/")]
        return cls(ingress=found[0] if len(found) == 1 else None) if found else None


class TraefikTraffic(Model):
    """Traffic steered by the weights of a TraefikService."""

    service: Name | None = None
    """The TraefikService that lists the Service. Default: every one of the namespace that lists it."""

    def names(self) -> tuple[str, ...]:
        """As Kind/name."""
        return (f"TraefikService/{self.service or '*'}",)

    @classmethod
    def of(cls, names: Sequence[str]) -> Self | None:
        """With that of the names which is its; with none where there are several; None where there is none."""
        found = [name.partition("/")[2] for name in names if name.startswith("TraefikService/")]
        return cls(service=found[0] if len(found) == 1 else None) if found else None


class PodShare(Model):
    """No router: whoever asks the Service reaches both revisions, by their pods."""


class TrafficSpec(Model):
    """How requests are shared between stable and candidate. With no router named, all that lead to the Service are."""

    gateway: GatewayTraffic | None = None
    """Routes of the Gateway API. Default: every HTTPRoute and GRPCRoute of the namespace that points at the Service."""
    nginx: NginxTraffic | None = None
    """An Ingress of ingress-nginx, or of Traefik in its place."""
    traefik: TraefikTraffic | None = None
    """A TraefikService of weights."""
    pod_share: PodShare | None = None
    """No router: requests are shared by the Service alone, in proportion to ready pods."""
    propagation: Duration = timedelta(seconds=5)
    """How long a router that only says that it has read a route may take to apply it."""

    def names(self) -> tuple[str, ...] | None:
        """The routes that are named, as Kind/name, and Kind/* for all of a kind; None where nothing is named."""
        said = [one.names() for one in (self.gateway, self.nginx, self.traefik) if one is not None]
        return tuple(name for names in said for name in names) if said else None

    def finding(self, names: Sequence[str]) -> TrafficSpec:
        """The same with the routes that were found, as Kind/name."""
        found = {"gateway": GatewayTraffic.of(names), "nginx": NginxTraffic.of(names)}
        return self.model_copy(update={**found, "traefik": TraefikTraffic.of(names)})


Token = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.-]+$")]
"""What may stand in a header or a cookie to be told by."""


class Match(Model):
    """Requests that are told by what their clients send: all of it."""

    headers: Annotated[dict[str, Token], Field(default_factory=dict, max_length=4)]
    """Values by the names of headers."""
    cookies: Annotated[dict[str, Token], Field(default_factory=dict, max_length=1)]
    """Values by the names of cookies."""

    cel_rules: ClassVar[Rules] = (("has(self.headers) || has(self.cookies)", NAMES_SOMETHING),)

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        names = [*self.headers, *self.cookies]
        if not names:
            raise ValueError(NAMES_SOMETHING)
        if not all(re.fullmatch("[A-Za-z0-9_-]+", name) for name in names):
            raise ValueError(PLAIN_NAMES)
        return self


Matches = Annotated[tuple[Match, ...], Field(max_length=4)]
"""Those of any."""


Cookie = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z][A-Za-z0-9_-]*$")]
"""The name of one of ours."""


class Stickiness(Model):
    """Visitors stay where their first request was sent, by a cookie."""

    cookie: Cookie
    """Its name. Where the router keeps visitors by a cookie of its own (an Ingress), that one's name counts."""
    max_age: Duration = timedelta(hours=1)
    """How long a visitor stays, from that first request on; then another one is. Whole seconds."""

    cel_rules: ClassVar[Rules] = (
        ("!has(self.maxAge) || self.maxAge.contains('d') || duration(self.maxAge) >= duration('1s')", AGE_TOO_SHORT),
    )

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.max_age < timedelta(seconds=1):
            raise ValueError(AGE_TOO_SHORT)
        return self

    @property
    def seconds(self) -> int:
        """The age in whole seconds."""
        return int(self.max_age.total_seconds())


class Stay(Stickiness):
    """The same for one candidate: what a visitor has of another says nothing."""

    candidate: str
    """Its pod-template-hash."""


@dataclass(frozen=True)
class Share:
    """Who goes to the candidate: what routes say, or are to say."""

    weight: int | None
    """The share of requests in percent; None of a route at rest on the user's Service."""
    match: tuple[Match, ...] = ()
    """Requests that go there whatever the weight: those of any of these."""
    stay: Stay | None = None
    """How visitors stay where they were sent; None where each request is sent anew."""


AT_REST = Share(None)
"""Routes are on the user's Service, as they were."""
ALL_STABLE = Share(0)
"""Nobody goes to the candidate."""

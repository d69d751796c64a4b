"""What every release kind shares: what it targets, and the steps that it takes to another revision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tidegate.api.analysis import AnalysisSpec
from tidegate.api.base import Duration, Model, Rules
from tidegate.api.gates import Gate, Gates
from tidegate.api.health import HealthSpec
from tidegate.api.releasestatus import Image
from tidegate.api.traffic import Match, Name, Share, Stay, Stickiness, TrafficSpec


class TargetRef(Model):
    """The workload that is released."""

    kind: Literal["Deployment"] = "Deployment"
    """Its kind."""
    name: Name
    """Its name, in the namespace of the release."""


class ServiceRef(Model):
    """A Service in the namespace of the release."""

    name: Name
    """Its name."""


class RollbackSpec(Model):
    """Going back to what was promoted before."""

    window: Annotated[int, Field(ge=0, le=10)] = 0
    """A template that was stable among the last so many promotions is released without steps: its pods first, then
    all requests at once. 0: it is released like any other."""


@dataclass(frozen=True)
class Step:
    """One step of a release of any kind, as the machine goes it. Pods are percentages of the Deployment's replicas."""

    weight: int
    """The candidate's share of requests, in percent."""
    bake: timedelta
    """How long it is watched once its weight is applied."""
    pods: int
    """Of the candidate."""
    stable: int = 100
    """Of stable, while the step lasts."""
    out: int = 0
    """So many at most are missing from service while pods are replaced."""
    judged: bool = True
    """At its end the evidence is asked. Else only what fails turns it back."""
    name: str = ""
    """What a reader knows it by, where its number says little."""
    match: tuple[Match, ...] = ()
    """Requests that go to the candidate whatever the weight: those of any of these."""
    sticky: Stickiness | None = None
    """How visitors stay where they were sent while it lasts."""

    def share(self, candidate: str) -> Share:
        """What routes are to say, of a candidate with this hash."""
        stay = Stay(**dict(self.sticky), candidate=candidate) if self.sticky else None
        return Share(self.weight, self.match, stay)


COMPARES_REVISIONS = "spec.analysis.metrics: {{variant}} is for flags: a release compares {{revision}} or {{pods}}"


class ReleaseSpec(Model):
    """The part of spec that all release kinds have."""

    switches: ClassVar[bool] = False
    """Callers of the Service itself go over with the last weight, and not at the promotion."""
    routed: ClassVar[bool] = True
    """Weights are written to routes, where there are any."""
    needs_route: ClassVar[bool] = True
    """Without a route the release is blocked, unless it is to share by pods."""

    target_ref: TargetRef
    """The Deployment to release."""
    service_ref: ServiceRef | None = None
    """The Service of the workload. Default: the only Service that selects its pods."""
    images: Annotated[dict[str, Image], Field(default_factory=dict, max_length=32)]
    """Images by container: a second way to start a release. Written to the Deployment's template, once for each wish;
    who changes the template after that has the last word."""
    traffic: TrafficSpec = TrafficSpec()
    """How requests are shared. Default: discovered, and shown in status.effective."""
    analysis: AnalysisSpec = AnalysisSpec()
    """How the candidate is compared with stable."""
    health: HealthSpec = HealthSpec()
    """What is asked of every candidate pod, before it gets traffic and while it has it."""
    gates: Gates = ()
    """Who or what must say yes, and at which point."""
    drain: Duration = timedelta(seconds=30)
    """Traffic is gone, then this long, then the pods go."""
    progress_deadline: Duration = timedelta(minutes=10)
    """Candidate pods that are not Ready by then make the release revert."""
    paused: bool = False
    """Holds the release where it is. Never holds a revert."""
    rollback: RollbackSpec = RollbackSpec()
    """Going back to what was promoted before."""

    @model_validator(mode="after")
    def _compares_revisions(self) -> Self:
        if any("{{variant}}" in query for metric in self.analysis.metrics for query in metric.texts):
            raise ValueError(COMPARES_REVISIONS)
        return self

    @property
    def lastly(self) -> tuple[Gate, ...]:
        """Gates that other fields imply: asked when all others of their point have passed."""
        return ()

    @property
    def asked(self) -> tuple[Gate, ...]:
        """The gates, and those that other fields imply."""
        return (*self.gates, *self.lastly)

    @property
    def preview_service(self) -> str:
        """The name of one more Service that leads to the candidate; none by default."""
        return ""

    @property
    def retreats(self) -> bool:
        """What fails in a step takes the release back to the step before, to be held there."""
        return False

    def plan(self) -> tuple[Step, ...]:
        """The steps to go, the last of which gives the candidate all requests."""
        raise NotImplementedError


TARGET_STAYS: Rules = (
    (
        "self.spec.targetRef.name == oldSelf.spec.targetRef.name || !has(self.status) || !has(self.status.stable)",
        "spec.targetRef cannot change while a Deployment is under management: delete this release, create another",
    ),
)
REVISIONS_ONLY: Rules = (
    (
        "!has(self.spec.analysis) || !has(self.spec.analysis.metrics) || self.spec.analysis.metrics.all(m,"
        " (!has(m.ratio) || (!m.ratio.of.contains('{{variant}}') && !m.ratio.to.contains('{{variant}}')))"
        " && (!has(m.gauge) || !m.gauge.query.contains('{{variant}}')))",
        COMPARES_REVISIONS,
    ),
)
LONGEST_NAME = 63
"""Characters of a label's value, and of a Service's name."""
NAME_FITS: Rules = (
    (
        # What is under management already must be free to go: its finalizer is removed by an update.
        f"self.metadata.name.size() <= {LONGEST_NAME} || (has(self.status) && has(self.status.stable))",
        f"metadata.name: at most {LONGEST_NAME} characters, as it is the value of a label: use a shorter one",
    ),
)
OF_EVERY_KIND: Rules = (*TARGET_STAYS, *NAME_FITS, *REVISIONS_ONLY)
"""Rules of every release kind."""


def unfit(name: str) -> str:
    """Why a release cannot be called so; empty where it can."""
    ((_, message),) = NAME_FITS
    return f"{message} (got {len(name)})" if len(name) > LONGEST_NAME else ""

"""CanaryRelease: traffic by weight steps, each baked and compared with stable."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from tidegate.api.base import Duration, Model, Rules, Weight
from tidegate.api.release import OF_EVERY_KIND, ReleaseSpec, Step
from tidegate.api.releasestatus import ReleaseStatus
from tidegate.api.traffic import Matches, Stickiness

ENOUGH_PODS = "replicas must be at least the step's weight: fewer pods would be asked to do more than stable's do"
POD_SHARES = (
    "spec.steps: with traffic.podShare a weight is at most 50, or 100, and says how many pods: leave replicas out."
    " Beyond 50 stable would lack the pods that it needs on the way back"
)
WEIGHT_OR_MATCH = "a step needs a weight, or a match"
MATCH_NEEDS_A_ROUTER = "spec.steps[].match needs a router: with traffic.podShare nobody looks at requests"
STICKINESS_NEEDS_A_ROUTER = "spec.stickiness needs a router: with traffic.podShare nobody looks at requests"
ONE_COOKIE = "spec.stickiness.cookie: the cookie of a match is another: its value would be written over; use two names"
STEPS_GROW = "spec.steps: weights must grow from step to step: a release that shrinks in its middle proves nothing"


class CanaryStep(Model):
    """One step: a weight, and how long it is watched."""

    weight: Weight = 0
    """The candidate's share of requests, in percent. Needed but where match is: a step of a match alone gives it only
    the requests that match, and no share of the others."""
    match: Matches = ()
    """Requests that go to the candidate whatever the weight: those of any of these, while the step lasts."""
    bake: Duration = timedelta(minutes=15)
    """How long the step is watched once the router has applied its weight."""
    replicas: Annotated[str, Field(pattern=r"^(100|[1-9][0-9]?)%$", max_length=4)] | None = None
    """Candidate pods as a whole percentage of the Deployment's, at least the weight. Default: the weight."""

    cel_rules: ClassVar[Rules] = (
        (
            "!has(self.replicas) || int(self.replicas.replace('%', '')) >= (has(self.weight) ? self.weight : 0)",
            ENOUGH_PODS,
        ),
        ("has(self.weight) || has(self.match)", WEIGHT_OR_MATCH),
    )

    @model_validator(mode="after")
    def _enough_pods(self) -> CanaryStep:
        if self.percent() < self.weight:
            raise ValueError(f"{ENOUGH_PODS} (weight {self.weight}, replicas {self.replicas})")
        if "weight" not in self.model_fields_set and not self.match:
            raise ValueError(WEIGHT_OR_MATCH)
        return self

    def percent(self) -> int:
        """Candidate pods in percent of the Deployment's replicas."""
        return int(self.replicas.rstrip("%")) if self.replicas else max(self.weight, 1)


DEFAULT_STEPS = (
    *(CanaryStep(weight=weight) for weight in (5, 10, 25, 50)),
    CanaryStep(weight=100, bake=timedelta(minutes=5)),
)


class CanarySpec(ReleaseSpec):
    """How a candidate is given traffic step by step."""

    steps: Annotated[tuple[CanaryStep, ...], Field(min_length=1, max_length=20)] = DEFAULT_STEPS
    """The steps, each of a greater weight than the one before. A last step of 100 without a bake is implied."""
    stickiness: Stickiness | None = None
    """Visitors stay where their first request was sent, as long as there are two revisions to be sent to. Default: each
    request is sent by the weight."""

    cel_rules: ClassVar[Rules] = (
        (
            "!has(self.steps) || self.steps.map(s, has(s.weight) ? s.weight : 0).isSorted() &&"
            " self.steps.all(a, (has(a.match) && (!has(a.weight) || a.weight == 0)) ||"
            " self.steps.exists_one(b, (has(b.weight) ? b.weight : 0) == a.weight && (!has(b.match) || a.weight > 0)))",
            STEPS_GROW,
        ),
        (
            "!has(self.traffic) || !has(self.traffic.podShare) || !has(self.steps) || self.steps.all(s, !has(s.match))",
            MATCH_NEEDS_A_ROUTER,
        ),
        (
            "!has(self.traffic) || !has(self.traffic.podShare) || !has(self.stickiness)",
            STICKINESS_NEEDS_A_ROUTER,
        ),
        (
            "!has(self.stickiness) || !has(self.steps) || self.steps.all(s, !has(s.match) ||"
            " s.match.all(m, !has(m.cookies) || !(self.stickiness.cookie in m.cookies)))",
            ONE_COOKIE,
        ),
        (
            "!has(self.traffic) || !has(self.traffic.podShare) || !has(self.steps) ||"
            " self.steps.all(s, (!has(s.weight) || s.weight <= 50 || s.weight == 100) && !has(s.replicas))",
            POD_SHARES,
        ),
    )

    @model_validator(mode="after")
    def _steps_grow(self) -> CanarySpec:
        weights = [step.weight for step in self.steps]
        plain = [step.weight for step in self.steps if not step.match or step.weight]
        if weights != sorted(weights) or len(plain) != len(set(plain)):
            raise ValueError(f"{STEPS_GROW} (got {', '.join(map(str, weights))})")
        if self.traffic.pod_share and any(50 < step.weight < 100 or step.replicas for step in self.steps):
            raise ValueError(POD_SHARES)
        if self.traffic.pod_share and any(step.match for step in self.steps):
            raise ValueError(MATCH_NEEDS_A_ROUTER)
        return self

    @model_validator(mode="after")
    def _stays(self) -> CanarySpec:
        if self.stickiness is None:
            return self
        if self.traffic.pod_share:
            raise ValueError(STICKINESS_NEEDS_A_ROUTER)
        if any(self.stickiness.cookie in one.cookies for step in self.steps for one in step.match):
            raise ValueError(ONE_COOKIE)
        return self

    def plan(self) -> tuple[Step, ...]:
        """The steps to go, the implied last one included."""
        steps = self.steps
        if steps[-1].weight != 100:
            steps = (*steps, CanaryStep(weight=100, bake=timedelta(0)))
        return tuple(
            Step(step.weight, step.bake, self._pods(step), match=step.match, sticky=self._sticky(step))
            for step in steps
        )

    def _sticky(self, step: CanaryStep) -> Stickiness | None:
        """While there are two revisions to be sent to."""
        return self.stickiness if 0 < step.weight < 100 else None

    def _pods(self, step: CanaryStep) -> int:
        """Beside all of stable's pods, where requests are shared by pods: so many that theirs is the step's share."""
        if self.traffic.pod_share is None or step.weight == 100:
            return step.percent()
        return math.ceil(100 * step.weight / (100 - step.weight))


class CanaryRelease(Model):
    """A release whose candidate gets traffic by weight steps, each baked and compared with stable."""

    spec: CanarySpec
    """What is wanted."""
    status: ReleaseStatus | None = None
    """What is."""

    cel_rules: ClassVar[Rules] = OF_EVERY_KIND
    kind: ClassVar[str] = "CanaryRelease"
    plural: ClassVar[str] = "canaryreleases"
    short_names: ClassVar[tuple[str, ...]] = ("canary",)
    columns: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("Phase", "string", ".status.phase"),
        ("Step", "integer", ".status.step.index"),
        ("Weight", "integer", ".status.traffic.weight"),
        ("Verdict", "string", ".status.analysis.verdict"),
        ("Message", "string", ".status.message"),
        ("Age", "date", ".metadata.creationTimestamp"),
    )

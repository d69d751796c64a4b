"""What the operator writes of a FeatureFlag."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tidegate.api.analysis import AnalysisStatus
from tidegate.api.base import Duration, Model, Time
from tidegate.api.bucketing import BucketingRevision
from tidegate.api.conditions import Condition
from tidegate.api.requests import RequestStatus


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

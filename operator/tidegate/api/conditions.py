"""Conditions as the API conventions and kstatus read them. A reason is API: it stands here with its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from tidegate.api.base import Model, Time

ConditionStatus = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """Every release carries all of these from its first visit on."""

    READY = "Ready"
    """What the manifest asks for is what serves, and nothing is under way."""
    RECONCILING = "Reconciling"
    """A release is under way (kstatus: InProgress)."""
    STALLED = "Stalled"
    """Nothing will change until somebody acts (kstatus: Failed): rolled back, invalid, blocked, a hold over time."""
    PROGRESSING = "Progressing"
    """The release moves, or holds for a reason of its own (bake, evidence, pause)."""
    ANALYZED = "Analyzed"
    """The verdict of the analysis: True is not failing, False is failing, Unknown is no data or no analysis."""
    ROLLED_BACK = "RolledBack"
    """The last release ended with traffic back on stable."""
    DRIFTED = "Drifted"
    """What serves is not what the Deployment's template says."""


class Reason(StrEnum):
    """Why a condition is as it is, also the reason of the Event of a transition."""

    ADOPTED = "Adopted"
    """The Deployment is under management; no pod was changed."""
    IDLE = "Idle"
    """Nothing is being released; stable serves."""
    RELEASE_STARTED = "ReleaseStarted"
    """A new revision was found; it is held until traffic is prepared."""
    PREPARING = "Preparing"
    """Services and routes are being put in place; all traffic is on stable."""
    STABLE_DOWN = "StableDown"
    """No pod of stable is ready: the release goes on, for it may be the cure, compared with nothing."""
    SCALING = "Scaling"
    """Candidate pods are starting for the next step."""
    SHIFTING = "Shifting"
    """A weight was written; the router has not applied it yet."""
    WEIGHT_LOST = "WeightLost"
    """In mid-bake a route did not say the weight any more, or came new without it: the bake waits for it."""
    CHANGE_PENDING = "ChangePending"
    """A route was asked for other backends in mid-release: it has them when the release ends."""
    STEP_STARTED = "StepStarted"
    """A step's weight is applied: its bake begins."""
    BAKING = "Baking"
    """The step bakes; the analysis looks."""
    BATCH_REVERTED = "BatchReverted"
    """A batch failed and is taken back; the batches before it stay, and the release is held."""
    PAUSED = "Paused"
    """spec.paused holds the release where it is."""
    ABORTED = "Aborted"
    """Somebody asked for the release to be aborted."""
    REQUEST_DONE = "RequestDone"
    """What was asked by the request annotation is done."""
    REQUEST_REFUSED = "RequestRefused"
    """What was asked by the request annotation cannot be done; status.lastRequest says why."""
    TARGET_PAUSED = "TargetPaused"
    """The Deployment is paused by its owner; the release waits."""
    ANALYSIS_INCONCLUSIVE = "AnalysisInconclusive"
    """The bake is over, and evidence is too thin or leans to failing: the step is held."""
    ANALYSIS_PAUSED = "AnalysisPaused"
    """A metric with onFail: Pause is beyond its limits: the step is held until somebody decides."""
    ANALYSIS_UNKNOWN = "AnalysisUnknown"
    """The metrics gave no answer: the step is held. No data is not evidence."""
    ANALYSIS_FAILED = "AnalysisFailed"
    """The analysis proved the candidate worse than allowed."""
    ANALYSIS_PASSING = "AnalysisPassing"
    """Nothing speaks against the candidate so far."""
    PODS_DIFFER = "PodsDiffer"
    """Stable's own pods differ so much that the comparison says little; the message says what helps. Nothing is held up
    by it."""
    NO_ANALYSIS = "NoAnalysis"
    """No candidate is being analysed."""
    CRASH_LOOP = "CrashLoop"
    """A candidate pod's container crashes again and again, or its pods are evicted for exceeding their own limits."""
    IMAGE_ERROR = "ImageError"
    """A candidate pod's image cannot be had."""
    CONFIG_ERROR = "ConfigError"
    """A candidate pod's container cannot be created (a missing ConfigMap or Secret, say)."""
    NOT_READY = "NotReady"
    """A candidate pod failed its readiness probe after it had been ready, or never became ready in time."""
    NO_DRAIN = "NoDrain"
    """The candidate's pods seem to have no way to drain; the message says what to add. Nothing is held up by it."""
    GATE_WAITING = "GateWaiting"
    """A gate has yet to pass; the message names it, and how to approve one that somebody must."""
    GATE_PASSED = "GatePassed"
    """A gate said yes."""
    GATE_FAILED = "GateFailed"
    """A gate said no, or nothing in time, as often as it is asked."""
    HEALTH_CHECKING = "HealthChecking"
    """Candidate pods have yet to pass a check of spec.health before they have more traffic."""
    HEALTH_CHECK_FAILED = "HealthCheckFailed"
    """A candidate pod failed a check of spec.health too often, and stable's pods did not."""
    PROGRESS_DEADLINE = "ProgressDeadline"
    """Candidate pods were not Ready, or had not passed their checks, within spec.progressDeadline."""
    HOLD_EXPIRED = "HoldExpired"
    """A hold came to its declared end; where that is to hold on, somebody must act."""
    PROMOTING = "Promoting"
    """The candidate passed; Services and routes go back to rest on it."""
    PROMOTED = "Promoted"
    """The candidate is the new stable."""
    REVERTING = "Reverting"
    """Traffic goes back to stable, then the candidate's pods go."""
    ROLLED_BACK = "RolledBack"
    """Stable serves; the candidate is held at 0 until the template changes."""
    SUPERSEDED = "Superseded"
    """The template changed in mid-release; a new release follows."""
    TEMPLATE_RESTORED = "TemplateRestored"
    """The template was set back to stable's in mid-release."""
    RELEASE_DELETED = "ReleaseDeleted"
    """The release object is being deleted: traffic is restored and the Deployment let go."""
    TEMPLATE_SET_BACK = "TemplateSetBack"
    """The release object goes, or the gate went: the Deployment's template is stable's again; no rollout follows."""
    LET_GO = "LetGo"
    """Tidegate lets the Deployment go, as before it is uninstalled; or has let it go: it is managed no more."""
    INVALID_SPEC = "InvalidSpec"
    """A field of the release cannot be right; the message names it, its value and the way out."""
    TARGET_NOT_FOUND = "TargetNotFound"
    STRATEGY_RECREATE = "StrategyRecreate"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_AMBIGUOUS = "ServiceAmbiguous"
    SERVICE_UNUSABLE = "ServiceUnusable"
    """The Services of a release cannot stand beside the user's."""
    TARGET_TAKEN = "TargetTaken"
    """Another release, which came first, is of the same Deployment."""
    SERVICE_TAKEN = "ServiceTaken"
    """Another release, which came first, is of the same Service."""
    ROUTE_TAKEN = "RouteTaken"
    """Another release is moving weights on the route; this one waits until it has ended."""
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    """spec.images names a container that the Deployment has not."""
    TRAFFIC_DEADLINE = "TrafficDeadline"
    """Services, routes or the router did not do their part in time: traffic goes back to stable."""
    STUCK = "Stuck"
    """A stage that has no way but onwards waits beyond its deadline; the message says for what."""
    ROUTER_UNHEARD = "RouterUnheard"
    """The router did not confirm in time that traffic is on stable, and the release goes on to its end without that."""
    ROUTE_NOT_FOUND = "RouteNotFound"
    ROUTE_UNSUPPORTED = "RouteUnsupported"
    GATE_MISSING = "GateMissing"
    """Admission policies are missing: no release starts, and one under way is braked or goes back."""
    GATE_CHANGED = "GateChanged"
    """The admission policies are not as this version of the operator needs them: the same follows."""
    GATE_FOREIGN = "GateForeign"
    """The admission policies exempt the account of another installation: this one stands by and writes nothing."""
    STATUS_UNREADABLE = "StatusUnreadable"
    """The status is of another version, which can go on by it: this one writes nothing but the Event that says so."""
    WAITING_FOR_ROLLOUT = "WaitingForRollout"
    """The Deployment is in mid-rollout; it is adopted when that is done."""


def known(reason: str) -> Reason:
    """A reason that was written down; one that another version knew and this one does not is a revert."""
    return Reason(reason) if reason in set(Reason) else Reason.ROLLED_BACK


class Condition(Model):
    """One condition, as metav1.Condition."""

    type: str
    """Its type, in CamelCase."""
    status: ConditionStatus
    """True, False or Unknown."""
    observed_generation: int = 0
    """The generation of the release that this was said of."""
    last_transition_time: Time
    """When status last changed."""
    reason: str
    """A machine's word for why."""
    message: str = ""
    """A person's words for why."""


def set_conditions(
    old: Sequence[Condition],
    new: Iterable[tuple[StrEnum, ConditionStatus, StrEnum, str]],
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """The only writer of conditions: a transition time moves only when its status does."""
    before = {condition.type: condition for condition in old}
    return tuple(
        Condition(
            type=type_,
            status=status,
            observed_generation=generation,
            last_transition_time=before[type_].last_transition_time
            if type_ in before and before[type_].status == status
            else now,
            reason=reason,
            message=message,
        )
        for type_, status, reason, message in new
    )

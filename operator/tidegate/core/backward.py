"""A release going back: traffic first, then its last requests, then its pods. Waits for no metric and no pause.

It waits for the router's word before pods go that may have requests. Where no word comes until ``ROUTER_DEADLINE`` it
says so and waits on, until somebody insists, or whatever the routes are attached to is gone.
"""

from __future__ import annotations

from datetime import timedelta

from tidegate.api.conditions import Reason
from tidegate.api.releasestatus import Outcome, Phase, Stage
from tidegate.api.traffic import ALL_STABLE, AT_REST
from tidegate.core import brake
from tidegate.core.draft import STEADY, Draft
from tidegate.core.forward import applied, behind, ensure_services, hash_of, lagging, overdue, reached, split_is, steps
from tidegate.core.gate import HELD, owners_note
from tidegate.core.observed import INTRODUCED, Observed
from tidegate.core.plan import Select, SetDeadline, Split

LEAST_DRAIN = timedelta(seconds=1)
"""Pods that are told to go are sent requests until the last router has heard of it."""
WAY_OUT = "to go on without the router's word, abort it once more, or delete the release"
CAPACITY_DEADLINE = timedelta(seconds=30)
"""So long stable may have fewer pods ready than the candidate that it takes over from, where it has any at all."""


def revert(draft: Draft) -> Stage | None:
    """All traffic to stable, applied by the router."""
    obs = draft.obs
    draft.say(Phase.REVERTING, Reason.REVERTING, f"traffic goes back to stable: {draft.journal.message}")
    if draft.status.traffic and draft.status.traffic.share != ALL_STABLE:
        draft.set(traffic=draft.status.traffic.model_copy(update=vars(ALL_STABLE)))
    stable = hash_of(draft, "stable")
    if lacks := _lacks(draft):
        draft.say(Phase.REVERTING, Reason.REVERTING, f"{lacks}: {draft.journal.message}")
        draft.wake_soon()
        return None
    if not split_is(obs, AT_REST):
        ensure_services(draft)
    if _routed(obs):
        draft.urgent.append(Split(ALL_STABLE))
    if obs.service and obs.service.hash != stable:
        # A promotion that is aborted had widened it already, or given it to the candidate.
        draft.urgent.append(Select(stable))
    if draft.urgent:
        draft.wake_soon()
        return None
    if draft.journal.served and not _confirmed(draft):
        waits = lagging(obs) or "the router has yet to know all pods of stable"
        if not _goes_on(draft):
            late = overdue(draft)
            draft.say(Phase.REVERTING, Reason.REVERTING, f"{waits}; {WAY_OUT}" if late else waits)
            draft.wake_in(STEADY) if late else draft.wake_soon()
            return None
        _unheard(draft, waits)
    return Stage.DRAIN


def _confirmed(draft: Draft) -> bool:
    """The router sends the candidate nothing, and all that it gets to stable."""
    obs = draft.obs
    return applied(draft) and not (split_is(obs, AT_REST) and obs.service and not reached(draft, obs.service))


def _goes_on(draft: Draft) -> bool:
    """The router has had all its time, and somebody insists on the end, or there is nobody left to confirm it."""
    if draft.journal.unheard:
        return True
    late = [route for route in draft.obs.own if not route.applied]
    nobody = bool(late) and all(route.detached for route in late)
    return overdue(draft) and (draft.obs.release.leaving or nobody)


def _unheard(draft: Draft, waits: str) -> None:
    """What is written stands: traffic is on stable, whether the router says so or not."""
    draft.note(unheard=True)
    draft.event(Reason.ROUTER_UNHEARD, f"going on without the router's word: {waits}", "Warning")


def has_traffic(obs: Observed) -> bool:
    """Some route sends requests to the candidate, or the user's Service where that is what shares them."""
    stable = obs.release.status.stable
    shared = obs.by_service and obs.service is not None and stable is not None and obs.service.hash != stable.hash
    return shared or _routed(obs)


def _routed(obs: Observed) -> bool:
    return any(route.match or route.weight not in (None, 0, INTRODUCED) for route in obs.own)


def _lacks(draft: Draft) -> str:
    """What stable lacks to take over from the candidate, as long as the candidate's pods can help it out.

    All of its pods, where a rolling release took some; else as many as the candidate has behind its Service: with
    fewer it would have to do more with less. A candidate that nobody is left of is no help, and is left at once.
    """
    obs, spec, stable = draft.obs, draft.obs.release.spec, draft.obs.by_hash(hash_of(draft, "stable"))
    if stable is None or spec is None or obs.deployment is None:
        return ""
    desired, taken = obs.deployment.replicas, any(step.stable < 100 for step in steps(draft))
    loose = brake.loose(obs)
    if not loose:
        # Whatever took them: the Deployment controller does, where there is no gate.
        draft.serving(stable)
    if taken:
        ensure_services(draft)
    elif not _led_away(draft):
        return ""
    has, helps = behind(obs.stable_service), behind(obs.canary_service)
    if loose and stable.replicas < desired and has <= helps:
        # Its controller alone can give them back, which it does by the template.
        brake.undo(draft)
    if not helps or has >= (desired if taken else min(desired, helps)):
        return ""
    patience = CAPACITY_DEADLINE if has and not taken else spec.progress_deadline
    if draft.now > draft.journal.since + patience:
        return ""
    return f"stable gets its pods back ({has} of {desired} are ready)"


def _led_away(draft: Draft) -> bool:
    """Requests go elsewhere than to stable, by a route or by the user's Service."""
    service = draft.obs.service
    return _routed(draft.obs) or (service is not None and service.hash != hash_of(draft, "stable"))


def drain(draft: Draft) -> Stage | None:
    """The candidate has no traffic; its last requests end before its pods do."""
    if has_traffic(draft.obs):
        return Stage.REVERT
    # As soon as nobody sends it requests: until then its controller may take stable for the one to go.
    brake.undone(draft)
    until = draft.journal.since + _drains(draft)
    if draft.now < until:
        draft.say(Phase.REVERTING, Reason.REVERTING, f"traffic is on stable, draining: {draft.journal.message}")
        draft.wake_at(until)
        return None
    return Stage.RETIRE


def _drains(draft: Draft) -> timedelta:
    """How long requests to the candidate may take to end, and to come at all."""
    spec, at = draft.obs.release.spec, draft.status.step
    if spec is None or not draft.journal.served:
        return timedelta()
    # A weight taken back before it was seen to be served may be on its way through the router yet.
    under_way = spec.traffic.propagation if at and at.until is None else LEAST_DRAIN
    return max(spec.drain, under_way)


def retire(draft: Draft) -> Stage | None:
    """The candidate's pods go; routes go back on the user's Service, which is narrowed to stable."""
    if has_traffic(draft.obs):
        return Stage.REVERT
    if not brake.undone(draft):
        draft.say(Phase.REVERTING, Reason.REVERTING, f"the template is set back to stable's: {draft.journal.message}")
        draft.wake_soon()
        return None
    obs, candidate = draft.obs, draft.obs.by_hash(hash_of(draft, "candidate"))
    draft.say(Phase.REVERTING, Reason.REVERTING, f"removing the candidate's pods: {draft.journal.message}")
    gone = candidate is None or (draft.bound(candidate, HELD, 0) and candidate.current == 0)
    if not split_is(obs, AT_REST):
        draft.act(Split(AT_REST))
    served = applied(draft) and (obs.service is None or reached(draft, obs.service))
    if gone and split_is(obs, AT_REST) and (served or overdue(draft)):
        if not served and not draft.journal.unheard:
            _unheard(draft, lagging(obs) or "the router has yet to know all pods of stable")
        return Stage.FLAG
    draft.wake_soon()
    return None


def flag(draft: Draft) -> Stage | None:
    """The Deployment says ProgressDeadlineExceeded, so that all who watch it know; only of its current template."""
    deployment, current = draft.obs.deployment, draft.obs.current()
    # One that is let go gets its old template back: nothing of it has failed.
    failed = draft.journal.outcome in (Outcome.ROLLED_BACK, Outcome.ABORTED) and not draft.obs.release.leaving
    if deployment is None or not failed or current is None or current.hash != hash_of(draft, "candidate"):
        return Stage.CLEAN
    draft.say(Phase.REVERTING, Reason.REVERTING, f"marking the Deployment as failed: {draft.journal.message}")
    if deployment.timed_out or draft.now > draft.journal.since + brake.SEEN_WITHIN:
        return Stage.CLEAN
    soonest = deployment.min_ready_seconds + 1
    if deployment.deadline != soonest:
        draft.act(SetDeadline(soonest, owners_note(deployment.owners_deadline)))
    draft.wake_soon()
    return None

"""Promotion: Services and routes go back to rest on the candidate, then stable's pods go. No pod is re-created.

The user's Service is never without a ready endpoint: it is widened before it is narrowed, and each is seen first.
"""

from __future__ import annotations

from tidegate.api.conditions import Reason
from tidegate.api.releasestatus import Outcome, Phase, Stage
from tidegate.api.traffic import AT_REST
from tidegate.core import health
from tidegate.core.draft import Draft
from tidegate.core.forward import (
    applied,
    deserted,
    ensure_services,
    go_back,
    hash_of,
    lagging,
    late,
    narrow,
    overdue,
    reached,
    split_is,
    switching,
    unasked,
    whole,
)
from tidegate.core.gate import HELD
from tidegate.core.observed import ReplicaSet
from tidegate.core.plan import DeleteServices, Select, SetDeadline, Split


def _promoting(draft: Draft, message: str) -> None:
    draft.say(Phase.PROGRESSING, Reason.PROMOTING, message)
    draft.wake_soon()


def widen(draft: Draft) -> Stage | None:
    """The user's Service selects both revisions, and the candidate's pods are among its endpoints."""
    obs = draft.obs
    _promoting(draft, "callers inside the cluster see both revisions")
    ensure_services(draft)
    if obs.service is None or obs.canary_service is None:
        return None
    if deserted(draft) or (switching(draft) and not whole(draft)):
        return Stage.SCALE
    narrow(draft, None)
    if draft.actions:
        return None
    return Stage.NARROW if whole(draft) and obs.canary_service.endpoints <= obs.service.endpoints else None


def give(draft: Draft) -> Stage | None:
    """The user's Service selects the candidate only."""
    obs, candidate = draft.obs, hash_of(draft, "candidate")
    _promoting(draft, "callers inside the cluster see the candidate only")
    ensure_services(draft)
    if obs.service is None or obs.canary_service is None:
        return None
    if deserted(draft) or (switching(draft) and not whole(draft)):
        return Stage.SCALE
    if not whole(draft):
        return None
    narrow(draft, candidate)
    if draft.actions:
        return None
    if not (obs.service.endpoints or unasked(obs)) or not obs.service.endpoints <= obs.canary_service.endpoints:
        return None
    # At a switch this is how the step's requests come, and its bake begins with them.
    return Stage.SHIFT if switching(draft) else Stage.RETURN


def return_routes(draft: Draft) -> Stage | None:
    """The routes are back on the user's Service, and the router serves by them."""
    obs = draft.obs
    _promoting(draft, "promoting: routes go back on the Service")
    if not split_is(obs, AT_REST):
        draft.act(Split(AT_REST))
        return None
    if not applied(draft) or (obs.service and not reached(draft, obs.service)):
        if late(draft):
            _promoting(draft, lagging(obs) or "the router still sends requests to the old revision")
        return None
    return Stage.LIFT


def lift(draft: Draft) -> Stage | None:
    """Stable has drained, and its pods go. While all of them stand, a candidate that falls sick is turned back."""
    obs, spec = draft.obs, draft.obs.release.spec
    _promoting(draft, "promoting: the old revision drains")
    stable, candidate = obs.by_hash(hash_of(draft, "stable")), obs.by_hash(hash_of(draft, "candidate"))
    replicas = obs.deployment.replicas if obs.deployment else 0
    if stable and stable.ready and stable.ready >= replicas:
        sick = health.trouble(draft)
        if sick:
            return go_back(draft, Outcome.ROLLED_BACK, *sick)
    # Pods that are no more, or never were, have no requests to end.
    until = draft.journal.since + spec.drain if spec and stable and stable.current else draft.journal.since
    if draft.now < until:
        draft.wake_at(until)
        return None
    if candidate:
        # Before stable's bounds, in the same plan: from here on its floor is what keeps the pods that serve.
        draft.serving(candidate)
    _promoting(draft, "promoting: the old pods go")
    return Stage.CLEAN if stable is None or _gone(draft, stable, candidate, replicas) else None


def _gone(draft: Draft, stable: ReplicaSet, candidate: ReplicaSet | None, replicas: int) -> bool:
    """Stable's pods go: by the Deployment controller's measure while the candidate lacks pods, else at once.

    That controller takes none away for as long as the new revision lacks some. Where the next one is waiting for its
    turn already, that could be for ever, and nobody sends requests to these pods any more.
    """
    current = draft.obs.current()
    awaited = candidate and current and current.hash != candidate.hash and overdue(draft)
    size = 0 if candidate is None or candidate.ready >= replicas or awaited else None
    return draft.bound(stable, HELD, size) and stable.current == 0


def clean(draft: Draft) -> Stage | None:
    """Both ways: nothing of ours remains in Services and routes; the Deployment has its owner's deadline again."""
    reverting = draft.journal.outcome not in (None, Outcome.PROMOTED)
    draft.say(
        Phase.REVERTING if reverting else Phase.PROGRESSING,
        Reason.REVERTING if reverting else Reason.PROMOTING,
        "putting Services and routes back as they were",
    )
    draft.wake_soon()
    return Stage.REST if tidied(draft) else None


def tidied(draft: Draft) -> bool:
    """Nothing of ours remains in Services and routes; the Deployment has its owner's deadline again.

    What another release holds, or manages, that one puts back.
    """
    obs, deployment = draft.obs, draft.obs.deployment
    if not split_is(obs, AT_REST):
        draft.act(Split(AT_REST))
        return False
    if not applied(draft) and not overdue(draft):
        return False
    done = len(draft.actions)
    if obs.service and not obs.lent and (obs.service.hash is not None or obs.service.hold):
        draft.act(Select(None, held=False))
    if obs.made:
        draft.act(DeleteServices())
    mine = deployment is not None and deployment.managed_by in ("", obs.release.id)
    if deployment and mine and (deployment.deadline_note or deployment.deadline != deployment.owners_deadline):
        draft.act(SetDeadline(deployment.owners_deadline))
    return len(draft.actions) == done

"""What people ask of a flag's rollout: promote, pause, resume, abort, retry, skip a step, approve one.

It is done only for the rollout that it names. Each goes before what automation would do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidegate.api.flagwords import FlagReason
from tidegate.api.requests import RequestAction
from tidegate.core import asked
from tidegate.core.asked import Request
from tidegate.core.flags import rollout
from tidegate.core.flags.draft import Draft


def answer(draft: Draft) -> None:
    """Do what is asked, unless it was answered before."""
    request = asked.new(draft.obs.flag.request, draft.status.last_request)
    if request is None:
        return
    refusal = _refusal(draft, request)
    draft.set(last_request=asked.answered(request, refusal, draft.now))
    if refusal:
        draft.event(FlagReason.REQUEST_REFUSED, f"{request.told}: {refusal}", "Warning")
    else:
        draft.event(FlagReason.REQUEST_DONE, request.told)


def _refusal(draft: Draft, request: Request) -> str:
    """Do it, or say why not."""
    action = request.named
    if action is None:
        return asked.no_request("status.rollout.digest")
    if draft.rival is not None:
        return "another flag of the set has its key, and is served instead"
    if draft.plan is None or not draft.rollout.digest:
        return "there is no rollout of which to ask that; spec.enabled turns a flag off"
    if request.hash != draft.rollout.digest:
        return f"it names {request.hash or 'no rollout'}, and status.rollout.digest is {draft.rollout.digest}"
    if action in _GROWS and draft.killed:
        return "spec.enabled is false"
    if action in _GROWS and draft.unmet:
        return draft.unmet
    if action in _GROWS and draft.status.override:
        return f"the flag is off ({draft.status.override.reason}): ask for a retry, or write another rollout"
    return _DO[action](draft, request)


def _promote(draft: Draft, _: Request) -> str:
    if draft.plan is None or rollout.following(draft.plan, draft.rollout) is None:
        return "there is no step left"
    if draft.problems:
        # It would be done when the spec is mended, by whom and whenever that is.
        return f"the spec is to be mended first: {draft.problems[0]}"
    _forgive(draft)
    draft.note(hurried=True, paused=False)
    return ""


def _pause(draft: Draft, _: Request) -> str:
    if draft.plan is None or rollout.following(draft.plan, draft.rollout) is None:
        return "there is no step left that could be held"
    draft.note(paused=True, hurried=False)
    return ""


def _resume(draft: Draft, _: Request) -> str:
    if not _forgive(draft) and not draft.rollout.paused:
        return "it is not paused by a request, nor by a metric"
    draft.note(paused=False)
    return ""


def _abort(draft: Draft, request: Request) -> str:
    if draft.status.override:
        return f"the flag is off already ({draft.status.override.reason})"
    draft.turn_off(FlagReason.ABORTED, f"{request.told}: off for everybody")
    return ""


def _retry(draft: Draft, request: Request) -> str:
    if draft.status.override is None:
        return "it was not turned off by its analysis or a request"
    draft.event(FlagReason.RETRIED, f"{request.told}: the rollout begins anew")
    rollout.begin(draft, draft.rollout.digest)
    return ""


def _skip_step(draft: Draft, _: Request) -> str:
    at = draft.rollout
    if at.full_since is not None:
        return "no step bakes: everybody is in"
    if at.until is None:
        return f"no step bakes: {draft.obs.flag.status.message or 'the first is yet to begin'}"
    if at.passed:
        return "no step bakes: the last one has passed"
    if draft.now >= at.until and draft.why_ready in _BAKED:
        return f"no step bakes: {draft.obs.flag.status.message}"
    _forgive(draft)
    draft.note(skipped=True)
    return ""


def _forgive(draft: Draft) -> bool:
    """Metrics that pause the rollout do so no longer; whether any did."""
    spec, seen = draft.plan.analysis if draft.plan else None, draft.status.analysis
    if spec is None or seen is None or not seen.held_by or not seen.journal:
        return False
    from tidegate.core import analysis  # and numpy with it: most requests need neither

    draft.set(analysis=analysis.forgiven(spec, seen))
    return True


def _approve(draft: Draft, _: Request) -> str:
    share = rollout.waits_for_approval(draft.plan, draft.rollout, draft.now) if draft.plan else None
    if share is None:
        return "no step waits for an approval"
    draft.note(approved=share)
    return ""


_DO: Mapping[RequestAction, Callable[[Draft, Request], str]] = {
    RequestAction.PROMOTE: _promote,
    RequestAction.PAUSE: _pause,
    RequestAction.RESUME: _resume,
    RequestAction.ABORT: _abort,
    RequestAction.RETRY: _retry,
    RequestAction.SKIP_STEP: _skip_step,
    RequestAction.APPROVE: _approve,
}
_BAKED = (FlagReason.APPROVAL_NEEDED, FlagReason.SCHEDULED)
"""Why a rollout waits whose bake is over and has nothing to skip."""
_GROWS = frozenset(_DO) - {RequestAction.ABORT, RequestAction.RETRY}
"""What makes no sense of a flag that is off."""

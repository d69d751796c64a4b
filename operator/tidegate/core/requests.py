"""What people ask of a running release: promote, pause, resume, abort, retry, skip a step.

A request is an annotation, so that anyone with kubectl can write it: ``{"id": …, "action": …, "hash": …}``. It is
answered once, in ``status.lastRequest``, and done only for the candidate that it names: one that was meant for
another revision must not hit the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pydantic import BaseModel, ValidationError

from tidegate.api.base import GROUP
from tidegate.api.conditions import Reason
from tidegate.api.release import Outcome, RequestAction, RequestOutcome, RequestStatus, Stage
from tidegate.core import gates
from tidegate.core.draft import Draft
from tidegate.core.forward import FORWARD, PROMOTION, at_step, go_back, overdue, steps

REQUEST = f"{GROUP}/request"
"""The annotation on a release."""


class _Request(BaseModel):
    id: str
    action: str
    hash: str
    by: str = ""
    gate: str = ""


def answer(draft: Draft) -> None:
    """Do what is asked, unless it was answered before."""
    text, last = draft.obs.release.request, draft.status.last_request
    if not text:
        return
    try:
        request = _Request.model_validate_json(text)
    except ValidationError:
        request = _Request(id=text[:64], action="?", hash="")
    if last and last.id == request.id:
        return
    refusal = _refusal(draft, request)
    outcome = RequestOutcome.REFUSED if refusal else RequestOutcome.DONE
    told = RequestStatus(
        id=request.id, action=request.action, by=request.by, outcome=outcome, message=refusal, at=draft.now
    )
    draft.set(last_request=told)
    who = f" by {request.by}" if request.by else ""
    if refusal:
        draft.event(Reason.REQUEST_REFUSED, f"{request.action}{who}: {refusal}", "Warning")
    else:
        draft.event(Reason.REQUEST_DONE, f"{request.action}{who}")


def _refusal(draft: Draft, request: _Request) -> str:
    """Do it, or say why not."""
    named = {action.value.lower(): action for action in RequestAction}
    action = named.get(request.action.replace("-", "").lower())
    if action is None:
        wanted = json.dumps({"id": "any", "action": "|".join(RequestAction), "hash": "the candidate's"})
        return f"not a request: write {REQUEST}: {wanted}"
    candidate = draft.status.candidate
    if candidate is None:
        return "there is no candidate: nothing is being released"
    if request.hash != candidate.hash:
        return f"it names {request.hash or 'no candidate'}, and the candidate is {candidate.hash}"
    if action is RequestAction.APPROVE:
        return gates.approve(draft, request.gate, request.by)
    if action is RequestAction.PROMOTE:
        gates.approve(draft, "", request.by)
    return _DO[action](draft)


def _promote(draft: Draft) -> str:
    if draft.journal.stage not in FORWARD:
        return _not_now(draft)
    draft.note(hurried=True, paused=False, retreated="")
    if all(step.stable == 100 for step in steps(draft)):
        at_step(draft, len(steps(draft)))
    if draft.journal.stage is not Stage.PREPARE:
        draft.enter(Stage.SCALE)
    return ""


def _pause(draft: Draft) -> str:
    if draft.journal.stage not in FORWARD:
        return _not_now(draft)
    draft.note(paused=True)
    return ""


def _resume(draft: Draft) -> str:
    if not draft.journal.paused:
        return "it is not paused by a request"
    draft.note(paused=False, retreated="")
    return ""


def _abort(draft: Draft) -> str:
    if draft.journal.stage is Stage.REVERT:
        if not overdue(draft):
            return f"{_not_now(draft)}; once that is Stuck, it goes on without the router's word if asked again"
        draft.note(unheard=True)
        return ""
    if draft.journal.stage not in FORWARD | PROMOTION:
        return _not_now(draft)
    draft.enter(go_back(draft, Outcome.ABORTED, Reason.ABORTED, "aborted by request"))
    return ""


def _retry(draft: Draft) -> str:
    if draft.journal.stage is not Stage.REST:
        return _not_now(draft)
    # Without a candidate the revision of the template is a new one, and a release begins.
    draft.set(candidate=None)
    return ""


def _skip_step(draft: Draft) -> str:
    step = draft.status.step
    if draft.journal.stage is not Stage.BAKE or step is None:
        return _not_now(draft)
    draft.set(step=step.model_copy(update={"until": draft.now, "skipped": True}))
    return ""


def _not_now(draft: Draft) -> str:
    stage = draft.journal.stage
    return "nothing is being released" if stage is Stage.REST else f"the release is at {stage.value}"


_DO: Mapping[RequestAction, Callable[[Draft], str]] = {
    RequestAction.PROMOTE: _promote,
    RequestAction.PAUSE: _pause,
    RequestAction.RESUME: _resume,
    RequestAction.ABORT: _abort,
    RequestAction.RETRY: _retry,
    RequestAction.SKIP_STEP: _skip_step,
}

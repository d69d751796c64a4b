"""What people ask of a running release: promote, pause, resume, abort, retry, skip a step.

It is done only for the candidate that it names: one that was meant for another revision must not hit the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidegate.api.conditions import Reason
from tidegate.api.releasestatus import Outcome, Stage
from tidegate.api.requests import RequestAction
from tidegate.core import asked, gates
from tidegate.core.asked import Request
from tidegate.core.draft import Draft
from tidegate.core.forward import FORWARD, PROMOTION, at_step, go_back, overdue, steps


def answer(draft: Draft) -> None:
    """Do what is asked, unless it was answered before."""
    request = asked.new(draft.obs.release.request, draft.status.last_request)
    if request is None:
        return
    refusal = _refusal(draft, request)
    draft.set(last_request=asked.answered(request, refusal, draft.now))
    if refusal:
        draft.event(Reason.REQUEST_REFUSED, f"{request.told}: {refusal}", "Warning")
    else:
        draft.event(Reason.REQUEST_DONE, request.told)


def _refusal(draft: Draft, request: Request) -> str:
    """Do it, or say why not."""
    action = request.named
    if action is None:
        return asked.no_request("the candidate's")
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
    _forgive(draft)
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
    if not _forgive(draft) and not draft.journal.paused:
        return "it is not paused by a request, nor by a metric"
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
    _forgive(draft)
    draft.set(step=step.model_copy(update={"until": draft.now, "skipped": True}))
    return ""


def _forgive(draft: Draft) -> bool:
    """Metrics that pause the release do so no longer; whether any did."""
    spec, seen = draft.obs.release.spec, draft.status.analysis
    if spec is None or seen is None or not seen.held_by or not seen.journal:
        return False
    from tidegate.core import analysis  # and numpy with it: most requests need neither

    draft.set(analysis=analysis.forgiven(spec.analysis, seen))
    return True


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

"""A step's bake: watched, and at its end on, held, longer, or back, as the evidence has it."""

from __future__ import annotations

from datetime import timedelta

from tidegate.api.analysis import Advance, AnalysisStatus, Verdict
from tidegate.api.conditions import Reason
from tidegate.api.gates import GateAt
from tidegate.api.release import ReleaseSpec
from tidegate.api.releasestatus import Outcome, Phase, Stage, StepStatus
from tidegate.core import checks, gates
from tidegate.core.draft import Draft
from tidegate.core.forward import (
    at_step,
    beyond,
    deserted,
    ensure_split,
    go_back,
    grow,
    hash_of,
    hold,
    interrupt,
    nobody_serves,
    paused,
    share_told,
    split_is,
    stalls,
    step,
    steps,
    switched,
    where,
)
from tidegate.core.ruling import FIRST_SCRAPES, UNANSWERED, Bake, Word, doubt, rule

AHEAD = timedelta(seconds=30)
"""How long before a bake ends the next step's pods may start: at most, and never before half of the bake."""


def bake(draft: Draft) -> Stage | None:
    """The step's weight watched; at its end the evidence decides: on, hold, or back (``machine`` asks for Fail)."""
    spec, at = draft.obs.release.spec, draft.status.step
    if spec is None or at is None or at.until is None:
        return None
    hold(draft)
    draft.note(unproven_since=None)
    if deserted(draft):
        return Stage.SCALE
    asked, written = at.share, draft.status.traffic
    as_written = written is not None and written.share == asked
    if as_written and (draft.obs.taken or not (split_is(draft.obs, asked) and switched(draft))):
        return interrupt(draft)
    ensure_split(draft, asked)
    _grow_ahead(draft, at)
    draft.watch()
    told = f"{where(draft)}: {at.weight} %{share_told(draft, asked)}"
    evidence = f"; {draft.status.analysis.message}" if draft.status.analysis and draft.status.analysis.message else ""
    until = f"{at.until:%H:%M:%S} UTC"
    draft.say(Phase.PROGRESSING, Reason.BAKING, f"{told} until {until}{evidence}")
    if paused(draft):
        draft.say(Phase.WAITING, Reason.PAUSED, f"{told}: held {paused(draft)}{evidence}")
        watched = _judges(draft) and not _alone(draft) and draft.journal.looked_step == at.index
        # A pause holds what is to come, and no way back.
        return _unanswered(draft, spec, _word(draft, spec, at)) if watched else None
    if at.skipped or draft.journal.hurried:
        return _next(draft)
    if _alone(draft):
        draft.say(
            Phase.PROGRESSING, Reason.STABLE_DOWN, f"{told} until {until}; no pod of stable is ready to compare with"
        )
    elif _judges(draft):
        if draft.status.analysis and draft.journal.looked_step != at.index:
            # A Pass of the step before, and how many requests that one had, say nothing of this one.
            return _wait(draft) if draft.now < at.until else None
        return _ruled(draft, spec, at, told, evidence)
    return _next(draft) if draft.now >= at.until else _wait(draft)


def _judges(draft: Draft) -> bool:
    """The evidence decides on the step."""
    return bool(step(draft).weight and step(draft).bake and step(draft).judged)


def _alone(draft: Draft) -> bool:
    """There is no answer since there is nobody to compare with."""
    seen = draft.status.analysis
    return seen is not None and seen.verdict is Verdict.Unknown and nobody_serves(draft)


def _ruled(draft: Draft, spec: ReleaseSpec, at: StepStatus, told: str, evidence: str) -> Stage | None:
    """As the evidence has it."""
    seen, word = draft.status.analysis, _word(draft, spec, at)
    if word in UNANSWERED:
        if at.started_at and draft.now > at.started_at + FIRST_SCRAPES * spec.analysis.interval:
            draft.say(Phase.WAITING, Reason.ANALYSIS_UNKNOWN, f"{told}: no answer from the metrics{evidence}")
        return _unanswered(draft, spec, word)
    _unanswered(draft, spec, word)
    if word is Word.ON:
        return _go_on(draft)
    if word is Word.WAIT or seen is None:
        return _wait(draft)
    if word is Word.HOLD_FAILED:
        draft.say(Phase.WAITING, Reason.ANALYSIS_PAUSED, f"{told}: held{evidence}")
        stalls(draft, Reason.ANALYSIS_PAUSED, beyond(draft), "resume, skip the step")
        return None
    thin = f"{told}: held, {doubt(seen)}{evidence}{_kept(draft, seen)}"
    draft.say(Phase.WAITING, Reason.ANALYSIS_INCONCLUSIVE, thin)
    if word is Word.LONGER:
        more = {"extensions": at.extensions + 1, "until": draft.now + step(draft).bake}
        draft.set(step=at.model_copy(update=more))
        return _wait(draft)
    if word is Word.BACK_THIN:
        late = f"{doubt(seen)}, with all extensions: {seen.message}"
        return go_back(draft, Outcome.ROLLED_BACK, Reason.HOLD_EXPIRED, late)
    _holds_on(
        draft, f"the bake is over, extensions too, and onInconclusive.then is {spec.analysis.on_inconclusive.then}"
    )
    return None


def _word(draft: Draft, spec: ReleaseSpec, at: StepStatus) -> Word:
    rules = spec.analysis
    if at.weight == 100:
        # Nobody is left to compare with, and nothing can be proven: the bake is to do.
        rules = rules.model_copy(update={"advance": Advance.Baked})
    bake_ = Bake(at.until or draft.now, at.extensions, draft.journal.unknown_since)
    return rule(rules, draft.status.analysis, bake_, draft.now)


def _unanswered(draft: Draft, spec: ReleaseSpec, word: Word) -> Stage | None:
    """Since when the metrics give no answer, and what becomes of a release where that is too long."""
    draft.note(unknown_since=(draft.journal.unknown_since or draft.now) if word in UNANSWERED else None)
    late = "no answer from the metrics until onUnknown.deadline"
    if word is Word.BACK_UNKNOWN:
        return go_back(draft, Outcome.ABORTED, Reason.HOLD_EXPIRED, late)
    if word is Word.EXPIRED_UNKNOWN:
        _holds_on(draft, f"{late}, and onUnknown.then is {spec.analysis.on_unknown.then}")
    return None


def _go_on(draft: Draft) -> Stage | None:
    """To the next step by the evidence, once that is of now: where nobody was at work for a while, what came meanwhile
    may speak against it, and a promotion is not taken back by it."""
    return None if draft.behind else _next(draft)


def _next(draft: Draft) -> Stage | None:
    at, plan = draft.status.step, steps(draft)
    if unproven := checks.lacking(draft):
        return _unproven(draft, unproven)
    # A step that somebody gave a greater weight meanwhile is yet to be done: what has passed is the one it was.
    index = at.index + (at.weight >= step(draft).weight) if at else len(plan) + 1
    if index <= len(plan):
        at_step(draft, index)
        return Stage.SCALE
    if not gates.passed(draft, GateAt.BEFORE_PROMOTION):
        return None
    draft.event(Reason.PROMOTING, f"{hash_of(draft, 'candidate')} passed its steps")
    given = draft.obs.service is not None and draft.obs.service.hash == hash_of(draft, "candidate")
    return Stage.RETURN if given else Stage.WIDEN


def _wait(draft: Draft) -> Stage | None:
    """Asked again when the bake ends."""
    if draft.status.step and draft.status.step.until:
        draft.wake_at(draft.status.step.until)
    return None


def _unproven(draft: Draft, why: str) -> Stage | None:
    """The step could end, but pods have yet to pass their checks: held as long as such pods are before a step."""
    spec, before = draft.obs.release.spec, draft.obs.release.status.journal
    lasting = before is not None and before.stage is Stage.BAKE and before.since == draft.journal.since
    since = (before.unproven_since if before and lasting else None) or draft.now
    draft.note(unproven_since=since)
    if spec and draft.now >= since + spec.progress_deadline:
        late = f"candidate pods had not passed within spec.progressDeadline ({spec.progress_deadline}) after the bake"
        return go_back(draft, Outcome.ROLLED_BACK, Reason.PROGRESS_DEADLINE, f"{late}: {why}")
    draft.say(Phase.WAITING, Reason.HEALTH_CHECKING, f"{where(draft)}: held, {why}")
    return None


def _holds_on(draft: Draft, why: str) -> None:
    """A hold's time is over, and its declared end is to hold: data may yet come, but somebody had better look."""
    stalls(draft, Reason.HOLD_EXPIRED, why, "skip the step")


def _kept(draft: Draft, seen: AnalysisStatus) -> str:
    """Why requests may stay away although the Service leads to the candidate."""
    spec = draft.obs.release.spec
    if not draft.obs.by_service or spec is None or seen.step_requests >= spec.analysis.min_requests:
        return ""
    return "; callers of the Service go over with their next connection, and may hold those that they have"


def _grow_ahead(draft: Draft, at: StepStatus) -> None:
    """Towards the end of a bake the pods of the next step start, so that it need not wait for them."""
    plan = steps(draft)
    if paused(draft) or at.until is None or at.index >= len(plan) or plan[at.index].stable < 100:
        return
    begins = at.until - min(AHEAD, step(draft).bake / 2)
    if draft.now >= begins:
        grow(draft, plan[at.index])
    else:
        draft.wake_at(begins)

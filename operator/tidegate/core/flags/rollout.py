"""A rollout: from step to step, never back but to off. Who is in stays in.

The only thing that automation takes back is everything: a breach serves the off variant to everybody.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from tidegate.api.analysis import Advance, AnalysisSpec, Verdict, WhenUnknown
from tidegate.api.flagstatus import FlagPhase, RolloutStatus
from tidegate.api.flagwords import FlagCondition, FlagReason
from tidegate.api.rollout import Approval, Rollout
from tidegate.core.flags import telemetry, windows
from tidegate.core.flags.draft import Draft, arms, served
from tidegate.core.flags.effective import EVERYBODY, rollout_digest
from tidegate.core.ruling import FIRST_SCRAPES, UNANSWERED, Bake, Word, doubt, rule

_AWAITED = timedelta(seconds=1)
"""How soon to ask again for an answer that has yet to come. Whoever hears it first tells of it."""


def settle(draft: Draft) -> None:
    """The rollout that the spec speaks of: another one begins at nobody. Other steps are no other rollout."""
    if draft.spec is None:
        return
    if draft.plan is None:
        draft.set(rollout=None, override=None, analysis=None, exposures=())
        return
    if draft.plan.analysis is None or not draft.plan.analysis.metrics:
        # A verdict that nobody watches over any more is none.
        draft.set(analysis=None)
    digest = rollout_digest(draft.spec)
    if draft.rollout.digest != digest:
        begin(draft, digest)
        return
    of, step = len(draft.plan.steps), _reached(draft.plan, draft.rollout)
    if (draft.rollout.of, draft.rollout.step) != (of, step):
        # The numbers of the steps are others now.
        draft.note(of=of, step=step, passed=False)
    at, bake = draft.rollout, _bake(draft.plan, draft.rollout)
    written = step > 0 and milli(draft.plan.steps[step - 1].percentage) == at.milli
    if written and at.until is not None and at.bake is not None and at.bake != bake:
        draft.note(until=max(draft.now, at.until + bake - at.bake), bake=bake)


def begin(draft: Draft, digest: str) -> None:
    """At nobody."""
    steps = draft.plan.steps if draft.plan else ()
    draft.set(rollout=RolloutStatus(digest=digest, of=len(steps)), override=None, analysis=None, exposures=())
    draft.event(FlagReason.ROLLOUT_STARTED, f"a rollout begins, in {len(steps)} steps")


def turn(draft: Draft) -> None:
    """As far as it may go now."""
    plan = draft.plan
    if plan is None:
        draft.say(FlagPhase.SERVING, FlagReason.SERVING, "")
        return
    _look(draft)
    for _ in range(len(plan.steps) + 1):
        if draft.status.override or not _go(draft, plan):
            break
    _look_again(draft)


def milli(percentage: float) -> int:
    """In thousandths of a percent."""
    return round(percentage * 1000)


def following(plan: Rollout, at: RolloutStatus) -> int | None:
    """The next step, counted from 0: the first that lets more in. None: there is none."""
    if not at.step and not at.milli:
        return 0
    return next((index for index, step in enumerate(plan.steps) if milli(step.percentage) > at.milli), None)


def waits_for_approval(plan: Rollout, at: RolloutStatus, now: datetime) -> int | None:
    """The share that somebody must approve now."""
    index = following(plan, at)
    if index is None or plan.steps[index].approval is not Approval.MANUAL:
        return None
    share = milli(plan.steps[index].percentage)
    return share if at.approved != share and (at.until is None or now >= at.until) else None


def guard(draft: Draft) -> AnalysisSpec | None:
    """What is watched: while some are in and some are not, there is something to compare."""
    spec = draft.plan.analysis if draft.plan else None
    return spec if spec is not None and spec.metrics and draft.partial else None


def _reached(plan: Rollout, at: RolloutStatus) -> int:
    """The number of the last step that lets no more in than are."""
    if not at.step and not at.milli:
        return 0
    return sum(milli(step.percentage) <= at.milli for step in plan.steps)


def _bake(plan: Rollout, at: RolloutStatus) -> timedelta:
    """How long the step bakes that it is at, in milliseconds, as statuses keep it: finer is never the same again."""
    bake = plan.steps[at.step - 1].bake if 0 < at.step <= len(plan.steps) else timedelta()
    return timedelta(milliseconds=round(bake / timedelta(milliseconds=1)))


def _go(draft: Draft, plan: Rollout) -> bool:
    """Enter the next step, if this one is over and the next may begin."""
    at = draft.rollout
    if (at.step or at.milli) and at.until is None and at.full_since is None:
        _start(draft, plan)
    if draft.rollout.until is not None:
        if not _over(draft, plan):
            return False
        # What ended early has ended: whoever is to approve the next step may do so now.
        draft.note(until=min(draft.now, draft.rollout.until))
    index = following(plan, draft.rollout)
    if index is None:
        _done(draft)
        return False
    if not _may(draft, plan, index) or _behind(draft):
        return False
    _enter(draft, plan, index)
    return True


def _behind(draft: Draft) -> bool:
    """What is known is of some time ago, when nobody was at work, say: what was seen since then may speak against it.
    Whoever is asked answers, or says in time that there is no answer."""
    at, seen = draft.rollout, draft.status.analysis
    spec = guard(draft) if at.bake else None
    if spec is None or seen is None or not seen.journal or at.skipped or at.hurried:
        return False
    from tidegate.core import analysis

    counted = draft.status.counted_at
    known = counted is not None and draft.now <= counted + 2 * telemetry.UNDER_WAY
    if known and analysis.next_look(spec, seen) > draft.now:
        return False
    told = f"{where(draft)}: {share(at.milli)} are in, until the metrics have answered once more"
    draft.say(FlagPhase.ROLLING_OUT, FlagReason.BAKING, told)
    return True


def _enter(draft: Draft, plan: Rollout, index: int) -> None:
    step = plan.steps[index]
    draft.note(step=index + 1, of=len(plan.steps), milli=max(draft.rollout.milli, milli(step.percentage)))
    draft.event(FlagReason.STEP_STARTED, f"{where(draft)}: {share(draft.rollout.milli)} are in")
    _start(draft, plan)


def _start(draft: Draft, plan: Rollout) -> None:
    """The bake begins, and with it what is counted for it."""
    full = draft.rollout.milli >= EVERYBODY
    draft.note(
        started_at=draft.now,
        until=draft.now + _bake(plan, draft.rollout),
        bake=_bake(plan, draft.rollout),
        full_since=draft.now if full else None,
        extensions=0,
        unknown_since=None,
        lacking_since=None,
        skipped=False,
        passed=False,
    )
    draft.set(exposures=(), counted_at=draft.now)
    draft.wake_in(telemetry.UNDER_WAY)
    if full:
        draft.event(FlagReason.ROLLED_OUT, "everybody is in")
        if draft.status.analysis:
            draft.set(analysis=draft.status.analysis.model_copy(update={"journal": ""}))
    draft.wake_at(draft.rollout.until or draft.now)


def _look(draft: Draft) -> None:
    """Take in what the metrics answered; what fails turns the flag off, whatever else holds it."""
    spec, sides, last = guard(draft), arms(draft.obs.flag.declared, draft.spec), draft.status.analysis
    if spec is None or sides is None or last is None or not last.journal:
        return
    if draft.obs.answers is not None:
        from tidegate.core import analysis  # and numpy with it: most flags need neither

        changed = draft.rollout.milli != draft.rollout.looked
        seen = analysis.look(spec, last, sides, draft.obs.answers, draft.now, step_changed=changed)
        draft.set(analysis=seen)
        draft.note(looked=draft.rollout.milli)
        if seen.verdict is Verdict.Fail:
            draft.turn_off(FlagReason.ANALYSIS_FAILED, seen.message)


def _look_again(draft: Draft) -> None:
    """When to look next; the first time, from now on."""
    spec, sides = guard(draft), arms(draft.obs.flag.declared, draft.spec)
    if spec is None or sides is None or draft.plan is None or draft.status.override:
        return
    from tidegate.core import analysis

    if draft.status.analysis is None or not draft.status.analysis.journal:
        baked = sum((step.bake for step in draft.plan.steps), timedelta()) * (1 + spec.on_inconclusive.extend)
        looks = max(1, round(baked / spec.interval))
        draft.set(analysis=analysis.begin(spec, sides, draft.now, looks, len(draft.plan.steps)))
        draft.note(looked=draft.rollout.milli)
    if draft.status.analysis:
        due = analysis.next_look(spec, draft.status.analysis)
        awaited = due <= draft.now and draft.obs.answers is None
        draft.wake_at(draft.now + _AWAITED if awaited else due)


def _over(draft: Draft, plan: Rollout) -> bool:
    """Whether the step has been watched for long enough, and nothing speaks against the next."""
    at = draft.rollout
    if at.until is None or at.skipped or at.hurried or (at.passed and following(plan, at) is None):
        return True
    told = f"{where(draft)}: {share(at.milli)} are in"
    # By the bake that began: the steps may say nothing of this share any more.
    spec = guard(draft) if at.bake else None
    if at.paused:
        draft.note(lacking_since=None)
        draft.say(FlagPhase.WAITING, FlagReason.PAUSED, f"{told}, held by a request")
        if spec is not None and draft.status.analysis is not None and at.looked == at.milli:
            # A pause holds growth, and no way back: who is in is watched, or has been for long enough.
            _unanswered(draft, rule(spec, draft.status.analysis, _baking(at, draft.now), draft.now))
        return False
    if spec is None:
        if draft.now >= at.until:
            return True
        draft.say(FlagPhase.ROLLING_OUT, FlagReason.BAKING, f"{told} until {_time(at.until)}")
        draft.wake_at(at.until)
        return False
    return _ruled(draft, plan, spec, told)


def _ruled(draft: Draft, plan: Rollout, spec: AnalysisSpec, told: str) -> bool:
    """As the evidence has it."""
    at, seen = draft.rollout, draft.status.analysis
    until = at.until or draft.now
    evidence = f"; {seen.message}" if seen and seen.message else ""
    if seen is None or at.looked != at.milli:
        # A Pass of the step before says nothing of this one.
        draft.say(FlagPhase.ROLLING_OUT, FlagReason.BAKING, f"{told} until {_time(until)}")
        return False
    proven = spec.advance is Advance.Proven and seen.verdict is Verdict.Pass
    # Proven, it has ended before its time: while it waits for the next it is asked for no more requests.
    word = Word.ON if proven else rule(spec, seen, _baking(at, draft.now), draft.now)
    if word is not Word.ON:
        draft.note(lacking_since=None)
    if word in UNANSWERED:
        early = at.started_at is None or draft.now <= at.started_at + FIRST_SCRAPES * spec.interval
        told = f"{told} until {_time(until)}" if early else f"{told}: no answer from the metrics{evidence}"
        phase = FlagPhase.ROLLING_OUT if early else FlagPhase.WAITING
        draft.say(phase, FlagReason.BAKING if early else FlagReason.ANALYSIS_UNKNOWN, told)
    _unanswered(draft, word)
    if word in UNANSWERED:
        return False
    if word is Word.ON:
        return _counted(draft, plan, spec, told)
    if word is Word.WAIT:
        draft.say(FlagPhase.ROLLING_OUT, FlagReason.BAKING, f"{told} until {_time(until)}{evidence}")
        draft.wake_at(until)
        return False
    if word is Word.HOLD_FAILED:
        held = f"{', '.join(seen.held_by)} beyond limits"
        told = f"{told}: held{evidence}; {held}: resume, skip the step, promote or abort"
        draft.say(FlagPhase.WAITING, FlagReason.ANALYSIS_PAUSED, told)
        _stalls(draft, FlagReason.ANALYSIS_PAUSED, held, "resume, skip the step")
        return False
    draft.say(FlagPhase.WAITING, FlagReason.ANALYSIS_INCONCLUSIVE, f"{told}: held, {doubt(seen)}{evidence}")
    if word is Word.LONGER:
        more = at.bake or timedelta()
        draft.note(extensions=at.extensions + 1, until=draft.now + more)
        draft.wake_in(more)
    elif word is Word.BACK_THIN:
        draft.turn_off(FlagReason.HOLD_EXPIRED, f"{doubt(seen)}, with all extensions: {seen.message}")
    elif word is Word.HOLD_THIN:
        _holds_on(draft, "the bake is over, extensions too")
    return False


def _baking(at: RolloutStatus, now: datetime) -> Bake:
    return Bake(at.until or now, at.extensions, at.unknown_since)


def _unanswered(draft: Draft, word: Word) -> None:
    """Since when the metrics give no answer, and what becomes of a flag where that is too long."""
    draft.note(unknown_since=(draft.rollout.unknown_since or draft.now) if word in UNANSWERED else None)
    late = "no answer from the metrics until onUnknown.deadline"
    if word is Word.BACK_UNKNOWN:
        draft.turn_off(FlagReason.HOLD_EXPIRED, late)
    elif word is Word.EXPIRED_UNKNOWN:
        _holds_on(draft, late)


def _lacks(draft: Draft, spec: AnalysisSpec, reason: FlagReason, told: str, lacking: str) -> bool:
    """Held for what is not to be seen, as long as for metrics that give no answer."""
    since = draft.rollout.lacking_since or draft.now
    draft.note(lacking_since=since)
    draft.say(FlagPhase.WAITING, reason, f"{told}: held, {lacking}")
    due = since + spec.on_unknown.deadline
    if draft.now < due:
        draft.wake_at(due)
    elif spec.on_unknown.then is WhenUnknown.Revert:
        draft.turn_off(FlagReason.HOLD_EXPIRED, f"{lacking}, until onUnknown.deadline")
    else:
        _holds_on(draft, f"{lacking}, until onUnknown.deadline")
    return False


def _holds_on(draft: Draft, why: str) -> None:
    _stalls(draft, FlagReason.HOLD_EXPIRED, why, "skip the step")


def _stalls(draft: Draft, reason: FlagReason, why: str, goes_on: str) -> None:
    """Held until somebody decides, or until what is seen has changed."""
    draft.expired = True
    if draft.was(FlagCondition.STALLED) != "True":
        draft.event(reason, f"{why}: {goes_on}, promote or abort", "Warning")


def _counted(draft: Draft, plan: Rollout, spec: AnalysisSpec, told: str) -> bool:
    """Whether enough were served in either arm, and as many in each as there should be."""
    if draft.mismatch:
        return _lacks(draft, spec, FlagReason.SAMPLE_RATIO_MISMATCH, told, draft.mismatch)
    if lacking := _too_few(draft, plan):
        return _lacks(draft, spec, FlagReason.TOO_FEW_EXPOSURES, told, lacking)
    draft.note(lacking_since=None)
    return True


def _too_few(draft: Draft, plan: Rollout) -> str:
    """Which evaluations there are not, if so."""
    sides = arms(draft.obs.flag.declared, draft.spec)
    if not plan.min_exposures or sides is None or draft.spec is None:
        return ""
    draft.wake_in(telemetry.UNDER_WAY)
    counted = Counter({one.variant: one.evaluations for one in draft.status.exposures})
    if not counted:
        return (
            "nobody counts how often it is evaluated: is the flag gateway scraped? rollout.minExposures: 0 does not ask"
        )
    outside, inside = counted[draft.spec.default], sum(counted[name] for name in served(draft.spec))
    if min(inside, outside) >= plan.min_exposures:
        return ""
    lacking = f"of {plan.min_exposures} evaluations that each arm is to have there are {inside} in and {outside} out"
    if draft.spec.client_side:
        lacking += "; answers in bulk are none: rollout.minExposures: 0 does not ask"
    return lacking


def _done(draft: Draft) -> None:
    draft.note(hurried=False, passed=True)
    at = draft.rollout
    told = "everybody is in" if at.milli >= EVERYBODY else f"{share(at.milli)} are in, as its last step says or more"
    reason = FlagReason.ROLLED_OUT if at.milli >= EVERYBODY else FlagReason.SERVING
    draft.say(FlagPhase.SERVING, reason, told)


def _may(draft: Draft, plan: Rollout, index: int) -> bool:
    """Whether the next step may begin."""
    at, schedule = draft.rollout, plan.schedule
    then = f"step {index + 1}/{len(plan.steps)} ({plan.steps[index].percentage:g} %)"
    told = f"{share(at.milli)} are in; {then}"
    if draft.problems:
        draft.say(FlagPhase.INVALID, FlagReason.INVALID_SPEC, f"{told} waits for a spec that can be served")
        return False
    if at.hurried:
        return True
    if at.paused:
        draft.say(FlagPhase.WAITING, FlagReason.PAUSED, f"{told} is held by a request")
        return False
    if waits_for_approval(plan, at, draft.now) is not None:
        name = draft.obs.flag.declared.name
        how = f"`kubectl tidegate approve featureflag/{name}`"
        draft.say(FlagPhase.WAITING, FlagReason.APPROVAL_NEEDED, f"{told} waits for somebody: {how}")
        return False
    opens = windows.opening(schedule.windows, max(draft.now, schedule.start_at or draft.now))
    if opens is not None and opens <= draft.now:
        return True
    when = f"until {_time(opens)}" if opens else "for ever: none of schedule.windows ever opens"
    draft.say(FlagPhase.WAITING, FlagReason.SCHEDULED, f"{told} waits {when}")
    if opens:
        draft.wake_at(opens)
    return False


def where(draft: Draft) -> str:
    """``step 2/4``."""
    return f"step {draft.rollout.step}/{draft.rollout.of}"


def share(thousandths: int) -> str:
    """``12.5 %``."""
    return f"{thousandths / 1000:g} %"


def _time(when: datetime) -> str:
    """In UTC, or with how far its clock is from that: a time without end has none in UTC."""
    zone = "UTC" if not when.utcoffset() else f"{when:%z}"
    return f"{when:%Y-%m-%d %H:%M:%S} {zone}"

"""Flags as debt: when one has had its day, or nobody asks for it, its owner is told, and told again each week."""

from __future__ import annotations

from datetime import datetime, timedelta

from tidegate.api.conditions import ConditionStatus
from tidegate.api.flag import REMIND_AFTER
from tidegate.api.flagstatus import Exposure, FlagPhase
from tidegate.api.flagwords import FlagReason
from tidegate.core.flags import telemetry
from tidegate.core.flags.draft import Draft
from tidegate.core.flags.effective import EVERYBODY
from tidegate.core.flags.rollout import guard, share

UNUSED_AFTER = timedelta(days=30)
ANSWERED = timedelta(seconds=2)
"""Until a question has its answer that nobody waits for."""
AGAIN = timedelta(days=7)
"""Between two reminders."""


def count(draft: Draft) -> None:
    """Take in how often the flag is evaluated, where that was asked; and say when to ask next."""
    answers, seen = draft.obs.counts, None
    if answers is not None:
        seen = telemetry.evaluations(answers)
        draft.set(counted_at=draft.now)
        watched = telemetry.watched(answers)
        unseen = telemetry.unseen(answers, client_side=draft.spec is not None and draft.spec.client_side)
        if watched is False or unseen:
            draft.set(watched_since=None)
        elif watched and unseen is not None:
            last = draft.status.answered_at
            gap = last is None or draft.now > last + telemetry.GAP
            draft.set(watched_since=draft.now if gap else draft.status.watched_since or draft.now)
            draft.set(answered_at=draft.now)
        if seen is not None and any(seen.values()):
            draft.set(evaluated_at=draft.now)
        if seen is not None and draft.rollout.started_at is not None:
            names = draft.spec.all_variants if draft.spec else ()
            draft.set(exposures=tuple(Exposure(variant=one.name, evaluations=seen.get(one.name, 0)) for one in names))
        _compare_arms(draft, answers)
    elif draft.compared:
        draft.mismatch = draft.said_of_mismatch
    next_ = due(draft.status.counted_at, draft.now, under_way=guard(draft) is not None and not draft.off)
    # What is asked for by now is answered by then.
    draft.wake_at(max(next_, draft.now + ANSWERED))


def due(asked: datetime | None, now: datetime, *, under_way: bool) -> datetime:
    """When to ask how often it is evaluated."""
    return now if asked is None else asked + (telemetry.UNDER_WAY if under_way else telemetry.AT_REST)


def _compare_arms(draft: Draft, answers: telemetry.Answers) -> None:
    """Whether as many are in as should be. Without an answer what was found last stands."""
    seen = telemetry.users(answers, draft.rollout.milli) if draft.compared else None
    if seen is None:
        draft.mismatch = draft.said_of_mismatch if draft.compared else ""
    elif telemetry.chance(seen, draft.rollout.milli) < telemetry.UNLIKELY:
        total = seen.inside + seen.outside
        found = f"{round(100 * seen.inside / total, 1):g} % of those who were seen are in"
        draft.mismatch = f"{found}, and {share(draft.rollout.milli)} should be: what keeps the others away?"


def tend(draft: Draft) -> None:
    """Since when there is one answer for everybody; reminders."""
    answer = _one_answer(draft)
    if answer is None:
        draft.set(one_answer_since=None)
    elif draft.status.one_answer_since is None or draft.status.serving != answer:
        draft.set(one_answer_since=draft.rollout.full_since or draft.now)
    draft.set(serving=answer or _serving(draft))
    told = [why for holds, _, why in (stale(draft), unused(draft)) if holds == "True"]
    if not told:
        draft.set(reminded_at=None)
        return
    last = draft.status.reminded_at
    if last is None or draft.now >= last + AGAIN:
        reason = FlagReason.STALE if stale(draft)[0] == "True" else FlagReason.UNUSED
        draft.event(reason, "; ".join(told), "Warning")
        draft.set(reminded_at=draft.now)
    draft.wake_at((draft.status.reminded_at or draft.now) + AGAIN)


def stale(draft: Draft) -> tuple[ConditionStatus, FlagReason, str]:
    """Whether somebody is to remove it."""
    spec, since = draft.spec, draft.status.one_answer_since
    after = (spec.removal.after or REMIND_AFTER.get(spec.purpose)) if spec else None
    if spec is None or since is None or after is None:
        return "False", FlagReason.IN_USE, ""
    if draft.now < since + after:
        draft.wake_at(since + after)
        return "False", FlagReason.IN_USE, ""
    who = f"{spec.owner} is" if spec.owner else "its owner is"
    ticket = f" ({spec.removal.ticket})" if spec.removal.ticket else ""
    others = " and ".join(name for name, some in (("rules", spec.rules), ("prerequisites", spec.prerequisites)) if some)
    but = f", but for its {others}," if others and not draft.off else ""
    told = f"{draft.status.serving} for everybody{but} since {since:%Y-%m-%d}: {who} to remove it{ticket}"
    return "True", FlagReason.STALE, told


def unused(draft: Draft) -> tuple[ConditionStatus, FlagReason, str]:
    """Whether nobody asks for it. Who is not counted may be asked for all the time."""
    watched, used = draft.status.watched_since, draft.status.evaluated_at
    if used is not None and draft.now < used + UNUSED_AFTER:
        draft.wake_at(used + UNUSED_AFTER)
        return "False", FlagReason.IN_USE, ""
    if watched is None:
        return "Unknown", FlagReason.NOT_COUNTED, ""
    last = max(watched, used or watched)
    if draft.now >= last + UNUSED_AFTER:
        return "True", FlagReason.UNUSED, f"not evaluated since {last:%Y-%m-%d}, or before"
    draft.wake_at(last + UNUSED_AFTER)
    return "Unknown", FlagReason.NOT_COUNTED, ""


def _one_answer(draft: Draft) -> str | None:
    """What everybody is served, if nothing else is to come. A rollout that has yet to reach everybody is no debt."""
    spec = draft.spec
    if spec is None or draft.phase is FlagPhase.INVALID:
        return None
    if draft.killed or draft.status.override:
        return spec.off
    if draft.unmet:
        return None
    if draft.plan is None:
        return None if spec.rules or spec.prerequisites else spec.default
    return _served(draft) if draft.rollout.milli >= EVERYBODY else None


def _serving(draft: Draft) -> str:
    """Who is served what, in short."""
    spec = draft.spec
    if spec is None:
        return ""
    if draft.off:
        return spec.off
    some = f"{_served(draft)} {share(draft.rollout.milli)}" if draft.rollout.milli else spec.default
    rules = f", {len(spec.rules)} rule{'s' if len(spec.rules) > 1 else ''}" if spec.rules else ""
    return f"{some}{rules}"


def _served(draft: Draft) -> str:
    plan = draft.plan
    return "/".join(plan.split or (plan.serve or "on",)) if plan else ""

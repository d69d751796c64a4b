"""The decision on a flag: what is observed and the time in, a status out. Pure.

A person's word goes before automation's: spec.enabled before all, requests before steps. Automation grows a rollout by
the steps that are written, or turns the flag off; there is nothing else that it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from tidegate.api.conditions import ConditionStatus, set_conditions
from tidegate.api.flag import FlagSpec
from tidegate.api.flagstatus import FlagPhase, Override
from tidegate.api.flagwords import FlagCondition, FlagReason
from tidegate.core.flags import debt, requests, rollout, telemetry, windows
from tidegate.core.flags.check import Problem, read
from tidegate.core.flags.draft import Draft, Flag, FlagPlan, Observed, arms
from tidegate.core.flags.flagset import eldest, flag_set
from tidegate.core.flags.program import Program

SOON = timedelta(milliseconds=20)
"""A look that is due so soon is taken now, rather than decided again for."""
NOT_ASKED = "its prerequisites cannot be asked"
"""What keeps a flag off that needs what is not there."""
_SHORT: dict[FlagPhase, tuple[ConditionStatus, ConditionStatus, ConditionStatus]] = {
    # phase: Ready, Reconciling, Stalled
    FlagPhase.SERVING: ("True", "False", "False"),
    FlagPhase.KILLED: ("True", "False", "False"),
    FlagPhase.ROLLING_OUT: ("False", "True", "False"),
    FlagPhase.WAITING: ("False", "True", "False"),
    FlagPhase.BREACHED: ("False", "False", "True"),
    FlagPhase.INVALID: ("False", "False", "True"),
}


def decide(obs: Observed, now: datetime) -> FlagPlan:
    """What the status is to say. The same question has the same answer, whenever it is asked."""
    draft, flag = _draft(obs, now), obs.flag
    draft.set(key=flag.declared.key, flag_set=flag.declared.flag_set, enabled=not draft.killed)
    if draft.spec is not None:
        draft.set(bucketing=draft.spec.bucketing.revision)
    if draft.newest:
        draft.set(accepted=json.dumps(dict(flag.declared.spec), sort_keys=True, separators=(",", ":")))
    if draft.rival is None:
        rollout.settle(draft)
    requests.answer(draft)
    debt.count(draft)
    if draft.rival is None:
        _stand(draft)
    if draft.problems:
        draft.say(FlagPhase.INVALID, FlagReason.INVALID_SPEC, _told(draft))
    if draft.rival is not None:
        where = f"FeatureFlag {draft.rival.declared.namespace}/{draft.rival.declared.name}"
        told = f"key {flag.declared.key} of set {flag.declared.flag_set} is {where}'s, which came first: use another"
        draft.say(FlagPhase.INVALID, FlagReason.KEY_CONFLICT, told)
    _say_what_changed(draft)
    debt.tend(draft)
    return _plan(draft)


def wants(obs: Observed, now: datetime) -> tuple[frozenset[str] | None, frozenset[str]]:
    """PromQL that a decision now is to have the answers of: of a look if one is due, and of how often the flag is
    evaluated."""
    draft = _draft(obs, now)
    status, spec, sides = draft.status, rollout.guard(draft), arms(obs.flag.declared, draft.spec)
    looks: frozenset[str] | None = None
    if spec and sides and not draft.off and status.analysis and status.analysis.journal:
        from tidegate.core import analysis  # and numpy with it: most of the time nobody needs them

        if analysis.next_look(spec, status.analysis) <= now + SOON:
            looks = frozenset(analysis.queries(spec, sides, status.analysis))
    under_way = spec is not None and not draft.off
    if debt.due(status.counted_at, now, under_way=under_way) > now:
        return looks, frozenset()
    since = draft.rollout.started_at if under_way else None
    return looks, telemetry.queries(obs.flag.declared, since, now, split=under_way)


def _draft(obs: Observed, now: datetime) -> Draft:
    return Draft(obs, now, *_served(obs), _rival(obs))


def _stand(draft: Draft) -> None:
    """Killed, off, or as far as the rollout may go."""
    if draft.killed:
        if draft.was(FlagCondition.KILLED) != "True":
            draft.event(FlagReason.KILLED, "spec.enabled is false: off for everybody")
        _stop_baking(draft)
        draft.say(FlagPhase.KILLED, FlagReason.KILLED, "off for everybody by spec.enabled")
        return
    if draft.was(FlagCondition.KILLED) == "True":
        draft.event(FlagReason.REVIVED, "spec.enabled is true again")
    if draft.status.override is None and draft.unmet:
        _stop_baking(draft)
        if draft.why_ready != FlagReason.PREREQUISITE_OFF and not draft.problems:
            # Of a spec with problems these are told, and would have it told again each time.
            draft.event(FlagReason.PREREQUISITE_OFF, f"off for everybody: {draft.unmet}", "Warning")
        phase = FlagPhase.WAITING if draft.plan else FlagPhase.SERVING
        draft.say(phase, FlagReason.PREREQUISITE_OFF, f"off for everybody: {draft.unmet}")
    elif draft.status.override is None:
        rollout.turn(draft)
    override = draft.status.override
    if override is not None:
        way = f"`kubectl tidegate retry featureflag/{draft.obs.flag.declared.name}` begins the rollout anew"
        draft.say(FlagPhase.BREACHED, _why_off(override), f"off for everybody: {override.message}; {way}")


def _stop_baking(draft: Draft) -> None:
    """The bake of a flag that nobody is served proves nothing: it begins anew."""
    if draft.rollout.until is not None:
        draft.note(until=None, started_at=None, full_since=None)
        draft.set(analysis=None)


def _rival(obs: Observed) -> Flag | None:
    """The flag of the same key in the set that came first, if that is another one."""
    mine = obs.flag.declared
    same = [one for one in obs.peers if (one.declared.key, one.declared.flag_set) == (mine.key, mine.flag_set)]
    first = eldest((obs.flag, *same), lambda one: one.declared)[mine.key]
    return None if first is obs.flag else first


def _served(obs: Observed) -> tuple[FlagSpec | None, tuple[Problem, ...], bool, str]:
    """The newest spec that can be served, what is wrong with the newest, whether they are the same, and what keeps it
    off."""
    mine = obs.flag.declared
    first = eldest(obs.peers, lambda one: one.declared)
    made = flag_set([mine, *(one.declared for key, one in first.items() if key != mine.key)])
    found = made.programs.get(mine.key)
    problems = made.problems.get(mine.key, ())
    if found is None:
        newest = read(mine.spec)
        return (newest if isinstance(newest, FlagSpec) else None), problems, False, ""
    spec = found.effective.spec
    unmet = NOT_ASKED if mine.key in made.broken else _unmet(spec, made.programs)
    return spec, problems or tuple(_wrong_rollout(obs.flag, spec)), not problems, unmet


def _unmet(spec: FlagSpec, programs: Mapping[str, Program]) -> str:
    """A flag that it needs and that is, for everybody, not as it is needed."""
    for one in spec.prerequisites:
        needed = programs.get(one.flag)
        if needed is not None and needed.static and needed.default not in one.variants:
            wanted = " or ".join(one.variants)
            return f"prerequisite {one.flag} serves {needed.default} to everybody, and {wanted} is needed"
    return ""


def _wrong_rollout(flag: Flag, spec: FlagSpec) -> list[Problem]:
    """What keeps a rollout from growing that can be served: as if nothing were wrong it would go on unwatched."""
    if spec.rollout is None:
        return []
    found = list(windows.wrong(spec.rollout.schedule.windows))
    guarded = spec.rollout.analysis is not None and spec.rollout.analysis.metrics
    if guarded and arms(flag.declared, spec) is None:
        told = f"it serves {spec.default}, as is served to who is not in: there is nothing to compare; remove analysis"
        found.append(Problem("spec.rollout", told))
    return found


def _say_what_changed(draft: Draft) -> None:
    """Events of what is wrong, and of its end."""
    if draft.rival is not None and draft.was(FlagCondition.KEY_CONFLICT) != "True":
        draft.event(FlagReason.KEY_CONFLICT, draft.message, "Warning")
    before = draft.was(FlagCondition.COMPILED)
    if draft.problems and before != "False":
        draft.event(FlagReason.INVALID_SPEC, _told(draft), "Warning")
    elif not draft.problems and before == "False":
        draft.event(FlagReason.ACCEPTED, "the newest spec is served")


def _told(draft: Draft) -> str:
    told = "; ".join(map(str, draft.problems))
    rest = "the last spec that was right is served" if draft.spec is not None else "it is not served"
    rest = "it is off for everybody" if draft.unmet == NOT_ASKED else rest
    return f"{told}; until then {'the rollout does not grow' if draft.newest else rest}"


def _plan(draft: Draft) -> FlagPlan:
    """The decision, with the status as a reader will find it."""
    generation, before = draft.obs.flag.generation, draft.obs.flag.status.conditions
    draft.set(
        observed_generation=generation,
        phase=draft.phase,
        message=draft.message,
        percentage=rollout.share(draft.rollout.milli).replace(" ", "") if draft.plan else "",
        conditions=set_conditions(before, _conditions(draft), generation, draft.now),
    )
    return FlagPlan(draft.status, tuple(draft.events), draft.wake, draft.turned_off)


def _conditions(draft: Draft) -> list[tuple[FlagCondition, ConditionStatus, FlagReason, str]]:
    ready, reconciling, stalled = _SHORT[FlagPhase.BREACHED if draft.expired else draft.phase]
    # The sentence with its numbers stands in status.message; a condition's must not flap.
    said = draft.message if stalled == "True" else ""
    override, conflict = draft.status.override, draft.rival is not None
    return [
        (FlagCondition.READY, ready, draft.reason, said),
        (FlagCondition.RECONCILING, reconciling, draft.reason, said),
        (FlagCondition.STALLED, stalled, draft.reason, said),
        (
            FlagCondition.COMPILED,
            "False" if draft.problems else "True",
            FlagReason.INVALID_SPEC if draft.problems else FlagReason.ACCEPTED,
            "; ".join(map(str, draft.problems)),
        ),
        _whether(FlagCondition.KILLED, FlagReason.KILLED if draft.killed else None),
        _whether(
            FlagCondition.BREACHED, _why_off(override) if override else None, override.message if override else ""
        ),
        (FlagCondition.STALE, *debt.stale(draft)),
        (FlagCondition.UNUSED, *debt.unused(draft)),
        _whether(
            FlagCondition.KEY_CONFLICT, FlagReason.KEY_CONFLICT if conflict else None, draft.message if conflict else ""
        ),
        _whether(
            FlagCondition.SAMPLE_RATIO_MISMATCH,
            FlagReason.SAMPLE_RATIO_MISMATCH if draft.mismatch else None,
            draft.mismatch,
        ),
    ]


def _whether(
    type_: FlagCondition, why: FlagReason | None, message: str = ""
) -> tuple[FlagCondition, ConditionStatus, FlagReason, str]:
    return (type_, "True", why, message) if why else (type_, "False", FlagReason.SERVING, "")


def _why_off(override: Override) -> FlagReason:
    """A reason that another version knew and this one does not is a failed analysis."""
    return FlagReason(override.reason) if override.reason in set(FlagReason) else FlagReason.ANALYSIS_FAILED

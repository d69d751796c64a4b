"""The state machine of a release: what is observed and the time in, a plan out. Pure.

``decide`` opens on three doors: the release is being deleted, a release is under way, or nothing is. Under way, the
journal's stage says which question to ask; ``_turn`` holds everything that can turn a release back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from tidegate.api.analysis import Verdict
from tidegate.api.conditions import Reason, known
from tidegate.api.releasestatus import Journal, Outcome, Phase, Stage
from tidegate.core import backward, bake, brake, checks, forward, gates, health, looking, promote, requests, rest
from tidegate.core.draft import Draft
from tidegate.core.forward import FORWARD, PROMOTION, ROUTER_DEADLINE
from tidegate.core.gate import FREE
from tidegate.core.observed import Observed, Problem
from tidegate.core.plan import Bound, Manage, Plan, Seize, SetFinalizer, SetImages

STAGES: Mapping[Stage, Callable[[Draft], Stage | None]] = {
    Stage.PREPARE: forward.prepare,
    Stage.SCALE: forward.scale,
    Stage.SHIFT: forward.shift,
    Stage.BAKE: bake.bake,
    Stage.WIDEN: promote.widen,
    Stage.NARROW: promote.give,
    Stage.RETURN: promote.return_routes,
    Stage.LIFT: promote.lift,
    Stage.REVERT: backward.revert,
    Stage.DRAIN: backward.drain,
    Stage.RETIRE: backward.retire,
    Stage.FLAG: backward.flag,
    Stage.CLEAN: promote.clean,
}


ONWARDS = frozenset({Stage.LIFT, Stage.REVERT, Stage.RETIRE, Stage.CLEAN})
"""Stages that have no way but onwards."""


def decide(obs: Observed, now: datetime) -> Plan:
    """What is to be done, given what is known. The same question has the same answer, whenever it is asked."""
    draft = Draft(obs, now)
    _seize(draft)
    brake.brake(draft)
    if obs.release.leaving:
        _let_go(draft)
        gates.tend(draft)
        return draft.plan()
    requests.answer(draft)
    _ask_for_images(draft)
    if draft.status.stable and not obs.release.finalizer:
        draft.act(SetFinalizer(present=True))
    _tell_of_wishes(draft)
    if draft.journal.stage is Stage.REST:
        rest.at_rest(draft)
    if draft.journal.stage is not Stage.REST:
        _under_way(draft)
    checks.show(draft)
    gates.tend(draft)
    return draft.plan()


def _under_way(draft: Draft) -> None:
    gone = _target_gone(draft)
    if gone and draft.journal.stage is not Stage.CLEAN:
        # Nobody's pods are ours any more: a Deployment of the same name may have ReplicaSets of the same hash.
        forward.go_back(draft, *gone)
        draft.enter(Stage.CLEAN)
    if draft.journal.stage in FORWARD:
        forward.follow(draft)
        gates.follow(draft)
        if not _turn(draft):
            return
    elif draft.journal.stage in PROMOTION:
        _turn_promotion(draft)
    for _ in Stage:
        stage = STAGES[draft.journal.stage](draft)
        if stage is None:
            if _stuck(draft):
                draft.stall(Reason.STUCK, draft.message)
            return
        draft.enter(stage)
        if stage is Stage.SHIFT:
            looking.begin(draft)
        if stage is Stage.REST:
            _finish(draft)
            return


def _target_gone(draft: Draft) -> tuple[Outcome, Reason, str] | None:
    """The Deployment that the release was begun for is no more."""
    deployment = draft.obs.deployment
    if deployment and deployment.uid == draft.journal.target_uid:
        return None
    return Outcome.ABORTED, Reason.TARGET_NOT_FOUND, "the Deployment is gone"


def _stuck(draft: Draft) -> bool:
    """A stage that has no way but onwards waits longer than anything should take."""
    spec, journal = draft.obs.release.spec, draft.journal
    drain = spec.drain if spec and journal.stage is Stage.LIFT else timedelta()
    return journal.stage in ONWARDS and draft.now > journal.since + drain + ROUTER_DEADLINE


def _turn_promotion(draft: Draft) -> None:
    """What turns a release back while the user's Service goes over.

    At the promotion that is what its pods tell. A switch is a step like any other: all that turns a step back does.
    """
    sick = None if forward.switching(draft) else health.trouble(draft)
    back = (Outcome.ROLLED_BACK, *sick) if sick else _why_back(draft) if forward.switching(draft) else None
    if back is None and draft.now > draft.journal.since + ROUTER_DEADLINE:
        what = "switch" if forward.switching(draft) else "promotion"
        late = f"the {what} waited for {ROUTER_DEADLINE.total_seconds():.0f} s: {draft.status.message}"
        back = Outcome.ABORTED, Reason.TRAFFIC_DEADLINE, late
    if back:
        _go_back(draft, back)


def _go_back(draft: Draft, back: tuple[Outcome, Reason, str]) -> None:
    """By a batch, where that is what failed, and something holds the others; else all the way."""
    by_batch = back[0] is Outcome.ROLLED_BACK and not brake.loose(draft.obs)
    retreats = by_batch and forward.retreat(draft, back[2])
    draft.enter(Stage.SCALE if retreats else forward.go_back(draft, *back))


def _turn(draft: Draft) -> bool:
    """Everything that turns a release back or stops it where it is. False: it is stopped."""
    obs, status = draft.obs, draft.status
    back = _why_back(draft)
    if back:
        _go_back(draft, back)
        return True
    gate = brake.gone(obs)
    if obs.release.invalid:
        draft.say(Phase.INVALID, Reason.INVALID_SPEC, obs.release.invalid)
    elif wish := next((problem for problem in obs.problems if problem.wish), None):
        # Somebody edited the spec in mid-release. What is written stays, and the way back is open.
        draft.say(Phase.BLOCKED, wish.reason, wish.message)
    elif (gate or draft.journal.braked) and not brake.in_a_hurry(draft):
        what = "the Deployment is paused" if draft.journal.braked else "the release waits"
        told = f"{what} until the gate holds it again: {gate.message if gate else 'it is back'}"
        draft.say(Phase.WAITING, gate.reason if gate else Reason.GATE_MISSING, told)
    elif obs.deployment and obs.deployment.paused:
        draft.say(Phase.WAITING, Reason.TARGET_PAUSED, "the Deployment is paused by its owner: spec.paused of it")
    elif _severed(obs) or status.candidate is None:
        problem = _gone(obs)
        draft.say(Phase.BLOCKED, problem.reason, problem.message)
        if _severed(obs) and draft.journal.stage is Stage.BAKE:
            draft.enter(forward.interrupt(draft))
    else:
        draft.hold() if forward.held(draft) or forward.barred(draft) else draft.go_on()
        return True
    draft.hold()
    draft.watch()
    return False


def _severed(obs: Observed) -> bool:
    """There is nothing by which requests could be shared."""
    return obs.service is None or not obs.shared


def _gone(obs: Observed) -> Problem:
    """What a release under way misses of the user's."""
    return obs.problems[0] if obs.problems else Problem(Reason.ROUTE_NOT_FOUND, "the route is gone")


def _ask_for_images(draft: Draft) -> None:
    """spec.images names what the template has not: it is written there, which begins a release like any other."""
    spec, deployment = draft.obs.release.spec, draft.obs.deployment
    if spec is None or deployment is None or draft.status.stable is None or rest.blocked(draft):
        return
    if spec.images == draft.journal.images:
        return
    other = {name: image for name, image in spec.images.items() if deployment.images.get(name) != image}
    if other:
        draft.act(SetImages(tuple(sorted(other.items()))))
    else:
        draft.note(images=spec.images)


def _why_back(draft: Draft) -> tuple[Outcome, Reason, str] | None:
    obs, status = draft.obs, draft.status
    if obs.release.deleting:
        return Outcome.ABORTED, Reason.RELEASE_DELETED, "the release object is being deleted"
    if obs.release.let_go:
        return Outcome.ABORTED, Reason.LET_GO, "Tidegate lets everything go"
    stable = obs.by_hash(status.stable.hash) if status.stable else None
    current = stable if stable and obs.set_back_to(stable) else obs.current()
    if current and status.candidate and current.hash != status.candidate.hash:
        if current == stable:
            return Outcome.ABORTED, Reason.TEMPLATE_RESTORED, "the template was set back to stable's"
        return Outcome.SUPERSEDED, Reason.SUPERSEDED, f"revision {current.revision} came in mid-release"
    gate = brake.loose(obs)
    if gate and not brake.in_a_hurry(draft) and brake.starves(draft):
        return Outcome.ABORTED, gate.reason, "the gate did not hold, and stable would have lost pods that it needs"
    found = None if forward.giving_back(draft) else health.trouble(draft) or gates.failed(draft)
    if found:
        return Outcome.ROLLED_BACK, *found
    looking.look(draft)
    if draft.status.analysis and draft.status.analysis.verdict is Verdict.Fail:
        return Outcome.ROLLED_BACK, Reason.ANALYSIS_FAILED, draft.status.analysis.message
    return _too_late(draft)


def _too_late(draft: Draft) -> tuple[Outcome, Reason, str] | None:
    """What a stage waits for did not come in time. A bake has deadlines of its own."""
    obs, journal, spec = draft.obs, draft.journal, draft.obs.release.spec
    if spec is None:
        return None
    if _severed(obs):
        if journal.held_since is None or draft.now < journal.held_since + spec.progress_deadline:
            return None
        problem = _gone(obs)
        return Outcome.ABORTED, problem.reason, f"{problem.message} (for spec.progressDeadline)"
    if journal.stage is Stage.BAKE or journal.gate or draft.waited() < spec.progress_deadline:
        return None
    if forward.giving_back(draft):
        late = f"stable had not got its pods back within spec.progressDeadline ({spec.progress_deadline})"
        return Outcome.ROLLED_BACK, Reason.PROGRESS_DEADLINE, f"{journal.retreated}; {late}"
    if journal.stage is Stage.SCALE:
        late = f"candidate pods were not Ready within spec.progressDeadline ({spec.progress_deadline})"
        why = health.lacking(draft) or checks.lacking(draft)
        return Outcome.ROLLED_BACK, Reason.PROGRESS_DEADLINE, f"{late}: {why}" if why else late
    late = f"traffic was not where it should be within spec.progressDeadline ({spec.progress_deadline})"
    return Outcome.ABORTED, Reason.TRAFFIC_DEADLINE, f"{late}: {draft.status.message}"


def _finish(draft: Draft) -> None:
    """The release has ended; nothing of it remains but what the status tells."""
    journal, candidate = draft.journal, draft.status.candidate
    outcome = journal.outcome or Outcome.PROMOTED
    promoted = outcome is Outcome.PROMOTED
    reason = Reason.PROMOTED if promoted else known(journal.reason)
    told = f"revision {candidate.revision if candidate else '?'}"
    message = f"{told} is stable" if promoted else f"{told} was reverted: {journal.message}"
    draft.close(outcome, reason, message)
    draft.event(Reason.PROMOTED if promoted else Reason.ROLLED_BACK, message, "Normal" if promoted else "Warning")
    if promoted:
        draft.set(stable=candidate, candidate=None, analysis=None)
    elif outcome is Outcome.SUPERSEDED or reason is Reason.TEMPLATE_RESTORED:
        draft.set(candidate=None)
    if draft.status.analysis:
        draft.set(analysis=draft.status.analysis.model_copy(update={"journal": ""}))
    kept = {name: getattr(journal, name) for name in ("target_uid", "images", "braked", "unheard")}
    draft.set(journal=Journal(since=draft.now, **kept))
    draft.say(Phase.PROGRESSING if promoted else Phase.REVERTING, reason, message)
    # What rest looks like is decided on what is seen then: the last writes of this release included.
    draft.wake_in(timedelta())


def _tell_of_wishes(draft: Draft) -> None:
    """What somebody asked of a route in mid-release, and will have: each time that it is something else."""
    told = "; ".join(f"{route.name}: {route.pending}" for route in draft.obs.routes if route.pending)
    if told and told != draft.status.pending:
        draft.event(Reason.CHANGE_PENDING, f"{told}: what was asked for in mid-release stands when the release ends")
    draft.set(pending=told or None)


def _restored(draft: Draft) -> bool:
    """What serves is what the template asks for: else the Deployment would roll out, ungated, what was not promoted."""
    obs, deployment = draft.obs, draft.obs.deployment
    stable = obs.by_hash(draft.status.stable.hash) if draft.status.stable else None
    if deployment is None or deployment.managed_by != obs.release.id or stable is None or not stable.current:
        return True
    return brake.restored(draft)


def _seize(draft: Draft) -> None:
    """A new leader's first word: what its predecessor still has under way was decided upon what is no more."""
    obs = draft.obs
    if draft.journal.stage is Stage.REST or draft.journal.term == obs.term:
        return
    draft.note(term=obs.term)
    if any(hold.release == obs.release.id and hold.term != obs.term for hold in obs.holds()):
        draft.urgent.append(Seize())


def _let_go(draft: Draft) -> None:
    """The release object goes, or Tidegate does: traffic is restored, then Deployment and pods are handed back."""
    obs, name = draft.obs, draft.obs.release.id
    if draft.journal.stage is not Stage.REST:
        _under_way(draft)
        return
    why = Reason.RELEASE_DELETED if obs.release.deleting else Reason.LET_GO
    draft.say(Phase.REVERTING, why, "letting the Deployment go")
    draft.wake_soon()
    if not promote.tidied(draft) or not _restored(draft):
        return
    if obs.deployment and draft.journal.braked:
        return
    if obs.deployment and obs.deployment.managed_by == name:
        # First the annotation, else the controller hands it on to the ReplicaSets again.
        draft.act(Manage(None))
        return
    # Bounds stand on ReplicaSets without the annotation too: on old ones, which never inherited it.
    others = obs.deployment is not None and obs.deployment.managed_by
    ours = [rs for rs in obs.replicasets if not others and (rs.managed_by == name or rs.bounds != FREE)]
    draft.act(*(Bound(rs.name, FREE, None) for rs in ours))
    if ours:
        return
    if obs.release.finalizer:
        draft.event(Reason.LET_GO, "the Deployment is managed no more; no pod was changed")
        draft.act(SetFinalizer(present=False))
    elif obs.release.let_go:
        draft.set(stable=None, candidate=None)
        draft.wake = None
        draft.say(Phase.LET_GO, Reason.LET_GO, "the Deployment is managed no more, and rolls out by itself")

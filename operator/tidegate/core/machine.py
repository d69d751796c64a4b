"""The state machine of a release: what is observed and the time in, a plan out. Pure.

``decide`` opens on three doors: the release is being deleted, a release is under way, or nothing is. Under way, the
journal's stage says which question to ask; ``_turn`` holds everything that can turn a release back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, Source, Verdict
from tidegate.api.conditions import Reason, known
from tidegate.api.releasestatus import Journal, Outcome, Phase, ReleaseStatus, Stage, StepStatus
from tidegate.core import backward, bake, brake, checks, draining, forward, gates, health, promote, requests
from tidegate.core.arms import Arms
from tidegate.core.draft import Draft, revision
from tidegate.core.forward import FORWARD, PROMOTION, ROUTER_DEADLINE
from tidegate.core.gate import FREE, HELD
from tidegate.core.observed import Deployment, Observed, Pod, Problem, ReplicaSet, Route
from tidegate.core.plan import Bound, Manage, Plan, Seize, SetFinalizer, SetImages
from tidegate.core.presets import Protocol
from tidegate.core.scraping import Target

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
        _at_rest(draft)
    else:
        _under_way(draft)
    checks.show(draft)
    gates.tend(draft)
    return draft.plan()


def looks_at(obs: Observed, status: ReleaseStatus) -> bool:
    """Whether the candidate has traffic that is to be judged: where nothing shares requests nobody counts it."""
    stage = status.journal.stage if status.journal else Stage.REST
    return stage in FORWARD and obs.shared and status.analysis is not None and bool(status.analysis.journal)


def look_due(spec: AnalysisSpec, seen: AnalysisStatus, step: StepStatus | None) -> datetime:
    """When the metrics are to be asked next: at the end of a bake in any case, as what was known some time before says
    nothing of what came since, nor of whether there still are answers."""
    from tidegate.core import analysis  # and numpy with it: most of the time nobody needs them

    due, ends = analysis.next_look(spec, seen), step.until if step else None
    return min(due, ends) if ends and seen.looked_at < ends else due


def looked_step(status: ReleaseStatus) -> int:
    """The step that a look now is of. Until its weight is there, what comes is of the step before: little load does not
    vouch for more."""
    at, looked = status.step, status.journal.looked_step if status.journal else 0
    return at.index if at and at.until else looked


def arms(obs: Observed) -> Arms | None:
    """The two sides of the comparison, as the metrics know them."""
    stable, candidate = (
        obs.by_hash(known.hash if known else None)
        for known in (obs.release.status.stable, obs.release.status.candidate)
    )
    if stable is None or candidate is None:
        return None
    two = [(one.hash, pods_of(one.name)) for one in (stable, candidate)]
    sides = Arms.of_revisions(obs.release.namespace, two[0], two[1], obs.router_series)
    sides = replace(sides, protocols=protocols(obs.routes), pods=candidate.ready)
    return sides.asked_themselves() if by_pods(obs) else sides


def pods_of(replicaset: str) -> str:
    """A regular expression of the names of its pods: its own, of which long ones are cut, and some signs more.

    Where too little of the hash is left, both revisions' may be the same: none is meant then, rather than all.
    """
    begin = f"{replicaset}-"[:_LONGEST_BEGIN]
    told_apart = len(replicaset) < _LONGEST_BEGIN or len(begin) - replicaset.rfind("-") > _ENOUGH
    return f"{begin if told_apart else replicaset + '-'}[a-z0-9]+".replace(".", "[.]")


_LONGEST_BEGIN = 58
"""Of a name that the API server makes: it has 63 characters at most, five of them at random."""
_ENOUGH = 5
"""Characters of a hash by which revisions are told apart."""


def by_pods(obs: Observed) -> bool:
    """The pods themselves are asked for their counters."""
    spec = obs.release.spec
    return spec is not None and spec.analysis.source is Source.Pods


def scraped(obs: Observed, pods: Sequence[Pod]) -> tuple[Target, ...]:
    """Those of the pods that tell of the two revisions."""
    two = {known.hash for known in (obs.release.status.stable, obs.release.status.candidate) if known}
    return tuple(
        Target(
            name=pod.name,
            uid=pod.uid,
            arm=pod.hash,
            exposed=pod.exposed,
            created=pod.created,
            began=pod.running_since,
            due=pod.ready and not pod.leaving and not pod.silent,
        )
        for pod in pods
        if pod.hash in two and pod.running_since
    )


def protocols(routes: Sequence[Route]) -> tuple[Protocol, ...]:
    """What the routes lead to the workload."""
    spoken = {Protocol.GRPC if route.name.startswith("GRPCRoute/") else Protocol.HTTP for route in routes}
    return tuple(protocol for protocol in Protocol if protocol in spoken) or (Protocol.HTTP,)


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
            _begin_analysis(draft)
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
    if spec is None or deployment is None or draft.status.stable is None or _blocked(draft):
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
    _look(draft)
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


def _begin_analysis(draft: Draft) -> None:
    spec, sides = draft.obs.release.spec, arms(draft.obs)
    step = draft.status.step
    if spec is None or sides is None or draft.status.analysis is not None or not spec.analysis.metrics:
        return
    if step is None or not step.weight:
        return
    from tidegate.core import analysis  # numpy is for who has a release to judge: at rest it would be a tenth of all

    plan = forward.steps(draft)
    baked = sum((each.bake for each in plan), timedelta()) * (1 + spec.analysis.on_inconclusive.extend)
    looks = max(1, round(baked / spec.analysis.interval))
    draft.set(analysis=analysis.begin(spec.analysis, sides, draft.now, looks, len(plan)))
    draft.note(looked_step=step.index)


def _look(draft: Draft) -> None:
    """Take in what the metrics answered, where they were asked; and say when to ask next."""
    obs, spec, sides = draft.obs, draft.obs.release.spec, arms(draft.obs)
    if spec is None or sides is None or draft.status.analysis is None or not looks_at(obs, draft.status):
        return
    from tidegate.core import analysis

    if obs.answers is not None:
        index = looked_step(draft.status)
        seen = analysis.look(
            spec.analysis,
            draft.status.analysis,
            sides,
            obs.answers,
            draft.now,
            step_changed=index != draft.journal.looked_step,
        )
        if seen.caveat and not draft.status.analysis.caveat:
            draft.event(Reason.PODS_DIFFER, seen.caveat, "Warning")
        draft.set(analysis=seen)
        draft.note(looked_step=index)
    due = look_due(spec.analysis, draft.status.analysis, draft.status.step)
    draft.behind = due <= draft.now
    if draft.behind and obs.answers is None:
        # They are asked, and their answer is told of when it comes: of hundreds that wait none is read for that.
        draft.watch()
    else:
        draft.wake_at(due)


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


def _at_rest(draft: Draft) -> None:
    obs, status, journal = draft.obs, draft.status, draft.journal
    deployment, current = obs.deployment, obs.current()
    blocked = _blocked(draft)
    if blocked:
        phase = Phase.INVALID if blocked.reason in (Reason.INVALID_SPEC, Reason.STRATEGY_RECREATE) else Phase.BLOCKED
        draft.say(phase, blocked.reason, blocked.message)
        if brake.loose(obs) and journal.braked:
            _keep_reverted(draft)
        return
    if deployment is None or current is None:
        # A moment only, at each change of scale too: nobody is told, and the watch tells when it is over.
        draft.unchanged = bool(status.conditions)
        draft.say(Phase.WAITING, Reason.WAITING_FOR_ROLLOUT, "the Deployment controller has yet to see the Deployment")
        return
    if status.stable is None or journal.target_uid != deployment.uid or deployment.managed_by != obs.release.id:
        _adopt(draft, current)
        return
    serves = _serves_instead(obs, deployment, current, status.stable.hash)
    if serves is not None:
        # A rollout while the gate was missing: what serves is stable.
        _adopt(draft, serves)
        return
    if not _rest_bounds(draft, status.stable.hash) and status.phase is Phase.PROGRESSING:
        _bounding(draft)
        return
    if not promote.tidied(draft):
        draft.say(Phase.PROGRESSING, Reason.REVERTING, "putting Services and routes back as they were")
        draft.wake_soon()
        return
    if current.hash == status.stable.hash:
        draft.set(candidate=None)
        last = status.last_release
        draft.say(Phase.IDLE, Reason.IDLE, last.message if last else f"revision {current.revision} serves")
        gates.after(draft)
    elif status.last_release and status.candidate and status.candidate.hash == current.hash:
        draft.drifted = True
        draft.say(Phase.ROLLED_BACK, known(status.last_release.reason), status.last_release.message)
    else:
        _start(draft, current)


def _serves_instead(obs: Observed, deployment: Deployment, current: ReplicaSet, stable: str) -> ReplicaSet | None:
    """The revision that serves where stable has no pods: the template's, or one that nobody else is beside."""
    there = [rs for rs in obs.replicasets if rs.current]
    if any(rs.hash == stable for rs in there):
        return None
    if current.ready:
        return current
    return there[0] if len(there) == 1 and there[0].ready >= deployment.replicas else None


def _keep_reverted(draft: Draft) -> None:
    """Pods that the Deployment controller moved between the gate's end and the brake are moved back by hand."""
    stable, candidate = (
        draft.obs.by_hash(known.hash if known else None) for known in (draft.status.stable, draft.status.candidate)
    )
    if stable is not None and candidate is not None and draft.serving(stable):
        draft.bound(candidate, HELD, 0)


def _blocked(draft: Draft) -> Problem | None:
    """What keeps anything from starting, at rest. The workload serves as it did."""
    obs = draft.obs
    if obs.release.invalid:
        return Problem(Reason.INVALID_SPEC, obs.release.invalid)
    if obs.deployment and obs.deployment.strategy == "Recreate":
        return Problem(
            Reason.STRATEGY_RECREATE,
            f"Deployment {obs.deployment.name}: spec.strategy.type is Recreate, which cannot run two revisions;"
            " set it to RollingUpdate",
        )
    spec, deployment = obs.release.spec, obs.deployment
    unknown = [name for name in spec.images if name not in deployment.images] if spec and deployment else []
    if unknown and deployment:
        has = ", ".join(deployment.images)
        return Problem(
            Reason.CONTAINER_NOT_FOUND,
            f"spec.images: {unknown[0]!r}: Deployment {deployment.name} has no such container; it has {has}",
        )
    return obs.problems[0] if obs.problems else None


def _adopt(draft: Draft, current: ReplicaSet) -> None:
    """Take the Deployment under management once a single revision serves it. No pod is changed."""
    obs, status, deployment = draft.obs, draft.status, draft.obs.deployment
    if deployment is None:
        return
    others = [rs for rs in obs.replicasets if rs.hash != current.hash and rs.current]
    if others or current.ready < deployment.replicas:
        if deployment.managed_by != obs.release.id:
            # Its owner took it out of the gate, or it is another one of that name: bounds would hold it up for ever.
            draft.act(*(Bound(rs.name, FREE, None) for rs in obs.replicasets if rs.bounds != FREE))
        draft.say(
            Phase.WAITING,
            Reason.WAITING_FOR_ROLLOUT,
            f"Deployment {deployment.name} is in mid-rollout ({current.ready} of {deployment.replicas} pods of revision"
            f" {current.revision} are ready); it is adopted when that is done",
        )
        return
    if not obs.release.finalizer:
        draft.act(SetFinalizer(present=True))
    if deployment.managed_by != obs.release.id:
        draft.act(Manage(obs.release.id))
    if status.stable is None or draft.journal.target_uid != deployment.uid:
        draft.event(Reason.ADOPTED, f"Deployment {deployment.name} is under management; no pod was changed")
    draft.set(stable=revision(current), candidate=None)
    draft.note(target_uid=deployment.uid)
    _rest_bounds(draft, current.hash)
    _bounding(draft)


def _bounding(draft: Draft) -> None:
    """Whoever waits for Ready may change the template the next moment: the bounds stand by then."""
    draft.say(Phase.PROGRESSING, Reason.ADOPTED, "bounds are being written to the ReplicaSets")
    draft.wake_soon()


def _rest_bounds(draft: Draft, stable: str) -> bool:
    """Whether all revisions are bound as they are at rest.

    Pods of others, which came while there was no gate, go once stable has all of its own and no route leads to them.
    """
    serves, deployment = draft.obs.by_hash(stable), draft.obs.deployment
    whole = serves is not None and deployment is not None and serves.ready >= deployment.replicas
    size = 0 if whole and not backward.has_traffic(draft.obs) else None
    stand = [
        draft.serving(replicaset) if replicaset.hash == stable else draft.bound(replicaset, HELD, size)
        for replicaset in draft.obs.replicasets
    ]
    return all(stand)


def _start(draft: Draft, candidate: ReplicaSet) -> None:
    """A release begins. Its candidate is held at 0 by the gate since it was born."""
    obs, deployment, spec = draft.obs, draft.obs.deployment, draft.obs.release.spec
    if deployment is None or spec is None:
        return
    if deployment.paused:
        draft.say(Phase.WAITING, Reason.TARGET_PAUSED, "the Deployment is paused by its owner: spec.paused of it")
        return
    if spec.paused:
        draft.say(Phase.WAITING, Reason.PAUSED, f"revision {candidate.revision} is held by spec.paused")
        return
    draft.set(candidate=revision(candidate), analysis=None)
    draft.note(
        stage=Stage.PREPARE if deployment.replicas else Stage.LIFT,
        since=draft.now,
        started_at=draft.now,
        term=obs.term,
        returning=_promoted_lately(draft, candidate),
        unheard=False,
    )
    forward.at_step(draft, 1)
    gates.begin(draft)
    _advise(draft, "; ".join(filter(None, (deployment.advice, draining.cut_short(spec, deployment.grace)))))
    draft.event(Reason.RELEASE_STARTED, f"revision {candidate.revision} ({candidate.hash}) of {obs.release.name}")
    _under_way(draft)


def _advise(draft: Draft, advice: str) -> None:
    """Told once a revision: whoever has read it need not read it again."""
    last, candidate = draft.status.last_release, draft.status.candidate
    again = last is not None and candidate is not None and last.hash == candidate.hash
    if advice and not again:
        draft.event(Reason.NO_DRAIN, advice, "Warning")
    draft.set(advice=advice or None)


def _tell_of_wishes(draft: Draft) -> None:
    """What somebody asked of a route in mid-release, and will have: each time that it is something else."""
    told = "; ".join(f"{route.name}: {route.pending}" for route in draft.obs.routes if route.pending)
    if told and told != draft.status.pending:
        draft.event(Reason.CHANGE_PENDING, f"{told}: what was asked for in mid-release stands when the release ends")
    draft.set(pending=told or None)


def _promoted_lately(draft: Draft, candidate: ReplicaSet) -> bool:
    """It was stable among the last promotions: it is known, and whoever goes back to it is in a hurry."""
    spec = draft.obs.release.spec
    promoted = [record.hash for record in draft.status.history if record.outcome is Outcome.PROMOTED]
    stable = draft.status.stable.hash if draft.status.stable else ""
    before = [hash_ for hash_ in dict.fromkeys(promoted) if hash_ != stable]
    return spec is not None and candidate.hash in before[: spec.rollback.window]


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

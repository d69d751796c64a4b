"""Nothing is under way: what serves is adopted and kept, and the next release begins."""

from __future__ import annotations

from tidegate.api.conditions import Reason, known
from tidegate.api.releasestatus import Outcome, Phase, Stage
from tidegate.core import backward, brake, draining, forward, gates, promote
from tidegate.core.draft import Draft, revision
from tidegate.core.gate import FREE, HELD
from tidegate.core.observed import Deployment, Observed, Problem, ReplicaSet
from tidegate.core.plan import Bound, Manage, SetFinalizer


def at_rest(draft: Draft) -> None:
    """What is kept, and whether a release begins: it is under way then."""
    obs, status, journal = draft.obs, draft.status, draft.journal
    deployment, current = obs.deployment, obs.current()
    problem = blocked(draft)
    if problem:
        phase = Phase.INVALID if problem.reason in (Reason.INVALID_SPEC, Reason.STRATEGY_RECREATE) else Phase.BLOCKED
        draft.say(phase, problem.reason, problem.message)
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


def blocked(draft: Draft) -> Problem | None:
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


def _advise(draft: Draft, advice: str) -> None:
    """Told once a revision: whoever has read it need not read it again."""
    last, candidate = draft.status.last_release, draft.status.candidate
    again = last is not None and candidate is not None and last.hash == candidate.hash
    if advice and not again:
        draft.event(Reason.NO_DRAIN, advice, "Warning")
    draft.set(advice=advice or None)


def _promoted_lately(draft: Draft, candidate: ReplicaSet) -> bool:
    """It was stable among the last promotions: it is known, and whoever goes back to it is in a hurry."""
    spec = draft.obs.release.spec
    promoted = [record.hash for record in draft.status.history if record.outcome is Outcome.PROMOTED]
    stable = draft.status.stable.hash if draft.status.stable else ""
    before = [hash_ for hash_ in dict.fromkeys(promoted) if hash_ != stable]
    return spec is not None and candidate.hash in before[: spec.rollback.window]

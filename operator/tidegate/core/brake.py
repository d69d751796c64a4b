"""The brake: what becomes of a release while nothing holds the sizes of its revisions.

The Deployment controller would roll out what is held, so the Deployment is paused. Of one that is paused it moves pods
all the same (``scale`` in its sync.go): it has ``replicas`` + ``maxSurge`` of them in all, which the largest revision
makes up for, and none of the others once the template's revision has all of its own. Where stable would have fewer than
its requests need, nothing is paused and the release goes back: traffic first, and with the last of it the template,
whose revision stable is from then on.
"""

from __future__ import annotations

import math
from datetime import timedelta

from tidegate.api.conditions import Reason
from tidegate.api.releasestatus import Stage
from tidegate.core.draft import Draft
from tidegate.core.forward import FORWARD, PROMOTION, hash_of, steps, switching
from tidegate.core.observed import Deployment, Observed, Problem, ReplicaSet, Route
from tidegate.core.plan import RestoreTemplate, SetPaused
from tidegate.core.standing import FALLEN

SEEN_WITHIN = timedelta(seconds=15)
"""The Deployment controller takes about a second to look; nothing that it shows is worth a stuck revert."""


def gone(obs: Observed) -> Problem | None:
    """Why the gate does not hold, if it does not."""
    return next((problem for problem in obs.problems if problem.reason in FALLEN), None)


def loose(obs: Observed) -> Problem | None:
    """Why nothing holds the sizes of revisions, if nothing does."""
    gate = gone(obs)
    return gate if gate and gate.loose else None


def brake(draft: Draft) -> None:
    """Pause the Deployment while nothing holds it, and let it go on once something does."""
    obs, deployment, current, journal = draft.obs, draft.obs.deployment, draft.obs.current(), draft.journal
    if deployment is None:
        return
    managed = deployment.managed_by == obs.release.id
    if not managed and not (journal.stage is Stage.REST and journal.braked):
        return
    if deployment.uid != journal.target_uid:
        # Another of the same name: nobody has paused this one.
        draft.note(braked=False)
        return
    gate, exposed = loose(obs), managed and _exposed(draft, current)
    if gate and exposed and not deployment.paused:
        if not starves(draft):
            draft.note(braked=True)
            draft.act(SetPaused(paused=True))
            draft.event(gate.reason, "the gate does not hold: the Deployment is paused until it does", "Warning")
        elif journal.stage is Stage.REST or _by_pods(obs):
            # No requests are to go first, or none can.
            undo(draft)
    elif journal.braked and (not gate or not (exposed or current is None)):
        # Which revision the template asks for, nobody knows until its controller has seen our own last write.
        if deployment.paused:
            draft.act(SetPaused(paused=False))
        else:
            draft.note(braked=False)


def _exposed(draft: Draft, current: ReplicaSet | None) -> bool:
    """The Deployment controller would roll out what was not promoted, and what nobody goes back to in a hurry."""
    status, journal = draft.status, draft.journal
    if journal.stage is Stage.REST:
        # Reverted. A GitOps tool may apply it once more at any moment.
        known = {revision.hash for revision in (status.stable, status.candidate) if revision}
        return current is not None and status.candidate is not None and current.hash in known
    promoted = journal.stage is Stage.LIFT or (journal.stage is Stage.CLEAN and journal.outcome is None)
    promoted = promoted or (journal.stage in PROMOTION and not switching(draft))
    restored = current is not None and current.hash == hash_of(draft, "stable")
    return not (promoted or restored or in_a_hurry(draft))


def in_a_hurry(draft: Draft) -> bool:
    """The release goes forward to what was promoted before: nothing stops it for want of a gate."""
    return draft.journal.returning and draft.journal.stage in FORWARD | PROMOTION


def starves(draft: Draft) -> bool:
    """Paused, the Deployment would leave stable fewer pods than its requests need, and than it has."""
    obs, deployment = draft.obs, draft.obs.deployment
    stable, candidate = obs.by_hash(hash_of(draft, "stable")), obs.by_hash(hash_of(draft, "candidate"))
    template = obs.current() or candidate
    if deployment is None or stable is None or template is None or template.hash == stable.hash:
        return False
    if not deployment.has_sized(obs.replicasets):
        # Its size has changed, and what the revisions have of it is to be seen yet.
        return False
    needed = _needed(obs, stable, candidate, deployment.replicas)
    if not stable.replicas:
        # The Deployment controller was sooner. Batches take them by and by.
        return needed > 0 and all(step.stable == 100 for step in steps(draft))
    return _left(obs, deployment, stable, template) < min(stable.replicas, needed)


def _left(obs: Observed, deployment: Deployment, stable: ReplicaSet, template: ReplicaSet) -> int:
    """Pods that a paused Deployment would leave to stable."""
    sizes = {rs.hash: rs.replicas for rs in obs.replicasets}
    room = deployment.replicas + deployment.surge - sum(sizes.values())
    most = max(sizes.values())
    grown = template.replicas + (room if room > 0 and template.replicas == most else 0)
    if grown >= deployment.replicas:
        return 0
    return stable.replicas + (room if room < 0 and stable.replicas == most else 0)


def _by_pods(obs: Observed) -> bool:
    """Pods share the requests: the user's Service leads to both revisions, and no route to either."""
    return obs.by_service and obs.service is not None and obs.service.hash is None


def _needed(obs: Observed, stable: ReplicaSet, candidate: ReplicaSet | None, replicas: int) -> int:
    """Pods of stable that its requests need: one at least where the user's Service leads to it alone.

    All that there are where pods share the requests: each that goes gives the candidate more of them.
    """
    if obs.service is None or not replicas:
        return 0
    if _by_pods(obs):
        return stable.replicas
    goes_over = candidate is not None and obs.service.hash == candidate.hash

    def left(route: Route) -> int:
        """Percent of the requests that come by it."""
        return (0 if goes_over else 100) if route.weight is None else 100 - max(0, route.weight)

    percent = max(map(left, obs.own), default=0 if goes_over else 100)
    return max(math.ceil(replicas * percent / 100), 1 if obs.service.hash == stable.hash else 0)


def undone(draft: Draft) -> bool:
    """Whether the Deployment controller may see the candidate's pods go.

    While nothing holds it, and it is not paused, it would put others in their place: so the template is stable's first.
    """
    deployment = draft.obs.deployment
    if deployment is None or deployment.paused or not loose(draft.obs):
        return True
    if draft.obs.current() is None:
        return draft.now > draft.journal.since + SEEN_WITHIN
    return undo(draft)


def undo(draft: Draft) -> bool:
    """Have the template be stable's where it is the candidate's; another is its owner's newest word.

    True when it is not.
    """
    current = draft.obs.current()
    return current is None or current.hash != hash_of(draft, "candidate") or restored(draft)


def restored(draft: Draft) -> bool:
    """Have the template be stable's; True when it is."""
    obs, current = draft.obs, draft.obs.current()
    stable = obs.by_hash(hash_of(draft, "stable"))
    if stable is None or current is None:
        return False
    if current.hash == stable.hash:
        return True
    draft.act(RestoreTemplate(stable.name))
    told = f"the template was set back to revision {stable.revision}, which serves: {current.hash} was not promoted"
    draft.event(Reason.TEMPLATE_SET_BACK, told, "Warning")
    return False

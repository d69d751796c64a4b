"""The brake: what becomes of a release while its gate does not hold.

The Deployment controller would roll out what is held, so the Deployment is paused. Of one that is paused it moves
pods all the same (``scale`` in its sync.go): it has ``replicas`` + ``maxSurge`` of them in all, the largest
revision giving up the rest, and none of the others where the template's revision has all of its own. Where stable
would have fewer than its requests need, the release goes back instead: traffic first, then the template, whose
revision stable is from then on.
"""

from __future__ import annotations

import math

from tidegate.api.conditions import Reason
from tidegate.api.release import Stage
from tidegate.core import backward, forward
from tidegate.core.draft import Draft
from tidegate.core.observed import Observed, Problem, ReplicaSet, Route
from tidegate.core.plan import RestoreTemplate, SetPaused


def gone(obs: Observed) -> Problem | None:
    """Why the gate does not hold, if it does not."""
    told = (Reason.GATE_MISSING, Reason.GATE_CHANGED)
    return next((problem for problem in obs.problems if problem.reason in told), None)


def brake(draft: Draft) -> None:
    """Pause the Deployment while there is no gate, or set its template back; let it go on once there is one."""
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
    gate, exposed = gone(obs), managed and _exposed(draft, current)
    if gate and exposed and starves(draft):
        if current is not None and not backward.has_traffic(obs):
            restore(draft)
    elif gate and exposed and not deployment.paused:
        draft.note(braked=True)
        draft.act(SetPaused(paused=True))
        draft.event(gate.reason, "the gate does not hold: the Deployment is paused until it does", "Warning")
    elif journal.braked and (not gate or not (exposed or current is None)):
        # Which revision the template asks for, nobody knows until its controller has seen our own last write.
        if deployment.paused:
            draft.act(SetPaused(paused=False))
        else:
            draft.note(braked=False)


def _exposed(draft: Draft, current: ReplicaSet | None) -> bool:
    """The Deployment controller would roll out what was not promoted."""
    status, stage = draft.status, draft.journal.stage
    if stage is Stage.REST:
        return current is not None and status.candidate is not None and current.hash == status.candidate.hash
    promoted = stage is Stage.LIFT or (stage is Stage.CLEAN and draft.journal.outcome is None)
    restored = current is not None and status.stable is not None and current.hash == status.stable.hash
    return not promoted and not restored


def starves(draft: Draft) -> bool:
    """Paused, the Deployment would leave stable fewer pods than its requests need, and than it has."""
    obs, deployment, status = draft.obs, draft.obs.deployment, draft.status
    stable, candidate = (obs.by_hash(known.hash if known else None) for known in (status.stable, status.candidate))
    template = obs.current() or candidate
    if deployment is None or stable is None or template is None or template.hash == stable.hash:
        return False
    others = sum(rs.replicas for rs in obs.replicasets if rs.hash != stable.hash)
    left = 0 if template.replicas >= deployment.replicas else deployment.replicas + deployment.surge - others
    return left < min(stable.replicas, _needed(obs, stable, deployment.replicas))


def _needed(obs: Observed, stable: ReplicaSet, replicas: int) -> int:
    """Pods of stable that its requests need: one at least where the user's Service leads to it alone."""
    inside = obs.service is not None and obs.service.hash == stable.hash

    def left(route: Route) -> int:
        """Percent of the requests that come by it."""
        at_rest = 100 if inside else 0
        return at_rest if route.weight is None else 100 - max(0, route.weight)

    most = max((left(route) for route in obs.own), default=100 if inside else 0)
    return max(math.ceil(replicas * most / 100), 1 if inside else 0)


def restore(draft: Draft) -> bool:
    """Have the template be stable's; True when it is."""
    obs, current = draft.obs, draft.obs.current()
    stable = obs.by_hash(forward.hash_of(draft, "stable"))
    if stable is None or current is None:
        return False
    if current.hash == stable.hash:
        return True
    draft.act(RestoreTemplate(stable.name))
    told = f"the template was set back to revision {stable.revision}, which serves: {current.hash} was not promoted"
    draft.event(Reason.TEMPLATE_SET_BACK, told, "Warning")
    return False

"""When the metrics of a release are asked, of whom, and what comes of a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, Source
from tidegate.api.conditions import Reason
from tidegate.api.releasestatus import ReleaseStatus, Stage, StepStatus
from tidegate.core import forward
from tidegate.core.arms import Arms
from tidegate.core.draft import Draft
from tidegate.core.forward import FORWARD
from tidegate.core.observed import Observed, Pod, Route
from tidegate.core.presets import Protocol
from tidegate.core.scraping import Target


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


def begin(draft: Draft) -> None:
    """The analysis, with the candidate's first requests."""
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


def look(draft: Draft) -> None:
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

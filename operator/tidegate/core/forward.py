"""A release going forward: prepare traffic, then for each step: scale, shift (and bake, which is ``core/bake.py``).

Each stage ensures facts and is done when they are seen; a stage that is not done returns None and is asked again.
"""

from __future__ import annotations

from datetime import timedelta

from tidegate.api.conditions import ConditionType, Reason
from tidegate.api.gates import GateAt
from tidegate.api.release import Step
from tidegate.api.releasestatus import Outcome, Phase, Stage, StepStatus, TrafficStatus
from tidegate.api.traffic import ALL_STABLE, Share
from tidegate.core import checks, gates, health
from tidegate.core.draft import STEADY, Draft
from tidegate.core.gate import HELD_DEADLINE, exactly, owners_note
from tidegate.core.observed import INTRODUCED, Observed, Service
from tidegate.core.plan import EnsureServices, Manage, Select, SetDeadline, Split

ROUTER_DEADLINE = timedelta(minutes=2)
"""Until then a router that says no word of a route that was put back may yet do so."""
FORWARD = frozenset({Stage.PREPARE, Stage.SCALE, Stage.SHIFT, Stage.BAKE})
"""Stages in which everything is looked at that can turn a release back."""
PROMOTION = frozenset({Stage.WIDEN, Stage.NARROW, Stage.RETURN})
"""Stages after them from which a release can still go back: all of stable's pods stand."""
SLOW_START = timedelta(seconds=10)
"""Pods that take longer than this to start give reason to say what they wait for."""
SLOW_ROUTER = timedelta(seconds=1)
"""A router that takes longer than this gives reason to say what it has yet to do: each word is a status written."""
KUBE_PROXY = timedelta(seconds=2)
"""What the kube-proxy of a node may take to lead to new endpoints: it writes its rules once a second at most."""


AT_ONCE = (Step(weight=100, bake=timedelta(), pods=100, name="rollback"),)
"""All pods, then all requests: of a revision that was promoted before."""


def steps(draft: Draft) -> tuple[Step, ...]:
    """The steps of the release."""
    spec = draft.obs.release.spec
    if spec is None:
        return ()
    return AT_ONCE if draft.journal.returning else spec.plan()


def step(draft: Draft) -> Step:
    """The step that the release is at. A list that was shortened in mid-release ends with its last step."""
    plan = steps(draft)
    at = draft.status.step.index if draft.status.step else 1
    return plan[min(at, len(plan)) - 1]


def share_of(draft: Draft) -> Share:
    """Who goes to the candidate in the step that the release is at."""
    return draft.status.step.share if draft.status.step else step(draft).share(hash_of(draft, "candidate"))


def at_step(draft: Draft, index: int) -> None:
    """Go to a step, numbered from 1."""
    plan = steps(draft)
    to = plan[index - 1]
    draft.set(step=_begun(to.share(hash_of(draft, "candidate")), index=index, of=len(plan), name=to.name))


def _begun(share: Share, *, index: int, of: int, name: str = "") -> StepStatus:
    return StepStatus(index=index, of=of, name=name, weight=share.weight or 0, match=share.match, stay=share.stay)


def follow(draft: Draft) -> None:
    """The step as the spec has it now: somebody may edit the list in mid-release."""
    at, plan = draft.status.step, steps(draft)
    if at is None or not plan:
        return
    index, share = min(at.index, len(plan)), step(draft).share(hash_of(draft, "candidate"))
    if draft.journal.stage in (Stage.SHIFT, Stage.BAKE):
        # Its pods stand for the weight that it began with, and so does its evidence.
        share = at.share
    if (at.index, at.of, at.share) != (index, len(plan), share):
        draft.set(step=at.model_copy(update={"index": index, "of": len(plan), **vars(share)}))


def held(draft: Draft) -> bool:
    """Somebody paused the release before the step's weight was written, or a metric did."""
    at = draft.status.step
    new = draft.journal.stage is Stage.SHIFT and (at is None or at.left is None)
    written, asked = draft.status.traffic, share_of(draft)
    there = written is not None and written.share == asked and split_is(draft.obs, asked)
    return new and bool(paused(draft) or beyond(draft)) and not there and not draft.journal.retreated


def paused(draft: Draft) -> str:
    """By what the release is held; nothing where it is not."""
    spec = draft.obs.release.spec
    if spec and spec.paused:
        return "by spec.paused"
    if draft.journal.retreated:
        return f"since a batch failed ({draft.journal.retreated}); resume or abort it"
    return "by a request" if draft.journal.paused else ""


def beyond(draft: Draft) -> str:
    """Which metrics with ``onFail: Pause`` hold the release; nothing where it is to go on all the same."""
    seen = draft.status.analysis
    return f"{', '.join(seen.held_by)} beyond limits" if seen and seen.held_by and not draft.journal.hurried else ""


def stalls(draft: Draft, reason: Reason, why: str, goes_on: str) -> None:
    """Held until somebody decides, or until what is seen has changed: with what there is to decide."""
    known = next((one for one in draft.obs.release.status.conditions if one.type == ConditionType.STALLED), None)
    told = f"{why}: {goes_on}, promote or abort"
    if known is None or (known.status, known.reason) != ("True", reason):
        draft.event(reason, f"{where(draft)}: {told}", "Warning")
    draft.say(draft.phase, draft.reason, f"{draft.message}; {told}")
    draft.stall(reason, told)


def where(draft: Draft) -> str:
    """``step 2/5``, or ``watch (step 2/3)`` where it has a name."""
    at = draft.status.step
    number = f"step {at.index}/{at.of}" if at else "step"
    return f"{at.name} ({number})" if at and at.name else number


def hash_of(draft: Draft, which: str) -> str:
    """pod-template-hash of ``stable`` or ``candidate``, from the journal."""
    known = getattr(draft.status, which)
    return str(known.hash) if known else ""


def split_is(obs: Observed, share: Share) -> bool:
    """All routes say this, if there are any that take part, and that no other release holds."""
    return all(route.share == share for route in obs.own)


def applied(draft: Draft) -> bool:
    """The router serves by what all routes say. Where stable has nobody to serve, one that it has dropped holds nothing
    up: it may come back with the candidate only. Where no pods are asked for, there is nothing that it could serve."""
    if unasked(draft.obs):
        return True
    empty = nobody_serves(draft)
    return all(
        route.applied or (empty and route.dropped and route.weight is not None and route.weight < 100)
        for route in draft.obs.own
    )


def unasked(obs: Observed) -> bool:
    """The Deployment is scaled to nothing."""
    return obs.deployment is not None and not obs.deployment.replicas


def lagging(obs: Observed) -> str:
    """What the router has yet to do, for a reader."""
    return "; ".join(f"{route.name}: {route.waiting or 'not applied yet'}" for route in obs.own if not route.applied)


def late(draft: Draft) -> bool:
    """The router takes longer for this stage than a reader would wait before asking why."""
    return draft.now > draft.journal.since + SLOW_ROUTER


def overdue(draft: Draft) -> bool:
    """A router has had all the time that a route at rest needs: it is gone, or the user's Service is.

    One whose word nobody waits for any more may yet serve: it has as long as one that cannot be asked.
    """
    spec = draft.obs.release.spec
    patience = spec.traffic.propagation if spec and draft.journal.unheard else ROUTER_DEADLINE
    return draft.now > draft.journal.since + patience


def barred(draft: Draft) -> bool:
    """Another release moves weights on a route that the stage needs."""
    return draft.obs.taken is not None and draft.journal.stage in (Stage.PREPARE, Stage.SHIFT)


def wait_for_the_other(draft: Draft) -> bool:
    """Whether a route is another release's for now. That one has deadlines of its own; people may end either."""
    taken = draft.obs.taken
    if taken is None or taken.hold is None:
        return False
    told = f"{taken.name} is in mid-release by {taken.hold.release}; this release waits until that one has ended"
    draft.say(Phase.WAITING, Reason.ROUTE_TAKEN, told)
    return True


def reached(draft: Draft, service: Service) -> bool:
    """The router sends the Service's share to its endpoints, all of them and no others; or has had time to."""
    obs, spec = draft.obs, draft.obs.release.spec
    # To the two of this release no route leads that another one holds; to the user's all do.
    leading = obs.routes if obs.service and obs.service.name == service.name else obs.own
    known = [route.behind(service.name) for route in leading]
    if any(addresses not in (None, service.addresses) for addresses in known):
        draft.note(settled_at=None)
        return False
    if (known and None not in known) or spec is None:
        return True
    return _settled(draft, spec.traffic.propagation)


def _settled(draft: Draft, lasts: timedelta) -> bool:
    """All that the stage waits for has stood for so long: what cannot be asked has had its time."""
    settled = draft.journal.settled_at or draft.now
    draft.note(settled_at=settled)
    return draft.now >= settled + lasts


def prepare(draft: Draft) -> Stage | None:
    """Two Services; the user's Service narrowed to stable; routes on the two Services at 100/0.

    The routes list the two before they lead there: a router that hears of a route sooner than of the endpoints of a
    new Service has nowhere to send requests to.
    """
    obs, stable, candidate = draft.obs, hash_of(draft, "stable"), hash_of(draft, "candidate")
    draft.say(Phase.PROGRESSING, Reason.PREPARING, f"preparing traffic for {candidate}")
    draft.wake_in(STEADY) if obs.taken else draft.wake_soon()
    ensure_deadline(draft)
    if not gates.passed(draft, GateAt.BEFORE_START) or wait_for_the_other(draft):
        return None
    hold(draft)
    ours, theirs = obs.stable_service, obs.canary_service
    if not ours or not theirs or not obs.service or obs.service.hash != stable:
        return None
    if not ours.endpoints >= obs.service.endpoints or not (ours.endpoints or nobody_serves(draft)):
        return None
    # Nothing selects the candidate by now but its own Service, which has no weight: its pods may start meanwhile.
    grow(draft, step(draft))
    introduced, moved = split_is(obs, Share(INTRODUCED)), split_is(obs, ALL_STABLE)
    if obs.by_service:
        draft.set(traffic=TrafficStatus.asking(ALL_STABLE))
        return Stage.SCALE
    if not introduced and not moved:
        if not ours.endpoints:
            way_out = "`kubectl tidegate promote` gives all requests to the candidate"
            draft.event(Reason.STABLE_DOWN, f"no pod of stable {stable} is ready; {way_out}", "Warning")
        draft.act(Split(Share(INTRODUCED)))
        return None
    if not applied(draft) or not reached(draft, ours):
        if late(draft):
            draft.say(Phase.PROGRESSING, Reason.PREPARING, lagging(obs) or f"the router has yet to see {ours.name}")
        return None
    if introduced:
        draft.act(Split(ALL_STABLE))
        return None
    draft.set(traffic=TrafficStatus(router="", weight=0))
    return Stage.SCALE


def nobody_serves(draft: Draft) -> bool:
    """No pod of stable is ready: there is nothing to keep serving, and its cure may be this very release."""
    stable = draft.obs.by_hash(hash_of(draft, "stable"))
    return stable is not None and not stable.ready


def scale(draft: Draft) -> Stage | None:
    """Candidate pods for the step: Ready, and among the endpoints of their Service."""
    obs, candidate = draft.obs, draft.obs.by_hash(hash_of(draft, "candidate"))
    hold(draft)
    if obs.routes:
        # Where the Service shares requests, nobody is sent to pods that are not ready.
        deserted(draft)
    if draft.status.traffic:
        # A router knows the endpoints of a Service only that a route leads to: all routes list the two.
        ensure_split(draft, draft.status.traffic.share)
    if not _given_back(draft):
        return None
    if step(draft).stable < 100 and not _asked(draft, GateAt.BEFORE_STEP):
        # Before pods of stable make room for it, where they do.
        return None
    shrunk, first = _shrink(draft)
    if first and not shrunk:
        return None
    want, sized = grow(draft, step(draft))
    ready = min(candidate.ready if candidate else 0, behind(obs.canary_service))
    if obs.preview:
        ready = min(ready, behind(obs.preview_service))
    told = f"{where(draft)}: {ready} of {want} pods of {hash_of(draft, 'candidate')} are ready"
    why = health.lacking(draft) if draft.now > draft.journal.since + SLOW_START else ""
    draft.say(Phase.PROGRESSING, Reason.SCALING, f"{told}; {why}" if why else told)
    draft.wake_soon()
    if not sized or ready < want:
        draft.note(settled_at=None)
        return None
    if unproven := checks.lacking(draft, want):
        draft.say(Phase.PROGRESSING, Reason.HEALTH_CHECKING, f"{where(draft)}: {unproven}")
        return None
    if obs.canary_service and not reached(draft, obs.canary_service):
        return None
    points = gates.before_traffic(draft, share_of(draft))
    return Stage.SHIFT if _dialled(draft, *points) and _asked(draft, *points) else None


def _dialled(draft: Draft, *points: GateAt) -> bool:
    """Whoever asks the candidate's Service in the name of a gate finds its pods there, whichever node that is on."""
    return not gates.dial(draft, *points) or _settled(draft, KUBE_PROXY)


def behind(service: Service | None) -> int:
    """How many pods serve behind a Service."""
    return len(service.endpoints) if service else 0


def _asked(draft: Draft, *points: GateAt) -> bool:
    """All gates at these points have let the release through. A batch that it went back to had passed them."""
    return bool(draft.journal.retreated) or gates.passed(draft, *points)


def retreat(draft: Draft, why: str) -> bool:
    """Go back by the batch that failed, where the release is to keep those before it; once, until it is resumed."""
    at, spec = draft.status.step, draft.obs.release.spec
    if spec is None or not spec.retreats or at is None or at.index == 1 or draft.journal.retreated:
        return False
    if draft.journal.stage is Stage.PREPARE or draft.journal.returning:
        return False
    at_step(draft, at.index - 1)
    gates.forget(draft)
    draft.set(analysis=None, traffic=TrafficStatus.asking(share_of(draft)))
    draft.note(paused=True, retreated=why, retreated_at=draft.now, unready_since=None, falls=0)
    draft.event(Reason.BATCH_REVERTED, f"batch {at.index} of {at.of} is taken back: {why}", "Warning")
    return True


def giving_back(draft: Draft) -> bool:
    """Pods of a batch that failed are still there: what they have to say has been answered."""
    spec, deployment = draft.obs.release.spec, draft.obs.deployment
    candidate = draft.obs.by_hash(hash_of(draft, "candidate"))
    if spec is None or not spec.retreats or draft.journal.stage is not Stage.SCALE:
        return False
    if draft.journal.retreated_at is None or candidate is None or deployment is None:
        return False
    return max(candidate.replicas, candidate.current) > exactly(step(draft).pods).size(0, deployment.replicas)


def _given_back(draft: Draft) -> bool:
    """Stable has the pods again that a batch took which failed, before the candidate's go."""
    obs, to, deployment = draft.obs, step(draft), draft.obs.deployment
    stable, candidate = (obs.by_hash(hash_of(draft, which)) for which in ("stable", "candidate"))
    if to.stable == 100 or stable is None or candidate is None or deployment is None:
        return True
    size = exactly(to.stable).size(0, deployment.replicas)
    if candidate.replicas <= exactly(to.pods).size(0, deployment.replicas) or stable.ready >= size:
        return True
    told = f"{where(draft)}: the next batch is taken back, stable has {stable.ready} of {size} pods"
    draft.say(Phase.REVERTING, Reason.BATCH_REVERTED, told)
    draft.wake_soon()
    draft.bound(stable, exactly(to.stable), size)
    return False


def _shrink(draft: Draft) -> tuple[bool, bool]:
    """Have stable give up the pods whose place the batch takes: whether it has, and whether it may.

    It may where enough are in service without them. Else (a single pod, say) the candidate's come into service first.
    """
    obs, to, deployment = draft.obs, step(draft), draft.obs.deployment
    stable = obs.by_hash(hash_of(draft, "stable"))
    if stable is None or deployment is None or to.stable == 100:
        return True, True
    size = exactly(to.stable).size(0, deployment.replicas)
    least = max(1, deployment.replicas - deployment.replicas * to.out // 100)
    theirs = obs.canary_service.endpoints if obs.canary_service else frozenset()
    beside = len(theirs & (obs.service.endpoints if obs.service else frozenset()))
    # Pods that are not ready are the first to go, and nobody misses them.
    if stable.ready > size and beside + size < least:
        return stable.current <= size, False
    told = f"{where(draft)}: {max(0, stable.current - size)} pods of {stable.hash} go out of service"
    draft.say(Phase.PROGRESSING, Reason.SCALING, told)
    draft.wake_soon()
    return draft.bound(stable, exactly(to.stable), size) and stable.current <= size, True


def shift(draft: Draft) -> Stage | None:
    """The step's weight written to the routes, and applied by the router: the bake begins."""
    obs, spec, share = draft.obs, draft.obs.release.spec, share_of(draft)
    draft.say(Phase.PROGRESSING, Reason.SHIFTING, f"{where(draft)}: {share.weight} %{share_told(draft, share)}")
    draft.wake_soon()
    hold(draft)
    known = draft.status.step or _begun(share, index=1, of=len(steps(draft)))
    if deserted(draft):
        return Stage.SCALE
    if held(draft):
        if paused(draft):
            draft.say(Phase.WAITING, Reason.PAUSED, f"{where(draft)}: held {paused(draft)}")
        elif draft.status.analysis:
            told = f"{where(draft)}: held before its weight; {draft.status.analysis.message}"
            draft.say(Phase.WAITING, Reason.ANALYSIS_PAUSED, told)
            stalls(draft, Reason.ANALYSIS_PAUSED, beyond(draft), "resume")
        return None
    if share.weight or share.match:
        draft.note(served=True)
    ensure_split(draft, share)
    if spec is None or not split_is(obs, share):
        return None
    if not applied(draft):
        if late(draft):
            draft.say(Phase.PROGRESSING, Reason.SHIFTING, f"{where(draft)}: {lagging(obs)}")
        return None
    if wait_for_the_other(draft):
        return None
    if obs.service and selected(draft) != obs.service.hash:
        if selected(draft) == hash_of(draft, "candidate"):
            return Stage.WIDEN
        narrow(draft, selected(draft))
        return None
    if obs.by_service and obs.service and not reached(draft, obs.service):
        return None
    if not _shrink(draft)[0]:
        return None
    left = step(draft).bake if known.left is None else known.left
    draft.set(step=known.model_copy(update={"started_at": draft.now, "until": draft.now + left, "left": None}))
    if known.left is None:
        told = f"{share.weight} % of requests{share_told(draft, share)}"
        draft.event(Reason.STEP_STARTED, f"{where(draft)}: {told}")
    return Stage.BAKE


def deserted(draft: Draft) -> bool:
    """No candidate pod is left behind its weight (an eviction, say): all requests to stable, until there is one."""
    service, traffic, stable = (
        draft.obs.canary_service,
        draft.status.traffic,
        draft.obs.by_hash(hash_of(draft, "stable")),
    )
    if service is None or service.endpoints or traffic is None or not (traffic.weight or traffic.match):
        return False
    if not (stable and stable.ready and draft.obs.deployment and draft.obs.deployment.replicas):
        # Scaled to nothing, say, or replaced by now: stable has no more to offer.
        return False
    draft.set(traffic=TrafficStatus.asking(ALL_STABLE))
    if draft.obs.routes:
        draft.urgent.append(Split(ALL_STABLE))
    if draft.obs.service and draft.obs.service.hash == hash_of(draft, "candidate"):
        draft.urgent.append(Select(hash_of(draft, "stable")))
    health.fall(draft)
    draft.event(Reason.SCALING, f"{where(draft)}: no candidate pod is ready; all requests go to stable", "Warning")
    return True


def switching(draft: Draft) -> bool:
    """The user's Service goes over with the step's weight, and its bake is yet to begin: this is no promotion yet."""
    return draft.status.step is not None and draft.status.step.until is None


def whole(draft: Draft) -> bool:
    """The candidate may have all requests of the Service: all its pods serve; at the promotion, somebody does."""
    service, deployment = draft.obs.canary_service, draft.obs.deployment
    if service is None or deployment is None:
        return False
    return len(service.endpoints) >= (deployment.replicas if switching(draft) else min(1, deployment.replicas))


def interrupt(draft: Draft) -> Stage:
    """The bake's weight is lost, on some route or with it. What the bake had is credited up to the last look: what
    befell the route since then, nobody has seen."""
    at, analysis = draft.status.step, draft.obs.release.status.analysis
    if at is not None and at.until is not None and at.started_at is not None:
        seen = max(at.started_at, analysis.looked_at) if analysis else at.started_at
        draft.set(step=at.model_copy(update={"until": None, "left": max(at.until - seen, timedelta())}))
        lost = [one.name for one in draft.obs.routes if one.share != at.share]
        lost += [f"Service/{draft.obs.service.name}"] if draft.obs.service and not switched(draft) else []
        told = f"not all requests of {', '.join(lost)} are split" if lost else "there is no route"
        draft.event(Reason.WEIGHT_LOST, f"{where(draft)}: {told}: the bake goes on when they are", "Warning")
    return Stage.SHIFT


def grow(draft: Draft, to: Step) -> tuple[int, bool]:
    """Have the candidate sized for a step: how many pods that is, and whether as many are asked for."""
    candidate, deployment = draft.obs.by_hash(hash_of(draft, "candidate")), draft.obs.deployment
    if candidate is None or deployment is None:
        return 0, False
    want = exactly(to.pods).size(0, deployment.replicas)
    return want, draft.bound(candidate, exactly(to.pods), want)


def hold(draft: Draft) -> None:
    """What stands in every forward stage, put right where somebody changed it."""
    obs, stable = draft.obs, hash_of(draft, "stable")
    ensure_deadline(draft)
    if obs.deployment and obs.deployment.managed_by != obs.release.id:
        draft.act(Manage(obs.release.id))
    serving, keep = obs.by_hash(stable), step(draft).stable
    if serving and (keep == 100 or draft.journal.stage is Stage.PREPARE):
        draft.serving(serving)
    elif serving and draft.journal.stage is Stage.BAKE:
        draft.bound(serving, exactly(keep))
    ensure_services(draft)
    if obs.service and not (selected(draft) == hash_of(draft, "candidate") != obs.service.hash):
        # Its way to the candidate leads over both revisions: a stage of its own.
        narrow(draft, selected(draft))


def selected(draft: Draft) -> str | None:
    """What the user's Service is to select by the weight that is written: None is both revisions."""
    obs, spec, traffic = draft.obs, draft.obs.release.spec, draft.status.traffic
    if spec is None or traffic is None or not traffic.weight or not (obs.by_service or spec.switches):
        return hash_of(draft, "stable")
    if traffic.weight == 100:
        return hash_of(draft, "candidate")
    return None if obs.by_service else hash_of(draft, "stable")


def switched(draft: Draft) -> bool:
    """The user's Service selects what it is to."""
    return draft.obs.service is None or draft.obs.service.hash == selected(draft)


def narrow(draft: Draft, hash_: str | None) -> None:
    """The user's Service selects this revision (None: all), and the admission policy keeps it so."""
    service = draft.obs.service
    if service and (service.hash != hash_ or service.hold is None):
        draft.act(Select(hash_))


def ensure_services(draft: Draft) -> None:
    """The Services of the release stand, each on its revision, with the ports of the user's."""
    hashes, users = (hash_of(draft, "stable"), hash_of(draft, "candidate")), draft.obs.service
    found = [draft.obs.stable_service, draft.obs.canary_service, draft.obs.preview_service]
    wanted = [*hashes, hashes[1]] if draft.obs.preview else [*hashes]
    lead = all(service and service.hash == hash_ for service, hash_ in zip(found, wanted, strict=False))
    alike = users is None or all(service.ports == users.ports for service in found if service)
    if not lead or not alike:
        draft.act(EnsureServices(*hashes))


def ensure_deadline(draft: Draft) -> None:
    """While a release runs the Deployment must not time out: bakes last longer than its owner's deadline."""
    deployment = draft.obs.deployment
    if deployment and (deployment.deadline != HELD_DEADLINE or not deployment.deadline_note):
        held = deployment.deadline == HELD_DEADLINE
        owners = deployment.owners_deadline if held else deployment.deadline
        draft.act(SetDeadline(HELD_DEADLINE, owners_note(owners)))


def ensure_split(draft: Draft, share: Share) -> None:
    """Routes say the step's share; the status says so first."""
    written = draft.status.traffic
    if written is None or written.share != share:
        draft.set(traffic=TrafficStatus.asking(share))
    if not split_is(draft.obs, share):
        draft.act(Split(share))


def share_told(draft: Draft, share: Share) -> str:
    """`` and all with x-canary: always to 7d9f5``: what else goes to the candidate, and which that is."""
    named = [{**one.headers, **one.cookies} for one in share.match]
    said = [" and ".join(f"{name}: {value}" for name, value in one.items()) for one in named]
    more = f" and all with {' or '.join(said)}" if said else ""
    return f"{more} to {hash_of(draft, 'candidate')}"


def go_back(draft: Draft, outcome: Outcome, reason: Reason, message: str) -> Stage:
    """Decide that the release ends with traffic on stable. Decided once: the first reason stands."""
    if draft.journal.outcome is None:
        draft.note(outcome=outcome, reason=reason, message=message)
        draft.event(reason, message, "Warning")
    return Stage.REVERT

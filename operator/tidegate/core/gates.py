"""Gates: who must say yes at which point of a release, and what follows when it is no.

Their answers stand in ``status.gates``, which is the journal of them: what runs was written there first, is begun by a
name that only it can have, and is found again by that. Nothing that goes back asks or waits for a gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tidegate.api.conditions import Reason
from tidegate.api.gates import Gate, GateAt, GateState, GateStatus, HttpGate
from tidegate.api.releasestatus import Outcome, Phase, ReleaseStatus, Stage
from tidegate.api.traffic import Share
from tidegate.core import jobs
from tidegate.core.asking import Call, amiss, excerpt
from tidegate.core.draft import STEADY, Draft
from tidegate.core.jobs import JobRun, Unread
from tidegate.core.observed import Backends, Observed
from tidegate.core.plan import RemoveJob, StartJob

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=1)
"""Between an attempt that failed and the next one: doubled each time."""
OVERDUE = timedelta(seconds=30)
"""After its deadline a Job has been ended by its controller; by then somebody else has to say so."""
_NO = (GateState.FAILED, GateState.TIMED_OUT)


def begin(draft: Draft) -> None:
    """A release begins: nobody has said anything of its candidate."""
    gates = () if draft.journal.returning else _spec(draft.obs)
    draft.set(gates=tuple(GateStatus(name=gate.name) for gate in gates))


def listens(obs: Observed) -> bool:
    """Whether Jobs are to be looked for: a gate may be one, or was when it was begun."""
    status = obs.release.status
    if any(known.state is GateState.RUNNING for known in status.gates):
        return True
    resting = status.journal is None or status.journal.stage is Stage.REST
    return not resting and any(gate.job for gate in _spec(obs))


def follow(draft: Draft) -> None:
    """Take in what came of the gates that run. One that is in the spec no more is nobody's."""
    if draft.obs.release.spec:
        names = {gate.name for gate in _spec(draft.obs)}
        draft.set(gates=tuple(known for known in draft.status.gates if known.name in names))
    for gate in _spec(draft.obs):
        known = _known(draft, gate)
        if known and known.state is GateState.RUNNING:
            if _sort(known) != ("job" if gate.job else "http" if gate.http else "manual"):
                # It has become another sort of gate meanwhile.
                _put(draft, known, state=GateState.PENDING, attempts=0, by="", message="")
            elif gate.job:
                _hear(draft, gate, known)
            elif gate.http:
                _answered(draft, gate, gate.http, known)
            elif gate.lasts and known.at and draft.now >= known.at + gate.lasts:
                _ends(draft, gate, known, GateState.TIMED_OUT, "nobody approved in time")


def calls(obs: Observed) -> Mapping[str, Call]:
    """What is to be asked by HTTP, or has been and is yet to be heard."""
    release, status = obs.release, obs.release.status
    if release.leaving or (status.journal and status.journal.outcome is not None):
        return {}
    known = {one.name: one for one in status.gates if one.state is GateState.RUNNING}
    return {
        _key(status, known[gate.name]): _call(obs, gate, gate.http, known[gate.name])
        for gate in _spec(obs)
        if gate.http and gate.name in known
    }


def forget(draft: Draft) -> None:
    """A batch is taken back, and may be tried again: all that let it through, or did not, are to be asked anew then."""
    kept = {gate.name for gate in _spec(draft.obs) if gate.at is not GateAt.BEFORE_STEP}
    passed_ = {known.name for known in draft.status.gates if known.state is GateState.PASSED}
    new = [known if known.name in kept & passed_ else GateStatus(name=known.name) for known in draft.status.gates]
    draft.set(gates=tuple(new))


def failed(draft: Draft) -> tuple[Reason, str] | None:
    """A gate that said no for good, before promotion."""
    for gate in _spec(draft.obs):
        known = _known(draft, gate)
        if known and known.state in _NO and gate.at is not GateAt.AFTER_PROMOTION:
            return Reason.GATE_FAILED, _told(gate, known)
    return None


def passed(draft: Draft, *points: GateAt) -> bool:
    """Whether all gates at these points have let the release through. What is yet to be asked is asked now."""
    if draft.journal.returning:
        return True
    spec = draft.obs.release.spec
    shut: list[GateStatus] = []
    for together in (spec.gates, spec.lastly) if spec else ():
        asked = [(gate.at, _asked(draft, gate)) for gate in together if gate.at in points]
        shut = [known for _, known in asked if known]
        if shut:
            draft.gate = next(at for at, known in asked if known)
            break
    if not shut:
        return True
    people = bool(_held(draft)) or all(_manual(draft.obs, known) for known in shut)
    # Whatever is to come meanwhile is looked at once a second, but not of hundreds that wait: a person may take days.
    draft.wake = None
    if people:
        draft.watch()
    else:
        draft.wake_in(STEADY)
    phase = Phase.WAITING if people else Phase.PROGRESSING
    draft.say(phase, Reason.GATE_WAITING, "; ".join(f"gate {known.name}: {known.message}" for known in shut))
    return False


def before_traffic(draft: Draft, share: Share) -> Sequence[GateAt]:
    """The points at which a release stands before a step's share is written. Those whom a match sends are users too."""
    first = (share.weight or share.match) and not draft.journal.served
    return (GateAt.BEFORE_STEP, *((GateAt.BEFORE_TRAFFIC,) if first else ()))


def dial(draft: Draft, *points: GateAt) -> bool:
    """Whether a gate at these points sends requests of its own, which may go to the candidate's Service."""
    asked = not draft.journal.returning and not draft.journal.retreated
    return asked and any(gate.at in points and not gate.manual for gate in _spec(draft.obs))


def tend(draft: Draft) -> None:
    """What goes for every stage: its time counts anew after its gates, and no Job stays that is asked no more."""
    at_gate, journal = draft.gate, draft.journal
    if journal.gate is not at_gate:
        draft.note(gate=at_gate, **({} if at_gate else {"since": draft.now}))
    if _over(draft):
        for known in draft.status.gates:
            gone = not _run(draft.obs, known) and not isinstance(draft.obs.jobs, Unread)
            if known.state is GateState.RUNNING and gone:
                message = "the release went back before it was answered"
                _put(draft, known, state=GateState.WITHDRAWN, message=message, at=draft.now)
    asked = {known.by for known in draft.status.gates if not (_over(draft) and known.state is GateState.RUNNING)}
    draft.act(*(RemoveJob(run.name) for run in _runs(draft.obs) if f"job/{run.name}" not in asked))


def after(draft: Draft) -> None:
    """A promotion is over: what is asked after it is told, and changes nothing."""
    mine = [gate for gate in _spec(draft.obs) if gate.at is GateAt.AFTER_PROMOTION and _after(draft)]
    follow(draft)
    for gate in mine:
        _asked(draft, gate)
    known = [found for gate in mine if (found := _known(draft, gate))]
    wrong = [found for found in known if found.state in _NO]
    open_ = [found for found in known if found.state in (GateState.PENDING, GateState.RUNNING)]
    if open_:
        draft.wake_in(STEADY)
    told = "; ".join(f"gate {found.name}: {found.message}" for found in wrong or open_)
    if told:
        reason = Reason.GATE_FAILED if wrong else Reason.GATE_WAITING
        draft.say(draft.phase, reason, f"{draft.message}; {told}")


def approve(draft: Draft, name: str, by: str) -> str:
    """Somebody says yes to a manual gate, or to all that wait: why that cannot be."""
    waiting = [
        known
        for known in draft.status.gates
        if known.state is GateState.RUNNING and _manual(draft.obs, known) and name in ("", known.name)
    ]
    if waiting:
        for known in waiting:
            _passes(draft, known, f"approved by {by}" if by else "approved", by=by)
        return ""
    manual = [gate.name for gate in _spec(draft.obs) if gate.manual]
    if name and name not in manual:
        return f"there is no manual gate {name}; there is {', '.join(manual) or 'none'}"
    return f"gate {name} does not wait for approval" if name else "no gate waits for approval"


def _spec(obs: Observed) -> Sequence[Gate]:
    return obs.release.spec.asked if obs.release.spec else ()


def _known(draft: Draft, gate: Gate) -> GateStatus | None:
    return next((known for known in draft.status.gates if known.name == gate.name), None)


def _manual(obs: Observed, known: GateStatus) -> bool:
    return any(gate.name == known.name and gate.manual for gate in _spec(obs))


def _sort(known: GateStatus) -> str:
    """What answers a gate that runs."""
    return "job" if known.by.startswith("job/") else known.by or "manual"


def _key(status: ReleaseStatus, known: GateStatus) -> str:
    """The one attempt."""
    return f"{known.name}/{_began(status)}/{known.step}/{known.attempts}"


def _call(obs: Observed, gate: Gate, http: HttpGate, known: GateStatus) -> Call:
    """The request: it tells of whom it is asked, and is known again where it is made twice."""
    status, release = obs.release.status, obs.release
    candidate = status.candidate or status.stable
    told = {
        "Tidegate-Release": f"{release.namespace}/{release.name}",
        "Tidegate-Gate": f"{gate.name} {gate.at}",
        "Tidegate-Candidate": candidate.hash if candidate else "",
        "Idempotency-Key": jobs.named(release.name, gate.name, release.uid, _key(status, known)),
    }
    lasts = gate.lasts.total_seconds() if gate.lasts else 0.0
    # Headers are told apart by no case, and none may speak for another release.
    ours = {name.lower() for name in told}
    theirs = {name: value for name, value in http.headers.items() if name.lower() not in ours}
    return Call(http.url, http.method, {**theirs, **told}, timeout=lasts)


def _answered(draft: Draft, gate: Gate, http: HttpGate, known: GateStatus) -> None:
    asked = draft.obs.asked.get(_key(draft.obs.release.status, known))
    if asked is None:
        return
    if asked.reply is None:
        _awaits(draft, gate, known, _under_way(http, made=asked.made), asked.since)
    elif wrong := amiss(http.expect, asked.reply):
        _ends(draft, gate, known, GateState.TIMED_OUT if asked.reply.late else GateState.FAILED, wrong)
    else:
        _passes(draft, known, f"answered {asked.reply.status} {excerpt(asked.reply.body)}".rstrip())


def _under_way(http: HttpGate, *, made: bool) -> str:
    what = "is under way" if made else "waits for its turn: so many of this release are under way as may be at once"
    return f"{http.method} {http.url} {what}"


def _awaits(draft: Draft, gate: Gate, known: GateStatus, message: str, since: datetime) -> bool:
    """Whether an attempt is waited for yet, and for what: since whoever is at work now could have heard of it.

    An operator that comes back after a long while has the time of one that was there: that nobody asked is no answer.
    """
    if gate.lasts and draft.now > since + gate.lasts + OVERDUE:
        _ends(draft, gate, known, GateState.TIMED_OUT, message)
        return False
    _put(draft, known, message=message)
    return True


def _run(obs: Observed, known: GateStatus) -> JobRun | None:
    return next((run for run in _runs(obs) if known.by == f"job/{run.name}"), None)


def _runs(obs: Observed) -> Sequence[JobRun]:
    return () if isinstance(obs.jobs, Unread) else obs.jobs


def _after(draft: Draft) -> bool:
    """The last release was promoted, and nothing has come since."""
    last, status = draft.status.last_release, draft.status
    promoted = last is not None and last.outcome is Outcome.PROMOTED and status.stable is not None
    return bool(promoted and status.candidate is None and last and status.stable and last.hash == status.stable.hash)


def _over(draft: Draft) -> bool:
    """Nobody's answer matters any more: the release goes back, or has ended; but what is asked after a promotion."""
    if draft.obs.release.leaving or draft.journal.outcome is not None:
        return True
    return draft.journal.stage is Stage.REST and not _after(draft)


def _put(draft: Draft, known: GateStatus, **changes: object) -> GateStatus:
    new = known.model_copy(update=changes)
    others = draft.status.gates
    draft.set(gates=tuple(new if other.name == known.name else other for other in others))
    return new


def _asked(draft: Draft, gate: Gate) -> GateStatus | None:
    """Have a gate be asked: what is known of it, until it has passed."""
    known = _known(draft, gate)
    if known is None:
        if gate.at is GateAt.AFTER_PROMOTION:
            return None
        # It came into the spec after the release had begun, and before this point.
        known = GateStatus(name=gate.name)
        draft.set(gates=(*draft.status.gates, known))
    step = draft.status.step.index if draft.status.step and gate.at is GateAt.BEFORE_STEP else None
    if known.step != step and gate.at is GateAt.BEFORE_STEP:
        known = _put(draft, known, **GateStatus(name=gate.name, step=step).model_dump(exclude={"name"}))
    if known.state is GateState.PASSED:
        return None
    if known.state is not GateState.PENDING:
        return known
    held = _held(draft)
    if held:
        return _put(draft, known, message=f"is not asked: held {held}")
    again = known.at + _pause(known.attempts) if known.at and known.attempts else draft.now
    if draft.now < again:
        draft.wake_at(again)
        return known
    return _begin(draft, gate, known)


def _held(draft: Draft) -> str:
    spec = draft.obs.release.spec
    if spec and spec.paused:
        return "by spec.paused"
    return "by a request" if draft.journal.paused else ""


def _pause(attempts: int) -> timedelta:
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(attempts - 1, 10)))


def _begin(draft: Draft, gate: Gate, known: GateStatus) -> GateStatus:
    attempt, name = known.attempts + 1, draft.obs.release.name
    changes: dict[str, object] = {"state": GateState.RUNNING, "attempts": attempt, "at": draft.now}
    if gate.job:
        job = jobs.named(name, gate.name, draft.obs.release.uid, _began(draft.status), known.step, attempt)
        known = _put(draft, known, **changes, by=f"job/{job}", message=f"Job {job} runs")
        _start(draft, gate, known)
        return known
    if gate.http:
        return _put(draft, known, **changes, by="http", message=_under_way(gate.http, made=True))
    way = f"kubectl tidegate approve {name} --gate {gate.name}"
    draft.event(Reason.GATE_WAITING, f"gate {gate.name} ({gate.at}) waits for approval: {way}")
    return _put(draft, known, **changes, message=f"waits for approval: {way}")


def _began(status: ReleaseStatus) -> object:
    """By which one release of a revision is told from the next, and one try of a batch."""
    last, journal = status.last_release, status.journal
    began = (journal.retreated_at or journal.started_at) if journal else None
    return began or (last.started_at if last else "")


def _start(draft: Draft, gate: Gate, known: GateStatus) -> None:
    release, name = draft.obs.release, known.by.removeprefix("job/")
    body = jobs.body(gate, release.name, name, _environment(draft, gate, known))
    draft.act(StartJob(name, body))


def _environment(draft: Draft, gate: Gate, known: GateStatus) -> dict[str, str]:
    """What a Job is told of the release."""
    status, release, service = draft.status, draft.obs.release, draft.obs.service
    backends = Backends.of(release.namespace, service.name, draft.obs.preview) if service else None
    candidate = status.candidate or status.stable
    told = {
        "RELEASE": release.name,
        "NAMESPACE": release.namespace,
        "GATE": gate.name,
        "AT": gate.at.value,
        "ATTEMPT": str(known.attempts),
        "STEP": str(status.step.index) if status.step else "",
        "WEIGHT": str(status.step.weight) if status.step else "",
        "CANDIDATE_HASH": candidate.hash if candidate else "",
        "CANDIDATE_REVISION": str(candidate.revision) if candidate else "",
        "STABLE_HASH": status.stable.hash if status.stable else "",
        "SERVICE": backends.service if backends else "",
        "CANARY_SERVICE": backends.canary if backends else "",
        "STABLE_SERVICE": backends.stable if backends else "",
        "PREVIEW_SERVICE": backends.preview or backends.canary if backends else "",
    }
    return {f"TIDEGATE_{name}": value for name, value in told.items()}


def _hear(draft: Draft, gate: Gate, known: GateStatus) -> None:
    """What a Job has come to."""
    unread, run, job = draft.obs.jobs, _run(draft.obs, known), known.by.removeprefix("job/")
    if isinstance(unread, Unread):
        _awaits(draft, gate, known, f"Job {job} cannot be read: {unread.why}", unread.since)
    elif run is None or not run.begun:
        why = f"cannot be begun: {run.message}" if run and run.message else "is being begun"
        if run is None or run.created is None or _awaits(draft, gate, known, f"Job {job} {why}", run.created):
            # By its name it is the same one that is begun, or once more.
            _start(draft, gate, known)
    elif run.passed:
        _passes(draft, known, run.message)
    elif run.ended:
        _ends(draft, gate, known, GateState.TIMED_OUT if run.late else GateState.FAILED, run.message)
    elif gate.lasts and run.created and draft.now > run.created + gate.lasts + OVERDUE:
        _ends(draft, gate, known, GateState.TIMED_OUT, f"Job {run.name} has not ended in time")
        draft.act(RemoveJob(run.name))
    else:
        _put(draft, known, message=f"Job {job} runs")


def _passes(draft: Draft, known: GateStatus, message: str, **more: object) -> None:
    _put(draft, known, state=GateState.PASSED, message=message, at=draft.now, **more)
    draft.event(Reason.GATE_PASSED, f"gate {known.name}: {message}".rstrip(": "))


def _ends(draft: Draft, gate: Gate, known: GateStatus, state: GateState, message: str) -> None:
    """An attempt came to nothing: another one follows, or that was the last."""
    message = message or "it gave no reason"
    if known.attempts <= gate.retries:
        tried = f"attempt {known.attempts} of {gate.retries + 1}: {message}"
        _put(draft, known, state=GateState.PENDING, message=tried, at=draft.now)
        draft.event(Reason.GATE_FAILED, f"gate {gate.name}: {tried}", "Warning")
        return
    ended = _put(draft, known, state=state, message=message, at=draft.now)
    if gate.at is GateAt.AFTER_PROMOTION:
        draft.event(Reason.GATE_FAILED, _told(gate, ended), "Warning")


def _told(gate: Gate, known: GateStatus) -> str:
    what = "timed out" if known.state is GateState.TIMED_OUT else "failed"
    return f"gate {gate.name} ({gate.at}) {what}: {known.message}"

"""Deep health: which pods are asked what, and what follows from their answers.

The operator asks every candidate pod on its own address. A pod has no more traffic given to its revision before it
has passed, and one that fails again and again turns the release back, unless stable's pods fail the same: a fault
that they share is not the candidate's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.api.conditions import Reason
from tidegate.api.health import CheckStatus, HealthCheck, HealthStatus
from tidegate.api.release import ReleaseSpec
from tidegate.api.releasestatus import Stage
from tidegate.core.asking import Call
from tidegate.core.draft import STEADY, Draft
from tidegate.core.observed import Deployment, Observed, Pod

ASKED = frozenset(
    {Stage.PREPARE, Stage.SCALE, Stage.SHIFT, Stage.BAKE, Stage.WIDEN, Stage.NARROW, Stage.RETURN, Stage.LIFT}
)
"""Stages in which the candidate has traffic, or is to have it."""
WITNESSES = 3
"""So many pods of stable at most are asked whether they share a fault."""
UNKNOWN_THERE = 404
"""Stable does not know what is asked, for it is older than the check: that says nothing."""


@dataclass(frozen=True)
class Ask:
    """A check of one pod."""

    pod: str
    uid: str
    check: HealthCheck
    call: Call


def unresolved(spec: ReleaseSpec | None, deployment: Deployment) -> str:
    """Which check names a port that no container of the template has; nothing where all are there."""
    for index, check in enumerate(spec.health.checks if spec else ()):
        port = check.http.port
        if isinstance(port, str) and port not in deployment.ports:
            has = f"it has {', '.join(deployment.ports)}" if deployment.ports else "it names none"
            return (
                f"spec.health.checks[{index}].http.port: {port!r}: no container of Deployment {deployment.name} names a"
                f" port so ({has}); name one of its ports, or give the number"
            )
    return ""


def wanted(obs: Observed) -> tuple[Ask, ...]:
    """What is to be asked now: of all candidate pods, and of some of stable's where a candidate pod fails."""
    found: list[Ask] = []
    for check in _checks(obs):
        pods = _candidates(obs)
        if any(_failures(obs, pod, check) for pod in pods):
            pods = [*pods, *_witnesses(obs)]
        found += [ask for pod in pods if (ask := _ask(pod, check))]
    return tuple(found)


def trouble(draft: Draft) -> tuple[Reason, str] | None:
    """A candidate pod that failed a check too often, which stable's pods pass."""
    obs = draft.obs
    for check in _checks(obs):
        draft.wake_in(STEADY)
        for pod in _candidates(obs):
            failures = _failures(obs, pod, check)
            if failures < check.failure_threshold:
                continue
            shared = _shared(obs, check)
            # Stable's pods have been asked since the first failure: one that hangs does not keep us.
            if shared is False or (shared is None and failures > check.failure_threshold):
                return Reason.HEALTH_CHECK_FAILED, _told(obs, pod, check)
    return None


def lacking(draft: Draft, pods: int = 0) -> str:
    """Which check has yet to be passed before the candidate may have more traffic; nothing where all are.

    By each of its pods that is ready, and by so many at least.
    """
    obs = draft.obs
    for check in _checks(obs):
        asked = _candidates(obs)
        passed = [pod for pod in asked if _passes(obs, pod, check)]
        most = max(pods, len(asked))
        if len(passed) < most:
            failing = next((pod for pod in asked if _failures(obs, pod, check)), None)
            share = "; pods of stable fail it too" if failing and _shared(obs, check) else ""
            why = f"; {_told(obs, failing, check)}{share}" if failing else ""
            return f"{len(passed)} of {most} pods have passed check {check.name}{why}"
    return ""


def show(draft: Draft) -> None:
    """What a reader is told of the checks: as long as there is a candidate."""
    obs, status, stage = draft.obs, draft.status, draft.journal.stage
    if status.candidate is None:
        draft.set(health=None)
    elif stage in ASKED:
        known = {check.name: check for check in status.health.checks} if status.health else {}
        told = [_shown(obs, check, known.get(check.name)) for check in _checks(obs)]
        draft.set(health=HealthStatus(checks=tuple(told)) if told else None)


def _shown(obs: Observed, check: HealthCheck, before: CheckStatus | None) -> CheckStatus:
    asked = _candidates(obs)
    if before and asked and not any((pod.name, check.name) in obs.checked for pod in asked):
        # Another operator has taken over, and has yet to hear of them.
        return before
    failures = [_told(obs, pod, check) for pod in asked if _failures(obs, pod, check)]
    last = failures[0] if failures else before.last_failure if before else ""
    passed = sum(_passes(obs, pod, check) for pod in asked)
    return CheckStatus(name=check.name, passed=passed, of=len(_of(obs, "candidate")), last_failure=last)


def _checks(obs: Observed) -> Sequence[HealthCheck]:
    spec, journal = obs.release.spec, obs.release.status.journal
    return spec.health.checks if spec and journal and journal.stage in ASKED else ()


def _of(obs: Observed, which: str) -> list[Pod]:
    known = getattr(obs.release.status, which)
    return [pod for pod in obs.pods if known and pod.hash == known.hash and not pod.leaving]


def _candidates(obs: Observed) -> list[Pod]:
    """Those that can be asked. What is not ready has no traffic, and core/health.py looks after it."""
    return [pod for pod in _of(obs, "candidate") if pod.ready and not pod.silent]


def _witnesses(obs: Observed) -> list[Pod]:
    return [pod for pod in _of(obs, "stable") if pod.ready and not pod.silent][:WITNESSES]


def _ask(pod: Pod, check: HealthCheck) -> Ask | None:
    http = check.http
    port = http.port if isinstance(http.port, int) else pod.ports.get(http.port)
    if port is None or not pod.address:
        return None
    host = f"[{pod.address}]" if ":" in pod.address else pod.address
    url = f"{http.scheme.lower()}://{host}:{port}{http.path}"
    call = Call(url, headers=http.headers, timeout=check.timeout.total_seconds(), anywhere=True)
    return Ask(pod.name, pod.uid, check, call)


def _failures(obs: Observed, pod: Pod, check: HealthCheck) -> int:
    known = obs.checked.get((pod.name, check.name))
    return known.failures if known else 0


def _passes(obs: Observed, pod: Pod, check: HealthCheck) -> bool:
    known = obs.checked.get((pod.name, check.name))
    return known is not None and not known.failures


def _shared(obs: Observed, check: HealthCheck) -> bool | None:
    """Whether most of stable's pods that were asked fail the check as well; None while that is not known."""
    asked = _witnesses(obs)
    known = [found for pod in asked if (found := obs.checked.get((pod.name, check.name)))]
    failing = sum(found.failures > 0 and found.status != UNKNOWN_THERE for found in known)
    if 2 * failing > len(asked):
        return True
    return None if 2 * (failing + len(asked) - len(known)) > len(asked) else False


def _told(obs: Observed, pod: Pod, check: HealthCheck) -> str:
    known = obs.checked[pod.name, check.name]
    return f"pod {pod.name}: check {check.name}: {known.failure}"

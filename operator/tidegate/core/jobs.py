"""Jobs of gates: what is written, and what is read of what became of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidegate.api.base import GROUP
from tidegate.api.gates import Gate
from tidegate.core.asking import excerpt
from tidegate.core.gate import RELEASE

GATE = f"{GROUP}/gate"
"""The label that tells of which gate a Job and its pods are."""
JOB_NAME = "batch.kubernetes.io/job-name"
"""The label that the Job controller puts on its pods."""
KEPT_FOR = timedelta(days=1)
"""How long a Job that has ended stays, where no other release comes sooner: somebody may want to read its log."""
LONGEST_NAME = 63
OUTPUT = 1024
"""Characters of what a Job said at its end that are kept."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class JobRun:
    """A Job of a gate, as it is seen."""

    name: str
    begun: bool = True
    """It is there. Else it was to be, and the message says why it is not."""
    ended: bool = False
    passed: bool = False
    late: bool = False
    """It took longer than it may."""
    message: str = ""
    """What it said at its end, or why there is none."""
    created: datetime | None = None
    """When it was begun; of one that is not there, when that was first tried."""


@dataclass(frozen=True)
class Unread:
    """Nobody knows what became of Jobs."""

    since: datetime
    why: str


def named(release: str, gate: str, *of: object) -> str:
    """The one name that a Job of an attempt can have: whoever begins it again finds it there."""
    digest = hashlib.sha256("/".join(map(str, (release, gate, *of))).encode()).hexdigest()[:10]
    words = f"{release}-{gate}".replace(".", "-")[: LONGEST_NAME - len(digest) - 1].rstrip("-")
    return f"{words}-{digest}"


def body(gate: Gate, release: str, job: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """A Job that is told whom it is to judge. Without an owner yet."""
    if gate.job is None:
        raise ValueError(f"gate {gate.name} is none of a Job")
    labels = {RELEASE: release, GATE: gate.name}
    meta, spec = gate.job.template.get("metadata") or {}, gate.job.template["spec"]
    pod = {
        "restartPolicy": "Never",
        **spec,
        **{
            kind: [_told(container, environment) for container in spec[kind]]
            for kind in ("initContainers", "containers")
            if spec.get(kind)
        },
    }
    return {
        "metadata": {"name": job, "labels": labels},
        "spec": {
            "backoffLimit": gate.job.backoff_limit,
            "activeDeadlineSeconds": max(1, round(gate.lasts.total_seconds())) if gate.lasts else None,
            "ttlSecondsAfterFinished": round(KEPT_FOR.total_seconds()),
            "template": {"metadata": {**meta, "labels": {**(meta.get("labels") or {}), **labels}}, "spec": pod},
        },
    }


def _told(container: Json, environment: Mapping[str, str]) -> dict[str, Any]:
    """Ours come first, so that what follows may be made of them, and be something else."""
    ours = [{"name": name, "value": value} for name, value in environment.items()]
    # Where it writes no message of its own, the end of its log is one: nobody needs the right to read logs.
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    return {**policy, **container, "env": [*ours, *(container.get("env") or ())]}


def read(obj: Json, pods: Sequence[Json] = ()) -> JobRun:
    """A batch/v1 Job, with its pods where it has ended."""
    meta, status = obj["metadata"], obj.get("status") or {}
    told = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    failed, complete = told.get("Failed"), told.get("Complete")
    said = excerpt(_said(pods), OUTPUT)
    why = ": ".join(text for text in ((failed or {}).get("reason"), (failed or {}).get("message")) if text)
    return JobRun(
        name=meta["name"],
        ended=bool(failed or complete),
        passed=bool(complete),
        late=(failed or {}).get("reason") == "DeadlineExceeded",
        message=said or why,
        created=datetime.fromisoformat(meta["creationTimestamp"]) if meta.get("creationTimestamp") else None,
    )


def _said(pods: Sequence[Json]) -> str:
    """What the last pod's container said at its end: the one that failed, where one did."""
    ends = [
        (pod["metadata"].get("creationTimestamp", ""), end.get("exitCode", 0) != 0, status["name"], end)
        for pod in pods
        for status in _statuses(pod)
        if (end := status.get("state", {}).get("terminated"))
    ]
    if not ends:
        return ""
    _, failed, name, end = max(ends, key=lambda one: one[:2])
    message = str(end.get("message", "")).strip()
    code = f"container {name} exited with code {end.get('exitCode')}" if failed else ""
    return ": ".join(text for text in (code, message) if text)


def _statuses(pod: Json) -> Iterable[Json]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]

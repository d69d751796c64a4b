"""Kubernetes objects as the core sees them: JSON in, values out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tidegate.api.base import MOST_TOLD
from tidegate.api.conditions import Reason
from tidegate.core import draining
from tidegate.core.gate import CEILING, DEADLINE_WISH, FLOOR, RELEASE, Bounds, pods
from tidegate.core.hold import holder
from tidegate.core.likeness import ports
from tidegate.core.observed import Deployment, Pod, ReplicaSet, Service
from tidegate.core.scraping import exposed

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
DIGEST = "digest"
"""Of a pod template that is not kept as a whole: among its fields, in what is kept."""

_IMAGE = {"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
_UNSEEN = {"ContainerStatusUnknown", "Unknown"}
"""Ends that nobody saw: the node or its runtime was away. Their exit code is made up."""
_ENDED = {"Failed", "Succeeded"}
"""Phases of a pod that never runs again. Its ReplicaSet has another; its object stays for a while."""
RESTARTS = 2
"""A container that exited this often does not run, even before the kubelet calls it a crash loop."""

Json = Mapping[str, Any]


def deployment(obj: Json) -> Deployment:
    """An apps/v1 Deployment."""
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status", {})
    replicas = int(spec.get("replicas", 1))
    progressing = _conditions(status).get("Progressing", {})
    return Deployment(
        name=meta["name"],
        uid=meta["uid"],
        replicas=replicas,
        settled=int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 1)),
        revision=int(_annotations(obj).get(REVISION, 0)),
        strategy=str(spec.get("strategy", {}).get("type", "RollingUpdate")),
        surge=pods(str((spec.get("strategy", {}).get("rollingUpdate") or {}).get("maxSurge", "25%")), replicas),
        paused=bool(spec.get("paused", False)),
        deadline=spec.get("progressDeadlineSeconds"),
        min_ready_seconds=int(spec.get("minReadySeconds", 0)),
        timed_out=progressing.get("reason") == "ProgressDeadlineExceeded",
        managed_by=str(_annotations(obj).get(RELEASE, "")),
        deadline_note=str(_annotations(obj).get(DEADLINE_WISH, "")),
        images={c["name"]: str(c.get("image", "")) for c in _containers(spec)},
        ports=_ports(spec.get("template", {}).get("spec", {})),
        advice=draining.advice(spec.get("template", {}).get("spec", {})),
        grace=draining.grace(spec.get("template", {}).get("spec", {})),
        template=str(spec.get("template", {}).get(DIGEST, "")),
    )


def replicaset(obj: Json) -> ReplicaSet:
    """An apps/v1 ReplicaSet of a Deployment."""
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status", {})
    annotations = _annotations(obj)
    return ReplicaSet(
        name=meta["name"],
        hash=str(meta.get("labels", {}).get(HASH, "")),
        revision=int(annotations.get(REVISION, 0)),
        images=tuple(c.get("image", "") for c in _containers(spec)),
        replicas=int(spec.get("replicas", 1)),
        current=int(status.get("replicas", 0)),
        desired=int(annotations[DESIRED]) if annotations.get(DESIRED, "").isdecimal() else None,
        ready=int(status.get("readyReplicas", 0)),
        bounds=Bounds(floor=annotations.get(FLOOR), ceiling=annotations.get(CEILING)),
        managed_by=str(annotations.get(RELEASE, "")),
        refused=str(_conditions(status).get("ReplicaFailure", {}).get("message", "")),
        template=str(spec.get("template", {}).get(DIGEST, "")),
    )


def managed(obj: Json) -> bool:
    """A release manages the Deployment, or the one that the ReplicaSet was made for."""
    return RELEASE in _annotations(obj)


def unhashed(template: Json) -> Json:
    """A pod template without the hash that the Deployment controller put there: as the Deployment has it."""
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def digest(template: Json) -> str:
    """Of a pod template: the same for a Deployment and the ReplicaSet that was made from it."""
    text = json.dumps(unhashed(template), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _containers(spec: Json) -> Sequence[Json]:
    found: Sequence[Json] = spec.get("template", {}).get("spec", {}).get("containers", ())
    return found


def _ports(spec: Json) -> Mapping[str, int]:
    """Named ports of a pod's containers. Containers that start first may stay beside the others, and have some."""
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    named = (port for container in containers for port in container.get("ports") or ())
    return {port["name"]: int(port["containerPort"]) for port in named if port.get("name")}


def pod(obj: Json) -> Pod:
    """A v1 Pod, with what its kubelet last said of it."""
    meta, status = obj["metadata"], obj.get("status", {})
    told = _conditions(status)
    ready = told.get("Ready", {})
    ended, disrupted = status.get("phase") in _ENDED, told.get("DisruptionTarget", {}).get("status") == "True"
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    reason, message = _trouble(containers)
    starts = [c.get("state", {}).get("running", {}).get("startedAt") for c in status.get("containerStatuses", ())]
    running = [datetime.fromisoformat(start) for start in starts if start]
    return Pod(
        name=meta["name"],
        hash=str(meta.get("labels", {}).get(HASH, "")),
        ready=ready.get("status") == "True",
        running_since=max(running) if running and len(running) == len(starts) else None,
        ready_since=datetime.fromisoformat(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else None,
        created=datetime.fromisoformat(meta["creationTimestamp"]) if "creationTimestamp" in meta else None,
        leaving="deletionTimestamp" in meta or ended or disrupted,
        silent=_silent(told),
        waits=_waits(told, containers),
        # Whoever was evicted for the good of others carries the mark of it: only excess of its own has none.
        excess=str(status.get("message", "")) if status.get("reason") == "Evicted" and not disrupted else "",
        trouble=reason,
        message=message,
        uid=str(meta.get("uid", "")),
        address=str(status.get("podIP", "")),
        ports=_ports(obj.get("spec", {})),
        exposed=exposed(obj),
    )


def _conditions(status: Json) -> Mapping[str, Json]:
    return {condition["type"]: condition for condition in status.get("conditions") or ()}


def _silent(told: Mapping[str, Json]) -> bool:
    """Ready is Unknown; or False while the kubelet's last word is that all containers are ready.

    That is how the node controller marks the pods of a node that it hears nothing of. A readiness gate that is not
    met looks like it, but for the reason.
    """
    ready, containers = told.get("Ready", {}), told.get("ContainersReady", {})
    taken = ready.get("status") == "False" and ready.get("reason") != "ReadinessGatesNotReady"
    return ready.get("status") == "Unknown" or (taken and containers.get("status") == "True")


def _waits(told: Mapping[str, Json], containers: Iterable[Json]) -> str:
    """For a place to run, or for what its containers need before they start."""
    scheduled = told.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"{str(scheduled.get('reason', '')).lower()}: {scheduled.get('message', '')}".strip(": ")
    waiting = [container["state"]["waiting"] for container in containers if "waiting" in container.get("state", {})]
    return ": ".join(text for text in (waiting[0].get("reason"), waiting[0].get("message")) if text) if waiting else ""


def _trouble(containers: Iterable[Json]) -> tuple[Reason | None, str]:
    for container in containers:
        waiting = container.get("state", {}).get("waiting", {})
        last = container.get("lastState", {}).get("terminated") or container.get("state", {}).get("terminated") or {}
        name, why = container.get("name", "?"), str(waiting.get("reason", ""))
        told = f"container {name}: {why}: {waiting.get('message', '')}".rstrip(": ")
        if why in _IMAGE:
            return Reason.IMAGE_ERROR, told
        if why in _CONFIG:
            return Reason.CONFIG_ERROR, told
        crashed = last.get("exitCode", 0) != 0 and last.get("reason") not in _UNSEEN
        if crashed and (why == "CrashLoopBackOff" or int(container.get("restartCount", 0)) >= RESTARTS):
            return (
                Reason.CRASH_LOOP,
                f"container {name} exits with code {last['exitCode']} again and again"
                f" ({container.get('restartCount', 0)} restarts, {last.get('reason', 'Error')})",
            )
    return None, ""


def selects(service: Json, labels: Mapping[str, str]) -> bool:
    """A Service selects pods with these labels. One in mid-release is narrowed by a hash, which does not count."""
    selector = {k: v for k, v in (service.get("spec", {}).get("selector") or {}).items() if k != HASH}
    return bool(selector) and selector.items() <= labels.items()


def service(obj: Json, slices: Iterable[Json]) -> Service:
    """A v1 Service with the pods that are its ready endpoints."""
    name = obj["metadata"]["name"]
    ready = [
        endpoint
        for slice_ in slices
        if slice_["metadata"].get("labels", {}).get("kubernetes.io/service-name") == name
        and _of(slice_, obj["metadata"].get("uid"))
        for endpoint in slice_.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready") and endpoint.get("targetRef", {}).get("kind") == "Pod"
    ]
    return Service(
        name=name,
        hash=(obj.get("spec", {}).get("selector") or {}).get(HASH),
        endpoints=frozenset(endpoint["targetRef"]["name"] for endpoint in ready),
        addresses=frozenset(address for endpoint in ready for address in endpoint["addresses"]),
        hold=holder(obj),
        ports=ports(obj),
    )


def _of(slice_: Json, uid: str | None) -> bool:
    """Not of a Service of the same name that was deleted: its slices stay for a while, and nobody keeps them."""
    owners = {ref["uid"] for ref in slice_["metadata"].get("ownerReferences", ()) if ref["kind"] == "Service"}
    return not owners or uid in owners


def owned_by(obj: Json, uid: str) -> bool:
    """The object's controller is the one with this uid."""
    return any(
        owner.get("uid") == uid and owner.get("controller") for owner in obj["metadata"].get("ownerReferences", ())
    )


def selector_text(selector: Json) -> str:
    """A LabelSelector as the query that the API takes."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or ():
        key, values = term["key"], ",".join(term.get("values", ()))
        match term["operator"]:
            case "In" | "NotIn":
                parts.append(f"{key} {term['operator'].lower()} ({values})")
            case "Exists":
                parts.append(key)
            case _:
                parts.append(f"!{key}")
    return ",".join(parts)


def mistakes(error_lines: Iterable[tuple[tuple[str | int, ...], object, str]]) -> str:
    """Validation errors as ``spec.steps[1].weight: 120: …``: field, value, and what would be right."""
    told = []
    for path, value, message in error_lines:
        field = re.sub(r"\.\[", "[", ".".join(f"[{part}]" if isinstance(part, int) else str(part) for part in path))
        plain = message.removeprefix("Value error, ")
        shown = repr(value)
        shown = shown if len(shown) <= MOST_TOLD else f"{shown[:MOST_TOLD]}…"
        told.append(plain if isinstance(value, dict) else f"{field}: {shown}: {plain}")
    return "; ".join(told)


def _annotations(obj: Json) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}

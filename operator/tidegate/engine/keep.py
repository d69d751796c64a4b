"""What is kept of an object that a watch shows.

A cluster holds many more Deployments and ReplicaSets than are ever released. Of these only the fields stay that
``core/reading.py`` and its like ask for; the simulation runs on objects that refuse to be asked for any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from tidegate.api.base import GROUP
from tidegate.core.reading import DESIRED, DIGEST, HASH, REVISION, digest, managed
from tidegate.ports.cluster import DEPLOYMENTS, POLICIES, POLICY_BINDINGS, REPLICASETS, WEBHOOKS, Kind, Object

Fields: TypeAlias = "Mapping[str, Fields]"
"""Field by field; nothing below a field is all of it. Of a list, the fields of each item. ``x/`` is all of group x."""

WHOLE: Fields = {}
_META: Fields = {
    "name": WHOLE,
    "namespace": WHOLE,
    "uid": WHOLE,
    "resourceVersion": WHOLE,
    "generation": WHOLE,
    "creationTimestamp": WHOLE,
    "deletionTimestamp": WHOLE,
    "finalizers": WHOLE,
    "ownerReferences": WHOLE,
    "annotations": {f"{GROUP}/": WHOLE, REVISION: WHOLE, DESIRED: WHOLE},
}
_CONDITIONS: Fields = {"type": WHOLE, "status": WHOLE, "reason": WHOLE, "message": WHOLE}
_IMAGES: Fields = {"containers": {"name": WHOLE, "image": WHOLE}}
_PORTS: Fields = {"name": WHOLE, "containerPort": WHOLE}
_HOOK: Fields = {"preStop": {"sleep": WHOLE}}
_PODS: Fields = {
    "containers": {"name": WHOLE, "image": WHOLE, "ports": _PORTS, "lifecycle": _HOOK},
    "initContainers": {"ports": _PORTS},
    "terminationGracePeriodSeconds": WHOLE,
}
KEPT: Mapping[Kind, Fields] = {
    DEPLOYMENTS: {
        "metadata": _META,
        "spec": {
            "replicas": WHOLE,
            "selector": WHOLE,
            "strategy": {"type": WHOLE, "rollingUpdate": {"maxSurge": WHOLE}},
            "paused": WHOLE,
            "progressDeadlineSeconds": WHOLE,
            "minReadySeconds": WHOLE,
            "template": {"metadata": {"labels": WHOLE}, "spec": _PODS, DIGEST: WHOLE},
        },
        "status": {"observedGeneration": WHOLE, "conditions": _CONDITIONS},
    },
    REPLICASETS: {
        "metadata": {**_META, "labels": {HASH: WHOLE}},
        "spec": {"replicas": WHOLE, "template": {"spec": _IMAGES, DIGEST: WHOLE}},
        "status": {"replicas": WHOLE, "readyReplicas": WHOLE, "conditions": _CONDITIONS},
    },
}
"""Of other kinds all is kept but what only other tools read."""
FEW = (POLICIES, POLICY_BINDINGS, WEBHOOKS)
"""Kinds of which there are few, and every decision looks at them: to parse them each time would cost more."""
_OTHERS = "kubectl.kubernetes.io/last-applied-configuration"


def slim(kind: Kind, obj: Object) -> Object:
    """An object without what nobody here reads: it is most of its size. Of what is managed a digest tells the pod
    template: to make one of everything would take longer than all else here.
    """
    if kind in KEPT:
        kept: Object = only(obj, KEPT[kind])
        if managed(obj) and "template" in kept.get("spec", {}):
            kept["spec"]["template"][DIGEST] = digest(obj["spec"]["template"])
        return kept
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if _OTHERS in (meta.get("annotations") or {}):
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if key != _OTHERS}
    return {**obj, "metadata": meta}


def only(value: Any, fields: Fields) -> Any:
    """A value with these fields of it."""
    if not fields:
        return value
    if isinstance(value, list):
        return [only(item, fields) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: only(inner, below) for key, inner in value.items() if (below := field(fields, key)) is not None}


def field(fields: Fields, key: str) -> Fields | None:
    """What is kept below a key; None where it is not kept."""
    found = fields.get(key)
    return found if found is not None else fields.get(f"{key.partition('/')[0]}/")

"""Whether pods have a way to drain: to go on answering until the last router has heard that they go.

A pod is told to end at the same time as everybody is told to send it no more requests. One that ends sooner than they
hear of it fails those that come meanwhile. That is advice: some programs wait by themselves, and nobody can see it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tidegate.api.release import ReleaseSpec

SLEEP = 5
"""Seconds that are advised."""
GRACE = 30
"""terminationGracePeriodSeconds where a template says nothing, by the API server's own default."""

Json = Mapping[str, Any]


def advice(spec: Json) -> str:
    """What a pod's spec lacks to drain; nothing where it seems to have a way."""
    containers = spec.get("containers") or ()
    # Ports need not be declared: where none is, any container may be the one that is sent requests.
    serving = [container for container in containers if container.get("ports")] or list(containers)
    if not serving:
        return ""
    hooks = [hook for container in serving if (hook := (container.get("lifecycle") or {}).get("preStop")) is not None]
    names = ", ".join(str(container.get("name", "?")) for container in serving)
    if not hooks:
        return (
            "pods have no way to drain: requests that come while one ends may fail; add"
            f" lifecycle.preStop.sleep.seconds: {SLEEP} to container {names}, unless its program itself waits"
        )
    sleeps = max(int((hook.get("sleep") or {}).get("seconds", 0)) for hook in hooks)
    if grace(spec) <= sleeps:
        return (
            f"pods are killed before they have drained: terminationGracePeriodSeconds is {grace(spec)}, and"
            f" lifecycle.preStop.sleep.seconds of container {names} is {sleeps}; set the former to {sleeps + GRACE}"
        )
    return ""


def grace(spec: Json) -> int:
    """Seconds from when a pod is told to end until it is killed, with whatever lasts longer."""
    given = spec.get("terminationGracePeriodSeconds")
    return GRACE if given is None else int(given)


def cut_short(spec: ReleaseSpec, seconds: int) -> str:
    """What is cut although ``drain`` would let it end: pods whose place others take are told to go at once."""
    if all(step.stable == 100 for step in spec.plan()) or spec.drain.total_seconds() <= seconds:
        return ""
    wanted = math.ceil(spec.drain.total_seconds())
    return (
        f"the pods of a batch go without spec.drain, which is {wanted} s: what lasts is cut after"
        f" terminationGracePeriodSeconds, which is {seconds}; set it to {wanted}"
    )

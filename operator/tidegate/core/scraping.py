"""Where a pod exposes its counters: what its annotations say, else a port that is named so, else its first one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidegate.api.addresses import forbidden, literal

PORT, PATH, SCHEME = "prometheus.io/port", "prometheus.io/path", "prometheus.io/scheme"
"""Annotations, as everybody has them who lets Prometheus find pods."""
_NAMED = ("metrics", "http-metrics")
_NOWHERE = f"no container port is declared: declare one, or say where by the annotation {PORT}"

_LONGEST_PATH = 256
"""Characters: it is in messages."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Exposed:
    """Where, or why that is not known."""

    url: str = ""
    why: str = ""


@dataclass(frozen=True)
class Target:
    """A pod that is to be read."""

    name: str
    uid: str
    arm: str
    """Its revision: of each so many pods are read."""
    exposed: Exposed
    created: datetime | None = None
    began: datetime | None = None
    """When its last container started."""
    due: bool = True
    """It serves: that it cannot be read is worth telling."""


def exposed(pod: Json) -> Exposed:
    """A v1 Pod's. Nothing of it leads anywhere but to the pod's own address."""
    notes, address = pod["metadata"].get("annotations") or {}, literal(str(pod.get("status", {}).get("podIP", "")))
    if address is None:
        return Exposed(why="it has no address yet")
    if kind := forbidden(address):
        return Exposed(why=f"its address {address} is {kind}")
    scheme, path = str(notes.get(SCHEME) or "http").lower(), str(notes.get(PATH) or "/metrics")
    if scheme not in ("http", "https"):
        return Exposed(why=f"annotation {SCHEME}: {scheme[:16]!r}: write http or https")
    if len(path) > _LONGEST_PATH:
        return Exposed(why=f"annotation {PATH}: {path[:16]!r}…: write no more than {_LONGEST_PATH} characters")
    said = notes.get(PORT)
    if said is not None and not (said.isdecimal() and said.isascii() and len(said) < 6 and 0 < int(said) < 65536):
        return Exposed(why=f"annotation {PORT}: {said[:16]!r}: write the number of a port")
    port = int(said) if said else _port(pod.get("spec", {}))
    if port is None:
        return Exposed(why=_NOWHERE)
    host = f"[{address}]" if address.version == 6 else str(address)
    return Exposed(f"{scheme}://{host}:{port}/{path.removeprefix('/')}")


def _port(spec: Json) -> int | None:
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    declared = [port for container in containers for port in container.get("ports") or ()]
    ports = [port for port in declared if port.get("protocol", "TCP") == "TCP"]
    named = [port for name in _NAMED for port in ports if port.get("name") == name]
    first = next(iter([*named, *ports]), None)
    return int(first["containerPort"]) if first else None

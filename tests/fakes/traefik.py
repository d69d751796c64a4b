"""Traefik's other routes: where requests of an Ingress or a TraefikService go, and what its API lists of them.

As measured with Traefik 3.7.15: a canary without endpoints is none, and a TraefikService that lists a Service without
endpoints is gone altogether.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidegate.core import ingresses, traefikservices
from tidegate.ports.cluster import INGRESSES, TRAEFIK_SERVICES

Json = dict[str, Any]
Endpoints = Mapping[str, frozenset[str]]
"""Addresses, or pods, by Service."""
NOBODY = "(nobody)"
"""Where requests go that no Service has."""


def shares(
    name: str, obj: Json, served: Mapping[str, Json], behind: Endpoints
) -> Iterator[tuple[str, dict[str, float]]]:
    """Which share of its requests goes to which Service."""
    if obj["kind"] == INGRESSES.name and not ingresses.is_canary(obj):
        canary = _canary(obj, served, behind)
        for index, path in enumerate(_paths(obj)):
            service = path["backend"]["service"]["name"]
            share = canary[1] / 100 if canary and f"{service}-canary" == canary[0] else 0.0
            found = {service: 1 - share, f"{service}-canary": share}
            yield f"{name}[{index}]", {service: part for service, part in found.items() if part}
    elif obj["kind"] == TRAEFIK_SERVICES.name:
        entries = traefikservices.entries(obj)
        whole = sum(entry.get("weight", 1) for entry in entries)
        if not all(behind.get(entry["name"]) for entry in entries):
            yield name, {NOBODY: 1.0}
        else:
            yield name, {e["name"]: e.get("weight", 1) / whole for e in entries if e.get("weight", 1)}


def listing(served: Mapping[str, Json], behind: Endpoints) -> list[Json]:
    """/api/http/services."""
    return [
        service
        for obj in served.values()
        for service in (_of_ingress(obj, served, behind) if obj["kind"] == INGRESSES.name else _of_list(obj, behind))
    ]


def _of_ingress(obj: Json, served: Mapping[str, Json], behind: Endpoints) -> Iterator[Json]:
    if ingresses.is_canary(obj):
        return
    canary = _canary(obj, served, behind)
    for path in _paths(obj):
        service = path["backend"]["service"]["name"]
        name = f"shop-{obj['metadata']['name']}-{service}-{ingresses.port_of(path['backend'])}"
        yield _balanced(f"{name}@kubernetesingressnginx", behind.get(service, frozenset()))
        if canary and canary[0] == f"{service}-canary":
            yield _balanced(f"{name}-canary@kubernetesingressnginx", behind[canary[0]])
            two = [{"name": name, "weight": 100 - canary[1]}, {"name": f"{name}-canary", "weight": canary[1]}]
            yield {"name": f"{name}-wrr@kubernetesingressnginx", "weighted": {"services": two}}


def _of_list(obj: Json, behind: Endpoints) -> Iterator[Json]:
    if obj["kind"] != TRAEFIK_SERVICES.name:
        return
    entries = traefikservices.entries(obj)
    names = [f"shop-{entry['name']}-{entry['port']}" for entry in entries]
    for entry, name in zip(entries, names, strict=True):
        if behind.get(entry["name"]):
            yield _balanced(f"{name}@kubernetescrd", behind[entry["name"]])
    if all(behind.get(entry["name"]) for entry in entries):
        children = [
            {"name": name, "weight": entry.get("weight", 1)} for entry, name in zip(entries, names, strict=True)
        ]
        yield {"name": f"shop-{obj['metadata']['name']}@kubernetescrd", "weighted": {"services": children}}


def _balanced(name: str, addresses: frozenset[str]) -> Json:
    return {"name": name, "loadBalancer": {"servers": [{"url": f"http://{one}:8080"} for one in sorted(addresses)]}}


def _canary(obj: Json, served: Mapping[str, Json], behind: Endpoints) -> tuple[str, int] | None:
    """The Service of its canary, and the weight; none where nobody is behind it."""
    for other in served.values():
        if other["kind"] == INGRESSES.name and ingresses.is_canary(other):
            weight = int(other["metadata"]["annotations"][ingresses.WEIGHT])
            for path in _paths(other):
                service = path["backend"]["service"]["name"]
                if ingresses.places(other) & ingresses.places(obj) and behind.get(service):
                    return service, weight
    return None


def _paths(obj: Json) -> list[Json]:
    return [path for rule in obj["spec"].get("rules") or () for path in rule["http"]["paths"]]

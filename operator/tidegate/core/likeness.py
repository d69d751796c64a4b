"""What the two Services of a release have from the user's, beside whom they select. JSON in and out.

Routers go by a Service's ports, and by annotations on it: how to talk to its pods, by which policy. Ports are kept in
step all the time. Annotations are copied as a Service is made: controllers write to them too, each to its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from tidegate.api.base import GROUP

Json = dict[str, Any]
Ports: TypeAlias = tuple[tuple[tuple[str, Any], ...], ...]
"""Of each port, its fields."""

PORT = ("name", "protocol", "appProtocol", "port", "targetPort")
"""Fields of a port that are not the API server's to assign."""
SETTINGS = (
    "sessionAffinity",
    "sessionAffinityConfig",
    "internalTrafficPolicy",
    "trafficDistribution",
    "ipFamilyPolicy",
)
RECORDS = (
    f"{GROUP}/",
    "kubectl.kubernetes.io/",
    "helm.sh/",
    "meta.helm.sh/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "config.kubernetes.io/",
    "cloud.google.com/neg-status",
)
"""How annotations begin that somebody keeps of what is his: on a copy they would be taken for the same, and pruned."""
PUBLISHING = ("external-dns.alpha.kubernetes.io/", "prometheus.io/", "tailscale.com/", "getambassador.io/")
"""And those by which a Service is made known elsewhere: of a copy that would be once more, or in place of the first."""


def ports(service: Mapping[str, Any]) -> Ports:
    """Its ports, to be compared."""
    return tuple(tuple(port.items()) for port in listed(service))


def listed(service: Mapping[str, Any]) -> list[Json]:
    """Its ports, for a copy."""
    return [{key: port[key] for key in PORT if key in port} for port in service["spec"].get("ports") or ()]


def spec(service: Mapping[str, Any]) -> Json:
    """Its spec, for a copy that is yet to be made; without whom it selects."""
    theirs = service["spec"]
    headless = {"clusterIP": "None"} if theirs.get("clusterIP") == "None" else {}
    return {"ports": listed(service), **{key: theirs[key] for key in SETTINGS if key in theirs}, **headless}


def notes(service: Mapping[str, Any]) -> dict[str, str]:
    """Its annotations, for a copy."""
    theirs = service["metadata"].get("annotations") or {}
    return {key: value for key, value in theirs.items() if not key.startswith((*RECORDS, *PUBLISHING))}

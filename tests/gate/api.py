"""Requests to the API server itself: many, quickly, and as whoever one likes."""

from __future__ import annotations

from tests.cluster import api
from tests.cluster.api import Json
from tests.cluster.interface import Cluster

PATHS = {
    "Service": "api/v1",
    "Deployment": "apis/apps/v1",
    "ReplicaSet": "apis/apps/v1",
    "HTTPRoute": "apis/gateway.networking.k8s.io/v1",
    "GRPCRoute": "apis/gateway.networking.k8s.io/v1",
    "TraefikService": "apis/traefik.io/v1alpha1",
}


class Api(api.Api):
    """The API server, for an administrator who may speak as another."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.kubeconfig.read_text())

    def write(
        self,
        verb: str,
        kind: str,
        namespace: str,
        body: Json,
        *,
        name: str = "",
        as_user: str = "",
        version: str = "",
        subresource: str = "",
    ) -> Json:
        """What POST, PUT or PATCH (a merge patch) of an object would store. Nothing is."""
        path = PATHS[kind] if not version else f"{PATHS[kind].rpartition('/')[0]}/{version}"
        parts = (path, "namespaces", namespace, f"{kind.lower()}s", name, subresource)
        media = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        # Impersonation is of a user and its groups; this group may do everything.
        user = {"Impersonate-User": as_user, "Impersonate-Group": "system:masters"} if as_user else {}
        headers = {"Content-Type": media, **user}
        return self.ask(
            verb, "/".join(part for part in parts if part), params={"dryRun": "All"}, headers=headers, json=body
        )

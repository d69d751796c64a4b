"""Requests to the API server itself: many, quickly, and as whoever one likes."""

from __future__ import annotations

from dataclasses import replace

from tests.cluster import api
from tests.cluster.api import Json
from tests.cluster.interface import Cluster


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
        of = self.resource(kind)
        if version:
            of = replace(of, path=f"{of.path.rpartition('/')[0]}/{version}")
        path = "/".join(part for part in (of.url(namespace, name), subresource) if part)
        media = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        # Impersonation is of a user and its groups; this group may do everything.
        user = {"Impersonate-User": as_user, "Impersonate-Group": "system:masters"} if as_user else {}
        headers = {"Content-Type": media, **user}
        return self.ask(verb, path, params={"dryRun": "All"}, headers=headers, json=body)

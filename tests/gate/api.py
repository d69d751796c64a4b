"""Requests to the API server itself: many, quickly, and as whoever one likes."""

from __future__ import annotations

import base64
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import requests
import yaml

from tests.cluster.interface import Cluster

Json = dict[str, Any]
PATHS = {
    "Service": "api/v1",
    "Deployment": "apis/apps/v1",
    "ReplicaSet": "apis/apps/v1",
    "HTTPRoute": "apis/gateway.networking.k8s.io/v1",
    "GRPCRoute": "apis/gateway.networking.k8s.io/v1",
    "TraefikService": "apis/traefik.io/v1alpha1",
}
TIMEOUT = 30


class Refused(Exception):
    """The API server's own words."""


class Api:
    """The API server, for an administrator who may speak as another."""

    def __init__(self, cluster: Cluster) -> None:
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        self._host = config["clusters"][0]["cluster"]["server"]
        self._folder = TemporaryDirectory()
        files = {
            "ca": config["clusters"][0]["cluster"]["certificate-authority-data"],
            "certificate": config["users"][0]["user"]["client-certificate-data"],
            "key": config["users"][0]["user"]["client-key-data"],
        }
        paths = {name: Path(self._folder.name) / name for name in files}
        for name, data in files.items():
            paths[name].touch(mode=0o600)
            paths[name].write_bytes(base64.b64decode(data))
        self._session = requests.Session()
        # No proxy of the machine's leads into the cluster's network.
        self._session.trust_env = False
        self._session.verify, self._session.cert = str(paths["ca"]), (str(paths["certificate"]), str(paths["key"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._folder.cleanup()

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
        url = "/".join(part for part in (path, "namespaces", namespace, f"{kind.lower()}s", name, subresource) if part)
        media = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        # Impersonation is of a user and its groups; this group may do everything.
        user = {"Impersonate-User": as_user, "Impersonate-Group": "system:masters"} if as_user else {}
        answer = self._session.request(
            verb,
            f"{self._host}/{url}",
            params={"dryRun": "All"},
            headers={"Content-Type": media, **user},
            json=body,
            timeout=TIMEOUT,
        )
        said: Json = answer.json()
        if not answer.ok:
            raise Refused(f"{answer.status_code}: {said.get('message')}")
        return said

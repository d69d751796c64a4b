"""A cluster's API server, over connections that last: kubectl takes a tenth of a second of a core for every look."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import requests
import yaml
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

Json = dict[str, Any]
TIMEOUT = 30
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_AGAIN = Retry(3, backoff_factor=0.1, allowed_methods={"GET"})
"""For connections that the server closed while they rested."""


class Refused(Exception):
    """The API server's own words."""


@dataclass(frozen=True)
class Resource:
    """A sort of objects, by the version of its API that the server prefers."""

    path: str
    """As "apis/apps/v1"."""
    plural: str
    kind: str
    namespaced: bool

    def url(self, namespace: str, name: str = "") -> str:
        """Where one of them is, or all of a namespace or of the cluster."""
        space = ("namespaces", namespace) if self.namespaced and namespace else ()
        return "/".join(part for part in (self.path, *space, self.plural, name) if part)

    @property
    def head(self) -> Json:
        """What the server leaves out of an object in a list."""
        return {"apiVersion": self.path.partition("/")[2], "kind": self.kind}


class Api:
    """The API server that a kubeconfig with a certificate of its own names."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        config = yaml.safe_load(kubeconfig)
        self._host: str = config["clusters"][0]["cluster"]["server"]
        self._folder = TemporaryDirectory()
        self._resources: dict[str, Resource] = {}
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
        self._session.mount("https://", HTTPAdapter(pool_maxsize=32, max_retries=_AGAIN))
        # No proxy of the machine's leads into the cluster's network.
        self._session.trust_env = False
        self._session.verify, self._session.cert = str(paths["ca"]), (str(paths["certificate"]), str(paths["key"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections and keys."""
        self._session.close()
        self._folder.cleanup()

    def get(self, kind: str, name: str, namespace: str) -> Json:
        """One object; its kind by any name that kubectl knows."""
        return self._read(self.resource(kind).url(namespace, name))

    def items(self, kinds: str, namespace: str, labels: str, fields: str) -> Iterator[Json]:
        """All objects of these kinds, as "pods,services", that have these labels and fields."""
        chosen = {"labelSelector": labels, "fieldSelector": fields}
        for kind in kinds.split(","):
            of = self.resource(kind)
            yield from ({**of.head, **item} for item in self._read(of.url(namespace), **chosen)["items"])

    def resource(self, kind: str) -> Resource:
        """By any name that kubectl knows."""
        if kind.lower() not in self._resources:
            self._resources = dict(self._discovered())
        try:
            return self._resources[kind.lower()]
        except KeyError:
            raise Refused(f"{self._host} knows no {kind}") from None

    def _discovered(self) -> Iterator[tuple[str, Resource]]:
        """Every name of every resource; of two that share one, the server's first comes last, and so wins."""
        groups = [group for root in ("api", "apis") for group in self._read(root, accept=DISCOVERY)["items"]]
        for group in reversed(groups):
            name, version = group["metadata"].get("name"), group["versions"][0]
            path = f"apis/{name}/{version['version']}" if name else f"api/{version['version']}"
            for known in version.get("resources", ()):
                kind, plural = known["responseKind"]["kind"], known["resource"]
                resource = Resource(path, plural, kind, known["scope"] == "Namespaced")
                words = {plural, known.get("singularResource", plural), kind.lower(), *known.get("shortNames", ())}
                yield from ((found, resource) for word in words for found in (word, f"{word}.{name or ''}"))

    def _read(self, path: str, *, accept: str = "application/json", **params: str) -> Json:
        asked = {key: value for key, value in params.items() if value}
        return self.ask("GET", path, params=asked, headers={"Accept": accept})

    def ask(self, verb: str, path: str, **how: Any) -> Json:
        """What it answers; Refused unless that is a success."""
        answer = self._session.request(verb, f"{self._host}/{path}", timeout=TIMEOUT, **how)
        said: Json = answer.json()
        if not answer.ok:
            raise Refused(f"{answer.status_code}: {said.get('message')}")
        return said

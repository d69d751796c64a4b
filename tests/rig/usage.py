"""What pods use, as a test says: the API metrics.k8s.io, which an autoscaler asks, behind the real API server.

It stands where metrics-server stands in a cluster: an APIService, to which the API server hands such requests on.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.cluster.interface import Cluster, ClusterUnavailable
from tests.cluster.pki import Authority
from tests.cluster.waiting import wait_until
from tests.rig.app import LOOKING, Json

GROUP, VERSION, NAMESPACE, NAME = "metrics.k8s.io", "v1beta1", "kube-system", "usage"
ROOT = f"/apis/{GROUP}/{VERSION}"


class Usage:
    """Serves from ``with`` on. Must be entered from within the cluster's network, where the API server finds it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        if cluster.network is None:
            raise ClusterUnavailable("the API server does not reach this process: it takes the local provider")
        self._cluster = cluster
        self.millicores: dict[str, int] = {}
        """What all pods of a namespace use together."""
        authority = Authority(folder / "usage-pki")
        identity = authority.issue(NAME, NAME, hosts=[f"DNS:{NAME}.{NAMESPACE}.svc"])
        self._authority = base64.b64encode(authority.certificate.read_bytes()).decode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        self._server = ThreadingHTTPServer((cluster.node_addresses[0], 0), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def answer(self, path: str) -> Json | None:
        """What stands at a path; None: nothing."""
        asked = urlsplit(path)
        if asked.path == ROOT:
            pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["list"]}
            return {"apiVersion": "v1", "kind": "APIResourceList", "groupVersion": ROOT[6:], "resources": [pods]}
        parts = asked.path.removeprefix(f"{ROOT}/").split("/")
        if parts[0] != "namespaces" or parts[2:] != ["pods"]:
            return None
        return self._pods(parts[1], parse_qs(asked.query).get("labelSelector", [""])[0])

    def _pods(self, namespace: str, selector: str) -> Json:
        pods = self._cluster.items("pods", namespace, labels=selector)
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        serving = [pod["metadata"]["name"] for pod in running if _serves(pod)]
        share = self.millicores.get(namespace, 0) * 1_000_000 // max(1, len(serving))

        def used(pod: Json) -> dict[str, str]:
            return {"cpu": f"{share if pod['metadata']['name'] in serving else 0}n", "memory": "1Mi"}

        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "metadata": {key: pod["metadata"][key] for key in ("name", "namespace", "labels")},
                "timestamp": now,
                "window": "1s",
                "containers": [{"name": c["name"], "usage": used(pod)} for c in pod["spec"]["containers"]],
            }
            for pod in running
        ]
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "PodMetricsList", "metadata": {}, "items": items}

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="usage", daemon=True).start()
        items = self._manifests()
        self._cluster.kubectl("apply", "--filename=-", stdin=json.dumps(_list(items)))
        wait_until("the API server hands on to the metrics", self._unavailable, 60, pause=LOOKING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The APIService goes with its server: while one is not answered for, no namespace can be removed.
        self._cluster.kubectl("delete", "--filename=-", "--wait=true", stdin=json.dumps(_list(self._manifests())))
        self._server.shutdown()
        self._server.server_close()

    def _unavailable(self) -> str | None:
        status = self._cluster.get("apiservice", f"{VERSION}.{GROUP}").get("status", {})
        available: Json = next((c for c in status.get("conditions", ()) if c["type"] == "Available"), {})
        return None if available.get("status") == "True" else str(available.get("message", "not looked at yet"))

    def _manifests(self) -> list[Json]:
        address, port = self._server.server_address[:2]
        here = {"name": NAME, "namespace": NAMESPACE}
        return [
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"{VERSION}.{GROUP}"},
                "spec": {
                    "group": GROUP,
                    "version": VERSION,
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "service": {**here, "port": 443},
                    "caBundle": self._authority,
                },
            },
            {"apiVersion": "v1", "kind": "Service", "metadata": here, "spec": {"ports": [{"port": 443}]}},
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**here, "labels": {"kubernetes.io/service-name": NAME}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [str(address)]}],
                "ports": [{"port": port}],
            },
        ]


def _serves(pod: Json) -> bool:
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    return ready and "deletionTimestamp" not in pod["metadata"]


def _list(items: list[Json]) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _handler(usage: Usage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = usage.answer(self.path)
            body = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class gave it
            """No word on stderr for each request."""

    return Handler

"""An application of a user: a Deployment, a Service, a route, and releases of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until

LOOKING = 0.25
"""Seconds between two looks at the cluster, or at what a program tells."""
IMAGE = "localhost/tidegate-demo"
GATEWAY = {"name": "tidegate", "namespace": "tidegate-demo"}
RELEASES = "canaryreleases,bluegreenreleases,rollingreleases"
Json = dict[str, Any]


@dataclass
class App:
    """``name`` in ``namespace``, reached through the Gateway by Host ``<name>.<namespace>.test``."""

    cluster: Cluster
    namespace: str
    name: str = "checkout"
    replicas: int = 4
    version: str = "v1"
    pod: Json = field(default_factory=dict)
    """More of the pod's spec."""
    container: Json = field(default_factory=dict)
    """More of the container's."""
    kind: str = "CanaryRelease"
    """Of its release."""

    @property
    def host(self) -> str:
        """Its host name."""
        return f"{self.name}.{self.namespace}.test"

    def deployment(self, version: str, **env: str) -> Json:
        """The manifest of a version."""
        app = {"app": self.name}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": app},
                "template": {
                    "metadata": {
                        "labels": app,
                        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
                    },
                    "spec": {
                        "containers": [
                            {
                                "name": "app",
                                "image": IMAGE,
                                "imagePullPolicy": "IfNotPresent",
                                "env": [{"name": k, "value": v} for k, v in {"VERSION": version, **env}.items()],
                                "ports": [{"name": "http", "containerPort": 8080}],
                                # Its share of the CPU beside what starts meanwhile.
                                "resources": {"requests": {"cpu": "20m"}},
                                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
                                **self.container,
                            }
                        ],
                        "terminationGracePeriodSeconds": 10,
                        **self.pod,
                    },
                },
            },
        }

    def service(self) -> Json:
        """Its Service."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "selector": {"app": self.name},
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        }

    def route(self) -> Json:
        """Its route."""
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "parentRefs": [GATEWAY],
                "hostnames": [self.host],
                "rules": [{"backendRefs": [{"name": self.name, "port": 80}]}],
            },
        }

    def routes(self) -> list[Json]:
        """All that makes it reachable through the router."""
        return [self.route()]

    def release(self, **spec: object) -> Json:
        """A release of it."""
        return {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {"targetRef": {"name": self.name}, **spec},
        }

    def create(self) -> None:
        """Namespace, Deployment, Service and route; ready to serve."""
        self.cluster.kubectl(
            "apply",
            "-f-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}),
        )
        self.apply(self.deployment(self.version), self.service(), *self.routes())
        self.cluster.kubectl("-n", self.namespace, "rollout", "status", f"deployment/{self.name}", "--timeout=120s")
        self.await_answers()

    def await_answers(self) -> None:
        """Wait until it answers through the gateway."""
        wait_until(f"{self.host} answers through the gateway", self._silent, 60, pause=LOOKING)

    def apply(self, *objects: Json) -> None:
        """kubectl apply, as a user would."""
        self.cluster.kubectl("apply", "-f-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def ship(self, version: str, **env: str) -> None:
        """A new version: the user applies the Deployment with another template."""
        self.apply(self.deployment(version, **env))

    def ask(self, action: str) -> None:
        """Somebody asks something of the release."""
        request = {"id": str(time.monotonic_ns()), "action": action, "hash": self.status()["candidate"]["hash"]}
        note = f"tidegate.dev/request={json.dumps(request)}"
        self.cluster.kubectl("annotate", "--overwrite", self.kind.lower(), self.name, "-n", self.namespace, note)

    def delete(self, *, wait: bool = False) -> None:
        """Let go, and gone with its namespace; its pods may take their time, unless that is to be waited for."""
        if self.cluster.kubectl("get", "namespace", self.namespace, "--ignore-not-found", "--output=name"):
            self.cluster.kubectl("-n", self.namespace, "delete", RELEASES, "--all", "--timeout=60s")
            self.cluster.kubectl("delete", "namespace", self.namespace, f"--wait={str(wait).lower()}", timeout=150)

    def status(self) -> Json:
        """Of its release."""
        status: Json = self.cluster.get(self.kind.lower(), self.name, self.namespace).get("status", {})
        return status

    def await_phase(
        self, phase: str, seconds: float, *, outcome: str | None = None, version: int | None = None
    ) -> Json:
        """Wait until the release is in a phase, and its last release ended so."""

        def seen() -> str | None:
            status = self.status()
            last = status.get("lastRelease", {})
            if status.get("phase") != phase or (outcome and last.get("outcome") != outcome):
                return f"{status.get('phase')}: {status.get('message')} (last: {last.get('outcome')})"
            if version is not None and last.get("revision") != version:
                return f"{phase}, but the last release was of revision {last.get('revision')}, not {version}"
            return None

        wait_until(f"release {self.namespace}/{self.name} is {phase}", seen, seconds, pause=LOOKING)
        return self.status()

    def await_weight(self, weight: int, seconds: float = 60) -> None:
        """Wait until the router gives the candidate this share."""

        def seen() -> str | None:
            status = self.status()
            traffic = status.get("traffic", {})
            there = (traffic.get("weight"), traffic.get("applied")) == (weight, True)
            return None if there else str(status.get("message"))

        wait_until(f"{weight} % of the requests go to the candidate", seen, seconds, pause=LOOKING)

    def await_reason(self, reason: str, *words: str, seconds: float = 30) -> None:
        """Wait until the release gives a reason, with these words in its message."""

        def seen() -> str | None:
            status = self.status()
            reasons = {condition["reason"] for condition in status.get("conditions", ())}
            fits = reason in reasons and all(word in status["message"] for word in words)
            return None if fits else f"{status.get('phase')}: {status.get('message')}"

        wait_until(f"{self.namespace}/{self.name} says {reason}, with {words}", seen, seconds, pause=LOOKING)

    def await_question(self, gate: str, seconds: float = 90) -> None:
        """Wait until somebody is asked for the approval that a gate needs."""

        def seen() -> str | None:
            return None if self.gate(gate).get("state") == "Running" else str(self.status().get("message"))

        wait_until(f"somebody is asked for {gate}", seen, seconds, pause=LOOKING)

    def answers(self, *header: str, host: str = "") -> set[str]:
        """Versions that answer ten requests."""
        ask = ["curl", "--silent", "--fail", "-H", f"Host: {host or self.host}", *header]
        return set(self.cluster.run(*ask, f"{self.cluster.gateway_url}/?[1-10]").split())

    def gate(self, name: str) -> Json:
        """What is known of a gate of its release."""
        return next((known for known in self.status().get("gates", ()) if known["name"] == name), {})

    def weights(self) -> list[dict[str, int]]:
        """Service and weight of each backend of its route, rule by rule."""
        rules = self.cluster.get("httproute", self.name, self.namespace)["spec"]["rules"]
        return [{ref["name"]: ref.get("weight", 1) for ref in rule["backendRefs"]} for rule in rules]

    def events(self, reason: str) -> list[str]:
        """Messages of the Events of its release."""
        of = f"reason={reason},involvedObject.name={self.name}"
        return [event["message"] for event in self.cluster.items("events", self.namespace, fields=of)]

    def pods(self) -> dict[str, str]:
        """Names of its pods that are not leaving, by uid."""
        items = self.cluster.items("pods", self.namespace, labels=f"app={self.name}")
        return {p["metadata"]["uid"]: p["metadata"]["name"] for p in items if "deletionTimestamp" not in p["metadata"]}

    def _silent(self) -> None:
        self.cluster.run(
            "curl", "--silent", "--fail", "--max-time", "2", "-H", f"Host: {self.host}", self.cluster.gateway_url
        )


def smoke(path: str, at: str, *, name: str = "smoke", service: str = "$(TIDEGATE_CANARY_SERVICE)") -> Json:
    """A gate: a Job that asks a Service, by default the candidate's."""
    container = {
        "name": "ask",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "GET", "value": f"http://{service}{path}"}],
    }
    return {"name": name, "at": at, "job": {"template": {"spec": {"containers": [container]}}}}


def at_once(what: Callable[[App], object], apps: Sequence[App]) -> None:
    """Something with each of several applications."""
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(what, apps))

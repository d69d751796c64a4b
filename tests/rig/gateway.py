"""The flag gateway of this checkout, as pods of a cluster or a process beside it, and FeatureFlags that it serves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.interface import AttemptFailed, Cluster
from tests.cluster.local import LocalCluster
from tests.cluster.operator_image import Image
from tests.cluster.waiting import wait_until
from tests.rig.app import LOOKING
from tests.rig.operator import NAMESPACE, ROOT, kubeconfig
from tidegate.api.base import API_VERSION
from tidegate.flags.ofrep import PATH as FLAGS

NAME, SET = "tidegate-flags", "shop"
SERVER, CLIENT = "server-token-of-shop", "client-token-of-shop"
HERE = f"--namespace={NAMESPACE}"
PORT = 18082
"""Of a gateway beside the cluster, and the next one of its probes."""

Json = dict[str, Any]


@dataclass(frozen=True)
class FlagGateway:
    """Two pods behind a Service."""

    cluster: Cluster
    address: str

    @property
    def url(self) -> str:
        """Where OFREP is, for whoever is in the cluster's network."""
        return f"http://{self.address}"

    def pods(self) -> list[Json]:
        """Those that are not leaving."""
        found = self.cluster.items("pods", NAMESPACE, labels=f"app.kubernetes.io/name={NAME}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ask(self, key: str, **context: Any) -> Json:
        """One flag, evaluated."""
        headers = ("--header", f"Authorization: Bearer {SERVER}", "--header", "Content-Type: application/json")
        asked = json.dumps({"context": context})
        found: Json = json.loads(
            self.cluster.run("curl", "--silent", *headers, "--data", asked, f"{self.url}{FLAGS}/{key}")
        )
        return found

    def await_variant(self, key: str, variant: str, seconds: float = 20, **context: Any) -> None:
        """Wait until it is what all pods serve to who asks: ten answers in a row, each by a connection of its own."""

        def seen() -> str | None:
            for _ in range(10):
                found = self.ask(key, **context)
                if found.get("variant") != variant:
                    return str(found)
            return None

        wait_until(f"flag {key} is served as {variant}", seen, seconds, pause=LOOKING)


@contextmanager
def gateway(cluster: Cluster, image: Image) -> Iterator[FlagGateway]:
    """Installed as manifests/flags says, with tokens of flag set shop, until the block ends."""
    tokens = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tidegate-flag-tokens", "namespace": NAMESPACE},
        "stringData": {f"{SET}.server": SERVER, f"{SET}.client": CLIENT},
    }
    objects = [tokens, *_manifests(image)]
    cluster.kubectl("apply", "-f-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        cluster.kubectl("rollout", "status", f"deployment/{NAME}", HERE, "--timeout=120s")
        service = cluster.get("service", NAME, NAMESPACE)
        made = FlagGateway(cluster, service["spec"]["clusterIP"])
        wait_until("the gateway answers", lambda: _silent(made), 30, pause=LOOKING)
        yield made
    finally:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        cluster.kubectl("delete", "-f-", "--ignore-not-found", "--timeout=90s", stdin=text, timeout=120)


@contextmanager
def beside(cluster: LocalCluster, folder: Path) -> Iterator[str]:
    """As a process on the first node, as its own ServiceAccount: the URL at which pods reach it. Without tokens."""
    cluster.kubectl("apply", "--filename", str(ROOT / "manifests/flags/rbac.yaml"))
    own = kubeconfig(cluster, folder / "flags.kubeconfig", NAME)
    listens = ("--listen", f"0.0.0.0:{PORT}", "--sync-listen", "", "--probe-listen", f"127.0.0.1:{PORT + 1}")
    command = [sys.executable, "-m", "tidegate.app.main", "flag-gateway", "--open", "--kubeconfig", str(own), *listens]
    log = folder / "flag-gateway.log"
    with log.open("wb") as out, subprocess.Popen([*cluster.enter(), *command], stdout=out, stderr=out) as process:
        try:
            ready = ["curl", "--silent", "--fail", f"http://127.0.0.1:{PORT + 1}/readyz"]
            wait_until("the flag gateway is ready", lambda: _refused(cluster, ready, log), 30, pause=LOOKING)
            yield f"http://{cluster.node_addresses[0]}:{PORT}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _refused(cluster: Cluster, command: list[str], log: Path) -> str | None:
    try:
        cluster.run(*command)
    except AttemptFailed as error:
        return f"{error}; {log.read_text()[-500:]}"
    return None


def _manifests(image: Image) -> list[Json]:
    found: list[Json] = []
    for name in ("rbac.yaml", "gateway.yaml"):
        text = (Path(ROOT) / "manifests/flags" / name).read_text()
        found += yaml.safe_load_all(re.sub(r"image: ghcr\.io/\S+", f"image: {image}", text))
    return found


def _silent(gateway: FlagGateway) -> str | None:
    said = gateway.cluster.run(
        "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", f"{gateway.url}/"
    )
    return None if said.strip() == "404" else said


@dataclass(frozen=True)
class FlagOnCluster:
    """A FeatureFlag, as a user writes it."""

    cluster: Cluster
    namespace: str
    name: str
    spec: Json

    def manifest(self, **changes: Any) -> str:
        """As text."""
        metadata = {"name": self.name, "namespace": self.namespace}
        spec = {"flagSet": SET, **self.spec, **changes}
        return json.dumps({"apiVersion": API_VERSION, "kind": "FeatureFlag", "metadata": metadata, "spec": spec})

    def apply(self, **changes: Any) -> None:
        """kubectl apply."""
        self.cluster.kubectl("apply", "-f-", stdin=self.manifest(**changes))

    def status(self) -> Json:
        """Of it."""
        status: Json = self.cluster.get("featureflag", self.name, self.namespace).get("status", {})
        return status

    def await_phase(self, phase: str, seconds: float = 60, *words: str) -> Json:
        """Wait until it is in a phase, with these words in its message."""

        def seen() -> str | None:
            status = self.status()
            said = f"{status.get('phase')}: {status.get('message')}"
            return None if status.get("phase") == phase and all(word in said for word in words) else said

        wait_until(f"flag {self.namespace}/{self.name} is {phase}", seen, seconds, pause=LOOKING)
        return self.status()

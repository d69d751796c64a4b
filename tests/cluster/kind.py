"""The provider for a machine with Docker: kind, driven by pytest-kind."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.cluster import artifacts, furnish, places
from tests.cluster.interface import GATEWAY_PORT, PROMETHEUS_PORT, ROUTER_API_PORT, Cluster, ClusterUnavailable
from tests.cluster.progress import say, step

# pytest-kind fetches the release of kind that KIND_VERSION names; its own default is years old.
KIND_VERSION = "v0.33.0"
IMAGE_VARIABLE = "TIDEGATE_KIND_IMAGE"  # the node image, if not the one that this kind comes with
PORTS = (GATEWAY_PORT, ROUTER_API_PORT, PROMETHEUS_PORT)


def docker_answers() -> bool:
    """Whether a Docker engine answers."""
    if not shutil.which("docker"):
        return False
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _version() -> str:
    return os.environ.get("KIND_VERSION", KIND_VERSION)


def configuration(nodes: int) -> dict[str, Any]:
    """The configuration for kind: the first node carries the router, on ports of this machine."""
    mappings = [{"containerPort": port, "hostPort": port, "listenAddress": "127.0.0.1"} for port in PORTS]
    first = {"role": "control-plane", "labels": {"tidegate.test/router": "true"}, "extraPortMappings": mappings}
    workers = [{"role": "worker"} for _ in range(nodes - 1)]
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [first, *workers]}


class KindCluster(Cluster):
    """A cluster of Docker containers. One at a time has the ports of the machine."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.state = places.state() / f"kind-{name}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def node_addresses(self) -> tuple[str, ...]:
        return ("127.0.0.1",)

    @property
    def tools(self) -> Path:
        return self.state / "bin"

    @property
    def network(self) -> Path | None:
        return None

    def enter(self) -> list[str]:
        return []

    @property
    def _kind(self) -> Path:
        found = shutil.which("kind")
        return Path(found) if found else places.cache() / "bin" / f"kind-{_version()}"

    def _driver(self) -> Any:
        try:
            module = importlib.import_module("pytest_kind.cluster")
        except ImportError:
            raise ClusterUnavailable("pytest-kind is missing: run `make install`") from None
        # It reads the version when it is imported, and as a plugin of pytest it is before we come.
        module.KIND_VERSION = _version()  # type: ignore[attr-defined]
        self._kind.parent.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(self.state):  # pytest-kind makes a folder where it is
            return module.KindCluster(
                self._full_name,
                kubeconfig=self.kubeconfig,
                image=os.environ.get(IMAGE_VARIABLE),
                kind_path=self._kind,
                kubectl_path=artifacts.kubectl(),
            )

    @property
    def _full_name(self) -> str:
        return f"tidegate-{self.name}"

    def _fetch(self) -> None:
        """Have kind itself."""
        if not docker_answers():
            raise ClusterUnavailable("kind needs a Docker engine, and none answers: start Docker")
        try:
            self._driver().ensure_kind()
        except requests.RequestException as error:
            why = f"kind {_version()} cannot be fetched ({type(error).__name__})"
            raise ClusterUnavailable(f"{why}: install kind, so that it is on the PATH") from error

    def running(self) -> bool:
        if not (self._kind.exists() and (self.state / "furnished").exists()):
            return False
        said = subprocess.run([self._kind, "get", "clusters"], capture_output=True, text=True, check=False).stdout
        return self._full_name in said.split()

    def up(self, nodes: int | None = None) -> None:
        self._fetch()
        artifacts.load_generator()
        archives = artifacts.image_archives()
        with places.lock(f"cluster-kind-{self.name}"):
            furnished = self.state / "furnished"
            if self.running() and furnished.read_text() == furnish.digest():
                say(f"{self.name} is up")
                return
            self.tools.mkdir(parents=True, exist_ok=True)
            for name, tool in (("kubectl", artifacts.kubectl()), ("load", artifacts.load_generator())):
                (self.tools / name).unlink(missing_ok=True)
                (self.tools / name).symlink_to(tool)
            config = self.state / "kind.json"
            config.write_text(json.dumps(configuration(nodes or 1), indent=2))
            with step("kind", announce=True):
                self._driver().create(config)
            with step("images"):
                for archive in archives:
                    self.load_image(archive)
            with step("definitions, router and Prometheus"):
                furnish.furnish(self)
            furnished.write_text(furnish.digest())

    def down(self) -> None:
        with places.lock(f"cluster-kind-{self.name}"), step(f"take {self.name} down"):
            if self._kind.exists():
                self._driver().delete()
            shutil.rmtree(self.state, ignore_errors=True)

    def load_image(self, archive: Path) -> None:
        subprocess.run([self._kind, "load", "image-archive", str(archive), "--name", self._full_name], check=True)

    def describe(self) -> Mapping[str, str]:
        return {
            "provider": "kind",
            "state": "running" if self.running() else "not running",
            "kubeconfig": str(self.kubeconfig),
        }

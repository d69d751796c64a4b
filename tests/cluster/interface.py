"""What the tests and the demo may know of a cluster, whichever way it is made."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from requests import RequestException

from tests.cluster import network
from tests.cluster.api import Api, Json, Refused

GATEWAY_PORT = 8000
ROUTER_API_PORT = 8088
PROMETHEUS_PORT = 30090
Result = TypeVar("Result")


class ClusterUnavailable(Exception):
    """The machine cannot have a cluster; the one-line reason names the remedy."""


class ClusterFailed(Exception):
    """A cluster that should have come up did not; the message says what was seen last."""


class AttemptFailed(ClusterFailed):
    """A command in the cluster's network, or a question to its API server, failed; the next one may not."""


class Cluster(ABC):
    """One cluster by name. Clusters of different names share nothing but the machine."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._api: Api | None = None

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """The kubeconfig of an administrator; it holds inside the cluster's network."""

    @property
    @abstractmethod
    def node_addresses(self) -> tuple[str, ...]:
        """The addresses of the nodes, the one with the router first."""

    @property
    @abstractmethod
    def tools(self) -> Path:
        """A folder with kubectl and the load generator, for PATH."""

    @property
    def audit(self) -> Path | None:
        """Where the API server notes what the operator writes, a line of JSON each; None where that cannot be read."""
        return None

    @property
    @abstractmethod
    def network(self) -> Path | None:
        """The network namespace that the cluster lives in; None: the machine's own."""

    @abstractmethod
    def enter(self) -> list[str]:
        """What to put before a command so that it runs in the cluster's network."""

    @abstractmethod
    def running(self) -> bool:
        """Whether the cluster is up and answers."""

    @abstractmethod
    def up(self, nodes: int | None = None) -> None:
        """Bring the cluster up, furnished; return at once if it is. None: as many nodes as it has, or one."""

    @abstractmethod
    def down(self) -> None:
        """Remove the cluster and every trace of it; a cluster that is not there is no error."""

    @abstractmethod
    def load_image(self, archive: Path) -> None:
        """Give the image of a docker-archive to every node."""

    @abstractmethod
    def describe(self) -> Mapping[str, str]:
        """What a person wants to know of it, for `status`."""

    @property
    def gateway_url(self) -> str:
        return f"http://{self.node_addresses[0]}:{GATEWAY_PORT}"

    @property
    def prometheus_url(self) -> str:
        return f"http://{self.node_addresses[0]}:{PROMETHEUS_PORT}"

    @property
    def router_api_url(self) -> str:
        return f"http://{self.node_addresses[0]}:{ROUTER_API_PORT}"

    def environment(self) -> dict[str, str]:
        """The environment for a command in the cluster's network."""
        own = {
            "KUBECONFIG": str(self.kubeconfig),
            "TIDEGATE_CLUSTER": self.name,
            "GATEWAY_URL": self.gateway_url,
            "PROMETHEUS_URL": self.prometheus_url,
            "ROUTER_API_URL": self.router_api_url,
            "PATH": f"{self.tools}:{os.environ.get('PATH', os.defpath)}",
        }
        return {**os.environ, **own}

    def run(self, *command: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run a command in the cluster's network and return its output."""
        done = subprocess.run(
            [*self.enter(), *command],
            input=stdin,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise AttemptFailed(f"{' '.join(command[:8])} ended with {done.returncode}: {said}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl as administrator."""
        return self.run("kubectl", *arguments, stdin=stdin, timeout=timeout)

    def get(self, kind: str, name: str, namespace: str = "") -> Json:
        """An object, of a kind by any name that kubectl knows."""
        return self._ask(lambda api: api.get(kind, name, namespace))

    def items(self, kinds: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Json]:
        """The objects of some kinds, as "pods,services", with these labels and fields; without a namespace, of all."""
        return self._ask(lambda api: list(api.items(kinds, namespace, labels, fields)))

    def _ask(self, what: Callable[[Api], Result]) -> Result:
        """Ask the API server, from within the cluster's network."""
        try:
            kubeconfig = self.kubeconfig.read_text()
            if self._api is None or self._api.kubeconfig != kubeconfig:
                self._api = Api(kubeconfig)
            api = self._api
            return network.call_in(self.network, lambda: what(api))
        except (OSError, Refused, RequestException) as error:
            raise AttemptFailed(f"the API server of {self.name}: {error}") from error

"""The operator from this checkout, installed into a cluster and run beside it as its own ServiceAccount.

``python -m tests.rig.operator`` (``make run``) runs it in the foreground on the cluster of ``make cluster``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.interface import Cluster, ClusterFailed
from tests.cluster.provider import cluster as cluster_of
from tests.cluster.waiting import wait_until

ROOT = Path(__file__).parents[2]
NAMESPACE, ACCOUNT = "tidegate-system", "tidegate"
TRAEFIK_API = "traefik/traefik:8088"
CALM = 3.0
"""Seconds without a write after which all is at rest."""


def refused(metrics: str) -> list[str]:
    """Of the operator's metrics, the requests that it was refused for want of rights."""
    return re.findall(r'^(tidegate_api_requests_total\{code="(?:401|403)".*\}) ', metrics, re.MULTILINE)


def install(cluster: Cluster) -> None:
    """CRDs, RBAC and the gate; all but the Deployment of the operator."""
    for path in ("manifests/namespace.yaml", "crds", "manifests/rbac.yaml", "manifests/admission"):
        kustomized = (ROOT / path / "kustomization.yaml").exists()
        flag = "--kustomize" if kustomized else "--filename"
        cluster.kubectl("apply", "--server-side", "--force-conflicts", flag, str(ROOT / path))
    wait_until("the CRDs are served", lambda: _established(cluster), 30)


def _established(cluster: Cluster) -> str | None:
    for crd in cluster.get("crd", "canaryreleases.tidegate.dev")["status"].get("conditions", ()):
        if crd["type"] == "Established" and crd["status"] == "True":
            return None
    return "not established"


def kubeconfig(cluster: Cluster, path: Path, account: str = ACCOUNT) -> Path:
    """A kubeconfig of the operator's ServiceAccount: the policies exempt it, and RBAC binds it."""
    token = cluster.kubectl("create", "token", account, "--namespace", NAMESPACE, "--duration", "24h").strip()
    admin = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    own = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": account, "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": account}}],
        "current-context": "here",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(own))
    return path


class Operator:
    """A running operator. ``kill`` and ``freeze`` are the faults, ``stop`` is the clean end. With a ``lease``
    (NAMESPACE/NAME) it is one of several replicas, each with a port and a folder of its own."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        *,
        port: int = 18080,
        lease: str = "",
        through: Callable[[Path], Path] = lambda path: path,
        account: str = ACCOUNT,
    ) -> None:
        """``through`` turns the operator's kubeconfig into one that leads elsewhere: over a wire that breaks.

        Another ``account`` than the policies exempt is another installation's.
        """
        self._cluster, self._folder, self._port, self._lease = cluster, folder, port, lease
        self._through, self._account = through, account
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "operator.log"
        self.arguments: tuple[str, ...] = ()
        """More of them, from the next start on."""
        self.refused: set[str] = set()
        """Requests that it had no right to, of all its runs up to their ends."""

    def command(self) -> list[str]:
        """What runs it in the cluster's network."""
        return [
            *self._cluster.enter(),
            sys.executable,
            *("-m", "tidegate.app.main", "operator"),
            *("--kubeconfig", str(self._through(kubeconfig(self._cluster, self._kubeconfig, self._account)))),
            *("--prometheus", self._cluster.prometheus_url),
            *("--traefik-api", TRAEFIK_API),
            *("--listen", f"127.0.0.1:{self._port}"),
            *self.arguments,
            *(("--lease", self._lease) if self._lease else ()),
        ]

    def start(self) -> Self:
        """Start, and wait until it has taken its first lists."""
        self.launch()
        self.await_ready()
        return self

    def launch(self) -> None:
        """Start, and wait for nothing."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stderr=log, stdout=log, env=_environment())

    def await_ready(self) -> None:
        """Wait until it has taken its first lists."""
        wait_until("the operator is ready", self._not_ready, 60)

    @property
    def running(self) -> bool:
        """It has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def resident(self) -> int:
        """Bytes of memory that it takes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def worked(self) -> float:
        """Seconds of a core that it took."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def counted(self, metric: str, labels: str = "") -> float:
        """Sum of a counter of its own, of the series whose labels match."""
        lines = (line for line in self.ask("/metrics").splitlines() if line.startswith((f"{metric}{{", f"{metric} ")))
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.search(labels, line))

    def await_calm(self, seconds: float = 120) -> None:
        """Wait until it has written nothing for a while."""
        writes, since = -1.0, time.monotonic()

        def busy() -> str | None:
            nonlocal writes, since
            seen = self.counted("tidegate_api_requests_total", 'verb="(POST|PATCH|PUT|DELETE)"')
            if seen != writes:
                writes, since = seen, time.monotonic()
            return None if time.monotonic() - since > CALM else f"{seen:.0f} writes by now"

        wait_until("nothing is written any more", busy, seconds, pause=0.5)

    def ask(self, path: str) -> str:
        """Answer of its own HTTP server, whose code must be of success."""
        return self._answer(path, "--fail")

    def readiness(self) -> str:
        """What it says of it, with the code of the answer first; nothing while it does not listen."""
        try:
            return self._answer("/readyz", "--include").partition(" ")[2]
        except ClusterFailed:
            return ""

    def _answer(self, path: str, *options: str) -> str:
        return self._cluster.run(
            "curl", "--silent", "--max-time", "2", *options, f"http://127.0.0.1:{self._port}{path}"
        )

    @property
    def _kubeconfig(self) -> Path:
        return self._folder / "operator.kubeconfig"

    @property
    def credential(self) -> str:
        """What the API server's audit log calls the token that it has since its last start."""
        token: str = json.loads(self._kubeconfig.read_text())["users"][0]["user"]["token"]
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return f"JTI={claims['jti']}"

    @property
    def runs(self) -> bool:
        """It was started, and nobody has ended it."""
        return self._process is not None and self._process.poll() is None

    def leads(self) -> bool:
        """Whether it is the replica that works."""
        return "tidegate_leader 1.0" in self.ask("/metrics")

    def freeze(self) -> None:
        """SIGSTOP: as a node that hangs for a while."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was, and does not know that it was away."""
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the operator was not started")
        self._process.send_signal(which)

    def kill(self) -> None:
        """SIGKILL: no word of farewell."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        # One that does not answer has nothing to tell.
        with contextlib.suppress(ClusterFailed):
            self.refused.update(refused(self.ask("/metrics")))
        self._process.send_signal(how)
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def _not_ready(self) -> str | None:
        if self._process is None or self._process.poll() is not None:
            return f"it has ended: {_tail(self.log)}"
        probe = subprocess.run(
            [*self._cluster.enter(), "curl", "--silent", "--fail", f"http://127.0.0.1:{self._port}/readyz"],
            capture_output=True,
            check=False,
        )
        return None if probe.returncode == 0 else f"not ready: {_tail(self.log)}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("TIDEGATE_")}


def _tail(log: Path, lines: int = 5) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "no log"


@contextmanager
def running(cluster: Cluster, folder: Path) -> Iterator[Operator]:
    """Installed and started; stopped at the end."""
    install(cluster)
    with Operator(cluster, folder) as operator:
        yield operator


def main() -> int:
    """In the foreground, until interrupted."""
    cluster = cluster_of(os.environ.get("TIDEGATE_CLUSTER", "dev"))
    if not cluster.running():
        sys.stderr.write(f"cluster {cluster.name} is not up: make cluster\n")
        return 1
    install(cluster)
    folder = Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")) / f"tidegate-{cluster.name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    command = [*Operator(cluster, folder).command(), "--log-format", "text"]
    process = subprocess.Popen(command, env=_environment())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the operator had the same signal; it stops by itself


if __name__ == "__main__":
    sys.exit(main())

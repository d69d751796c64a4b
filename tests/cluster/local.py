"""The provider for a Linux machine without Docker: every component is a process in a network of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.cluster import artifacts, furnish, machine, network, places, process
from tests.cluster.interface import Cluster, ClusterFailed, ClusterUnavailable
from tests.cluster.node import FIXED_PATHS, Node
from tests.cluster.pki import Authority
from tests.cluster.process import Daemon
from tests.cluster.progress import say, step
from tests.cluster.waiting import wait_until

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")
API = f"https://{network.node_address(1)}:6443"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
CONTROL_PLANE = ("etcd", "kube-apiserver", "coredns", "kube-controller-manager", "kube-scheduler")
# The DNS of the cluster listens on the first node: a process less to make an image of, and ready at once.
COREFILE = """
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
    cache 5
}}
"""

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "userGroups": ["system:serviceaccounts:tidegate-system"],
            "verbs": ["create", "update", "patch", "delete"],
        },
        {"level": "None"},
    ],
}


class LocalCluster(Cluster):
    """A cluster of processes of this machine."""

    def __init__(self, name: str) -> None:
        if not NAME.fullmatch(name):
            raise ValueError(f"a cluster's name is 1 to 30 of a-z, 0-9 and '-', not {name!r}")
        super().__init__(name)
        self.state = places.state() / name
        self.run_folder = places.RUN / name

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def node_addresses(self) -> tuple[str, ...]:
        return tuple(node.address for node in self.nodes())

    @property
    def tools(self) -> Path:
        return self.state / "bin"

    @property
    def audit(self) -> Path:
        return self.state / "logs" / "audit.log"

    @property
    def network(self) -> Path | None:
        return network.namespace(self.name)

    def enter(self) -> list[str]:
        space = network.namespace(self.name)
        if network.inside(space):
            return []
        if machine.privileged():
            return network.enter(space)
        me = [f"--reuid={os.getuid()}", f"--regid={os.getgid()}", "--init-groups"]
        return ["sudo", "--preserve-env", *network.enter(space), "setpriv", *me, "env", f"PATH={self._path()}"]

    def _path(self) -> str:
        return self.environment()["PATH"]  # sudo replaces it, whatever it preserves

    def nodes(self, count: int | None = None) -> list[Node]:
        """Its nodes: as many as it was brought up with, if no count is given."""
        pids, logs = self.state / "pids", self.state / "logs"
        return [
            Node(self.name, number, self.state / f"node-{number}", self.run_folder / str(number), pids, logs)
            for number in range(1, (count or self._recorded_nodes() or 1) + 1)
        ]

    def _daemon(self, name: str) -> Daemon:
        return Daemon(name, self.state / "pids", self.state / "logs")

    def daemons(self) -> list[Daemon]:
        """Its processes, in the order of their start."""
        control = [self._daemon(name) for name in CONTROL_PLANE]
        return control + [daemon for node in self.nodes() for daemon in node.daemons]

    def _recorded_nodes(self) -> int | None:
        try:
            return int((self.state / "nodes").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def running(self) -> bool:
        furnished = self.state / "furnished"
        return furnished.exists() and all(daemon.pid for daemon in self.daemons()) and self._answers()

    def _answers(self) -> bool:
        with contextlib.suppress(ClusterFailed):
            return self.kubectl("get", "--raw=/readyz", timeout=20) == "ok"
        return False

    def up(self, nodes: int | None = None) -> None:
        artifacts.build()
        if not machine.privileged():
            raise ClusterUnavailable("a local cluster needs root: run it with sudo")
        with places.lock(f"cluster-{self.name}"):
            begin = time.monotonic()
            if self.running():
                if nodes not in {None, self._recorded_nodes()}:
                    raise ClusterFailed(
                        f"cluster {self.name} has {self._recorded_nodes()} node(s): take it down to change that"
                    )
                self._refurnish()
                say(f"{self.name} is up ({time.monotonic() - begin:.1f} s)")
                return
            self._remove()
            try:
                self._start(nodes or 1)
            except BaseException:
                say(f"{self.name} did not come up; its logs are in {self.state / 'logs'}")
                raise
            say(f"{self.name} is up: {time.monotonic() - begin:.1f} s in all")

    def down(self) -> None:
        if not machine.privileged():
            raise ClusterUnavailable("a local cluster needs root: run it with sudo")
        with places.lock(f"cluster-{self.name}"), step(f"take {self.name} down"):
            self._remove()

    def _refurnish(self) -> None:
        """Bring a running cluster up to date with what it is furnished with."""
        furnished = self.state / "furnished"
        if furnished.read_text() != furnish.digest():
            with step("furnish anew what has changed"):
                self._load_images(self.nodes())
                furnish.furnish(self)
                furnished.write_text(furnish.digest())

    def _start(self, count: int) -> None:
        plugins = machine.prepare()
        components = artifacts.kubernetes()
        self._make_folders(count)
        nodes = self.nodes(count)
        environment = {"PATH": machine.PATH, "HOME": "/", "LANG": "C.UTF-8"}

        def runtimes() -> None:
            with step("containerd and images"):
                _together(partial(node.start_containerd, plugins, environment) for node in nodes)
                self._load_images(nodes)

        with ThreadPoolExecutor(1) as threads:
            with step("network"):
                self._make_networks(nodes)
            loaded = threads.submit(runtimes)
            with step("certificates"):
                authority = Authority(self.state / "pki")
                admin = authority.issue("admin", "admin", groups=["system:masters"])
                authority.kubeconfig(self.kubeconfig, admin, API)
            with step("control plane"):
                self._start_control_plane(components, authority, environment)
            for node in nodes:
                node.start_proxy(components, authority, API, environment)
            loaded.result()
        for node in nodes:
            node.start_kubelet(components, authority, API, nodes[0].address, environment)
        with step("definitions, router and Prometheus"):
            furnish.furnish(self)
        for daemon in self.daemons():
            daemon.must_run()
        self._give_to_user()
        (self.state / "furnished").write_text(furnish.digest())

    def _make_folders(self, count: int) -> None:
        self.tools.mkdir(parents=True)
        (self.state / "nodes").write_text(str(count))
        (self.tools / "kubectl").symlink_to(artifacts.kubectl())
        (self.tools / "load").symlink_to(artifacts.load_generator())

    def _make_networks(self, nodes: list[Node]) -> None:
        first = nodes[0].space
        network.make_first(first)
        for node in nodes[1:]:
            network.join(node.space, node.number, first, [n.number for n in nodes if n.number < node.number])

    def _load_images(self, nodes: Iterable[Node]) -> None:
        archives = artifacts.image_archives()
        _together(partial(node.load_image, archive) for node in nodes for archive in archives)

    def load_image(self, archive: Path) -> None:
        _together(partial(node.load_image, archive) for node in self.nodes())

    def _start_control_plane(self, components: Path, authority: Authority, environment: Mapping[str, str]) -> None:
        def start(name: str, *flags: str) -> None:
            command = [*network.enter(network.namespace(self.name)), str(components / name), *flags]
            self._daemon(name).start(command, environment)

        def client(name: str) -> Path:
            identity = authority.issue(name, f"system:{name}")
            return authority.kubeconfig(self.state / f"{name}.kubeconfig", identity, API)

        etcd = "http://127.0.0.1:2379"
        start(
            "etcd",
            f"--data-dir={self.state / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
            "--unsafe-no-fsync",  # the cluster does not outlive the machine's boot
        )
        address = network.node_address(1)
        hosts = ["DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc"]
        hosts += [f"IP:{address}", f"IP:{API_SERVICE}", "IP:127.0.0.1"]
        serving = authority.issue("kube-apiserver", "kube-apiserver", hosts=hosts)
        caller = authority.issue("kube-apiserver-kubelet", "kube-apiserver", groups=["system:masters"])
        signing, public = authority.key_pair("service-accounts")
        policy = self.state / "audit-policy.json"
        policy.write_text(json.dumps(AUDIT_POLICY))
        # Whoever serves an API behind the API server knows it by a certificate that no other authority gives.
        front = Authority(self.state / "pki-front-proxy")
        proxy = front.issue("front-proxy-client", "front-proxy-client")
        start(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit}",
            f"--advertise-address={address}",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={authority.certificate}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--kubelet-certificate-authority={authority.certificate}",
            f"--kubelet-client-certificate={caller.certificate}",
            f"--kubelet-client-key={caller.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={front.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={signing}",
        )
        manager, scheduler = client("kube-controller-manager"), client("kube-scheduler")
        corefile = self.state / "Corefile"
        dns = authority.kubeconfig(
            self.state / "coredns.kubeconfig", authority.issue("coredns", "coredns", groups=["system:masters"]), API
        )
        corefile.write_text(COREFILE.format(address=address, kubeconfig=dns))
        wait_until("the API server", self._not_ready, 60)
        start(
            "kube-controller-manager",
            f"--kubeconfig={manager}",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={signing}",
            f"--root-ca-file={authority.certificate}",
            "--horizontal-pod-autoscaler-sync-period=5s",
        )
        start("kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false")
        start("coredns", str(corefile))

    def _not_ready(self) -> None:
        self._daemon("etcd").must_run()
        self._daemon("kube-apiserver").must_run()
        self.kubectl("get", "--raw=/readyz", timeout=20)

    def _give_to_user(self) -> None:
        """What root made with sudo is for the user who called sudo to read."""
        if "SUDO_UID" in os.environ:
            os.chown(self.kubeconfig, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))

    def _remove(self) -> None:
        """Remove what there is, of a whole cluster or of half a one."""
        nodes = self.nodes()
        for daemon in reversed(self.daemons()):
            daemon.stop(grace=1)  # the API server would wait for its watchers to leave, and nothing is kept
        for node in nodes:
            process.stop(node.shims(), grace=0)
            _kill_cgroups(node)
        for node in reversed(nodes):
            network.remove(node.space)
        if self.state.exists():
            shutil.rmtree(self.state)
        shutil.rmtree(self.run_folder, ignore_errors=True)
        self._remove_empty_folders()

    def _remove_empty_folders(self) -> None:
        """The last cluster takes the mount points with it."""
        with contextlib.suppress(OSError):
            places.RUN.rmdir()
            for path in FIXED_PATHS:
                with contextlib.suppress(OSError):
                    Path(path).rmdir()

    def describe(self) -> Mapping[str, str]:
        dead = [daemon.name for daemon in self.daemons() if daemon.pid is None]
        return {
            "provider": "local",
            "state": "running" if self.running() else f"not running ({', '.join(dead) or 'not furnished'})",
            "nodes": ", ".join(self.node_addresses),
            "kubeconfig": str(self.kubeconfig),
            "network": str(self.network),
            "logs": str(self.state / "logs"),
            "memory": f"{sum(_resident(d.pid) for d in self.daemons() if d.pid) // 2**20} MiB without pods",
        }


def _kill_cgroups(node: Node) -> None:
    """End what runs in the pods of a node, and remove their control groups."""
    groups = node.cgroups()
    pids = {int(pid) for group in groups for pid in _members(group)}
    process.stop(sorted(pids), grace=0)
    for group in groups:
        wait_until(f"the removal of {group}", partial(_unremovable, group), 10)


def _unremovable(group: Path) -> str | None:
    try:
        group.rmdir()
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error)
    return None


def _members(group: Path) -> list[str]:
    try:
        return (group / "cgroup.procs").read_text().split()
    except OSError:
        return []


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _together(calls: Iterable[Callable[[], None]]) -> None:
    """Make calls at the same time; the first that fails fails."""
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(call) for call in calls]:
            done.result()

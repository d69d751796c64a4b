"""A node of a local cluster: containerd, kubelet and kube-proxy in a network and mount namespace of their own.

The mount namespace is what makes `down` simple: every mount of the kubelet and of containerd lies in it, so
all of them go when its processes do, and the fixed paths that both insist on (device plugins, shim sockets,
log links) are the node's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import artifacts, network
from tests.cluster.interface import ClusterFailed
from tests.cluster.pki import Authority
from tests.cluster.process import Daemon
from tests.cluster.waiting import wait_until

# Where containerd, the kubelet and CNI write whatever they are told: each node sees a tmpfs there.
FIXED_PATHS = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
# No other cluster's namespaces must live on in our copy of the mounts; hence the umount of /run/netns.
SET_UP_MOUNTS = """
umount --recursive --lazy /run/netns 2>/dev/null
set -e
for path in {paths}; do mount -t tmpfs tmpfs "$path"; done
mount --make-rshared /
exec {holder}
"""
CONTAINERD = """
version = 2
root = "{state}/containerd"
state = "{run}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{run}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE (in a container or a small VM) runc could not lower the score, and would fail.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{state}/cni"
"""


@dataclass(frozen=True)
class Node:
    """One node, counted from 1."""

    cluster: str
    number: int
    state: Path
    run: Path
    pids: Path
    logs: Path

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return network.node_address(self.number)

    @property
    def space(self) -> Path:
        return network.namespace(self.cluster, self.number)

    @property
    def cgroup(self) -> str:
        return f"tidegate-{self.cluster}.{self.number}"

    @property
    def socket(self) -> Path:
        return self.run / "containerd.sock"

    def daemon(self, component: str) -> Daemon:
        return Daemon(f"{component}-{self.number}", self.pids, self.logs)

    @property
    def daemons(self) -> list[Daemon]:
        """In the order of their start."""
        return [self.daemon(name) for name in ("mounts", "containerd", "kubelet", "kube-proxy")]

    def start_containerd(self, plugins: Path, environment: Mapping[str, str]) -> None:
        """Start containerd and wait until it answers."""
        for path in FIXED_PATHS:
            Path(path).mkdir(parents=True, exist_ok=True)
        for folder in (self.state / "cni", self.run):
            folder.mkdir(parents=True)
        config = self.state / "containerd.toml"
        config.write_text(
            CONTAINERD.format(state=self.state, run=self.run, pause=artifacts.PAUSE_IMAGE, plugins=plugins)
        )
        (self.state / "cni/10-pods.conflist").write_text(json.dumps(self._pod_network()))
        script = SET_UP_MOUNTS.format(paths=" ".join(FIXED_PATHS), holder=artifacts.pause())
        unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        holder = self.daemon("mounts")
        holder.start([*network.enter(self.space), *unshare], environment)

        def unmounted() -> str | None:
            holder.must_run()
            command = Path(f"/proc/{holder.pid}/cmdline").read_bytes()
            return None if command.startswith(bytes(artifacts.pause())) else "the mounts are being made"

        wait_until(f"the mounts of {self.name}", unmounted, 10)
        daemon = self.daemon("containerd")
        daemon.start([*self._enter(), "containerd", "--config", str(config)], environment)

        def unanswered() -> str | None:
            daemon.must_run()
            with socket.socket(socket.AF_UNIX) as connection:
                try:
                    connection.connect(str(self.socket))
                except OSError as error:
                    return str(error)
            return None

        wait_until(f"containerd of {self.name}", unanswered, 30)

    def _enter(self) -> list[str]:
        return ["nsenter", f"--net={self.space}", f"--mount=/proc/{self.daemon('mounts').pid}/ns/mnt"]

    def _pod_network(self) -> Mapping[str, object]:
        # Routed (ptp) and not bridged: on a bridge, an answer from pod to pod of the same node would pass by
        # the translation of Service addresses, unless the kernel has br_netfilter.
        ranges = {"ranges": [[{"subnet": network.pod_subnet(self.number)}]], "routes": [{"dst": "0.0.0.0/0"}]}
        ipam = {"type": "host-local", "dataDir": str(self.run / "addresses"), **ranges}
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": ipam}]}

    def load_image(self, archive: Path) -> None:
        """Import a docker-archive."""
        done = subprocess.run(
            ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", "images", "import", str(archive)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterFailed(f"{self.name} does not take {archive.name}: {done.stderr.strip()}")

    def start_kubelet(
        self, components: Path, authority: Authority, api: str, dns: str, environment: Mapping[str, str]
    ) -> None:
        """Start the kubelet; the node registers itself."""
        hosts = (f"IP:{self.address}", f"DNS:{self.name}")
        identity = authority.issue(self.name, f"system:node:{self.name}", groups=["system:nodes"], hosts=hosts)
        for hierarchy in _hierarchies():
            (hierarchy / self.cgroup).mkdir(exist_ok=True)
            weigh(hierarchy / self.cgroup)
        config = self.state / "kubelet.json"
        resolv = self.state / "resolv.conf"
        resolv.touch()
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"x509": {"clientCAFile": str(authority.certificate)}, "webhook": {"enabled": True}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(identity.certificate),
            "tlsPrivateKeyFile": str(identity.key),
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "clusterDNS": [dns],
            "clusterDomain": "cluster.local",
            "resolvConf": str(resolv),
            "podLogsDir": str(self.state / "pod-logs"),
            "volumePluginDir": str(self.state / "volume-plugins"),
            # Both generations of cgroups, swap or not, and no place in a hierarchy that systemd keeps.
            "failCgroupV1": False,
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": True,
            "cgroupRoot": f"/{self.cgroup}",
            "enforceNodeAllocatable": [],
            # The machine's disk is not the cluster's: it evicts nothing before the machine itself is in need.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
        }
        config.write_text(json.dumps(settings, indent=2))
        kubeconfig = authority.kubeconfig(self.state / "kubelet.kubeconfig", identity, api)
        labels = ["--node-labels=tidegate.test/router=true"] if self.number == 1 else []
        command = [
            str(components / "kubelet"),
            f"--config={config}",
            f"--kubeconfig={kubeconfig}",
            f"--root-dir={self.state / 'kubelet'}",
            f"--cert-dir={self.state / 'kubelet-pki'}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            *labels,
        ]
        self.daemon("kubelet").start([*self._enter(), *command], environment)

    def start_proxy(self, components: Path, authority: Authority, api: str, environment: Mapping[str, str]) -> None:
        """Start kube-proxy."""
        identity = authority.issue(f"{self.name}-proxy", "system:kube-proxy")
        kubeconfig = authority.kubeconfig(self.state / "kube-proxy.kubeconfig", identity, api)
        config = self.state / "kube-proxy.json"
        settings = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": "10.244.0.0/16",
            "hostnameOverride": self.name,
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            # These are the machine's, and not a namespace's to change.
            "conntrack": {"maxPerCore": 0, "min": 0},
        }
        config.write_text(json.dumps(settings, indent=2))
        command = [str(components / "kube-proxy"), f"--config={config}"]
        self.daemon("kube-proxy").start([*network.enter(self.space), *command], environment)

    def shims(self) -> list[int]:
        """The processes of containerd that hold this node's containers; they outlive it."""
        mark = str(self.socket).encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().split(b"\0")
                if b"containerd-shim" in command[0] and mark in command:
                    found.append(int(folder.name))
        return found

    def cgroups(self) -> list[Path]:
        """The control groups of its pods, in every hierarchy, the inner ones first."""
        roots = [hierarchy / self.cgroup for hierarchy in _hierarchies()]
        folders = [Path(folder) for root in roots for folder, _, _ in os.walk(root)]
        return sorted(folders, key=lambda folder: len(folder.parts), reverse=True)


def weigh(group: Path) -> None:
    """Have the pods of a node weigh as eight processes of the machine that want a processor, not as one.

    All of them together count as one otherwise, and on a busy machine the router starves: it takes a minute to apply a
    route, and clients give up.
    """
    for file, usual in (("cpu.shares", 1024), ("cpu.weight", 100)):
        if (group / file).exists():
            (group / file).write_text(str(8 * usual))


def _hierarchies() -> list[Path]:
    """The roots of the control group hierarchies: one with version 2, one for each controller before."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(place) for _, place, kind, *_ in mounts if kind in {"cgroup", "cgroup2"}]

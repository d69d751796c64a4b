"""What the local provider needs of the machine: found, installed, or named with the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.interface import ClusterUnavailable
from tests.cluster.progress import step

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The command that must be there, and the Debian package that has it.
COMMANDS = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "openssl": "openssl",
}
NETWORK_PLUGINS = ("ptp", "host-local", "loopback")
NETWORK_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
NETWORK_PLUGIN_PACKAGE = "containernetworking-plugins"


def privileged() -> bool:
    """Whether this process may make namespaces and mounts."""
    return os.geteuid() == 0


def can_become_root() -> bool:
    """Whether sudo works without a password, or can ask for one."""
    if not shutil.which("sudo"):
        return False
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    return subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0


def network_plugins() -> Path | None:
    """The folder with the CNI plugins."""
    for folder in NETWORK_PLUGIN_FOLDERS:
        if all((folder / plugin).exists() for plugin in NETWORK_PLUGINS):
            return folder
    return None


def missing_packages() -> list[str]:
    """The Debian packages of everything that is not there."""
    packages = {package for command, package in COMMANDS.items() if not shutil.which(command, path=PATH)}
    if network_plugins() is None:
        packages.add(NETWORK_PLUGIN_PACKAGE)
    return sorted(packages)


def prepare() -> Path:
    """See that everything is there, as root, installing what is not; returns the folder of CNI plugins."""
    if missing := missing_packages():
        remedy = f"`apt-get install {' '.join(missing)}`"
        if not shutil.which("apt-get"):
            raise ClusterUnavailable(f"{', '.join(missing)} missing: install the like of {remedy}")
        with step(f"install {', '.join(missing)}", announce=True):
            for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
                done = subprocess.run(
                    ["apt-get", "--quiet", *arguments],
                    env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                )
        if missing := missing_packages():
            said = done.stderr.strip()[-300:]
            raise ClusterUnavailable(f"{', '.join(missing)} could not be installed: try {remedy} ({said})")
    plugins = network_plugins()
    if plugins is None:
        raise ClusterUnavailable(f"the CNI plugins are missing: install {NETWORK_PLUGIN_PACKAGE}")
    return plugins

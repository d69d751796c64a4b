"""Network namespaces: each cluster has a network of its own, without a way out.

So nothing leaks, no port clashes, and clusters stand side by side with the same addresses.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

NAMESPACES = Path("/run/netns")
THREAD = Path("/proc/thread-self/ns/net")
CLONE_NEWNET = 0x40000000
# Where this process began, held open. A cluster's network has no way out to where packages and modules come from.
OUTSIDE = Path(f"/proc/self/fd/{os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)}") if THREAD.exists() else None
BRIDGE = "tidegate0"
SUBNET = "172.30.0"
PREFIX = 24

Result = TypeVar("Result")


def node_address(number: int) -> str:
    """The address of a node, counted from 1."""
    return f"{SUBNET}.{number}"


def pod_subnet(number: int) -> str:
    """The addresses of the pods of a node."""
    return f"10.244.{number}.0/24"


def namespace(cluster: str, number: int = 1) -> Path:
    """The network namespace of a node."""
    return namespace_of(NAMESPACES / f"tidegate-{cluster}", number)


def enter(space: Path) -> list[str]:
    """The prefix that runs a command in a namespace.

    Not `ip netns exec`: that mounts /sys anew, without the cgroups that the kubelet looks for.
    """
    return ["nsenter", f"--net={space}"]


def make_first(space: Path) -> None:
    """The namespace of the first node: its interface is a bridge, which further nodes join."""
    _ip("netns", "add", space.name)
    own = ("-n", space.name)
    _ip(*own, "link", "set", "lo", "up")
    _ip(*own, "link", "add", BRIDGE, "address", "02:00:00:00:00:01", "type", "bridge")
    _ip(*own, "address", "add", f"{node_address(1)}/{PREFIX}", "dev", BRIDGE)
    _ip(*own, "link", "set", BRIDGE, "up")
    # Nothing is behind it, but Kubernetes takes the node's address from the default route.
    _ip(*own, "route", "add", "default", "dev", BRIDGE)
    _forward(space)


def join(space: Path, number: int, first: Path, others: list[int]) -> None:
    """The namespace of a further node, joined to the first; pods of either reach those of the other."""
    _ip("netns", "add", space.name)
    own = ("-n", space.name)
    port = f"node{number}"
    _ip(*own, "link", "set", "lo", "up")
    _ip(*own, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", first.name)
    _ip("-n", first.name, "link", "set", port, "master", BRIDGE, "up")
    _ip(*own, "address", "add", f"{node_address(number)}/{PREFIX}", "dev", "eth0")
    _ip(*own, "link", "set", "eth0", "up")
    _ip(*own, "route", "add", "default", "via", node_address(1))
    for other in others:
        _ip(*own, "route", "add", pod_subnet(other), "via", node_address(other))
        _ip("-n", namespace_of(first, other).name, "route", "add", pod_subnet(number), "via", node_address(number))
    _forward(space)


def namespace_of(first: Path, number: int) -> Path:
    """The namespace of a node, given that of the first; no cluster's name has a dot."""
    return first if number == 1 else first.with_name(f"{first.name}.{number}")


def remove(space: Path) -> None:
    """Remove a namespace by name; no error if it is not there."""
    if space.exists():
        _ip("netns", "delete", space.name)


def _forward(space: Path) -> None:
    script = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter"
    subprocess.run([*enter(space), "sh", "-c", script], check=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def move_thread(space: Path) -> None:
    """Move the calling thread, and the threads it starts from now on, into a namespace."""
    descriptor = os.open(space, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def visit(space: Path | None) -> Iterator[None]:
    """Be in a namespace (None: stay), and back where one was afterwards."""
    if space is None or inside(space):
        yield
        return
    before = os.open(THREAD, os.O_RDONLY | os.O_CLOEXEC)
    try:
        move_thread(space)
        yield
        _set(before)
    finally:
        os.close(before)


def _set(descriptor: int) -> None:
    # Python has os.setns only since 3.12.
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: enter a network namespace")


def inside(space: Path) -> bool:
    """Whether the calling thread is in that namespace."""
    try:
        there, here = space.stat(), THREAD.stat()
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def call_in(space: Path | None, function: Callable[[], Result]) -> Result:
    """Call a function in a namespace, in a thread of its own, so that the caller stays where it is."""
    if space is None or inside(space):
        return function()
    results: list[Result] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            move_thread(space)
            results.append(function())
        except Exception as error:  # noqa: BLE001 - handed to the caller, below
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

"""Choose how a cluster is made on this machine."""

from __future__ import annotations

import os
import platform

from tests.cluster import machine
from tests.cluster.interface import Cluster, ClusterUnavailable
from tests.cluster.kind import KindCluster, docker_answers
from tests.cluster.local import LocalCluster

VARIABLE = "TIDEGATE_CLUSTER_PROVIDER"
PROVIDERS: dict[str, type[Cluster]] = {"local": LocalCluster, "kind": KindCluster}


def choose(*, asked: str | None, linux: bool, root: bool, docker: bool) -> str:
    """The provider that was asked for, or the first that works here."""
    if asked:
        if asked not in PROVIDERS:
            raise ClusterUnavailable(f"{VARIABLE} is {asked!r}: set it to one of {', '.join(PROVIDERS)}")
        return asked
    if not linux:
        raise ClusterUnavailable("a cluster takes Linux, whose programs its images are made of: use a Linux VM")
    if root:
        return "local"
    if docker:
        return "kind"
    raise ClusterUnavailable("neither root nor Docker here: run as root, allow sudo, or start Docker")


def cluster(name: str) -> Cluster:
    """The cluster of that name, up or not."""
    asked = os.environ.get(VARIABLE)
    linux = platform.system() == "Linux"
    root = linux and (machine.privileged() or machine.can_become_root())
    docker = not asked and linux and not root and docker_answers()
    return PROVIDERS[choose(asked=asked, linux=linux, root=root, docker=docker)](name)

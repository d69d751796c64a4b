"""The API server away, as its process stands still: connections stay, and nobody answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.local import LocalCluster


@contextmanager
def frozen(cluster: LocalCluster) -> Iterator[None]:
    """Until the block ends."""
    (pid,) = (daemon.pid for daemon in cluster.daemons() if daemon.name == "kube-apiserver")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)

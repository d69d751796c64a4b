"""Where things are kept: what can be made again in the cache, what a cluster is in the state folder.

Both lie outside the clone, so that a fresh clone does not build Kubernetes again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
RUN = Path("/run/tidegate")


def cache() -> Path:
    """The folder for binaries and images."""
    return _home("XDG_CACHE_HOME", ".cache")


def state() -> Path:
    """The folder for the state of clusters, one folder each."""
    return _home("XDG_STATE_HOME", ".local/state") / "cluster"


def _home(variable: str, default: str) -> Path:
    home = os.environ.get(variable)
    return (Path(home) if home else Path.home() / default) / "tidegate"


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock by name against the other processes of this user."""
    folder = cache() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""What Argo CD and Flux do, in small: a git repository says what is to be, and a loop applies what its HEAD says."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.cluster.interface import ClusterFailed

Json = dict[str, Any]

EVERY = 2.0
"""Seconds from one apply to the next."""
FILE = "checkout.yaml"
NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
"""No settings of the machine or of its user: a demo signs no commit and runs no hook."""


class GitFailed(Exception):
    """git said no; the message is what it said."""


def missing() -> str | None:
    """Why there can be no repository here, and the remedy; None if there can."""
    return None if shutil.which("git") else "git is not on the PATH; install it (apt-get install git) to see this act"


class Repository:
    """The application's manifests in a git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._git("init", "--quiet")
        self._git("config", "user.name", "Tidegate demo")
        self._git("config", "user.email", "demo@shop.test")

    def commit(self, message: str, manifests: Iterable[Json]) -> str:
        """Commit these manifests in place of the last; the commit's short name."""
        (self._folder / FILE).write_text(yaml.safe_dump_all(manifests, sort_keys=False))
        self._git("add", FILE)
        self._git("commit", "--quiet", "--message", message)
        return self.head()

    def revert(self) -> str:
        """``git revert HEAD``; the new commit's short name."""
        self._git("revert", "--no-edit", "HEAD")
        return self.head()

    def head(self) -> str:
        """The short name of HEAD."""
        return self._git("rev-parse", "--short", "HEAD").strip()

    def read(self, commit: str) -> str:
        """The manifests of a commit."""
        return self._git("show", f"{commit}:{FILE}")

    def _git(self, *arguments: str) -> str:
        settings = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        command = ["git", "-C", str(self._folder), *arguments]
        done = subprocess.run(
            command, env={**settings, **NOBODY}, capture_output=True, text=True, timeout=30, check=False
        )
        if done.returncode != 0:
            raise GitFailed(f"git {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout


class Follower:
    """Applies what HEAD says again and again, changed or not, in a thread of its own. An apply that fails is tried
    again at the next turn, as those tools do."""

    def __init__(self, repository: Repository, apply: Callable[[str], object], *, every: float = EVERY) -> None:
        self._repository, self._apply, self._every = repository, apply, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._applied: dict[str, float] = {}
        self.turns = 0
        """How often something was applied."""
        self._trouble = ""

    def applied(self, commit: str) -> float | None:
        """When a commit had been applied for the first time, in seconds of the epoch."""
        return self._applied.get(commit)

    def short_of(self, commit: str) -> str | None:
        """None once a commit has been applied, else what came instead."""
        if commit in self._applied:
            return None
        return f"{commit} is not applied{f': {self._trouble}' if self._trouble else ''}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        due = 0.0
        while not self._over.wait(due):
            began = time.monotonic()
            self._turn()
            due = max(0.0, began + self._every - time.monotonic())

    def _turn(self) -> None:
        try:
            commit = self._repository.head()
            self._apply(self._repository.read(commit))
        except (ClusterFailed, GitFailed, subprocess.TimeoutExpired) as error:
            self._trouble = str(error)
            return
        self._trouble = ""
        self.turns += 1
        self._applied.setdefault(commit, time.time())

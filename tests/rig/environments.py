"""Other people's packages, each in an environment of its own outside the clone, made once and kept in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import places
from tests.cluster.progress import step


class Unavailable(Exception):
    """A package cannot be had here; the message says why."""


@dataclass(frozen=True)
class Environment:
    """Some packages, for Python or for node."""

    name: str
    packages: tuple[str, ...]
    javascript: bool = False

    def command(self, script: str) -> tuple[list[str], dict[str, str]]:
        """How to run a script in it. Raises Unavailable."""
        folder = self.installed()
        if self.javascript:
            return ["node", script], os.environ | {"NODE_PATH": str(folder / "node_modules")}
        return [str(folder / "bin/python"), "-I", script], dict(os.environ)

    def installed(self) -> Path:
        """Its folder. Raises Unavailable."""
        python = f"py{sys.version_info.major}{sys.version_info.minor}"
        folder = places.cache() / "sdks" / "-".join([self.name, *(() if self.javascript else (python,))])
        done = folder / "installed"
        with places.lock(f"sdk-{self.name}"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                with step(f"install {self.packages[0]}, to compare with"):
                    self._install(folder)
                done.touch()
        return folder

    def _install(self, folder: Path) -> None:
        if self.javascript:
            if not (shutil.which("node") and shutil.which("npm")):
                raise Unavailable("node and npm are not installed")
            folder.mkdir(parents=True)
            _run(["npm", "install", "--no-audit", "--no-fund", f"--prefix={folder}", *self.packages])
            return
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *self.packages])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-300:]}")

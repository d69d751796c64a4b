"""The SDKs' own evaluators, each in an environment of its own outside the clone, made once and kept in the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import places
from tests.cluster.progress import step
from tidegate.api.flag import BucketingRevision

Json = dict[str, Any]
HERE = Path(__file__).parent


class Unavailable(Exception):
    """An SDK cannot be had here; the message says why."""


@dataclass(frozen=True)
class Sdk:
    """One version of one SDK's evaluator."""

    name: str
    packages: tuple[str, ...]
    revision: BucketingRevision
    """How it hashes."""
    script: str

    @property
    def is_javascript(self) -> bool:
        """Run by node."""
        return self.script.endswith(".js")

    def answers(self, cases: Iterable[Json]) -> Iterator[list[list[Any]]]:
        """What it says, case by case. Raises Unavailable."""
        command, environment = self._command()
        lines = "".join(json.dumps(case) + "\n" for case in cases)
        done = subprocess.run(command, input=lines, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr[-2000:]}")
        return map(json.loads, done.stdout.splitlines())

    def _command(self) -> tuple[list[str], dict[str, str]]:
        script = str(HERE / self.script)
        folder = self._installed()
        if self.is_javascript:
            return ["node", script], os.environ | {"NODE_PATH": str(folder / "node_modules")}
        return [str(folder / "bin/python"), "-I", script], dict(os.environ)

    def _installed(self) -> Path:
        python = f"py{sys.version_info.major}{sys.version_info.minor}"
        folder = places.cache() / "sdks" / "-".join([self.name, *(() if self.is_javascript else (python,))])
        done = folder / "installed"
        with places.lock(f"sdk-{self.name}"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                with step(f"install {self.packages[0]}, to compare with"):
                    self._install(folder)
                done.touch()
        return folder

    def _install(self, folder: Path) -> None:
        if self.is_javascript:
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


_BOTH = ("mmh3==5.3.1", "openfeature-flagd-api==1.0.0", "openfeature-sdk==0.10.0", "panzi-json-logic==1.0.1")
PYTHON_1 = Sdk("flagd-core-1.0.0", ("openfeature-flagd-core==1.0.0", *_BOTH), BucketingRevision.V2, "evaluate.py")
PYTHON_2 = Sdk(
    "flagd-core-2.0.0", ("openfeature-flagd-core==2.0.0", "cbor2==5.9.0", *_BOTH), BucketingRevision.V3, "evaluate.py"
)
JAVASCRIPT = Sdk(
    "flagd-core-js-4.0.1",
    ("@openfeature/flagd-core@4.0.1", "@openfeature/core@1.12.0"),
    BucketingRevision.V2,
    "evaluate.js",
)
SDKS = (PYTHON_1, PYTHON_2, JAVASCRIPT)

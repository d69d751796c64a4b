"""The SDKs' own evaluators, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.environments import Environment
from tidegate.api.bucketing import BucketingRevision

Json = dict[str, Any]
HERE = Path(__file__).parent


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
        return Environment(self.name, self.packages, javascript=self.is_javascript).command(str(HERE / self.script))


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

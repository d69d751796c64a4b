"""Constant load from a real HTTP client with keep-alive connections (tests/cluster/load), and what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until

WISHED = int(os.environ.get("TIDEGATE_LOAD", "0"))
"""Requests a second at least, with which a story is to be told; then it goes on until there were ``ENOUGH``."""
ENOUGH = 20_000
results: list[Result] = []
"""Of all loads of this process."""


@dataclass(frozen=True)
class Result:
    """What the load generator said at its end. Keys are ``VERSION CODE``, ``router CODE`` or ``error: TEXT``.

    The code is HTTP's, or gRPC's by its name.
    """

    total: int
    counts: dict[str, int]
    first: dict[str, float]
    last: dict[str, float]
    raw: dict[str, Any]

    def failed(self, *, but: str = "") -> dict[str, int]:
        """Answers that were no success, those of the version ``but`` aside."""
        return {
            key: count
            for key, count in self.counts.items()
            if not key.endswith((" 200", " OK")) and not (but and key.startswith(f"{but} "))
        }

    def last_sent(self, version: str) -> float | None:
        """When the last request was sent that a version answered, in seconds of the epoch."""
        sent: dict[str, float] = self.raw["last_sent"]
        return max((at for key, at in sent.items() if key.startswith(f"{version} ")), default=None)

    def of(self, version: str) -> int:
        """Answers of a version."""
        return sum(count for key, count in self.counts.items() if key.startswith(f"{version} "))


class Load:
    """Requests at a constant rate to a host behind the gateway, from ``start`` to ``stop``."""

    def __init__(
        self,
        cluster: Cluster,
        host: str,
        folder: Path,
        *,
        rate: int = 300,
        workers: int = 8,
        timeout: int = 5,
        grpc: bool = False,
        of: int = 1,
    ) -> None:
        """``of`` is how many loads tell the story together."""
        self._cluster, self._host, self._workers = cluster, host, workers
        self._rate, self._enough = max(rate, WISHED // of), ENOUGH // of if WISHED else 0
        self._timeout, self._grpc = timeout, grpc
        self._out = folder / f"load-{host}.jsonl"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start, and wait for the first answers."""
        self._out.unlink(missing_ok=True)
        aim = ["-url", self._cluster.gateway_url, "-host", self._host, "-rate", str(self._rate)]
        clients = ["-workers", str(self._workers), "-timeout", f"{self._timeout}s"]
        load = [str(self._cluster.tools / "load"), *aim, *clients, "-out", str(self._out)]
        load += ["-grpc"] if self._grpc else []
        self._process = subprocess.Popen(
            [*self._cluster.enter(), *load],
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_until("the load has its first answers", lambda: None if self.counts() else "none yet", 20)
        return self

    def counts(self) -> Counter[str]:
        """Answers so far."""
        counts: Counter[str] = Counter()
        if self._out.exists():
            for line in self._out.read_text().splitlines():
                if line.endswith("}"):
                    counts.update(json.loads(line)["counts"])
        return counts

    def stop(self) -> Result:
        """Stop, and what came of it."""
        if self._process is None:
            raise RuntimeError("the load was not started")
        wait_until(f"{self._enough} requests", self._few, 10 + 3 * self._enough / self._rate, pause=0.5)
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=30 + self._timeout)
        self._process = None
        raw = json.loads(said)
        results.append(Result(raw["total"], raw["counts"], raw["first"], raw["last"], raw))
        return results[-1]

    def _few(self) -> str | None:
        if not self._enough:
            return None
        total = self.counts().total()
        return None if total >= self._enough else f"{total} requests"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

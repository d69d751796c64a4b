"""Constant load from a real HTTP client with keep-alive connections (tests/cluster/load), and what became of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until

WISHED = int(os.environ.get("TIDEGATE_LOAD", "0"))
"""Requests a second at least, with which a story is to be told; then each of its loads goes on until ``ENOUGH``."""
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


@dataclass(frozen=True)
class Held:
    """What became of connections that last. Keys are ``VERSION opened|full|cut|left``, and ``refused``.

    Left are those that were open at the end of the load.
    """

    counts: dict[str, int]
    ended: list[tuple[float, str]]
    """When, in seconds of the epoch, and the key: of each that ended."""
    failures: list[str]
    """Of each that was cut or refused, when and why."""

    def of(self, version: str, what: str) -> int:
        """How many of a version became this."""
        return self.counts.get(f"{version} {what}", 0)

    def later(self, version: str, moment: float) -> int:
        """How many of a version ended in full after a moment."""
        return sum(key == f"{version} full" and at > moment for at, key in self.ended)


class Generator:
    """The load generator at work, from ``start`` to its end."""

    def __init__(self, cluster: Cluster, out: Path, *arguments: str) -> None:
        self._cluster, self._out, self._arguments = cluster, out, arguments
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start, and wait for the first answers."""
        self._out.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [*self._cluster.enter(), str(self._cluster.tools / "load"), *self._arguments, "-out", str(self._out)],
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_until("the load has its first answers", lambda: None if self.counts() else "none yet", 20)
        return self

    def moments(self) -> Iterator[tuple[float, dict[str, int]]]:
        """What was counted in each tenth of a second, and when that was."""
        if self._out.exists():
            for line in self._out.read_text().splitlines():
                if line.endswith("}"):
                    said = json.loads(line)
                    yield said["t"], said["counts"]

    def counts(self) -> Counter[str]:
        """Answers so far."""
        counts: Counter[str] = Counter()
        for _, counted in self.moments():
            counts.update(counted)
        return counts

    def end(self, seconds: float) -> dict[str, Any]:
        """Stop, and what it said."""
        if self._process is None:
            raise RuntimeError("the load was not started")
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=seconds)
        self._process = None
        raw: dict[str, Any] = json.loads(said)
        return raw

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Load(Generator):
    """Requests at a constant rate to a host behind the gateway, or to a URL, from ``start`` to ``stop``."""

    def __init__(
        self,
        cluster: Cluster,
        host: str,
        folder: Path,
        *,
        rate: int = 200,
        workers: int = 8,
        timeout: int = 5,
        grpc: bool = False,
        of: int = 1,
        url: str = "",
        post: str = "",
        token: str = "",
    ) -> None:
        """``of`` is how many loads share the rate that is wished for. Each of them goes on until it had ``ENOUGH``."""
        self._rate, self._enough = max(rate, WISHED // of), ENOUGH if WISHED else 0
        self._timeout = timeout
        aim = ["-url", url or cluster.gateway_url, "-host", host, "-rate", str(self._rate)]
        clients = ["-workers", str(workers), "-timeout", f"{timeout}s"]
        how = [*(["-grpc"] if grpc else []), *(["-post", post] if post else []), *(["-token", token] if token else [])]
        super().__init__(cluster, folder / f"load-{host}.jsonl", *aim, *clients, *how)

    def stop(self) -> Result:
        """Stop, and what came of it."""
        wait_until(f"{self._enough} requests", self._few, 10 + 3 * self._enough / self._rate, pause=0.5)
        raw = self.end(30 + self._timeout)
        results.append(Result(raw["total"], raw["counts"], raw["first"], raw["last"], raw))
        return results[-1]

    def _few(self) -> str | None:
        if not self._enough:
            return None
        total = self.counts().total()
        return None if total >= self._enough else f"{total} requests"


class Lasting(Generator):
    """Connections that last, of one sort (``stream``, ``socket``, ``call``): one more each second, or so many."""

    def __init__(
        self, cluster: Cluster, sort: str, host: str, folder: Path, *, rate: float = 1, last: int = 20, url: str = ""
    ) -> None:
        """``last`` is how many seconds each does."""
        aim = ["-url", url or cluster.gateway_url, "-host", host, "-rate", str(rate)]
        hold = ["-lasting", sort, "-last", f"{last}s", "-workers", "1"]
        super().__init__(cluster, folder / f"{sort}-{host}.jsonl", *aim, *hold)

    def stop(self) -> Held:
        """Stop, and what came of them."""
        raw = self.end(30)
        seen = [(at, key) for at, counts in self.moments() for key, count in counts.items() for _ in range(count)]
        ended = [(at, key) for at, key in seen if not key.endswith(" opened")]
        began = raw["started"]
        told = [f"{failure['t'] - began:.1f} s: {failure['text']}" for failure in raw["failures"]]
        return Held(raw["counts"], ended, told)

"""Processes that outlive the command that started them, and are stopped by one that did not.

A process id alone proves nothing: it may have been given to another process since. With the time the process
began, in a boot of the machine, it does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.interface import ClusterFailed
from tests.cluster.waiting import wait_until

GRACE = 10.0  # seconds from SIGTERM to SIGKILL


def birth(pid: int) -> str | None:
    """When the process began: boot of the machine and clock ticks since; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{fields[18]}"


@dataclass(frozen=True)
class Daemon:
    """A process by name: its pidfile and its log lie in folders of the cluster."""

    name: str
    pids: Path
    logs: Path

    @property
    def pidfile(self) -> Path:
        return self.pids / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.logs / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process, if the one that was started still runs."""
        try:
            pid, began = self.pidfile.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if birth(int(pid)) == began else None

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it, in a session of its own; it must not be running."""
        self.pids.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            pid = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd="/", start_new_session=True
            ).pid
        self.pidfile.write_text(f"{pid} {birth(pid)}\n")

    def must_run(self) -> None:
        """Fail with the end of its log if it has died."""
        if self.pid is None:
            raise ClusterFailed(f"{self.name} died; its log ends with:\n{self.tail()}")

    def tail(self, lines: int = 8) -> str:
        """The last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def stop(self, grace: float = GRACE) -> None:
        """Stop it and wait until it is gone, whoever started it; no error if it is gone already."""
        if (pid := self.pid) is not None:
            stop([pid], grace)
        self.pidfile.unlink(missing_ok=True)


def stop(pids: Sequence[int], grace: float = GRACE) -> None:
    """End processes: SIGTERM, and SIGKILL for those that stay longer than the grace period."""
    began = {pid: when for pid in pids if (when := birth(pid)) is not None}

    def left() -> list[int]:
        return [pid for pid, when in began.items() if birth(pid) == when]

    def remaining() -> str | None:
        return f"processes {alive}" if (alive := left()) else None

    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, GRACE)):
        for pid in left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        try:
            wait_until(f"the end of processes {list(began)}", remaining, patience)
        except ClusterFailed:
            if number == signal.SIGKILL:
                raise
        else:
            break
    for pid in began:  # a child of ours stays a zombie until it is waited for
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

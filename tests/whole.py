"""``make test``: the tests on a cluster, and beside them, with what they leave of the machine, those that need none.

The former wait for pods and bakes a third of their time. Exit codes: 0 all passed, 1 some did not, 130 interrupted.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Linux groups processes by session and compares niceness within a group only; the first 19 is that of the group.
NICELY = "{ echo 19 >/proc/self/autogroup; } 2>/dev/null; exec nice -n 19 make unit"
PAUSE = 0.2
"""Seconds between two looks at what was said: until its end, as pytest's own deadlines are the tests'."""


def main() -> int:
    """Run all; the exit code."""
    with tempfile.TemporaryFile() as told:
        _say("make unit runs beside make e2e; what it says comes last")
        unit = subprocess.Popen(["sh", "-c", NICELY], stdout=told, stderr=told, start_new_session=True)
        threading.Thread(target=lambda: _say(f"make unit has ended with {unit.wait()}"), daemon=True).start()
        e2e = subprocess.Popen(["make", "e2e"])

        def stop(*_: object) -> None:
            e2e.terminate()  # Ctrl-C it has had itself, and takes its cluster down
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, stop)
        try:
            on_a_cluster = e2e.wait()
            _say("what make unit says")
            return int(_followed(unit, told.fileno()) != 0 or on_a_cluster != 0)
        except KeyboardInterrupt:
            e2e.wait()
            return 130
        finally:
            _end(unit)


def _followed(process: subprocess.Popen[bytes], told: int) -> int:
    """Print what a process has said and says, until its end; its exit code."""
    at = 0
    while True:
        code = process.poll()
        while said := os.pread(told, 1 << 16, at):
            at += len(said)
            sys.stdout.buffer.write(said)
            sys.stdout.buffer.flush()
        if code is not None:
            return code
        time.sleep(PAUSE)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and all that it started are gone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _say(what: str) -> None:
    print(f" {what} ".center(shutil.get_terminal_size().columns, "="), flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""``make test``: the tests on a cluster; beside them, with what they leave of the machine, those that may be as slow as
they like; at last, alone, those that go by the machine's clock.

The first wait for pods and bakes a third of their time. Exit codes: 0 all passed, 1 some did not, 130 interrupted.
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
NICELY = "{ echo 19 >/proc/self/autogroup; } 2>/dev/null; exec nice -n 19 make virtual"
PAUSE = 0.2
"""Seconds between two looks at what was said: until its end, as pytest's own deadlines are the tests'."""


def main() -> int:
    """Run all; the exit code."""
    made: list[subprocess.Popen[bytes]] = []

    def make(what: str) -> int:
        made.append(subprocess.Popen(["make", what]))
        return made[-1].wait()

    def stop(*_: object) -> None:
        for one in made:
            one.terminate()  # Ctrl-C it has had itself, and takes its cluster down
        raise KeyboardInterrupt

    with tempfile.TemporaryFile() as told:
        _say("make virtual runs beside make e2e; what it says comes after that")
        virtual = subprocess.Popen(["sh", "-c", NICELY], stdout=told, stderr=told, start_new_session=True)
        threading.Thread(target=lambda: _say(f"make virtual has ended with {virtual.wait()}"), daemon=True).start()
        signal.signal(signal.SIGTERM, stop)
        try:
            on_a_cluster = make("e2e")
            _say("what make virtual says")
            beside = _followed(virtual, told.fileno())
            _say("make realtime")
            return int(any((on_a_cluster, beside, make("realtime"))))
        except KeyboardInterrupt:
            for one in made:
                one.wait()
            return 130
        finally:
            _end(virtual)


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

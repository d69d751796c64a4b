"""A process is stopped only if it is the one that was started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import process
from tests.cluster.interface import AttemptFailed, ClusterFailed
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.realtime

SLEEP = ("sleep", "300")
STUBBORN = (sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=1); signal.pause()")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[process.Daemon]:
    daemon = process.Daemon("sleeper", tmp_path / "pids", tmp_path / "logs")
    yield daemon
    daemon.stop(grace=0)


def test_a_daemon_is_found_again_and_stopped(daemon: process.Daemon) -> None:
    daemon.start(SLEEP, dict(os.environ))
    again = process.Daemon(daemon.name, daemon.pids, daemon.logs)
    pid = again.pid
    assert pid is not None
    again.must_run()
    again.stop()
    assert again.pid is None
    assert process.birth(pid) is None
    assert not again.pidfile.exists()


def test_a_process_with_the_number_of_an_older_one_is_left_alone(daemon: process.Daemon) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        daemon.pids.mkdir()
        daemon.pidfile.write_text(f"{stranger.pid} another-boot/12345\n")
        assert daemon.pid is None
        daemon.stop()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "not-a-pid", "1 2 3"])
def test_a_broken_pidfile_is_no_process(daemon: process.Daemon, content: str) -> None:
    daemon.pids.mkdir()
    daemon.pidfile.write_text(content)
    assert daemon.pid is None


def test_a_process_that_ignores_the_request_is_killed(daemon: process.Daemon) -> None:
    daemon.start(STUBBORN, dict(os.environ))
    wait_until("the signal handler", lambda: None if daemon.log.read_text() else "no output", 10)
    daemon.stop(grace=0.1)
    assert daemon.pid is None


def test_a_dead_daemon_is_named_with_the_end_of_its_log(daemon: process.Daemon) -> None:
    daemon.start(("sh", "-c", "echo no such file >&2; exit 1"), dict(os.environ))
    wait_until("its end", lambda: "it runs" if daemon.pid else None, 10)
    with pytest.raises(ClusterFailed, match=r"sleeper died.*\n.*no such file"):
        daemon.must_run()


def test_waiting_ends_with_what_was_seen_last() -> None:
    with pytest.raises(ClusterFailed, match="the moon: not within 0 s; seen last: clouds"):
        wait_until("the moon", lambda: "clouds", 0)


def test_waiting_tries_again_after_an_attempt_that_failed() -> None:
    fails = iter(("connection refused", "timed out", ""))

    def probe() -> None:
        if why := next(fails):
            raise AttemptFailed(why)

    wait_until("an answer", probe, 10)
    assert next(fails, None) is None


def test_waiting_ends_with_the_attempt_that_failed_last() -> None:
    def probe() -> None:
        raise AttemptFailed("connection refused")

    with pytest.raises(ClusterFailed, match="an answer: not within 0 s; seen last: connection refused"):
        wait_until("an answer", probe, 0)


def test_waiting_does_not_go_on_after_what_no_further_look_mends() -> None:
    def probe() -> None:
        raise ClusterFailed("etcd died")

    with pytest.raises(ClusterFailed, match=r"^etcd died$"):
        wait_until("the API server", probe, 10)

"""The demo's exit code says whether its claims held, and the cluster goes whatever happened."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cluster.interface import ClusterFailed
from tests.demo import __main__ as demo
from tests.demo import story
from tests.demo.claims import Record
from tests.unit.test_demo_claims import record


class Fake:
    """As much of a cluster as the demo's frame takes."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def up(self) -> None:
        self.calls.append("up")

    def down(self) -> None:
        self.calls.append("down")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """In place of the real one; signals are as they were afterwards."""
    fake = Fake()
    monkeypatch.setattr(demo, "cluster_of", lambda _: fake)
    monkeypatch.delenv("KEEP", raising=False)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    yield fake
    for one, handler in before.items():
        signal.signal(one, handler)


def played(monkeypatch: pytest.MonkeyPatch, tell: Callable[[], Record]) -> int:
    monkeypatch.setattr(story, "play", lambda *_: tell())
    return demo.main()


def kept(out: str) -> Path:
    """The folder that the output names."""
    (name,) = re.findall(r"answers are in (\S+)", out)
    return Path(name)


def test_all_claims_held(cluster: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert played(monkeypatch, record) == 0
    assert "22 of 22 claims held; set up" in capsys.readouterr().out
    assert cluster.calls == ["up", "down"]


def test_a_busy_machine_is_told(
    cluster: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = replace(record().load, raw={**record().load.raw, "latency_ms": {"p50": 900.0}})
    assert played(monkeypatch, lambda: replace(record(), load=slow)) == 0
    assert "this machine was very busy" in capsys.readouterr().out


def test_one_did_not(cluster: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert played(monkeypatch, lambda: replace(record(), left=("Service checkout-canary",))) == 1
    out, err = capsys.readouterr()
    assert "✗ after each act nothing of ours was left in Services and routes: Service checkout-canary" in out
    assert err == "demo: 1 of 22 claims did not hold\n"
    assert kept(out).is_dir()
    shutil.rmtree(kept(out))
    assert cluster.calls == ["up", "down"]


def test_it_got_stuck(cluster: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stuck() -> Record:
        raise ClusterFailed("v2 has all of the traffic: not within 180 s")

    assert played(monkeypatch, stuck) == 1
    out, err = capsys.readouterr()
    assert err == "demo: v2 has all of the traffic: not within 180 s\n"
    shutil.rmtree(kept(out))
    assert cluster.calls == ["up", "down"]


def test_an_act_that_was_skipped_is_told(
    cluster: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert played(monkeypatch, lambda: replace(record(), restored=None)) == 0
    assert "18 of 18 claims held, act 3 skipped; set up" in capsys.readouterr().out
    assert cluster.calls == ["up", "down"]

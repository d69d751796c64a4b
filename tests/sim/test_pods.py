"""Pods are asked themselves: no Prometheus, verdicts within a second or two, and few writes for all the looks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kubelet import Version
from tests.fakes.traffic import APPLIES, READS
from tests.sim.test_abort import on_stable
from tests.sim.world import NAME, QUICK, World
from tidegate.api.releasestatus import ReleaseStatus
from tidegate.core.answered import Reads
from tidegate.core.arms import Side
from tidegate.core.metric import Journal
from tidegate.ports.cluster import DEPLOYMENTS

Json = dict[str, Any]
ERRORS: Json = {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}
MEASURED: Json = {
    **QUICK,
    "steps": [{"weight": 25, "bake": "2m"}, {"weight": 100, "bake": "2s"}],
    "analysis": {"source": "Pods", "warmup": "0s", "metrics": [ERRORS]},
}


def metric_of(status: ReleaseStatus) -> Any:
    """The only metric of an analysis."""
    assert status.analysis
    (found,) = status.analysis.metrics
    return found


async def test_what_is_wrong_is_turned_back_within_two_seconds() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version(errors=0.5)})
    world.metrics.outage = "there is no Prometheus"
    world.release("v2")
    await world.until(lambda: world.oracle.most.get("v2", 0) > 0)
    began = world.clock.monotonic()
    await world.until(lambda: on_stable(world))
    assert world.clock.monotonic() - began < 2
    await world.until(lambda: "v2" not in world.oracle.spans[-1][1])
    assert world.clock.monotonic() - began < 2 + READS + APPLIES, "the router takes its time"
    await world.ends("RolledBack")
    assert world.reason == "AnalysisFailed"


async def test_pods_are_read_as_long_as_a_candidate_has_traffic_and_no_longer() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version()})
    world.metrics.outage = "there is no Prometheus"
    await world.wait(30)
    assert world.pods_answer.read_at == []
    world.release("v2")
    await world.ends("Promoted", within=300)
    read = world.pods_answer.read_at
    assert 100 < read[-1] - read[0] < 135
    assert len({round(at) for at in read}) > 110, "each second"
    await world.wait(60)
    assert world.pods_answer.read_at == read
    assert world.metrics.fetches == 0


async def test_looks_that_find_nothing_new_are_written_every_few_seconds() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(5)
    before, looks = len(world.cluster.writes), len(world.pods_answer.read_at)
    requests = metric_of(world.status).requests
    await world.wait(60)
    written = [write for write in world.cluster.writes[before:] if write.kind == world.kind]
    assert 11 <= len(written) <= 13
    assert len(world.pods_answer.read_at) - looks > 55 * 5
    assert metric_of(world.status).requests - requests == pytest.approx(60 * 50, rel=0.1)


async def test_an_operator_that_comes_new_counts_nothing_twice_and_loses_nothing() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version(errors=0.02)})
    world.versions["v1"] = Version(errors=0.02)
    world.release("v2")
    await world.until(world.baking(1))
    for after in (7, 1.3, 13, 0.4, 9):
        await world.wait(after)
        world.kill(world.process)
        await world.wait(4)
    await world.wait(12)
    analysis = world.status.analysis
    assert analysis is not None
    journal = Journal.load(analysis.journal, _spec(world))
    known = journal.metrics["errors"]
    exposed = {side: _counted(known.ledgers[side].marks, Reads.To) for side in Side}
    # All that the candidate has answered since its first traffic was counted once, whatever died meanwhile.
    assert known.evidence.total.seen == pytest.approx(exposed[Side.Candidate], abs=30)
    assert known.evidence.total.seen > 1500
    assert metric_of(world.status).candidate == pytest.approx(0.02, abs=0.004)


def _spec(world: World) -> Any:
    from tidegate.api.canary import CanarySpec

    assert world.object
    return CanarySpec.model_validate(world.object["spec"]).analysis


def _counted(marks: Any, column: str) -> float:
    return float(sum(mark.counters[column] for mark in marks.values() if mark.counters))


async def test_pods_that_cannot_be_read_are_named_and_none_at_all_is_unknown() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(5)
    (pod, *_) = sorted(world.named("v1"))
    world.pods_answer.closed = {pod}
    await world.wait(12)
    assert world.status.analysis
    assert f"1 of 4 pods cannot be read ({pod}: http://" in world.status.analysis.message
    assert "Connection refused" in world.status.analysis.message
    assert world.condition("Analyzed") == "True"
    world.pods_answer.closed = {"*"}
    await world.wait(12)
    assert world.condition("Analyzed") == "Unknown"
    assert "can be read" in world.status.message
    assert "prometheus.io/port" in world.status.message
    assert "NetworkPolicy" in world.status.message
    world.pods_answer.closed = set()
    await world.ends("Promoted", within=300)


async def test_pods_that_hang_hold_up_no_revert() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version(hangs=True, errors=0.5)})
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(5)
    assert world.condition("Analyzed") == "Unknown"
    world.release("v1")
    began = world.clock.monotonic()
    await world.until(lambda: "v2" not in world.oracle.spans[-1][1])
    assert world.clock.monotonic() - began < 2.5
    await world.ends("Aborted")


async def test_stable_pods_that_come_meanwhile_count_from_their_birth() -> None:
    world = await World.begin(spec=MEASURED, versions={"v2": Version()})
    world.release("v2")
    await world.until(world.baking(1))
    await world.wait(6)
    world.edit(DEPLOYMENTS, {"spec": {"replicas": 8}}, name=NAME)
    await world.wait(30)
    assert world.condition("Analyzed") == "True"
    assert world.status.analysis
    assert world.status.analysis.share == pytest.approx(25, abs=2)
    await world.ends("Promoted", within=300)

"""Native histograms, with a real Prometheus that scrapes them from pods of the test: a candidate that is slower fails,
one that is not does not, and nothing that a client does to its histograms counts as requests.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.rig.prometheus import EVERY, Pod, Pods, Prometheus, eventually, exposing, running
from tests.rig.protobuf import Native

from tidegate.adapters.clock import SystemClock
from tidegate.adapters.prometheus import PrometheusSource
from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, Reason, Verdict
from tidegate.app.cli.analyze import report
from tidegate.core import analysis
from tidegate.core.arms import Arms
from tidegate.core.counters import Missing
from tidegate.core.metric import Journal

pytestmark = pytest.mark.realtime

STABLE, CANDIDATE = "checkout-6fcbd", "checkout-7d9f5"
NAME = "http_request_duration_seconds"
STORIES = ("slower", "alike", "anew", "coarser", "both", "query", "zero", "otel", "converted")
OTEL = 'http_server_request_duration_seconds{http_response_status_code="200"}'
LATENCY = {"name": "latency", "preset": "Latency", "quantile": "p90", "maxIncrease": "30%"}


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    with exposing() as pods:
        yield pods


@pytest.fixture(scope="module")
def scraped(pods: Pods) -> dict[tuple[str, str], Pod]:
    return {(story, of): pods.pod(story, f"{of}-a") for story in STORIES for of in (STABLE, CANDIDATE)}


@pytest.fixture(scope="module")
def prometheus(pods: Pods, scraped: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus") / "native"
    both = {"scrape_native_histograms": True, "always_scrape_classic_histograms": True}
    with running(Prometheus(folder, pods.targets(), scraping=both)) as found:
        yield found


@dataclass
class Story:
    """A release whose durations are native histograms."""

    stable: Pod
    candidate: Pod
    arms: Arms
    spec: AnalysisSpec
    prometheus: Prometheus
    source: PrometheusSource
    status: AnalysisStatus
    name: str
    random: random.Random

    def serve(self, pod: Pod, requests: int, factor: float = 1.0) -> None:
        """Durations as they are, some 50 ms, or slower."""
        pod.native[self.name].seen += [factor * self.random.lognormvariate(-3, 0.6) for _ in range(requests)]

    async def look(self) -> AnalysisStatus:
        """Through the journal's text, as it is kept."""
        answers = await self.source.fetch(analysis.queries(self.spec, self.arms, self.status))
        assert not [answer for answer in answers.values() if isinstance(answer, Missing)]
        stored = AnalysisStatus.model_validate_json(self.status.model_dump_json(by_alias=True))
        self.status = analysis.look(self.spec, stored, self.arms, answers, datetime.now(UTC), step_changed=False)
        return self.status

    async def looks(self, count: int, factor: float = 1.0, then: Callable[[int], None] = lambda _: None) -> None:
        """So many, and requests before each."""
        for number in range(count):
            self.serve(self.stable, 300)
            self.serve(self.candidate, 100, factor)
            then(number)
            await asyncio.sleep(EVERY)
            await self.look()
            if self.status.verdict is Verdict.Fail:
                break

    async def settles(self) -> None:
        """All that was served is counted."""
        self.scraped()
        await self.look()

    def scraped(self) -> None:
        """Waits until Prometheus has all that was served."""
        eventually(lambda: self._has(self.stable) and self._has(self.candidate), "the histograms are scraped", 30)

    def _has(self, pod: Pod) -> bool:
        of = f'{self.name.partition("{")[0]}{{namespace="{pod.namespace}",pod="{pod.name}"}}'
        return self.prometheus.value(f"sum(histogram_count({of}))") == len(pod.native[self.name].seen)

    async def counts(self, candidate: int, stable: int, within: float = 20.0) -> None:
        """Looks until so much is counted, and once more: what is scraped in the midst of a look waits for the next."""
        await self.settles()
        deadline = time.monotonic() + within
        while self.counted != (candidate, stable):
            assert time.monotonic() < deadline, (self.counted, self.status.message)
            await asyncio.sleep(EVERY)
            await self.look()
        await self.settles()
        assert self.counted == (candidate, stable), "counted once more"

    @property
    def counted(self) -> tuple[int, int]:
        """Requests by what is kept: of the candidate in this step, and of stable."""
        known = Journal.load(self.status.journal, self.spec).metrics["latency"].latency
        return round(max(known.candidate.values(), default=0)), round(max(known.stable.values(), default=0))


@pytest.fixture
def story(scraped: dict[tuple[str, str], Pod], prometheus: Prometheus) -> Any:
    @asynccontextmanager
    async def begin(
        namespace: str,
        name: str = NAME,
        metric: dict[str, str] = LATENCY,
        asked: Prometheus = prometheus,
        **how: Any,
    ) -> AsyncIterator[Story]:
        stable, candidate = (scraped[namespace, of] for of in (STABLE, CANDIDATE))
        stable.native[name], candidate.native[name] = Native(**how), Native(**how)
        arms = Arms.of_revisions(namespace, ("6fcbd", f"{STABLE}-[a-z]"), ("7d9f5", f"{CANDIDATE}-[a-z]"))
        spec = AnalysisSpec.model_validate({"interval": "1s", "warmup": "0s", "minRequests": 0, "metrics": [metric]})
        source = PrometheusSource(asked.url, clock=SystemClock())
        status = analysis.begin(spec, arms, datetime.now(UTC), 100, 5)
        one = Story(stable, candidate, arms, spec, asked, source, status, name, random.Random(7))
        one.serve(stable, 2000)
        one.scraped()
        began = datetime.now(UTC)
        one.status = analysis.begin(spec, arms, began, 100, 5)
        # What grows between two scrapes is of this step if both are.
        up = f'min(timestamp(up{{namespace="{namespace}"}}))'
        eventually(lambda: (asked.value(up) or 0) > began.timestamp(), "a scrape since the beginning", 30)
        try:
            yield one
        finally:
            await source.close()

    return begin


async def test_a_slower_candidate_fails(story: Any) -> None:
    async with story("slower") as one:
        await one.looks(30, 2.0)
        assert one.status.verdict is Verdict.Fail
        (found,) = one.status.metrics
        assert found.reason is Reason.LimitExceeded
        assert found.ratio == pytest.approx(2.0, rel=0.2)


async def test_one_as_quick_as_stable_does_not_and_every_request_counts_once(story: Any) -> None:
    async with story("alike") as one:
        await one.looks(16, 1.05)
        await one.counts(1600, 4800)
        assert one.status.verdict in (Verdict.Inconclusive, Verdict.Pass), one.status.message
        assert one.status.metrics[0].ratio == pytest.approx(1.05, rel=0.12)
        journal = Journal.load(one.status.journal, one.spec)
        assert journal.metrics["latency"].source == NAME
        # What the operator of another Prometheus would be told.
        told = "\n".join(line for line, _ in report(one.spec, one.arms, await answers(one)))
        assert f"latency: {NAME}, native histograms" in told
        assert "1 series of 1 pods, 1600 requests so far" in told


async def answers(one: Story) -> dict[str, Any]:
    return dict(await one.source.fetch(analysis.queries(one.spec, one.arms)))


async def test_a_pod_that_begins_anew_counts_from_zero(story: Any) -> None:
    async with story("anew") as one:
        await one.looks(8)
        await one.settles()
        one.candidate.native[NAME] = Native()
        one.serve(one.candidate, 40)
        await one.looks(4)
        await one.counts(800 + 40 + 400, 12 * 300)


@pytest.mark.parametrize("schemas", [(3, 1), (0, -1)])
async def test_a_resolution_that_is_reduced_in_one_arm_adds_and_loses_nothing(
    story: Any, schemas: tuple[int, int], scraped: dict[tuple[str, str], Pod]
) -> None:
    async with story("coarser", schema=schemas[0]) as one:
        one.serve(one.candidate, 0)
        await one.looks(5)

        def reduced(number: int) -> None:
            if number == 2:
                one.candidate.native[NAME].schema = schemas[1]

        await one.looks(8, then=reduced)
        await one.counts(1300, 3900)
        assert one.status.verdict is not Verdict.Fail, one.status.message
        await one.looks(30, 4.0)
        assert one.status.verdict is Verdict.Fail, one.status.message
    for of in (STABLE, CANDIDATE):
        del scraped["coarser", of].native[NAME]
    await asyncio.sleep(2 * EVERY)


async def test_a_classic_histogram_that_prometheus_converts_keeps_its_edges(
    story: Any, pods: Pods, scraped: object, tmp_path: Path
) -> None:
    """And there is no other: it is asked for by no name of a bucket."""
    how = {"convert_classic_histograms_to_nhcb": True, "scrape_protocols": ["PrometheusProto"]}
    with running(Prometheus(tmp_path / "converting", pods.targets(), scraping=how)) as converting:
        async with story("converted", asked=converting, classic=(0.025, 0.05, 0.1, 0.125, 0.15, 0.3, 0.6)) as one:
            assert converting.value(f'count({NAME}_bucket{{namespace="converted"}})') is None
            await one.looks(8)
            await one.counts(800, 2400)
            assert one.status.verdict is not Verdict.Fail, one.status.message
            known = Journal.load(one.status.journal, one.spec).metrics["latency"].latency
            assert 0.125 in known.candidate
            await one.looks(30, 2.5)
            assert one.status.verdict is Verdict.Fail, one.status.message


async def test_of_a_classic_histogram_and_a_native_one_the_native_is_counted(story: Any) -> None:
    async with story("both", classic=(0.1, 1.0, 10.0)) as one:
        await one.looks(5)
        await one.counts(500, 1500)
        journal = Journal.load(one.status.journal, one.spec)
        assert journal.metrics["latency"].source == NAME
        assert analysis.queries(one.spec, one.arms, one.status)[0].startswith(f"{NAME}{{")


async def test_a_limit_is_held_where_most_durations_are_next_to_nothing(story: Any) -> None:
    metric = {"name": "latency", "preset": "Latency", "quantile": "p90", "max": "300ms"}
    async with story("zero", metric=metric, zero=0.001) as one:
        one.stable.native[NAME].seen.clear()
        one.candidate.native[NAME].seen += [0.0001] * 800
        await one.settles()
        assert one.status.verdict is not Verdict.Fail
        assert one.status.metrics[0].candidate <= 0.0012
        for _ in range(6):
            one.candidate.native[NAME].seen += [0.31] * 400
            await one.settles()
        assert one.status.verdict is Verdict.Fail, one.status.message


async def test_errors_of_opentelemetry_are_told_by_its_native_histograms(story: Any) -> None:
    """It has no other counter of requests than the histogram's count."""
    metric = {"name": "latency", "preset": "ErrorRatio", "maxIncrease": "50%"}
    async with story("otel", OTEL, metric) as one:
        bad = OTEL.replace("200", "503")
        for pod in (one.stable, one.candidate):
            pod.native[bad] = Native()
        for _ in range(20):
            one.serve(one.stable, 100)
            one.serve(one.candidate, 100)
            one.stable.native[bad].seen += [0.01]
            one.candidate.native[bad].seen += [0.01] * 12
            await asyncio.sleep(EVERY)
            if (await one.look()).verdict is Verdict.Fail:
                break
        assert one.status.verdict is Verdict.Fail, one.status.message
        assert one.status.metrics[0].candidate == pytest.approx(0.107, abs=0.03)


MINE = f'{NAME}{{namespace="{{{{namespace}}}}",pod=~"{{{{pods}}}}"}}'


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (
            {"ratio": {"of": f"sum({MINE})", "to": f"sum({MINE})"}, "maxIncrease": "50%"},
            "histogram_count(sum(NAME{…}))",
        ),
        ({"ratio": {"of": NAME, "to": NAME}, "maxIncrease": "50%"}, "histogram_count(sum(NAME{…}))"),
        ({"gauge": {"query": f"sum(rate({MINE}[5s]))"}, "max": "1"}, "histogram_avg(sum(rate(NAME{…}[5m])))"),
    ],
)
async def test_histograms_where_a_number_is_needed_are_unknown_and_say_what_to_do(
    story: Any, metric: dict[str, Any], told: str
) -> None:
    async with story("query", metric={"name": "latency"} | metric) as one:
        one.serve(one.candidate, 10)
        await one.settles()
        await one.look()
        assert (one.status.verdict, one.status.reason) == (Verdict.Unknown, Reason.QueryFailed)
        assert "native histograms, where a number is needed" in one.status.message
        assert told in one.status.message

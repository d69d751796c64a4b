"""What comes between counters and their evidence, with a real Prometheus: nothing is counted twice, nothing is lost,
and where that cannot be had the verdict is Unknown and says why. No cluster: it scrapes pods of the test.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tests.cluster.pki import Authority
from tests.rig.prometheus import EVERY, InTurn, Pod, Pods, Prometheus, eventually, exposing, running

from tidegate.adapters.access import Access
from tidegate.adapters.clock import SystemClock
from tidegate.adapters.prometheus import PrometheusSource
from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, Reason, Verdict
from tidegate.core import analysis
from tidegate.core.arms import Arms, Side
from tidegate.core.counters import Answer, Counted, Missing

pytestmark = pytest.mark.realtime

STABLE, CANDIDATE = "checkout-6fcbd", "checkout-7d9f5"
learnt = analysis._learnt
STORIES = ("quiet", "reset", "born", "gone", "gap", "slow", "away", "warned", "behind", "odd")
ERRORS = {"name": "errors", "preset": "ErrorRatio", "max": "99%"}
"""It never fails: what has failed counts no more."""


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    """A namespace for each story; in each two pods of stable and two of the candidate."""
    with exposing() as pods:
        yield pods


@pytest.fixture(scope="module")
def scraped(pods: Pods) -> dict[tuple[str, str], Pod]:
    """By namespace and name, without the number that pods' names end with in a cluster."""
    return {
        (story, f"{of}-{number}"): pods.pod(story, f"{of}-{number}")
        for story in STORIES
        for of in (STABLE, CANDIDATE)
        for number in "ab"
    }


@pytest.fixture(scope="module")
def prometheus(pods: Pods, scraped: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One for all stories that leave it as it is."""
    with running(Prometheus(tmp_path_factory.mktemp("prometheus") / "one", pods.targets())) as found:
        yield found


@dataclass
class Story:
    """One release that is analysed."""

    pods: dict[str, Pod]
    spec: AnalysisSpec
    arms: Arms
    source: PrometheusSource
    status: AnalysisStatus
    grown: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    """What counters grew by, by revision and column; evidence takes of it what both arms have."""

    @property
    def stable(self) -> Pod:
        return self.pods[f"{STABLE}-a"]

    @property
    def candidate(self) -> Pod:
        return self.pods[f"{CANDIDATE}-a"]

    async def look(self) -> AnalysisStatus:
        answers = await self.source.fetch(analysis.queries(self.spec, self.arms, self.status))
        now = datetime.now(UTC)
        with patch.object(analysis, "_learnt", self._learning):
            self.status = analysis.look(self.spec, self.status, self.arms, answers, now, step_changed=False)
        return self.status

    def _learning(self, view: Any, metric: Any, known: Any, counted: Mapping[Side, Counted]) -> Any:
        """What is learnt, not what is read: where one arm is not scraped yet, the other's growth is read again."""
        for side, revision in ((Side.Stable, STABLE), (Side.Candidate, CANDIDATE)):
            for growth in counted[side].growths.values():
                for column, value in growth.items():
                    self.grown[revision, column] += value
        return learnt(view, metric, known, counted)

    @property
    def counted(self) -> tuple[float, float, float, float]:
        """Requests and failures of stable, and of the candidate, since the beginning."""
        one, other, three, four = (self.grown[of, column] for of in (STABLE, CANDIDATE) for column in ("to", "of"))
        return one, other, three, four

    async def counts(self, *wanted: float, within: float = 20.0) -> None:
        """Looks until so much is counted, and then some more: no more than that ever is."""
        deadline = time.monotonic() + within
        while self.counted != wanted and time.monotonic() < deadline:
            await self.look()
            await asyncio.sleep(EVERY)
        assert self.counted == wanted, self.status.message
        for _ in range(5):
            await self.look()
            await asyncio.sleep(EVERY)
        assert self.counted == wanted, "counted once more"

    async def says(self, reason: Reason, within: float = 20.0) -> str:
        """Looks until the reason is given; and what is said with it."""
        deadline = time.monotonic() + within
        while (await self.look()).reason is not reason:
            assert time.monotonic() < deadline, (self.status.reason, self.status.message)
            await asyncio.sleep(EVERY)
        return self.status.message


@pytest.fixture
def story(scraped: dict[tuple[str, str], Pod], prometheus: Prometheus) -> Any:
    """Stable's pods have served for a while, the candidate's begin."""

    @asynccontextmanager
    async def begin(name: str, url: str = "", second: Prometheus | None = None) -> AsyncIterator[Story]:
        mine = {pod: found for (namespace, pod), found in scraped.items() if namespace == name}
        for pod in mine.values():
            if pod.name.startswith(STABLE):
                pod.add(c200=1000, c500=10)
        known = {pod.name: sum(pod.counters.values()) for pod in mine.values() if pod.counters}
        for one in filter(None, (prometheus, second)):
            for served, count in known.items():
                query = f'sum(http_requests_total{{namespace="{name}",pod="{served}"}})'
                eventually(lambda: one.value(query) == count, f"{served} is scraped", 30)  # noqa: B023  # waited for
        spec = AnalysisSpec.model_validate({"interval": "1s", "warmup": "0s", "metrics": [ERRORS]})
        arms = Arms.of_revisions(name, ("6fcbd", f"{STABLE}-[a-z0-9]+"), ("7d9f5", f"{CANDIDATE}-[a-z0-9]+"))
        source = PrometheusSource(url or prometheus.url, clock=SystemClock())
        status = analysis.begin(spec, arms, datetime.now(UTC), 100, 5)
        try:
            found = Story(mine, spec, arms, source, status)
            # A scrape that is under way was begun before, and is of before.
            await asyncio.sleep(2 * EVERY)
            mine[f"{CANDIDATE}-a"].add(c200=100, c500=1)
            mine[f"{CANDIDATE}-b"].add(c200=100, c500=1)
            mine[f"{STABLE}-a"].add(c200=50)
            await found.counts(50, 0, 202, 2)
            yield found
        finally:
            await source.close()

    return begin


async def test_what_is_served_is_what_is_counted(story: Any) -> None:
    """Of the candidate from the first request on, of stable since the beginning."""
    async with story("quiet") as one:
        for _ in range(10):
            one.stable.add(c200=7)
            one.candidate.add(c200=3, c503=1)
            await asyncio.sleep(0.13)
        await one.counts(120, 0, 242, 12)


async def test_a_process_that_begins_anew_counts_from_zero(story: Any) -> None:
    async with story("reset") as one:
        one.candidate.counters = {}
        one.candidate.add(c200=30, c500=2)
        await one.counts(50, 0, 234, 4)


async def test_the_first_errors_of_a_pod_count(story: Any) -> None:
    async with story("born") as one:
        one.candidate.add(c503=5)
        await one.counts(50, 0, 207, 7)


async def test_a_pod_that_goes_takes_nothing_with_it(story: Any) -> None:
    async with story("gone") as one:
        one.candidate.away = True
        other = one.pods[f"{CANDIDATE}-b"]
        other.add(c200=40)
        await one.counts(50, 0, 242, 2)


async def test_a_gap_in_the_scrapes_is_bridged(story: Any) -> None:
    async with story("gap") as one:
        one.candidate.away = one.stable.away = True
        missed = one.candidate.scraped
        await asyncio.sleep(5 * EVERY)
        one.candidate.add(c200=60, c500=4)
        one.stable.add(c200=600)
        await asyncio.sleep(5 * EVERY)
        assert one.candidate.scraped == missed
        one.candidate.away = one.stable.away = False
        await one.counts(650, 0, 266, 6)


async def test_arms_that_are_scraped_at_other_times_are_counted_alike(story: Any) -> None:
    async with story("slow") as one:
        one.candidate.slow = EVERY / 2
        for _ in range(10):
            one.stable.add(c200=10)
            one.candidate.add(c200=10)
            await asyncio.sleep(0.11)
        await one.counts(150, 0, 302, 2)


async def test_pods_that_are_all_away_are_no_data_and_no_evidence(story: Any) -> None:
    async with story("away") as one:
        for pod in one.pods.values():
            pod.away = True
        evidence = one.status.metrics[0].evidence
        # Samples stay within the window for 20 s, and what is older than twice that is stale.
        told = await one.says(Reason.Stale, within=60)
        assert "no new samples of http_requests_total{" in told
        assert one.status.verdict is Verdict.Unknown
        assert one.status.metrics[0].evidence == evidence


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("histogram_quantile(0.9, http_requests_total{{{arm}}})", "a doubtful answer: PromQL warning: bucket label"),
        ("sum(http_requests_total{{{arm}}}) by (code)", "2 series, such as"),
        ('label_replace(sum(http_requests_total{{{arm}}}), "x", "$1", "y", "(")', "regular expression"),
        ("sum(http_requests_total{{{arm}}}) / 0", "NaN or infinity"),
    ],
)
async def test_what_prometheus_warns_of_or_refuses_is_no_evidence(story: Any, query: str, told: str) -> None:
    async with story("odd") as one:
        one.grown.clear()
        text = query.format(arm='namespace="{{namespace}}",pod=~"{{pods}}"')
        metric = {"name": "errors", "ratio": {"of": text, "to": "http_requests_total"}, "maxIncrease": "50%"}
        one.spec = AnalysisSpec.model_validate({"interval": "1s", "warmup": "0s", "metrics": [metric]})
        one.status = analysis.begin(one.spec, one.arms, datetime.now(UTC), 100, 5)
        deadline = time.monotonic() + 20
        while told not in (await one.look()).message:
            assert time.monotonic() < deadline, one.status.message
            await asyncio.sleep(EVERY)
        assert one.status.verdict is Verdict.Unknown
        assert not any(one.counted)


async def test_two_replicas_behind_one_address_count_once(
    story: Any, pods: Pods, prometheus: Prometheus, tmp_path: Path
) -> None:
    with running(Prometheus(tmp_path / "two", pods.targets())) as second:
        both = InTurn((prometheus.url, second.url))
        async with story("behind", both.url, second) as one:
            for _ in range(8):
                one.stable.add(c200=25)
                one.candidate.add(c200=10, c500=1)
                await one.look()
                await asyncio.sleep(1.5 * EVERY)
            await one.counts(250, 0, 290, 10)
        assert len(set(both.answered)) == 2
        both.close()


def ask(source: PrometheusSource, query: str = "vector(7)") -> Answer:
    async def asked() -> Answer:
        try:
            return (await source.fetch([query]))[query]
        finally:
            await source.close()

    return asyncio.run(asked())


def test_what_the_url_asks_for_goes_with_each_query(prometheus: Prometheus) -> None:
    two = 'vector(1) or label_replace(vector(2), "a", "b", "", "")'
    alone, limited = (
        ask(PrometheusSource(f"{prometheus.url}{beside}", clock=SystemClock()), two) for beside in ("/", "/?limit=1")
    )
    assert not isinstance(alone, Missing)
    assert len(alone) == 2
    assert limited == Missing("a partial answer: results truncated due to limit")


def test_one_that_is_away_is_unknown_and_goes_on_from_where_it_was(
    pods: Pods, scraped: dict[tuple[str, str], Pod], tmp_path: Path
) -> None:
    """What was served while Prometheus was away is counted when it is back, if it kept what it had."""

    async def tell() -> None:
        pod = scraped["warned", f"{STABLE}-a"]
        candidate = scraped["warned", f"{CANDIDATE}-a"]
        with running(Prometheus(tmp_path / "third", pods.targets())) as third:
            pod.add(c200=1000)
            count = 'sum(http_requests_total{namespace="warned"})'
            eventually(lambda: third.value(count) == sum(pod.counters.values()), "scraped", 30)
            spec = AnalysisSpec.model_validate({"interval": "1s", "warmup": "0s", "metrics": [ERRORS]})
            arms = Arms.of_revisions("warned", ("6fcbd", f"{STABLE}-[a-z]"), ("7d9f5", f"{CANDIDATE}-[a-z]"))
            source = PrometheusSource(third.url, clock=SystemClock())
            one = Story({}, spec, arms, source, analysis.begin(spec, arms, datetime.now(UTC), 100, 5))
            await asyncio.sleep(2 * EVERY)
            candidate.add(c200=100)
            pod.add(c200=100)
            await one.counts(100, 0, 100, 0)
            third.stop()
            candidate.add(c200=50, c500=5)
            pod.add(c200=500)
            told = await one.says(Reason.QueryFailed)
            assert "cannot be reached: connection refused" in told
            assert list(one.counted) == [100, 0, 100, 0]
            third.start()
            await one.counts(600, 0, 155, 5, within=40)
            await source.close()

    asyncio.run(tell())


USER = {"tidegate": "$2b$04$abcdefghijklmnopqrstuuPT0cs.zGMMB9aUG3xKmxLeI//6s0m5C"}
"""The password is ``letmein``."""


@pytest.fixture
def login(tmp_path: Path) -> Path:
    folder = tmp_path / "login"
    folder.mkdir()
    (folder / "username").write_text("tidegate\n")
    (folder / "password").write_text("letmein\n")
    return folder


def test_with_a_certificate_of_ours_and_a_password(pods: Pods, login: Path, tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing: it makes the certificates of this test")
    authority, stranger = Authority(tmp_path / "pki"), Authority(tmp_path / "stranger")
    identity = authority.issue("prometheus", "prometheus", hosts=["IP:127.0.0.1"])
    tls = {"cert_file": str(identity.certificate), "key_file": str(identity.key)}
    web = {"tls_server_config": tls, "basic_auth_users": USER}
    with running(Prometheus(tmp_path / "tls", [], web)) as prometheus:

        def answer(url: str = prometheus.url, **access: Any) -> Answer:
            return ask(PrometheusSource(url, access=Access(**access), clock=SystemClock()))

        ca, folder = str(authority.certificate), str(login)
        eventually(lambda: "503" not in str(answer(ca=ca, basic_auth=folder)), "it is ready", 60)
        found = answer(ca=ca, basic_auth=folder)
        assert not isinstance(found, Missing), found
        assert found[0].samples[0][1] == 7
        for told, missing in (
            ("its certificate is not trusted (unable to get local issuer", answer(basic_auth=folder)),
            ("its certificate is not trusted", answer(ca=str(stranger.certificate), basic_auth=folder)),
            ("refuses access (401 Unauthorized): are the credentials right", answer(ca=ca)),
            ("nowhere.crt", answer(ca="/nowhere.crt", basic_auth=folder)),
            ("is it http, or https?", answer(prometheus.url.replace("https", "http"), basic_auth=folder)),
        ):
            assert isinstance(missing, Missing)
            assert told in missing.why
            assert "letmein" not in missing.why
        # A mounted Secret changes under us.
        (login / "password").write_text("guess")
        assert isinstance(answer(ca=ca, basic_auth=folder), Missing)

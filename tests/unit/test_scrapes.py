"""Pods are read within bounds, and remembered as Prometheus would."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tidegate.api.analysis import AnalysisSpec, Verdict
from tidegate.core import analysis
from tidegate.core.arms import Arms
from tidegate.core.counters import Answer, Ledger, Missing, Partly, Series, count
from tidegate.core.presets import Protocol
from tidegate.core.scraping import Exposed, Target
from tidegate.engine import scrapes
from tidegate.engine.scrapes import MOST_OF_ONE, MOST_PODS, Scrapes, sampled
from tidegate.ports.metrics import Exposition

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
STABLE, CANDIDATE = (f'all_total{{namespace="shop",pod=~"web-{name}-[a-z0-9]+"}}[20s]' for name in ("s", "c"))


class Clock:
    """It goes as it is told."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        return 0.5


class Reader:
    """What each pod exposes, by its URL."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.hangs: set[str] = set()
        self.busy = self.most = 0
        self.asked: list[str] = []

    async def read(self, url: str) -> Exposition:
        self.asked.append(url)
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await asyncio.sleep(60 if url in self.hangs else 0)
        finally:
            self.busy -= 1
        if url in self.errors:
            return Exposition(error=self.errors[url])
        return Exposition(self.texts.get(url, ""))


class World:
    """Two pods of stable, one of the candidate, and who reads them."""

    def __init__(self) -> None:
        self.reader, self.clock = Reader(), Clock()
        self.scrapes = Scrapes(self.reader, self.clock)
        self.pods = [pod("s", "a"), pod("s", "b"), pod("c", "x")]

    def count(self, name: str, *lines: tuple[str, int]) -> None:
        """What a pod has counted by now."""
        self.reader.texts[f"http://{name}/metrics"] = "".join(f"all_total{labels} {value}\n" for labels, value in lines)

    async def look(self, query: str = CANDIDATE, *, after: float = 1.0) -> Answer:
        """The answer a while later."""
        self.clock.at += timedelta(seconds=after)
        return (await self.scrapes.of("uid", "shop", self.pods).fetch([query]))[query]


@pytest.fixture
def world() -> World:
    return World()


def pod(arm: str, name: str, *, created: datetime = START - timedelta(minutes=1)) -> Target:
    """A pod that serves."""
    full = f"web-{arm}-{name}"
    return Target(full, f"uid-{full}", arm, Exposed(f"http://{full}/metrics"), created, created)


def growth(answer: Answer, ledger: Ledger, opens: float = START.timestamp()) -> tuple[float, Ledger]:
    """What the engine makes of it."""
    assert not isinstance(answer, Missing)
    counted = count(ledger, [("to", one) for one in answer], opens=opens, born_at_zero=False)
    return sum(sum(one.values()) for one in counted.growths.values()), counted.ledger


async def test_series_are_as_prometheus_has_them(world: World) -> None:
    world.count("web-c-x", ('{code="200",route="/"}', 3), ('{code="200",route="/a"}', 4), ('{code="500"}', 1))
    answer = await world.look()
    at, born = START.timestamp() + 1, START.timestamp() - 60
    labels = {"__name__": "all_total", "namespace": "shop", "pod": "web-c-x"}
    assert answer == (
        Series({**labels, "code": "200"}, ((at, 7.0),), born),
        Series({**labels, "code": "500"}, ((at, 1.0),), born),
    )
    assert await world.look(STABLE) == ()


async def test_what_grows_is_counted_once_with_looks_lost_and_what_is_born_between(world: World) -> None:
    ledger, total = Ledger(), 0.0
    for step, lines in enumerate(
        [
            [('{code="200"}', 10)],
            [('{code="200"}', 15)],
            [('{code="200"}', 15), ('{code="500"}', 2)],  # the first errors: their counter is born with them
            [('{code="200"}', 20), ('{code="500"}', 3)],
            [('{code="200"}', 4)],  # begun anew
            [('{code="200"}', 9)],
        ]
    ):
        world.count("web-c-x", *lines)
        answer = await world.look()
        if step in (1, 3):
            continue  # this one is lost
        grown, ledger = growth(answer, ledger)
        total += grown
    assert total == (15 + 2 - 10) + (20 + 3 - 17) + 9


async def test_a_process_that_was_born_since_counts_from_zero_and_an_older_one_from_its_first_reading(
    world: World,
) -> None:
    world.pods = [pod("c", "old"), pod("c", "new", created=START + timedelta(seconds=1))]
    for name in ("web-c-old", "web-c-new"):
        world.count(name, ("", 40))
    grown, _ = growth(await world.look(after=3), Ledger())
    assert grown == 40


async def test_series_that_vanish_are_no_process_that_began_anew(world: World) -> None:
    world.count("web-c-x", ('{tenant="a"}', 100), ('{tenant="b"}', 50))
    _, ledger = growth(await world.look(), Ledger())
    world.count("web-c-x", ('{tenant="b"}', 50))
    grown, ledger = growth(await world.look(), ledger)
    assert grown == 0
    world.count("web-c-x", ('{tenant="b"}', 57))
    grown, ledger = growth(await world.look(), ledger)
    assert grown == 7
    world.count("web-c-x", ('{tenant="b"}', 2))
    grown, _ = growth(await world.look(), ledger)
    assert grown == 2, "and one that began anew is one"


async def test_another_operator_goes_on_by_the_counters_that_stand_written(world: World) -> None:
    world.count("web-c-x", ("", 10))
    _, ledger = growth(await world.look(), Ledger())
    world.count("web-c-x", ("", 25))
    world.scrapes = Scrapes(world.reader, world.clock)
    grown, _ = growth(await world.look(after=30), Ledger.load(ledger.dump(0), 0))
    assert grown == 15


async def test_pods_that_are_gone_are_still_told_of_for_some_looks(world: World) -> None:
    world.count("web-c-x", ("", 10))
    _, ledger = growth(await world.look(), Ledger())
    world.count("web-c-x", ("", 12))
    await world.look()  # lost
    world.pods = [pod("c", "y")]
    grown, _ = growth(await world.look(), ledger)
    assert grown == 2
    for _ in range(scrapes.KEPT):
        answer = await world.look()
    assert answer == ()


async def test_who_cannot_be_read_is_named_and_all_of_them_are_no_answer(world: World) -> None:
    world.count("web-s-a", ("", 1))
    world.reader.errors["http://web-s-b/metrics"] = "Connection refused"
    answer = await world.look(STABLE)
    assert isinstance(answer, Partly)
    assert len(answer) == 1
    assert answer.lacks == "1 of 2 pods cannot be read (web-s-b: http://web-s-b/metrics: Connection refused)"
    world.count("web-s-a", ("", "NaN"))  # type: ignore[arg-type]
    answer = await world.look(STABLE)
    assert isinstance(answer, Missing)
    assert "none of 2 pods can be read (web-s-a: http://web-s-a/metrics: all_total is 'NaN'" in answer.why
    assert "NetworkPolicy" in answer.why
    world.pods = [replace(one, due=False) for one in world.pods]
    assert not isinstance(await world.look(STABLE), Missing), "who does not serve need not be read"


async def test_where_a_pod_exposes_nothing_that_is_told(world: World) -> None:
    world.pods = [replace(world.pods[2], exposed=Exposed(why="no container port is declared"))]
    answer = await world.look()
    assert isinstance(answer, Missing)
    assert "none of 1 pod can be read (web-c-x: no container port is declared)" in answer.why


async def test_pods_that_hang_leave_room_for_others_and_come_last_the_next_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrapes, "ROUND", 0.05)
    world.pods = [pod("c", f"{number:02}") for number in range(30)]
    hang = sampled(world.pods)[:MOST_OF_ONE]
    world.reader.hangs = {one.exposed.url for one in hang}
    for one in world.pods:
        world.count(one.name, ("", 1))
    answer = await world.look()
    assert isinstance(answer, Missing), "all places are taken"
    world.reader.asked.clear()
    answer = await world.look()
    assert world.reader.most == MOST_OF_ONE
    assert isinstance(answer, Missing | Partly)
    world.reader.hangs = {hang[0].exposed.url}
    for _ in range(2):
        answer = await world.look()
    assert isinstance(answer, Partly)
    assert len(answer) == 29
    assert "1 of 30 pods" in answer.lacks
    assert "its turn did not come" in answer.lacks


async def test_no_more_than_so_many_at_once_of_all_releases(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "ROUND", 60)
    releases = [[pod("c", f"{release}x{number}") for number in range(20)] for release in range(8)]
    sources = [world.scrapes.of(str(number), "shop", pods) for number, pods in enumerate(releases)]
    await asyncio.gather(*(source.fetch([CANDIDATE]) for source in sources))
    assert len(world.reader.asked) == 160
    assert MOST_OF_ONE < world.reader.most <= scrapes.MOST


async def test_names_that_are_asked_for_later_are_not_new_with_what_they_have_counted(world: World) -> None:
    world.count("web-c-x", ('{code="200"}', 900))
    other = CANDIDATE.replace("all_total", "other_total")
    assert await world.look(other) == ()
    answer = await world.look()
    assert not isinstance(answer, Missing)
    assert [value for one in answer for _, value in one.samples] == [900.0]


async def test_counters_go_on_when_fewer_names_are_asked_for(world: World) -> None:
    """As once it is seen which of the presets' there are: with other matchers then."""
    name = "grpc_server_handled_total"
    mesh = f'{{__name__=~"{name}|istio_requests_total",reporter!="source",{CANDIDATE.partition("{")[2]}'
    answer: Answer = ()
    for query, value in ((mesh, 3), (mesh, 5), (CANDIDATE.replace("all_total", name), 9)):
        lines = f'{name}{{grpc_code="OK",reporter="destination",grpc_service="a"}} {value}\n'
        world.reader.texts["http://web-c-x/metrics"] = lines
        answer = await world.look(query)
    assert not isinstance(answer, Missing)
    assert [value for one in answer for _, value in one.samples] == [3.0, 5.0, 9.0]


LABELS = {
    "http_server_request_duration_seconds_count": ('http_response_status_code="{}"', "200", "500"),
    "rpc_server_call_duration_seconds_count": ('rpc_response_status_code="{}",rpc_method="A"', "OK", "INTERNAL"),
    "istio_requests_total": ('response_code="{}",reporter="destination"', "200", "503"),
    "response_total": ('classification="{}",direction="inbound"', "success", "failure"),
}


@pytest.mark.parametrize("name", LABELS)
async def test_failures_are_told_by_whatever_names_the_pods_have(world: World, name: str) -> None:
    errors = {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}
    spec = AnalysisSpec.model_validate({"source": "Pods", "warmup": "0s", "metrics": [errors]})
    arms = Arms.of_revisions("shop", ("s", "web-s-[a-z0-9]+"), ("c", "web-c-[a-z0-9]+"))
    protocol = Protocol.GRPC if name.startswith("rpc") else Protocol.HTTP
    arms = replace(arms, protocols=(protocol,)).asked_themselves()
    status = analysis.begin(spec, arms, world.clock.at, 100, 1)
    labels, *told = LABELS[name]
    good, bad = map(labels.format, told)
    for second in range(1, 8):
        for one, failed in (("web-s-a", 0), ("web-s-b", 0), ("web-c-x", 50 * second)):
            lines = f"{name}{{{good}}} {100 * second}\n{name}{{{bad}}} {failed}\n"
            world.reader.texts[f"http://{one}/metrics"] = lines
        world.clock.at += timedelta(seconds=1)
        asked = analysis.queries(spec, arms, status)
        assert all("[20s]" in query for query in asked), "pods know nothing of the hour before"
        answers = await world.scrapes.of("uid", "shop", world.pods).fetch(asked)
        status = analysis.look(spec, status, arms, answers, world.clock.at, step_changed=False)
    assert status.verdict is Verdict.Fail, status.message
    assert all(name in query and "http_requests_total" not in query for query in asked), "no others, once it is seen"
    assert status.metrics[0].dispersion is not None


async def test_counters_without_end_are_not_kept(world: World) -> None:
    world.count("web-c-x", *((f'{{code="{number}"}}', 1) for number in range(scrapes.MOST_COUNTERS + 1)))
    answer = await world.look()
    assert isinstance(answer, Missing)
    assert "more than 1000 counters" in answer.why


def test_of_many_pods_the_same_are_read_whoever_comes_or_goes() -> None:
    many = [pod("s", f"{number:03}") for number in range(100)] + [pod("c", "x")]
    chosen = sampled(many)
    assert len(chosen) == MOST_PODS + 1
    fewer = [one for one in many if one.name != chosen[0].name]
    assert len({one.uid for one in sampled(fewer)} & {one.uid for one in chosen}) == MOST_PODS
    assert sampled(list(reversed(many))) == chosen


async def test_nothing_but_counters_by_name_is_answered(world: World) -> None:
    answer = await world.look("sum(rate(all_total[1m]))")
    assert isinstance(answer, Missing)
    assert "set source: Prometheus" in answer.why
    (then,) = (await world.scrapes.of("uid", "shop", world.pods).fetch([CANDIDATE], START)).values()
    assert isinstance(then, Missing)
    world.scrapes.forget("uid")
    world.scrapes.forget("uid")

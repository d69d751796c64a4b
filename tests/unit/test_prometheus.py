"""The Prometheus adapter against a small HTTP server that can misbehave."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

import pytest

from tidegate.adapters.prometheus import PrometheusSource
from tidegate.core.counters import Missing, Series

Reply = tuple[int, object]


class Server:
    """Answers what ``reply`` says, and counts."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, str]], Reply] = lambda _: (200, vector("1"))
        self.delay = 0.0
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
                outer.asked.append(query)
                outer.headers.append(dict(self.headers))
                time.sleep(outer.delay)
                status, body = outer.reply(query)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                with suppress(OSError):  # who asked has given up
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    async def sleep(self, seconds: float) -> None:
        self.at += seconds

    def jitter(self) -> float:
        return 0.5


def vector(value: str, **labels: str) -> dict[str, object]:
    result = [{"metric": labels, "value": [1700000000.123, value]}]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
async def source(server: Server, clock: Time) -> AsyncIterator[PrometheusSource]:
    source = PrometheusSource(server.url, timeout=0.3, clock=clock)
    yield source
    await source.close()


async def test_raw_samples_come_with_their_own_times(server: Server, source: PrometheusSource) -> None:
    matrix = [{"metric": {"pod": "a"}, "values": [[1700000000.123, "5"], [1700000002.123, "7"]]}]
    server.reply = lambda _: (200, {"status": "success", "data": {"resultType": "matrix", "result": matrix}})
    answers = await source.fetch(["x[10s]"])
    assert answers == {"x[10s]": (Series({"pod": "a"}, ((1700000000.123, 5.0), (1700000002.123, 7.0))),)}


async def test_no_series_is_an_answer(server: Server, source: PrometheusSource) -> None:
    server.reply = lambda _: (200, {"status": "success", "data": {"resultType": "vector", "result": []}})
    assert await source.fetch(["x"]) == {"x": ()}


async def test_a_scalar_is_one_series(server: Server, source: PrometheusSource) -> None:
    server.reply = lambda _: (200, {"status": "success", "data": {"resultType": "scalar", "result": [17.5, "3"]}})
    assert await source.fetch(["scalar(x)"]) == {"scalar(x)": (Series({}, ((17.5, 3.0),)),)}


async def test_the_time_of_evaluation_is_sent(server: Server, source: PrometheusSource) -> None:
    await source.fetch(["x"], at=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC))
    assert server.asked == [{"query": "x", "time": "1767323045.678"}]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ((400, {"status": "error", "errorType": "bad_data", "error": "1:5: parse error: no"}), "1:5: parse error: no"),
        ((422, {"status": "error", "errorType": "execution", "error": "too many samples"}), "too many samples"),
        ((503, b"starting up"), "is not able to answer (503 Service Unavailable)"),
        ((401, b""), "refuses access (401 Unauthorized)"),
        ((200, b"<html>hello</html>"), "is the address right?"),
        ((200, b'{"hello": "world"}'), "is the address right?"),
        ((200, vector("NaN")), "NaN"),
        ((200, {"status": "success", "data": {"result": [1.5, "text"]}}), "something other than counters"),
        ((200, {"data": {"result": [{"metric": {}, "histogram": [1, {}]}]}}), "native histograms"),
        ((200, {**vector("1"), "warnings": ["store B is down"]}), "a partial answer: store B is down"),
    ],
)
async def test_what_cannot_be_used_is_missing_and_says_why(
    server: Server, source: PrometheusSource, reply: Reply, told: str
) -> None:
    server.reply = lambda _: reply
    answer = (await source.fetch(["x"]))["x"]
    assert isinstance(answer, Missing)
    assert told in answer.why


async def test_warnings_in_a_label_are_no_warnings(server: Server, source: PrometheusSource) -> None:
    server.reply = lambda _: (200, vector("1", warnings="many"))
    assert await source.fetch(["x"]) == {"x": (Series({"warnings": "many"}, ((1700000000.123, 1.0),)),)}


async def test_a_slow_server_costs_the_timeout_and_no_more(server: Server, source: PrometheusSource) -> None:
    server.delay = 1
    began = time.monotonic()
    answer = (await source.fetch(["x"]))["x"]
    assert isinstance(answer, Missing)
    assert "did not answer in 0.3 s" in answer.why
    assert time.monotonic() - began < 0.8


async def test_an_unreachable_server_is_told_in_the_words_of_the_system(clock: Time) -> None:
    source = PrometheusSource("http://127.0.0.1:1", clock=clock)
    answer = (await source.fetch(["x"]))["x"]
    assert answer == Missing("Prometheus at http://127.0.0.1:1 cannot be reached: connection refused")
    await source.close()


async def test_who_asks_the_same_at_the_same_time_shares_one_query(
    server: Server, source: PrometheusSource, clock: Time
) -> None:
    server.delay = 0.05
    answers = await asyncio.gather(*(source.fetch(["x", "y", "x"]) for _ in range(20)))
    assert len({str(answer) for answer in answers}) == 1
    assert sorted(query["query"] for query in server.asked) == ["x", "y"]
    clock.at += 0.1
    await source.fetch(["x"])
    assert len(server.asked) == 2
    clock.at += 0.2
    await source.fetch(["x"])
    assert len(server.asked) == 3


async def test_one_who_gives_up_does_not_take_the_answer_from_others(server: Server, source: PrometheusSource) -> None:
    server.delay = 0.1
    impatient, patient = asyncio.create_task(source.fetch(["x"])), asyncio.create_task(source.fetch(["x"]))
    await asyncio.sleep(0.02)
    impatient.cancel()
    assert isinstance((await patient)["x"], tuple)


async def test_a_server_that_is_down_is_left_alone_but_for_one_try_now_and_then(
    server: Server, source: PrometheusSource, clock: Time
) -> None:
    server.reply = lambda _: (503, b"")
    await source.fetch([f"x{i}" for i in range(5)])
    asked = len(server.asked)
    clock.at += 0.9
    answers = await source.fetch([f"y{i}" for i in range(50)])
    assert len(server.asked) == asked
    assert all(isinstance(answer, Missing) and "503" in answer.why for answer in answers.values())
    clock.at += 0.2
    await source.fetch([f"z{i}" for i in range(50)])
    assert len(server.asked) == asked + 1
    server.reply = lambda _: (200, vector("1"))
    clock.at += 2.1
    await source.fetch(["back"])
    assert all(isinstance(answer, tuple) for answer in (await source.fetch(["a", "b", "c"])).values())


async def test_a_wrong_query_does_not_stop_the_others(server: Server, source: PrometheusSource) -> None:
    server.reply = lambda query: (400, {"error": "no"}) if query["query"] == "bad" else (200, vector("1"))
    for _ in range(5):
        await source.fetch(["bad"], at=datetime.now(UTC))
    assert isinstance((await source.fetch(["good"]))["good"], tuple)


async def test_headers_are_asked_for_each_time(server: Server, clock: Time) -> None:
    tokens = iter(("one", "two"))
    source = PrometheusSource(server.url, clock=clock, headers=lambda: {"Authorization": f"Bearer {next(tokens)}"})
    await source.fetch(["a"])
    await source.fetch(["b"])
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer one", "Bearer two"]
    await source.close()

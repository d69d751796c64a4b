"""The Prometheus adapter against a small HTTP server that can misbehave."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

from tidegate.adapters.access import Access, Unreadable
from tidegate.adapters.prometheus import PrometheusSource
from tidegate.app.settings import Settings
from tidegate.core.counters import Missing, Series

pytestmark = pytest.mark.realtime

Reply = tuple[int, object]


class Server:
    """Answers what ``reply`` says, and counts."""

    def __init__(self) -> None:
        self.reply: Callable[[dict[str, str]], Reply] = lambda _: (200, vector("1"))
        self.delay = 0.0
        self.redirect = ""
        self.trickle = False
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections: set[object] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
                outer.asked.append(query)
                outer.paths.append(urlparse(self.path).path)
                outer.headers.append(dict(self.headers))
                outer.connections.add(self.client_address)
                time.sleep(outer.delay)
                status, body = outer.reply(query)
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                with suppress(OSError):  # who asked has given up
                    self.send_response(status)
                    if outer.redirect:
                        self.send_header("Location", outer.redirect)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    for byte in data if outer.trickle else ():
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.1)
                    self.wfile.write(b"" if outer.trickle else data)

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


@pytest.mark.parametrize("path", ["", "/", "/select/0/prometheus"])
async def test_what_the_url_asks_for_goes_with_each_query(server: Server, clock: Time, path: str) -> None:
    wants = "extra_filters[]={cluster=%22eu%22}&extra_filters[]={x!=%22%22}&extra_label=cluster%3Deu"
    source = PrometheusSource(f"{server.url}{path}?{wants}", clock=clock)
    assert all(not isinstance(answer, Missing) for answer in (await source.fetch(["x", "y"])).values())
    await source.close()
    assert {asked["query"] for asked in server.asked} == {"x", "y"}
    for asked in server.asked:
        assert asked["extra_label"] == "cluster=eu"
        assert asked["extra_filters[]"] == '{cluster="eu"}'
        assert "timeout" in asked
    assert set(server.paths) == {f"{path.rstrip('/')}/api/v1/query"}


async def test_no_series_is_an_answer(server: Server, source: PrometheusSource) -> None:
    server.reply = lambda _: (200, {"status": "success", "data": {"resultType": "vector", "result": []}})
    assert await source.fetch(["x"]) == {"x": ()}


async def test_a_scalar_is_one_series(server: Server, source: PrometheusSource) -> None:
    server.reply = lambda _: (200, {"status": "success", "data": {"resultType": "scalar", "result": [17.5, "3"]}})
    assert await source.fetch(["scalar(x)"]) == {"scalar(x)": (Series({}, ((17.5, 3.0),)),)}


async def test_the_time_of_evaluation_is_sent(server: Server, source: PrometheusSource) -> None:
    await source.fetch(["x"], at=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC))
    assert server.asked == [{"query": "x", "time": "1767323045.678", "timeout": "0.240"}]


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
        (
            (200, {"status": "success", "data": {"result": [1.5, "text"]}}),
            "other than numbers and histograms, such as text",
        ),
        ((200, {"data": {"result": [{"metric": {}}]}}), "other than numbers and histograms"),
        ((200, {"data": {"result": [{"metric": {}, "histogram": [1, {}]}]}}), "other than numbers and histograms"),
        ((200, {**vector("1"), "warnings": ["store B is down"]}), "a partial answer: store B is down"),
        ((200, {**vector("1"), "warnings": ["PromQL warning: oh"]}), "a doubtful answer: PromQL warning: oh"),
        ((200, {**vector("1"), "infos": ["PromQL info: ignored histograms in x"]}), "ignored histograms in x"),
        ((200, {**vector("1"), "isPartial": True}), "a partial answer: not all of the storage answered"),
        ((400, b"Client sent an HTTP request to an HTTPS server.\n"), "is it http, or https?"),
    ],
)
async def test_what_cannot_be_used_is_missing_and_says_why(
    server: Server, source: PrometheusSource, reply: Reply, told: str
) -> None:
    server.reply = lambda _: reply
    answer = (await source.fetch(["x"]))["x"]
    assert isinstance(answer, Missing)
    assert told in answer.why


async def test_what_is_merely_of_interest_is_no_trouble(server: Server, source: PrometheusSource) -> None:
    info = 'PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "x"'
    server.reply = lambda _: (200, {**vector("1"), "infos": [info], "isPartial": False})
    assert isinstance((await source.fetch(["x"]))["x"], tuple)


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


async def test_who_waits_for_a_turn_is_not_late(server: Server, clock: Time) -> None:
    """Hundreds of releases that begin at once ask thousands of queries: that these take long is not the server's."""
    source = PrometheusSource(server.url, timeout=1, parallel=1, clock=clock)
    server.delay = 0.1
    answers = await source.fetch([f"x{number}" for number in range(25)])
    assert not [answer for answer in answers.values() if isinstance(answer, Missing)]
    await source.close()


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


async def test_connections_are_kept_and_answers_only_while_they_serve(server: Server, clock: Time) -> None:
    source = PrometheusSource(server.url, timeout=30, parallel=8, clock=clock)
    for number in range(30):
        await source.fetch([f"x{number}-{which}" for which in range(20)])
        clock.at += 1
    assert len(server.asked) == 600
    assert len(server.connections) <= 8
    await source.fetch(["y"])
    assert len(source._asked) == 1
    await source.close()


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


async def test_a_token_is_read_each_time(server: Server, clock: Time, tmp_path: Path) -> None:
    token = tmp_path / "token"
    source = PrometheusSource(server.url, clock=clock, access=Access(token=str(token)))
    for name in ("one", "two"):
        token.write_text(f"{name}\n")
        await source.fetch([name])
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer one", "Bearer two"]
    token.unlink()
    answer = (await source.fetch(["three"]))["three"]
    assert answer == Missing(
        f"Prometheus at {server.url} is not asked: {token} cannot be read: No such file or directory"
    )
    assert len(server.asked) == 2
    await source.close()


async def test_headers_come_from_settings_and_from_a_mounted_secret(
    server: Server, clock: Time, tmp_path: Path
) -> None:
    """As the kubelet mounts one: keys are links into a folder with a dot before its name."""
    (tmp_path / "..data").mkdir()
    for name, value in (("X-Api-Key", "k3y-of-ours"), ("username", "shop"), ("password", "hunter22")):
        (tmp_path / "..data" / name).write_text(value)
        (tmp_path / name).symlink_to(tmp_path / "..data" / name)
    access = Access({"X-Scope-OrgID": "shop"}, headers_from=str(tmp_path), basic_auth=str(tmp_path))
    source = PrometheusSource(server.url, clock=clock, access=access)
    await source.fetch(["x"])
    sent = server.headers[0]
    assert (sent["X-Scope-OrgID"], sent["X-Api-Key"], sent["Authorization"]) == (
        "shop",
        "k3y-of-ours",
        "Basic c2hvcDpodW50ZXIyMg==",
    )
    server.reply = lambda _: (401, {"error": "no: k3y-of-ours, hunter22, Basic c2hvcDpodW50ZXIyMg=="})
    answer = (await source.fetch(["y"]))["y"]
    assert isinstance(answer, Missing)
    assert "refuses access (401 no: …, …, Basic …): are the credentials right" in answer.why
    await source.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "is empty"),
        ("two\nlines", "has more than one line"),
        ("tokén", "characters that no header may have"),
    ],
)
async def test_a_token_that_can_be_none_is_said_and_not_shown(
    server: Server, clock: Time, tmp_path: Path, said: str, told: str
) -> None:
    (tmp_path / "token").write_text(said)
    source = PrometheusSource(server.url, clock=clock, access=Access(token=str(tmp_path / "token")))
    answer = (await source.fetch(["x"]))["x"]
    assert isinstance(answer, Missing)
    assert told in answer.why
    assert not said or said not in answer.why
    assert not server.asked
    await source.close()


async def test_nobody_is_sent_elsewhere_with_our_credentials(server: Server, clock: Time) -> None:
    elsewhere = Server()
    server.redirect = f"{elsewhere.url}/api/v1/query"
    server.reply = lambda _: (302, b"")
    source = PrometheusSource(server.url, clock=clock, access=Access({"X-Api-Key": "k3y"}))
    answer = (await source.fetch(["x"]))["x"]
    assert answer == Missing(f"Prometheus at {server.url} sends us elsewhere: give the address that answers")
    assert not elsewhere.asked
    await source.close()
    elsewhere.http.shutdown()
    elsewhere.http.server_close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, ""),
        ({"prometheus": "https://mimir.example/prometheus"}, ""),
        ({"prometheus": "https://vm.example/select/0/prometheus?extra_label=cluster=eu-1"}, ""),
        ({"prometheus": "http://prometheus?time=5&limit=1"}, "asks for time, which is asked for with each query"),
        ({"prometheus": "prometheus:9090"}, "'prometheus:9090' is no URL of http or https"),
        ({"prometheus": "http://me:s3cret@prometheus"}, "credentials in it, which others see"),
        ({"prometheus": "ftp://me:s3cret@prometheus"}, "'prometheus' is no URL"),
        ({"prometheus_token": "t", "prometheus_basic_auth": "b"}, "give one of them"),
        ({"prometheus_ca": "/nowhere/ca.crt"}, "'/nowhere/ca.crt': there is no such file"),
        ({"prometheus_headers": "X-Scope-OrgID: shop\nX-Other: a: b"}, ""),
        ({"prometheus_headers": "X-Scope-OrgID"}, "'X-Scope-OrgID' is no header: write Name: value"),
    ],
)
def test_settings_that_cannot_be_right_are_told_before_anything_runs(settings: dict[str, str], told: str) -> None:
    wrong = Settings(**settings).wrong
    assert told in wrong
    assert bool(told) == bool(wrong)
    assert "s3cret" not in wrong


async def test_an_answer_that_trickles_takes_no_thread_for_longer_than_it_may(server: Server, clock: Time) -> None:
    source = PrometheusSource(server.url, timeout=0.3, parallel=1, clock=clock)
    server.trickle = True
    told = await source.fetch(["x"])
    assert told["x"] == Missing(f"Prometheus at {server.url} did not answer in 0.3 s")
    server.trickle = False
    assert not isinstance((await source.fetch(["y"]))["y"], Missing)
    await source.close()


async def test_an_answer_that_is_too_large_is_refused(
    server: Server, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.adapters.prometheus.MOST_READ", 2 * 1024**2)
    source = PrometheusSource(server.url, clock=clock)
    server.reply = lambda _: (200, vector("1", text="x" * 1024**2 * 2))
    told = await source.fetch(["x"])
    assert told["x"] == Missing("the answer has more than 2 MiB: ask for fewer series")
    server.reply = lambda _: (200, vector("1", text="x" * 1024**2))
    assert not isinstance((await source.fetch(["y"]))["y"], Missing)
    await source.close()


async def test_queries_of_one_that_take_too_long_are_no_outage_for_all(
    server: Server, source: PrometheusSource
) -> None:
    told = {"status": "error", "errorType": "timeout", "error": "query timed out in expression evaluation"}
    server.reply = lambda query: (503, told) if query["query"].startswith("slow") else (200, vector("1"))
    slow = [f"slow{number}" for number in range(5)]
    assert await source.fetch(slow) == dict.fromkeys(slow, Missing("query timed out in expression evaluation"))
    assert not isinstance((await source.fetch(["x"]))["x"], Missing)


def test_a_password_may_have_any_characters_and_a_username_no_colon(tmp_path: Path) -> None:
    (tmp_path / "username").write_text("jürgen\n", "utf-8")
    (tmp_path / "password").write_text("geheim:ß\n", "utf-8")
    access = Access(basic_auth=str(tmp_path))
    sent = base64.b64encode("jürgen:geheim:ß".encode()).decode()
    assert access.now() == {"Authorization": f"Basic {sent}"}
    assert access.hide(f"{sent}, geheim:ß") == "…, …"
    (tmp_path / "username").write_text("a:b", "utf-8")
    with pytest.raises(Unreadable, match="username has a colon"):
        access.now()

"""What pods expose is read as prometheus_client's parser reads it, and quickly."""

from __future__ import annotations

import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tidegate.core.exposition import Key, Malformed, Wanted, cut_short
from tidegate.core.selector import NAME

REQUESTS, BUCKETS = "http_requests_total", "http_request_duration_seconds_bucket"
WANTED = Wanted(frozenset({REQUESTS, BUCKETS}), frozenset({"code", "le"}))
AWKWARD = 'a } # {b="c"} 1 "quoted" \\ and\na new line, ünïcode'


def sums(text: str, wanted: Wanted = WANTED) -> dict[Key, float]:
    """Without how many lines they are of."""
    return {key: value for key, (value, _) in wanted.read(text).items()}


def by_library(text: str, wanted: Wanted = WANTED) -> dict[Key, float]:
    """The same, by the parser that everybody uses."""
    found: dict[Key, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in wanted.names:
                gone_by = sorted((label, value) for label, value in sample.labels.items() if label in wanted.labels)
                key = ((NAME, sample.name), *gone_by)
                found[key] = found.get(key, 0.0) + sample.value
    return found


def busy() -> CollectorRegistry:
    """An application with counters by route, one of them of a strange name."""
    registry = CollectorRegistry()
    requests = Counter("http_requests", "Requests.", ["method", "route", "code"], registry=registry)
    durations = Histogram("http_request_duration_seconds", "Durations.", ["route"], registry=registry)
    Counter("http_requests_total_of_others", "Not the same.", registry=registry).inc(9)
    for number, route in enumerate(("/", "/a b", AWKWARD)):
        for code in ("200", "404", "500"):
            requests.labels("GET", route, code).inc(number + 0.5)
            durations.labels(route).observe(number / 10, {"trace_id": "a}#{b"})
    return registry


def test_counters_are_summed_over_what_nobody_goes_by() -> None:
    text = generate_latest(busy()).decode()
    assert sums(text)[(NAME, REQUESTS), ("code", "500")] == 0.5 + 1.5 + 2.5
    assert sums(text) == by_library(text)
    assert all(lines == 3 for _, lines in WANTED.read(text).values())


def test_openmetrics_is_read_alike_with_exemplars() -> None:
    text = generate_openmetrics(busy()).decode()  # type: ignore[no-untyped-call]  # the library has no types here
    assert " # {" in text
    assert sums(text) == sums(generate_latest(busy()).decode())
    assert not cut_short(text)
    assert cut_short(text[: len(text) // 2])


@pytest.mark.parametrize(
    "line",
    [
        'http_requests_total{code="200"} 7',
        'http_requests_total{code="200"} 7 1700000000000',
        'http_requests_total{code="200",} 7',
        'http_requests_total{ code = "200" , path = "}" } 7',
        'http_requests_total {code="200"} 7',
        '  http_requests_total{code="200"}\t7\t',
        'http_requests_total{path="a#b",code="200"} 7e3',
        "http_requests_total 1.5",
        "http_requests_total{} 0",
        'http_requests_total{path="x\\"y\\\\",code="200"} 1',
        'http_requests_totally{code="200"} 7\nmy_http_requests_total 5\n# http_requests_total 9',
    ],
)
def test_lines_mean_what_the_library_says(line: str) -> None:
    text = f"# TYPE x untyped\nx 1\n{line}\n"
    assert sums(text) == by_library(text)
    assert sums(text) == by_library(text), "the second time, too"


def test_a_carriage_return_is_no_number() -> None:
    assert sums("http_requests_total 3\r\n") == {((NAME, REQUESTS),): 3.0}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('http_requests_total{code="200"} NaN', "no count"),
        ('http_requests_total{code="200"} +Inf', "no count"),
        ("http_requests_total -1", "no count"),
        ("http_requests_total 1_000", "no count"),
        ("http_requests_total ١٢", "no count"),
        ("http_requests_total many", "no count"),
        ("http_requests_total", "not understood"),
        ("http_requests_total{code=200} 1", "not understood"),
        ('http_requests_total{code="200" 1', "no"),
        ('http_requests_total{code="200"} 1 2 3', "not understood"),
    ],
)
def test_what_is_no_counter_spoils_the_whole(line: str, told: str) -> None:
    for before in ("", 'http_requests_total{code="1"} 1\nhttp_requests_total{code="2"} 1\n'):
        with pytest.raises(Malformed, match=told):
            Wanted(WANTED.names, WANTED.labels).read(f"{before}{line}\n")


def test_a_series_that_is_exposed_twice_counts_once() -> None:
    assert sums('http_requests_total{code="200"} 5\n' * 2) == {((NAME, REQUESTS), ("code", "200")): 5.0}


def test_thirty_two_pods_of_a_thousand_lines_take_a_tenth_of_a_core_at_most() -> None:
    lines = [
        f'{BUCKETS}{{method="GET",route="/api/v1/things/{route}",le="{le}"}} {17 * route}'
        for route in range(25)
        for le in (".005", ".01", ".025", ".05", ".1", ".25", ".5", "1", "2.5", "5", "10", "+Inf")
    ]
    lines += [f'{REQUESTS}{{method="GET",route="/{route}",code="200"}} {route}' for route in range(50)]
    lines += [f'some_other_metric_total{{kind="{number}"}} {number}' for number in range(1000 - len(lines))]
    text = "\n".join(lines) + "\n"
    WANTED.read(text)
    took = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(32):
            WANTED.read(text)
        took.append(time.process_time() - began)
    assert min(took) < 0.1


@pytest.mark.parametrize(
    "rest",
    [" " * 1_000_000 + "#", "{" + "a" * 1_000_000, '{a="' + '"' * 1_000_000, " " * 8000 + "#", " 1" + " " * 8000 + "x"],
)
def test_no_line_takes_long(rest: str) -> None:
    wanted = Wanted(frozenset({REQUESTS}), frozenset({"code"}))
    began = time.process_time()
    with pytest.raises(Malformed):
        wanted.read(f"{REQUESTS}{rest}\n" * 2)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("labels", ['{code="1",code="2"}', '{code="1" le="2"}', "{code=1}", '{="1"}', '{code="1",,}'])
def test_labels_that_make_no_sense_spoil_the_reading(labels: str) -> None:
    with pytest.raises(Malformed, match="labels of http_requests_total are not understood"):
        sums(f"{REQUESTS}{labels} 1\n")


def test_labels_that_never_come_again_take_neither_long_nor_memory() -> None:
    wanted = Wanted(frozenset({REQUESTS}), frozenset({"code"}))
    began = time.process_time()
    for reading in range(20):
        text = "".join(f'{REQUESTS}{{id="{"x" * 900}{reading}-{number}"}} 1\n' for number in range(1100))
        wanted.read(text)
    assert sum(len(labels) for _, labels in wanted._known) < 10_000_000
    with pytest.raises(Malformed, match="are new: have fewer labels"):
        wanted.read("".join(f'{REQUESTS}{{id="{number}"}} 1\n' for number in range(30_000)))
    assert time.process_time() - began < 5


def test_so_many_lines_are_learnt_bit_by_bit() -> None:
    wanted = Wanted(frozenset({REQUESTS}), frozenset({"code"}))
    text = "".join(f'{REQUESTS}{{route="{number}"}} 1\n' for number in range(5000))
    for _ in range(2):
        with pytest.raises(Malformed):
            wanted.read(text)
    assert sums(text, wanted) == {((NAME, REQUESTS),): 5000}


def test_a_time_after_the_number_is_none_of_it_however_far_it_is() -> None:
    text = f'{REQUESTS}{{code="200"}}\t5\t1700000000000\n{REQUESTS} 6  1700000000000\n'
    first, again = sums(text), sums(text)
    assert first == again == {((NAME, REQUESTS), ("code", "200")): 5, ((NAME, REQUESTS),): 6}

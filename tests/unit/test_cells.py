"""Native histograms as columns: what is counted of durations, whatever a client or Prometheus does to its buckets."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, Verdict
from tidegate.core import analysis, cells, presets
from tidegate.core.arms import Arms
from tidegate.core.cells import Bucket
from tidegate.core.counters import Answer, Ledger, RouterSeries, Series, count
from tidegate.core.verdict import histogram

START = datetime(2026, 5, 1, tzinfo=UTC)
NAME = "http_request_duration_seconds"
ARMS = Arms.of_revisions("shop", ("6fcbd", "checkout-6fcbd-[a-z0-9]+"), ("7d9f5", "checkout-7d9f5-[a-z0-9]+"))


def native(seen: Iterable[float], schema: int, zero: float = 2.0**-128) -> list[Bucket]:
    """Buckets as the API gives them: the zero bucket is around zero, and none is empty."""
    found: Counter[tuple[float, float]] = Counter()
    for value in seen:
        index = math.ceil(math.log2(value) * 2.0**schema - 1e-9)
        low, high = (2 ** ((index - lower) / 2.0**schema) for lower in (1, 0))
        found[(-zero, zero) if value <= zero else (max(low, zero), high)] += 1
    return [(low, high, float(number)) for (low, high), number in found.items()]


def durations(count: int, seed: int = 1, factor: float = 1.0) -> list[float]:
    rng = random.Random(seed)
    return [factor * rng.lognormvariate(-3, 0.8) for _ in range(count)]


def column(buckets: Iterable[Bucket]) -> dict[str, float]:
    return {name: samples[-1][1] for name, samples in cells.columns([(0.0, buckets)]).items()}


@pytest.mark.parametrize("schema", [8, 5, 3, 2, 1])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_a_quantile_is_as_exact_as_the_buckets_are(schema: int, level: float) -> None:
    seen = durations(20_000)
    buckets = histogram.from_columns(column(native(seen, schema)))
    true = sorted(seen)[int(level * len(seen))]
    found = histogram.quantile(buckets, level)
    assert found == pytest.approx(true, rel=0.03 if schema > 1 else 0.05)
    assert histogram.requests(buckets) == len(seen)
    assert histogram.slower(buckets, true) == pytest.approx((1 - level) * len(seen), rel=0.1 if schema > 1 else 0.2)


def test_the_cells_are_few_and_their_names_short() -> None:
    """From a tenth of a millisecond to half a minute."""
    seen = [2 ** (place / 16) for place in range(-13 * 16, 5 * 16)]
    names = column(native(seen, 5))
    assert len(names) == 18 * 4 + 1
    assert all(len(name) <= 4 for name in names)
    assert cells.edges("~-4") == (0.420448, 0.5)
    assert cells.edges("~1:5") == pytest.approx((2**0.25, 2**1.25), rel=1e-5)
    assert cells.edges("~:-80/1000") == pytest.approx((0.0, 2.0**-20 / 1000), rel=1e-5)


def test_edges_of_their_own_stay() -> None:
    """A classic histogram that Prometheus has converted; what is beyond its edges is not known."""
    buckets = [(-math.inf, 0.005, 3.0), (0.25, 0.3, 4.0), (2.5, math.inf, 1.0)]
    assert column(buckets) == {"0~0.005": 3.0, "0.25~0.3": 4.0, "2.5~inf": 1.0}
    found = histogram.from_columns(column(buckets))
    assert histogram.edge_from(found, 0.3) == 0.3
    assert histogram.edge_from(found, 3.0) is None
    assert histogram.slower(found, 0.3) == 1.0


def test_nothing_counted_is_a_histogram_too() -> None:
    assert list(column([]).values()) == [0.0]
    assert histogram.requests(histogram.from_columns(column([]))) == 0.0


def test_what_is_quicker_than_all_that_was_counted_is_told() -> None:
    found = histogram.from_columns(column(native([0.1, 0.11, 0.4], 3)))
    assert histogram.slower(found, 5.0) == 0.0
    assert histogram.slower(found, 0.2) == 1.0
    assert histogram.edge_from(found, 60.0) is not None


@pytest.mark.parametrize(("schemas", "zeros"), [((3, 1), (0, 0)), ((1, -1), (0, 0)), ((2, 2), (0, 2**-5))])
def test_wider_buckets_within_a_window_are_the_same_counters(
    schemas: tuple[int, int], zeros: tuple[float, float]
) -> None:
    seen = durations(3000)
    samples = [
        (float(at), native(seen[: 1000 * at], schemas[at > 1], max(zeros[at > 1], 2.0**-128))) for at in (1, 2, 3)
    ]
    found = cells.columns(samples)
    series = [(name, Series({"pod": "a"}, taken)) for name, taken in found.items()]
    counted = count(Ledger(), series, opens=1.0, born_at_zero=False)
    (grown,) = counted.growths.values()
    assert sum(grown.values()) == 2000
    assert all(value >= 0 for value in grown.values())


def test_wider_buckets_after_a_gap_are_the_same_counters() -> None:
    seen = durations(3000)
    ledger = Ledger()
    for at, number, schema in ((1.0, 1000, 2), (100.0, 3000, 0)):
        columned = cells.columns([(at, native(seen[:number], schema))])
        series = [(name, Series({"pod": "a"}, taken)) for name, taken in columned.items()]
        counted = count(ledger, series, opens=0.0, born_at_zero=True)
        ledger = Ledger.load(counted.ledger.dump(0), 0)
    (grown,) = counted.growths.values()
    assert sum(grown.values()) == 2000


def test_both_arms_are_cut_at_the_edges_of_the_coarser() -> None:
    stable, candidate = (column(native(durations(1000, seed), schema)) for seed, schema in ((1, 3), (2, 0)))
    (one,), (other,) = histogram.of_arms([stable], [candidate])
    assert one.keys() == other.keys()
    assert {1 / 32, 1 / 16, 1 / 8} <= one.keys()
    assert not [edge for edge in one if 1 / 16 < edge < 1 / 8]


def test_an_edge_where_nothing_was_counted_beside_it_is_shared() -> None:
    merged = histogram.merged([{0.1: 5.0, 1.0: 5.0, math.inf: 6.0}, {0.1: 1.0, 0.5: 2.0, 1.0: 4.0, math.inf: 4.0}])
    assert merged == {0.1: 6.0, 0.5: 7.0, 1.0: 9.0, math.inf: 10.0}
    merged = histogram.merged([{0.1: 5.0, 1.0: 6.0, math.inf: 6.0}, {0.1: 1.0, 0.5: 2.0, 1.0: 4.0, math.inf: 4.0}])
    assert 0.5 not in merged


Pods = Mapping[str, list[tuple[float, list[Bucket]]]]


def answers(pods: Pods, texts: Iterable[str], now: float, name: str = NAME) -> dict[str, Answer]:
    """Of pods, or of a router's Services, what is in the window that is asked for."""

    def told(text: str) -> Iterator[Series]:
        window = float(text[text.rindex("[") + 1 :].partition("s")[0])
        arm = "7d9f5" if "7d9f5" in text else "6fcbd"
        for pod, samples in pods.items():
            inside = [(at, buckets) for at, buckets in samples if now - window < at <= now]
            if arm in pod and inside:
                counts = tuple((at, sum(number for *_, number in buckets)) for at, buckets in inside)
                yield Series({"__name__": name, "pod": pod}, counts, cells=cells.columns(inside))

    return {text: tuple(told(text)) for text in texts}


def looked(pods: Pods, arms: Arms = ARMS, name: str = NAME, until: int = 100, **fields: Any) -> AnalysisStatus:
    """After looks at samples every 5 s."""
    metric = {"name": "it", "preset": "Latency", "quantile": "p90", "maxIncrease": "30%"} | fields
    spec = AnalysisSpec.model_validate({"interval": "5s", "warmup": "0s", "metrics": [metric]})
    status = analysis.begin(spec, arms, START, 100, 5)
    for seconds in range(5, until + 1, 5):
        now = START + timedelta(seconds=seconds)
        found = answers(pods, analysis.queries(spec, arms, status), now.timestamp(), name)
        stored = AnalysisStatus.model_validate(json.loads(json.dumps(status.wire())))
        status = analysis.look(spec, stored, arms, found, now, step_changed=False)
    return status


def served(pod: str, rate: int, factor: float = 1.0, *, schema: int = 3, seed: int = 1) -> Pods:
    """So many requests between two samples, since a minute before the release."""
    seen = durations(rate * 40, seed, factor)
    at = START.timestamp()
    return {pod: [(at + 5 * n - 60, native(seen[: rate * (n + 1)], schema)) for n in range(40)]}


def test_a_slower_candidate_fails_and_an_equal_one_does_not() -> None:
    stable = served("checkout-6fcbd-a", 300)
    assert looked({**stable, **served("checkout-7d9f5-a", 100, 1.8, seed=2)}).verdict is Verdict.Fail
    status = looked({**stable, **served("checkout-7d9f5-a", 100, 1.0, seed=2)})
    assert status.verdict is not Verdict.Fail
    assert status.metrics[0].ratio == pytest.approx(1.0, abs=0.1)


def test_a_router_has_native_histograms_too() -> None:
    router = RouterSeries("requests_total", "code", f"{NAME}_bucket", "pod", "checkout-6fcbd-a", "checkout-7d9f5-a")
    pods = {**served("checkout-6fcbd-a", 300), **served("checkout-7d9f5-a", 100, 1.8, seed=2)}
    status = looked(pods, replace(ARMS, router=router))
    assert status.verdict is Verdict.Fail
    assert json.loads(status.journal)["metrics"]["it"]["source"] == f"router's {NAME}"


def test_a_summary_of_the_same_name_is_no_histogram() -> None:
    spec = AnalysisSpec.model_validate({"metrics": [{"name": "it", "preset": "Latency", "maxIncrease": "30%"}]})
    status = analysis.begin(spec, ARMS, START, 100, 5)
    summary = (Series({"__name__": NAME, "pod": "a", "quantile": "0.9"}, ((START.timestamp(), 0.1),)),)
    found = dict.fromkeys(analysis.queries(spec, ARMS, status), summary)
    status = analysis.look(spec, status, ARMS, found, START + timedelta(seconds=5), step_changed=False)
    assert "no series" in status.message


def test_what_stable_did_before_is_known_by_its_native_histograms() -> None:
    one, other = (served(f"checkout-6fcbd-{pod}", 300, 1 + 0.5 * seed, seed=seed) for seed, pod in enumerate("ab"))
    status = looked({**one, **other, **served("checkout-7d9f5-a", 100, seed=3)}, until=5)
    known = json.loads(status.journal)["metrics"]["it"]
    assert known["source"] == NAME
    assert known["dispersion"]["pods"]


def test_the_journal_fits() -> None:
    """32 pods that have served for months: each has seen all that there is, from a fourth of a millisecond on."""
    at = START.timestamp()
    seen = [2 ** (place / 8) for place in range(-12 * 8, 4 * 8)]

    def lifetime(n: int, scale: int) -> list[Bucket]:
        return [(low, high, count * (scale + 97 * n)) for low, high, count in native(seen, 3)]

    pods = {f"checkout-6fcbd-{pod}": [(at + 5 * n - 60, lifetime(n, 10**6)) for n in range(40)] for pod in range(32)}
    pods["checkout-7d9f5-a"] = [(at + 5 * n, lifetime(n, 0)) for n in range(28)]
    status = looked(pods, max="1s")
    kept = json.loads(status.journal)["metrics"]["it"]
    assert len(json.dumps(kept, separators=(",", ":"))) < 4096


def test_names_of_native_histograms_are_those_of_classic_ones() -> None:
    assert NAME in {family.name for family in presets.NATIVE_BUCKETS}
    assert "http_server_request_duration_seconds" in {family.name for family in presets.NATIVE_REQUESTS}
    assert "http_requests_total" not in {family.name for family in presets.NATIVE_REQUESTS}

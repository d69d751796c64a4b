"""Counters that are known by name, as their owners write them, and as the analysis counts them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, MetricStatus, Reason, Verdict
from tidegate.core import analysis, presets
from tidegate.core.arms import Arms
from tidegate.core.counters import Answer, RouterSeries, Series, Uncounted
from tidegate.core.presets import Protocol

START = datetime(2026, 5, 1, tzinfo=UTC)
ARMS = Arms.of_revisions("shop", ("6fcbd", "checkout-6fcbd-[a-z0-9]+"), ("7d9f5", "checkout-7d9f5-[a-z0-9]+"))
GRPC = replace(ARMS, protocols=(Protocol.GRPC,))
BOTH = replace(ARMS, protocols=(Protocol.HTTP, Protocol.GRPC))
NGINX = presets.of_nginx("shop", "web", "checkout", ("shop-checkout-canary-80",))
ISTIO = presets.of_istio("shop", "checkout-stable", "checkout-canary", "source")
FROM_ROUTER: dict[str, Any] = {"from": "Router"}
STABLE, CANDIDATE = "checkout-6fcbd-abcde", "checkout-7d9f5-abcde"

Labels = Mapping[str, str]
Counter = tuple[Labels, float]
"""A series, and what it grows by in a second."""


def answer(query: str, counters: Iterable[Counter], now: datetime) -> Answer:
    """What Prometheus answers to a range selector: counters are sampled each second, and are as old as the world."""
    if query.startswith("sum by (__name__"):
        return ()  # no native histograms
    asked = re.fullmatch(r"(\w*)\{(.*)\}\[(\d+)s\]", query)
    assert asked, query
    matchers = re.findall(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"', asked[2])
    if asked[1]:
        matchers.append(("__name__", "=", asked[1]))

    def fits(labels: Labels) -> bool:
        tests: dict[str, Callable[[str, str], bool]] = {
            "=": lambda have, want: have == want,
            "!=": lambda have, want: have != want,
            "=~": lambda have, want: re.fullmatch(want, have) is not None,
            "!~": lambda have, want: re.fullmatch(want, have) is None,
        }
        return all(tests[how](labels.get(label, ""), want) for label, how, want in matchers)

    last = int(now.timestamp())
    times = range(last - int(asked[3]) + 1, last + 1)
    origin = int(START.timestamp()) - 1000
    return tuple(
        Series(labels, tuple((float(at), float(rate * (at - origin))) for at in times))
        for labels, rate in counters
        if fits(labels)
    )


def look(
    status: AnalysisStatus, wanted: AnalysisSpec, arms: Arms, counters: Sequence[Counter], now: datetime
) -> AnalysisStatus:
    texts = analysis.queries(wanted, arms, status)
    return analysis.look(
        wanted, status, arms, {text: answer(text, counters, now) for text in texts}, now, step_changed=False
    )


def looked(arms: Arms, counters: Sequence[Counter], *, seconds: int = 60, **metric: Any) -> MetricStatus:
    """What one metric shows after some looks; an error ratio, unless told otherwise."""
    one = {"name": "it", "preset": "ErrorRatio", "maxIncrease": "50%"} | metric
    wanted = AnalysisSpec.model_validate({"interval": "5s", "warmup": "0s", "metrics": [one]})
    status = analysis.begin(wanted, arms, START, 100, 5)
    for at in range(5, seconds + 1, 5):
        status = look(status, wanted, arms, counters, START + timedelta(seconds=at))
    return status.metrics[0]


def pods(name: str, **labels: tuple[str, str]) -> list[Counter]:
    """Of each arm's pod good requests and, of the candidate one in ten, bad ones: ``label=(good, bad)``."""
    good, bad = ({label: values[at] for label, values in labels.items()} for at in (0, 1))
    base = {"__name__": name, "namespace": "shop"}
    return [
        ({**base, "pod": STABLE, **good}, 100),
        ({**base, "pod": CANDIDATE, **good}, 90),
        ({**base, "pod": CANDIDATE, **bad}, 10),
    ]


@pytest.mark.parametrize(
    ("arms", "counters"),
    [
        (ARMS, pods("http_requests_total", code=("200", "503"))),
        (ARMS, pods("http_requests_total", status=("2xx", "5xx"))),
        (ARMS, pods("http_server_request_duration_seconds_count", http_response_status_code=("200", "500"))),
        (ARMS, pods("http_server_duration_milliseconds_count", http_status_code=("200", "500"))),
        (ARMS, pods("istio_requests_total", response_code=("200", "503"), reporter=("destination", "destination"))),
        (ARMS, pods("response_total", classification=("success", "failure"), direction=("inbound", "inbound"))),
        (GRPC, pods("grpc_server_handled_total", grpc_code=("OK", "Unavailable"))),
        (GRPC, pods("rpc_server_call_duration_seconds_count", rpc_response_status_code=("OK", "INTERNAL"))),
        (GRPC, pods("rpc_server_duration_milliseconds_count", rpc_grpc_status_code=("5", "14"))),
        (GRPC, pods("istio_requests_total", response_code=("200", "200"), grpc_response_status=("0", "13"))),
        (GRPC, pods("response_total", classification=("success", "failure"))),
        (
            BOTH,
            pods("http_server_request_duration_seconds_count", http_response_status_code=("200", "500"))
            + pods("rpc_server_call_duration_seconds_count", rpc_response_status_code=("OK", "INTERNAL")),
        ),
    ],
)
def test_pods_are_counted_by_whichever_names_they_have(arms: Arms, counters: list[Counter]) -> None:
    found = looked(arms, counters)
    assert (found.stable, found.verdict) == (0, Verdict.Fail)
    assert found.candidate == pytest.approx(0.1, abs=0.001)


def test_what_the_proxy_sends_is_asked_of_and_is_probed_by_is_no_request_of_the_pod() -> None:
    noise: list[Counter] = [
        ({"direction": "outbound"}, 1000),
        ({"direction": "inbound", "target_port": "4191"}, 1000),
        ({"direction": "inbound", "route_name": "probe"}, 1000),
    ]
    linkerd = pods("response_total", classification=("success", "failure"), direction=("inbound", "inbound"))
    noisy: list[Counter] = [
        ({"__name__": "response_total", "namespace": "shop", "pod": pod, "classification": "failure", **labels}, rate)
        for pod in (STABLE, CANDIDATE)
        for labels, rate in noise
    ]
    assert looked(ARMS, linkerd + noisy) == looked(ARMS, linkerd)
    istio = pods("istio_requests_total", response_code=("200", "503"), reporter=("destination", "destination"))
    sent = pods("istio_requests_total", response_code=("503", "503"), reporter=("source", "source"))
    assert looked(ARMS, istio + sent) == looked(ARMS, istio)


def test_of_two_names_for_the_same_requests_one_is_counted() -> None:
    own = pods("http_requests_total", code=("200", "503"))
    proxy = pods("response_total", classification=("success", "failure"))
    assert looked(ARMS, own + proxy) == looked(ARMS, own)
    mute = [({**labels, "code": ""}, rate) for labels, rate in own]
    mute = [({key: value for key, value in labels.items() if value}, rate) for labels, rate in mute]
    assert looked(ARMS, mute + proxy) == looked(ARMS, proxy), "the one that tells failures"


def test_a_proxy_that_counts_all_is_better_than_an_application_that_counts_some() -> None:
    own = pods("http_requests_total", code=("200", "503"))
    proxy = pods("response_total", classification=("success", "failure"))
    assert looked(BOTH, own + proxy) == looked(BOTH, proxy)
    calls = pods("grpc_server_handled_total", grpc_code=("OK", "Unavailable"))
    assert looked(BOTH, own + calls + proxy).requests == looked(BOTH, own + calls).requests


def test_once_found_nothing_else_is_asked_for() -> None:
    wanted = AnalysisSpec.model_validate({"interval": "5s", "warmup": "0s"})
    counters = pods("http_server_request_duration_seconds_count", http_response_status_code=("200", "500"))
    counters += [
        ({**labels, "__name__": "http_server_duration_milliseconds_bucket", "le": "+Inf"}, rate)
        for labels, rate in counters[:2]
    ]
    status = analysis.begin(wanted, ARMS, START, 100, 5)
    assert all(
        query.startswith(("{__name__=~", "sum by (__name__,")) for query in analysis.queries(wanted, ARMS, status)
    )
    status = look(status, wanted, ARMS, counters, START + timedelta(seconds=5))
    names = [query.partition("{")[0] for query in analysis.queries(wanted, ARMS, status)]
    errors, latency = "http_server_request_duration_seconds_count", "http_server_duration_milliseconds_bucket"
    assert names == [errors, errors, latency, latency]
    wide = {text: answer(text, counters, START + timedelta(seconds=10)) for text in analysis.queries(wanted, ARMS)}
    seen = analysis.look(wanted, status, ARMS, wide, START + timedelta(seconds=10), step_changed=False)
    narrow = look(status, wanted, ARMS, counters, START + timedelta(seconds=10))
    assert seen == narrow, "who asks for all is answered what was found"


def test_arms_that_count_by_different_names_cannot_be_compared() -> None:
    old = pods("http_requests_total", code=("200", "503"))[:1]
    new = pods("http_server_request_duration_seconds_count", http_response_status_code=("200", "500"))[1:]
    found = looked(ARMS, old + new)
    assert (found.verdict, found.reason) == (Verdict.Unknown, Reason.NoSeries)
    assert "stable counts by http_requests_total, and the candidate by http_server_request_duration_" in found.message
    assert "let both expose one of them" in found.message


def test_a_candidate_without_requests_leaves_open_what_it_counts_by() -> None:
    wanted = AnalysisSpec.model_validate(
        {"interval": "5s", "warmup": "0s", "metrics": [{"name": "it", "preset": "ErrorRatio", "maxIncrease": "50%"}]}
    )
    own = pods("http_requests_total", code=("200", "503"))
    both = pods("response_total", classification=("success", "failure"))
    status = look(
        analysis.begin(wanted, ARMS, START, 9, 1), wanted, ARMS, own[:1] + both[:1], START + timedelta(seconds=5)
    )
    assert status.reason is Reason.NoSeries
    assert 'no series http_requests_total{namespace="shop",pod=~"checkout-7d9f5' in status.message
    status = look(status, wanted, ARMS, own[:1] + both, START + timedelta(seconds=10))
    assert status.verdict is not Verdict.Unknown
    assert analysis.queries(wanted, ARMS, status)[0].startswith("response_total{")


@pytest.mark.parametrize(
    ("name", "per_second"),
    [
        ("http_request_duration_seconds_bucket", 1),
        ("http_server_request_duration_seconds_bucket", 1),
        ("http_server_duration_milliseconds_bucket", 1000),
        ("istio_request_duration_milliseconds_bucket", 1000),
        ("response_latency_ms_bucket", 1000),
    ],
)
def test_durations_are_seconds_whatever_the_histogram_is_in(name: str, per_second: int) -> None:
    counters = [
        ({"__name__": name, "namespace": "shop", "pod": pod, "le": le}, rate)
        for pod, slow in ((STABLE, 0), (CANDIDATE, 30))
        for le, rate in ((f"{0.1 * per_second:g}", 100 - slow), (f"{1 * per_second:g}", 100), ("+Inf", 100))
    ]
    found = looked(ARMS, counters, preset="Latency", quantile="p90", max="200ms")
    assert found.verdict is Verdict.Fail
    assert found.stable == pytest.approx(0.09, abs=0.001)
    assert found.candidate == pytest.approx(0.7, abs=0.001)


def test_what_stable_did_before_is_known_in_the_same_unit_and_counted_once() -> None:
    def durations(name: str, per_second: int) -> list[Counter]:
        return [
            ({"__name__": name, "namespace": "shop", "pod": f"{pod}{number}", "le": le}, rate)
            for pod in (STABLE, CANDIDATE)
            for number in range(2)
            for le, rate in ((f"{0.1 * per_second:g}", 90 - number), (f"{1 * per_second:g}", 100), ("+Inf", 100))
        ]

    def before(counters: Sequence[Counter]) -> object:
        one = {"name": "it", "preset": "Latency", "quantile": "p90", "maxIncrease": "30%"}
        wanted = AnalysisSpec.model_validate({"interval": "5s", "warmup": "0s", "metrics": [one]})
        status = analysis.begin(wanted, ARMS, START, 9, 1)
        status = look(status, wanted, ARMS, counters, START + timedelta(seconds=5))
        return json.loads(status.journal)["metrics"]["it"]["dispersion"]["pods"]

    seconds = durations("http_request_duration_seconds_bucket", 1)
    millis = durations("response_latency_ms_bucket", 1000)
    assert before(millis) == before(seconds) == before(seconds + millis)


def nginx(canary: str, status: str, rate: float, **more: str) -> Counter:
    """As ingress-nginx counts: a canary's requests are the main Ingress'; Prometheus drops an empty label."""
    labels = {
        "__name__": "nginx_ingress_controller_requests",
        "ingress": "web",
        "service": "checkout",
        "namespace": "shop",
        "controller_pod": "ingress-nginx-controller-0",
        "instance": "10.0.0.9:10254",
        "status": status,
    }
    return {**labels, **({"canary": canary} if canary else {}), **more}, rate


OF_NGINX = [
    nginx("", "200", 90),
    nginx("shop-checkout-canary-80", "200", 9),
    nginx("shop-checkout-canary-80", "502", 1),
]


def test_ingress_nginx_tells_a_canary_by_its_label() -> None:
    arms = replace(ARMS, router=NGINX)
    others = [
        nginx("", "500", 1000, namespace="other"),
        nginx("", "500", 1000, service="basket"),
        nginx("other-checkout-canary-80", "500", 1000, namespace="other"),
    ]
    found = looked(arms, OF_NGINX + others)
    assert (found.stable, found.verdict) == (0, Verdict.Fail)
    assert found.candidate == pytest.approx(0.1, abs=0.001)
    kept = [
        nginx(labels.get("canary", ""), labels["status"], rate, namespace="ingress-nginx", exported_namespace=said)
        for said, some in (("shop", OF_NGINX), ("other", others[:1]))
        for labels, rate in some
    ]
    assert looked(arms, kept) == found, "where Prometheus keeps the word namespace for the controller's own"


def test_a_dot_of_an_ingress_name_is_a_dot() -> None:
    dotted = presets.of_nginx("shop", "web.example", "checkout", ("shop-checkout-canary-80",))
    own = [nginx(labels.get("canary", ""), labels["status"], rate, ingress="web.example") for labels, rate in OF_NGINX]
    another = nginx("", "500", 1000, ingress="web-example")
    assert looked(replace(ARMS, router=dotted), [*own, another]).stable == 0


def test_an_ingress_nginx_that_does_not_tell_its_canaries_apart_is_no_evidence() -> None:
    found = looked(replace(ARMS, router=NGINX), [nginx("", "200", 99), nginx("", "502", 1)])
    assert (found.verdict, found.reason) == (Verdict.Unknown, Reason.NoSeries)
    assert "1.1 or newer, which alone tells its canary apart" in found.message


def istio(service: str, code: str, rate: float, **more: str) -> Counter:
    labels = {
        "__name__": "istio_requests_total",
        "reporter": "source",
        "destination_service_name": service,
        "destination_service_namespace": "shop",
        "namespace": "istio-ingress",
        "pod": "gateway-istio-abc",
        "response_code": code,
    }
    return {**labels, **more}, rate


OF_ISTIO = [
    istio("checkout-stable", "200", 90),
    istio("checkout-canary", "200", 9),
    istio("checkout-canary", "503", 1),
]


@pytest.mark.parametrize("arms", [ARMS, BOTH])
def test_istio_tells_by_the_service_that_was_chosen(arms: Arms) -> None:
    """Also which calls of gRPC failed."""
    noise = [
        istio("checkout-stable", "500", 99, reporter="destination"),
        istio("checkout-stable", "500", 99, destination_service_namespace="other"),
    ]
    found = looked(replace(arms, router=ISTIO), OF_ISTIO + noise)
    assert (found.stable, found.verdict) == (0, Verdict.Fail)
    assert found.candidate == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(("router", "counters"), [(NGINX, OF_NGINX), (ISTIO, OF_ISTIO)])
def test_a_router_that_should_count_and_does_not_is_stood_in_for_by_the_pods(
    router: RouterSeries, counters: list[Counter]
) -> None:
    """At once where its series would have been there before, as stable's of an Ingress are."""
    arms, own = replace(ARMS, router=router), pods("http_requests_total", code=("200", "503"))
    early = looked(arms, own, seconds=15)
    if router.late:
        assert (early.verdict, early.reason) == (Verdict.Unknown, Reason.NoSeries)
        assert router.requests in early.message
        assert router.remedy in early.message
    else:
        assert early.verdict is Verdict.Fail
    assert looked(arms, own, seconds=60).verdict is Verdict.Fail
    assert looked(arms, own + counters, seconds=15).verdict is not Verdict.Unknown
    assert looked(arms, own, seconds=60, **FROM_ROUTER).verdict is Verdict.Unknown, "nor where it is wanted"


def test_sidecars_stand_in_for_a_gateway_that_counts_by_the_same_name() -> None:
    beside = pods("istio_requests_total", response_code=("200", "503"), reporter=("destination", "destination"))
    good = [({**labels, "response_code": "200"}, rate) for labels, rate in beside[:2]]
    early, late = (looked(replace(ARMS, router=ISTIO), good, seconds=seconds) for seconds in (60, 90))
    assert late.requests - early.requests == 30 * 90, "not only in the look that found them"
    assert looked(replace(ARMS, router=ISTIO), beside, seconds=90).verdict is Verdict.Fail


def test_envoy_gateway_cannot_tell_and_the_pods_do() -> None:
    arms = replace(ARMS, router=Uncounted("Envoy Gateway counts the requests of all backends of a rule together"))
    own = pods("http_requests_total", code=("200", "503"))
    assert looked(arms, own).verdict is Verdict.Fail
    wanted = looked(arms, own, **FROM_ROUTER)
    assert wanted.message == "Envoy Gateway counts the requests of all backends of a rule together: set from: Pods"

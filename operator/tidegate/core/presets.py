"""Counters that are known by name: what applications, and the proxies beside them, call what they count of requests.

Which of them a workload has is seen in the answers: all are asked for at once until one is found, that one from then
on. Names and labels are those of

* the conventions of Prometheus' client libraries: ``http_requests_total`` and ``http_request_duration_seconds``, with
  ``code`` or ``status``; go-grpc-middleware's ``grpc_server_handled_total`` and ``grpc_server_handling_seconds``
* OpenTelemetry's semantic conventions, as its exporters write them for Prometheus (dots become underscores, the unit
  comes after): ``http.server.request.duration`` in s and ``rpc.server.call.duration`` in s, and what these were before,
  ``http.server.duration`` and ``rpc.server.duration``, both in ms (open-telemetry/semantic-conventions,
  docs/http/http-metrics.md and docs/rpc/rpc-metrics.md)
* Istio's standard metrics (istio.io, docs/reference/config/metrics): durations in milliseconds, and ``reporter``: both
  ends of a request count it, so that only one of them is read
* Linkerd's proxy metrics (linkerd.io, reference/proxy-metrics): latencies in milliseconds, to the first byte; whether a
  response is a failure stands in ``classification``. Port 4191 is the proxy's own, and ``probe`` the kubelet's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from tidegate.core.counters import RouterSeries


class Protocol(StrEnum):
    """What the routes lead to the workload. Most routers' counts of gRPC requests do not tell which failed: their
    status comes after the answer, in its trailers, and the HTTP status is always 200."""

    HTTP = "HTTP"
    GRPC = "gRPC"


@dataclass(frozen=True)
class Family:
    """One of the names by which requests are counted."""

    name: str
    """Of the series."""
    protocols: tuple[Protocol, ...]
    """What is counted so."""
    status_labels: tuple[str, ...] = ()
    """Labels that tell which requests failed; none of a histogram."""
    per_second: float = 1.0
    """How many of a histogram's units are a second."""
    native: bool = False
    """Its series are native histograms: each is all of the buckets, and their count."""


_HTTP, _GRPC, _ANY = (Protocol.HTTP,), (Protocol.GRPC,), (Protocol.HTTP, Protocol.GRPC)
REQUESTS = (
    Family("http_requests_total", _HTTP, ("code", "status")),
    Family("grpc_server_handled_total", _GRPC, ("grpc_code", "code")),
    Family("http_server_request_duration_seconds_count", _HTTP, ("http_response_status_code",)),
    Family("rpc_server_call_duration_seconds_count", _GRPC, ("rpc_response_status_code",)),
    Family("http_server_duration_milliseconds_count", _HTTP, ("http_status_code",)),
    Family("rpc_server_duration_milliseconds_count", _GRPC, ("rpc_grpc_status_code",)),
    Family("istio_requests_total", _ANY, ("response_code", "grpc_response_status")),
    Family("response_total", _ANY, ("classification",)),
)
"""Counters of requests: the first that both arms have is taken."""
BUCKETS = (
    Family("http_request_duration_seconds_bucket", _HTTP),
    Family("grpc_server_handling_seconds_bucket", _GRPC),
    Family("http_server_request_duration_seconds_bucket", _HTTP),
    Family("rpc_server_call_duration_seconds_bucket", _GRPC),
    Family("http_server_duration_milliseconds_bucket", _HTTP, per_second=1000),
    Family("rpc_server_duration_milliseconds_bucket", _GRPC, per_second=1000),
    Family("istio_request_duration_milliseconds_bucket", _ANY, per_second=1000),
    Family("response_latency_ms_bucket", _ANY, per_second=1000),
)
"""Classic histograms of durations, in the same order."""
NATIVE_REQUESTS, NATIVE_BUCKETS = (
    tuple(
        replace(family, name=family.name.removesuffix(part), native=True)
        for family in classic
        if family.name.endswith(part)
    )
    for classic, part in ((REQUESTS, "_count"), (BUCKETS, "_bucket"))
)
"""The same, where a client or Prometheus makes native histograms of them: without the parts of a classic one's name."""

STATUS_LABELS = tuple(dict.fromkeys(label for family in REQUESTS for label in family.status_labels))
_CODES_OF_GRPC = frozenset({"grpc_response_status", "rpc_grpc_status_code"})
"""Labels whose numbers are statuses of gRPC, and not of HTTP."""
_GRPC_FAULTS = {
    "unknown": "2",
    "deadlineexceeded": "4",
    "unimplemented": "12",
    "internal": "13",
    "unavailable": "14",
    "dataloss": "15",
}
"""Statuses of gRPC that are the server's fault, as OpenTelemetry has it; spelt as any client library does."""

_BESIDE: Mapping[str, tuple[str, ...]] = {
    "grpc_": ('grpc_service!="grpc.health.v1.Health"',),
    "rpc_": ('rpc_service!="grpc.health.v1.Health"', 'rpc_method!~"grpc.health.v1.Health/.+"'),
    "istio_": ('reporter!="source"',),
    "response_": ('direction!="outbound"', 'target_port!="4191"', 'route_name!="probe"'),
}
"""By how a name begins: what is asked with it, so that a kubelet's probes, what the pod asks of others, and what is
asked of the proxy itself are none of its requests. Series without such a label pass."""
MATCHED_LABELS = tuple(dict.fromkeys(re.split("[=!]", told)[0] for of_name in _BESIDE.values() for told in of_name))
"""What these go by."""


def matchers(names: tuple[str, ...]) -> tuple[str, ...]:
    """PromQL's beside the arm's, for series of these names."""
    return tuple(
        matcher for begin, told in _BESIDE.items() for matcher in told if any(name.startswith(begin) for name in names)
    )


def fitting(families: tuple[Family, ...], protocols: tuple[Protocol, ...]) -> tuple[Family, ...]:
    """Those in which requests of these protocols are counted."""
    return tuple([family for family in families if not set(protocols).isdisjoint(family.protocols)])


def failed(labels: Mapping[str, str], status_labels: tuple[str, ...]) -> bool:
    """Whether the requests of a series failed by the server's fault, by any of the labels."""
    return any(_fault(label, labels[label]) for label in status_labels if label in labels)


@lru_cache(1024)
def _fault(label: str, status: str) -> bool:
    if label in _CODES_OF_GRPC:
        return status in _GRPC_FAULTS.values() or status.replace("_", "").lower() in _GRPC_FAULTS
    if label == "classification":
        return status == "failure"
    if re.fullmatch(r"5(\d\d|xx)", status):
        return True
    return status.replace("_", "").lower() in _GRPC_FAULTS


def seconds(le: str, per_second: float) -> float:
    """A bucket's upper edge in seconds."""
    edge = float(le)
    return edge if math.isinf(edge) else edge / per_second


NGINX_REMEDY = (
    "does Prometheus scrape ingress-nginx (controller.metrics.enabled), is it 1.1 or newer, which alone tells its"
    " canary apart, and has the Ingress a host without wildcards (else set --metrics-per-host=false)?"
)
ISTIO_REMEDY = "does Prometheus scrape the gateway's or the sidecars' port 15020, and is Istio's telemetry on?"


def of_nginx(namespace: str, ingress: str, service: str, candidates: tuple[str, ...]) -> RouterSeries:
    """ingress-nginx's, of an Ingress and its canary.

    A request of either is counted under the main Ingress and its Service; where the canary's backend answered it, the
    label ``canary`` has that one's name, NAMESPACE-SERVICE-PORT, and else it is empty (kubernetes/ingress-nginx pull
    7696, rootfs/etc/nginx/lua/monitor.lua and balancer.lua). ``namespace`` is the Ingress', unless Prometheus kept that
    word for the controller's own: then it is ``exported_namespace``.
    """
    return RouterSeries(
        requests="nginx_ingress_controller_requests",
        code_label="status",
        bucket="nginx_ingress_controller_request_duration_seconds_bucket",
        label="ingress",
        stable=ingress.replace(".", "[.]"),
        candidate="|".join(candidates),
        candidate_label="canary",
        stable_matchers=(f'service="{service}"', 'canary=""'),
        namespace=namespace,
        remedy=NGINX_REMEDY,
        sure=False,
    )


def of_istio(namespace: str, stable: str, candidate: str, reporters: str) -> RouterSeries:
    """Istio's, as whoever chooses between the two Services counts them: a gateway, a waypoint or a client's sidecar.

    ``destination_workload`` would not do: it is the Deployment, and so the same of both. ``destination_service_name``
    is the backend that was chosen.
    """
    return RouterSeries(
        requests="istio_requests_total",
        code_label="response_code",
        grpc_label="grpc_response_status",
        bucket="istio_request_duration_milliseconds_bucket",
        per_second=1000,
        label="destination_service_name",
        stable=stable,
        candidate=candidate,
        matchers=(f'reporter=~"{reporters}"', f'destination_service_namespace="{namespace}"'),
        remedy=ISTIO_REMEDY,
        sure=False,
        late=True,
    )

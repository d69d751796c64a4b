"""Traefik: the names of its services, as measured with Traefik 3.7.15, and what they say of a route."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock

from tidegate.adapters.routers.traefik import Traefik, read_services
from tidegate.core.observed import Backends

Json = dict[str, Any]
HASH = "ff5ab681615219f2b2ca"


def route(kind: str, name: str = "checkout", namespace: str = "shop", service: str = "checkout") -> Json:
    """A route in mid-release."""
    refs = [{"name": f"{service}-stable", "port": 80, "weight": 75}, {"name": f"{service}-canary", "weight": 25}]
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rules": [{"backendRefs": refs}]},
    }


def listing(prefix: str, namespace: str = "shop", service: str = "checkout") -> list[Json]:
    """What Traefik's API lists of it."""
    stem = f"{prefix}-gw-infra-public-ep-web-0-{HASH}"
    stable, canary = (f"{stem}-svc-{namespace}-{service}-{which}" for which in ("stable-0", "canary-1"))
    at = "@kubernetesgateway"
    weighted = {"services": [{"name": stable, "weight": 75}, {"name": canary, "weight": 25}]}
    return [
        {"name": f"{stem}-wrr{at}", "weighted": weighted},
        {"name": f"{stable}{at}", "loadBalancer": {"servers": [{"url": "h2c://10.0.0.1:9090"}]}},
        {"name": f"{canary}{at}", "loadBalancer": {}},
        {"name": "api@internal"},
    ]


@pytest.mark.parametrize(
    ("kind", "name", "namespace", "service", "prefix", "normal"),
    [
        ("HTTPRoute", "checkout", "shop", "checkout", "httproute-shop-checkout", "checkout"),
        ("GRPCRoute", "checkout", "shop", "checkout", "grpcroute-shop-checkout", "checkout"),
        ("GRPCRoute", "check.out", "shop", "check--out", "grpcroute-shop-check-out", "check-out"),
    ],
)
def test_services_of_a_route(kind: str, name: str, namespace: str, service: str, prefix: str, normal: str) -> None:
    obj = route(kind, name, namespace, service)
    weights, servers = read_services(listing(prefix, namespace, normal), obj)
    assert weights == {0: [(f"{normal}-canary", 25), (f"{normal}-stable", 75)]}
    assert servers == {f"{service}-stable": frozenset({"10.0.0.1"}), f"{service}-canary": frozenset()}


def test_a_route_of_the_other_kind_is_another_route() -> None:
    assert read_services(listing("httproute-shop-checkout"), route("GRPCRoute")) == ({}, {})


def test_series_of_routes_of_both_kinds() -> None:
    plane = Traefik(FakeCluster(VirtualClock()), "")
    found = plane.series([route("HTTPRoute"), route("GRPCRoute", "check.out")], Backends.of("shop", "checkout"))
    for prefix in ("httproute-shop-checkout", "grpcroute-shop-check-out"):
        stem = f"{prefix}-gw-infra-public-ep-web-0-{HASH}-svc-shop-checkout"
        assert re.fullmatch(found.candidate, f"{stem}-canary-1@kubernetesgateway")
        assert not re.fullmatch(found.candidate, f"{stem}-stable-0@kubernetesgateway")
    assert not re.fullmatch(
        found.candidate, f"grpcroute-shop-checkout-gw-a-b-ep-web-0-{HASH}-svc-shop-checkout-canary-1"
    )

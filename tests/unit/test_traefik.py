"""Traefik: the names of its services, as measured with Traefik 3.7.15, and what they say of a route."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock

from tidegate.adapters.routers.traefik import Traefik, read_ingress, read_services, read_traefik_service
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


# Ingresses and TraefikServices: the names as measured, on the same Traefik.

NAMES = Backends.of("shop", "checkout")
NGINX = "@kubernetesingressnginx"
CRD = "@kubernetescrd"


def main(*ports: Json) -> Json:
    """The user's Ingress."""
    paths = [{"path": "/", "backend": {"service": {"name": "checkout", "port": port}}} for port in ports]
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"rules": [{"http": {"paths": paths}}]}}


def balanced(name: str, *addresses: str, fenced: str = "") -> Json:
    servers: list[Json] = [{"url": f"http://{address}:8080"} for address in addresses]
    if fenced:
        servers.append({"url": f"http://{fenced}:8080", "fenced": True})
    return {"name": name, "loadBalancer": {"servers": servers}}


def of_ingress(weight: int | None, port: str = "80", address: str = "10.0.0.1") -> list[Json]:
    stem = f"shop-web-checkout-{port}"
    plain = [balanced(f"{stem}{NGINX}", address, fenced="10.0.0.9")]
    if weight is None:
        return plain
    two = [{"name": stem, "weight": 100 - weight}, {"name": f"{stem}-canary", "weight": weight}]
    weighted = {"name": f"{stem}-wrr{NGINX}", "weighted": {"services": two}}
    return [*plain, balanced(f"{stem}-canary{NGINX}", "10.0.0.2"), weighted]


@pytest.mark.parametrize(
    ("served", "weight", "waits"),
    [
        (25, 25, False),
        (25, 50, True),
        (None, 25, True),
        (None, 0, False),
        (0, 0, False),
        (25, 0, True),
        (None, -2, False),
        (25, None, True),
        (0, None, True),
        (None, None, False),
    ],
)
def test_an_ingress_is_served_by_its_weight(served: int | None, weight: int | None, waits: bool) -> None:
    """A canary without endpoints is none: weight 0 is served without it."""
    found = read_ingress(of_ingress(served), main({"number": 80}), NAMES, weight)
    assert found
    assert bool(found.waiting) is waits


def test_the_user_s_service_stands_for_stable_and_pods_that_leave_for_nobody() -> None:
    found = read_ingress(of_ingress(25), main({"number": 80}), NAMES, 25)
    assert found
    one, two = frozenset({"10.0.0.1"}), frozenset({"10.0.0.2"})
    assert found.servers == {"checkout": one, "checkout-stable": one, "checkout-canary": two}


def test_an_ingress_of_another_controller_is_not_known() -> None:
    assert read_ingress(listing("httproute-shop-checkout"), main({"number": 80}), NAMES, 25) is None


def test_every_port_is_looked_at() -> None:
    both = main({"number": 80}, {"name": "admin"})
    found = read_ingress([*of_ingress(25), *of_ingress(10, "admin")], both, NAMES, 25)
    assert found
    assert "another weight" in found.waiting
    found = read_ingress([*of_ingress(25), *of_ingress(25, "admin", "10.0.0.7")], both, NAMES, 25)
    assert found
    assert "different endpoints" in found.waiting


def test_series_of_an_ingress() -> None:
    found = Traefik(FakeCluster(VirtualClock()), "").ingress_series(main({"number": 80}, {"name": "admin"}), NAMES)
    for port in ("80", "admin"):
        assert re.fullmatch(found.stable, f"shop-web-checkout-{port}{NGINX}")
        assert re.fullmatch(found.candidate, f"shop-web-checkout-{port}-canary{NGINX}")
        assert not re.fullmatch(found.stable, f"shop-web-checkout-{port}-canary{NGINX}")


def weighted(*entries: tuple[str, int]) -> Json:
    """The user's TraefikService."""
    services = [{"name": name, "port": 80, "weight": weight} for name, weight in entries]
    return {"metadata": {"name": "web.main", "namespace": "shop"}, "spec": {"weighted": {"services": services}}}


SPLIT = weighted(("checkout-stable", 75), ("checkout-canary", 25))


def of_list(*entries: tuple[str, int]) -> list[Json]:
    children = [{"name": f"shop-{name}-80", "weight": weight} for name, weight in entries]
    return [
        {"name": f"shop-web-main{CRD}", "weighted": {"services": children}},
        *(balanced(f"shop-{name}-80{CRD}", "10.0.0.1") for name, _ in entries),
    ]


def test_a_traefikservice_is_served_by_its_weights() -> None:
    served = read_traefik_service(of_list(("checkout-stable", 75), ("checkout-canary", 25)), SPLIT, NAMES)
    assert served.waiting == ""
    one = frozenset({"10.0.0.1"})
    assert served.servers == {"checkout": None, "checkout-stable": one, "checkout-canary": one}
    behind = read_traefik_service(of_list(("checkout-stable", 100)), SPLIT, NAMES)
    assert behind.waiting == "serves by other weights still"


def test_a_traefikservice_that_is_gone_is_told() -> None:
    assert "has no endpoints, perhaps" in read_traefik_service([], SPLIT, NAMES).waiting


def test_series_of_a_traefikservice() -> None:
    found = Traefik(FakeCluster(VirtualClock()), "").traefik_series([weighted(("checkout", 1))], NAMES)
    assert re.fullmatch(found.stable, f"shop-checkout-stable-80{CRD}")
    assert re.fullmatch(found.candidate, f"shop-checkout-canary-80{CRD}")
    assert not re.fullmatch(found.candidate, f"shop-checkout-80{CRD}")

"""Who is concerned by an object: found by what objects refer to, and nobody is missed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster

from tidegate.adapters.clock import SystemClock
from tidegate.engine.leader import Leader
from tidegate.engine.meters import Meters
from tidegate.engine.operator import WATCHED, Operator
from tidegate.engine.store import Store
from tidegate.ports.cluster import (
    CANARY_RELEASES,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HTTPROUTES,
    POLICIES,
    REPLICASETS,
    SERVICES,
    Kind,
    Object,
)

Json = dict[str, Any]
NAMES = ("cart", "checkout", "search")


class Shop:
    """An operator that is told of objects, and what it would work on."""

    def __init__(self) -> None:
        self.store = Store(WATCHED)
        clock = SystemClock()
        # It is never run: nothing is reconciled, the queue alone is looked at.
        cluster = FakeCluster(clock)
        self.operator = Operator(cluster, self.store, {}, Meters(), clock, Leader(cluster, clock, "", "unit"))
        self._version = 0

    def tell(self, kind: Kind, name: str, body: Mapping[str, Any], type_: str = "MODIFIED") -> set[str]:
        """The releases that are woken."""
        self._version += 1
        meta = {"name": name, "uid": name, "resourceVersion": str(self._version), **body.get("metadata", {})}
        if kind.namespaced:
            meta["namespace"] = "shop"
        self.operator.told(kind, type_, {**body, "metadata": meta})
        return self.woken()

    def woken(self) -> set[str]:
        """What waits in the queue, which is emptied."""
        queue = self.operator.queue
        names = {key.name for key in queue._queued}
        queue._queued.clear()
        queue._ready.clear()
        return names

    def referring(self, kind: Kind, *to: str) -> list[str]:
        """Names of the objects found."""
        return [name for _, name in self.store.referring(kind, "shop", to)]


def release(name: str, service: str = "", **spec: Any) -> Json:
    """A release at rest, that has found its Service if one is given."""
    found = {"status": {"effective": {"serviceRef": {"name": service}}}} if service else {}
    return {"spec": {"targetRef": {"name": name}, **spec}, **found}


def service(**selector: str) -> Json:
    """A Service."""
    return {"spec": {"selector": selector}}


def route(*services: str) -> Json:
    """A route."""
    return {"spec": {"rules": [{"backendRefs": [{"name": name}]} for name in services]}}


@pytest.fixture
def shop() -> Shop:
    """Three workloads at rest, each with its Service and its route."""
    made = Shop()
    for name in NAMES:
        made.tell(CANARY_RELEASES, name, release(name, name))
        made.tell(SERVICES, name, service(app=name, team="shop"))
        made.tell(HTTPROUTES, name, route(name))
    return made


def test_a_deployment_and_its_replicasets_wake_their_release_alone(shop: Shop) -> None:
    assert shop.tell(DEPLOYMENTS, "cart", {}) == {"cart"}
    assert shop.tell(REPLICASETS, "cart-5d8f", {}) == {"cart"}
    assert shop.tell(DEPLOYMENTS, "stranger", {}) == set()


def test_a_service_wakes_its_release_and_a_new_selector_whoever_may_be_meant(shop: Shop) -> None:
    assert shop.tell(SERVICES, "cart", service(app="cart", team="shop") | {"status": {"x": 1}}) == {"cart"}
    narrowed = {"app": "cart", "team": "shop", "pod-template-hash": "5d8f"}
    assert shop.tell(SERVICES, "cart", service(**narrowed)) == {"cart"}, "narrowed it selects the same workload"
    assert shop.tell(SERVICES, "cart", service(team="shop")) == set(NAMES), "it may make others ambiguous"


def test_a_service_that_comes_or_goes_wakes_those_that_it_may_make_ambiguous(shop: Shop) -> None:
    assert shop.tell(SERVICES, "all", service(team="shop"), "ADDED") == set(NAMES)
    assert shop.tell(SERVICES, "all", service(team="shop"), "DELETED") == set(NAMES)


def test_the_two_services_of_a_release_wake_it_alone(shop: Shop) -> None:
    ours = {"metadata": {"labels": {"tidegate.dev/release": "cart"}}, **service(app="cart")}
    assert shop.tell(SERVICES, "cart-stable", ours, "ADDED") == {"cart"}
    assert shop.tell(SERVICES, "cart-stable", ours, "DELETED") == {"cart"}


def test_a_route_wakes_the_releases_of_the_services_that_it_leads_to_and_led_to(shop: Shop) -> None:
    assert shop.tell(HTTPROUTES, "cart", route("cart") | {"status": {"x": 1}}) == {"cart"}
    assert shop.tell(HTTPROUTES, "cart", route("cart-stable", "cart-canary")) == {"cart"}
    assert shop.tell(HTTPROUTES, "cart", route("search")) == {"cart", "search"}
    assert shop.tell(HTTPROUTES, "cart", route("search"), "DELETED") == {"search"}


def test_a_route_that_a_release_has_taken_is_found_wherever_it_leads(shop: Shop) -> None:
    taken = {"metadata": {"annotations": {"tidegate.dev/releasing": "{}"}}, **route("elsewhere")}
    shop.tell(HTTPROUTES, "cart", taken)
    assert shop.referring(HTTPROUTES, "Service/cart", "Service/*") == ["cart"]


def test_a_route_wakes_a_release_that_names_it_wherever_it_leads(shop: Shop) -> None:
    shop.tell(CANARY_RELEASES, "cart", release("cart", "cart", traffic={"gateway": {"routes": [{"name": "front"}]}}))
    assert shop.tell(HTTPROUTES, "front", route("elsewhere")) == {"cart"}


def test_a_release_that_has_not_found_its_service_is_woken_by_any(shop: Shop) -> None:
    shop.tell(CANARY_RELEASES, "new", release("new"))
    assert shop.tell(HTTPROUTES, "cart", route("cart") | {"status": {"x": 1}}) == {"cart", "new"}


def test_a_release_that_goes_wakes_those_that_waited_for_what_it_had(shop: Shop) -> None:
    shop.tell(CANARY_RELEASES, "second", release("cart", "other"))
    shop.tell(CANARY_RELEASES, "third", release("other", "cart"))
    assert shop.tell(CANARY_RELEASES, "cart", release("cart", "cart"), "DELETED") == {"cart", "second", "third"}


def test_a_policy_wakes_all(shop: Shop) -> None:
    assert shop.tell(POLICIES, "tidegate-replicasets", {}) == set(NAMES)


def test_what_was_known_already_wakes_nobody(shop: Shop) -> None:
    obj: Object = {"metadata": {"name": "cart", "namespace": "shop", "resourceVersion": "1"}, **release("cart", "cart")}
    shop.operator.told(CANARY_RELEASES, "ADDED", obj)
    assert shop.woken() == set()


def test_services_are_found_by_the_labels_of_the_pods(shop: Shop) -> None:
    assert "cart" in shop.referring(SERVICES, "team=shop", "app=cart", "pod-template-hash=5d8f")
    assert shop.referring(SERVICES, "team=shop", "app=cart") == ["cart"], "few are filed under what all have"
    assert shop.referring(SERVICES, "app=other") == []


def test_what_changed_is_found_by_what_it_refers_to_now(shop: Shop) -> None:
    shop.tell(HTTPROUTES, "cart", route("search"))
    assert shop.referring(HTTPROUTES, "Service/cart") == []
    assert shop.referring(HTTPROUTES, "Service/search") == ["cart", "search"]
    shop.tell(HTTPROUTES, "cart", route("search"), "DELETED")
    assert shop.referring(HTTPROUTES, "Service/search") == ["search"]


def test_replicasets_are_found_by_their_owner() -> None:
    shop = Shop()
    owned = {"metadata": {"ownerReferences": [{"uid": "d1", "controller": True}, {"uid": "x"}]}}
    shop.tell(REPLICASETS, "cart-1", owned)
    assert shop.referring(REPLICASETS, "d1") == ["cart-1"]
    assert shop.referring(REPLICASETS, "x") == []


def test_of_a_kind_whose_references_are_not_known_all_are_found() -> None:
    store = Store([ENDPOINT_SLICES])
    store.put(ENDPOINT_SLICES, {"metadata": {"name": "a", "namespace": "shop", "resourceVersion": "1"}})
    assert store.referring(ENDPOINT_SLICES, "shop", ["Service/x"]) == [("shop", "a")]

"""What the watches told: the newest stands, what was deleted is gone, and our own writes are seen at once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster
from tests.fakes.virtual import VirtualClock

from tidegate.engine.store import Cached, Store
from tidegate.ports.cluster import PODS, SERVICES, NotFound

Json = dict[str, Any]


def service(version: int, name: str = "a", uid: str = "u1", **spec: Any) -> Json:
    """A Service of a version."""
    return {"metadata": {"namespace": "shop", "name": name, "uid": uid, "resourceVersion": str(version)}, "spec": spec}


def test_an_older_version_never_replaces_a_newer_one() -> None:
    store = Store([SERVICES])
    assert store.put(SERVICES, service(9, x=1))
    assert not store.put(SERVICES, service(8, x=0))
    assert not store.put(SERVICES, service(9, x=1))
    assert store.put(SERVICES, service(10, x=2)), "9 is less than 10, though not as text"
    found = store.get(SERVICES, ("shop", "a"))
    assert found
    assert found["spec"] == {"x": 2}


def test_another_object_of_the_same_name_is_another() -> None:
    store = Store([SERVICES])
    store.put(SERVICES, service(9))
    assert store.put(SERVICES, service(12, uid="u2"))
    store.drop(SERVICES, service(11, uid="u1"))
    assert store.get(SERVICES, ("shop", "a")), "the deletion was of the one before"
    store.drop(SERVICES, service(13, uid="u2"))
    assert store.get(SERVICES, ("shop", "a")) is None
    assert store.all(SERVICES, "shop") == []


def test_a_late_word_of_an_object_that_was_replaced_does_not_bring_it_back() -> None:
    store = Store([SERVICES])
    store.put(SERVICES, service(12, uid="u2"))
    assert not store.put(SERVICES, service(9, uid="u1")), "it is older, whatever its uid"


def test_a_full_list_tells_what_is_gone() -> None:
    store = Store([SERVICES])
    store.put(SERVICES, service(5, "a"))
    store.put(SERVICES, service(6, "b"))
    audit = store.audit(SERVICES)
    audit.take([service(6, "b")])
    audit.take([service(7, "c")])
    audit.end()
    assert audit.changed == {("shop", "a"), ("shop", "c")}
    assert store.keys(SERVICES, "shop") == [("shop", "b"), ("shop", "c")]
    assert store.all(SERVICES, "other") == []


def test_what_came_while_a_list_was_taken_stays() -> None:
    store = Store([SERVICES])
    store.put(SERVICES, service(5, "a", uid="u1"))
    audit = store.audit(SERVICES)
    store.put(SERVICES, service(8, "a", uid="u2"))
    store.put(SERVICES, service(9, "b"))
    audit.end()
    assert audit.changed == set()
    assert {obj["metadata"]["name"] for obj in store.all(SERVICES)} == {"a", "b"}


def test_a_list_that_breaks_off_takes_nothing_for_gone() -> None:
    store = Store([SERVICES])
    store.put(SERVICES, service(5, "a"))
    store.audit(SERVICES).take([service(7, "c")])
    assert store.keys(SERVICES, "shop") == [("shop", "a"), ("shop", "c")]


def test_whoever_changes_what_was_read_changes_nothing_that_is_kept() -> None:
    store = Store([SERVICES])
    store.put(SERVICES, service(5, x=1))
    found = store.get(SERVICES, ("shop", "a"))
    assert found
    found["spec"]["x"] = 2
    assert store.all(SERVICES)[0]["spec"] == {"x": 1}


async def test_an_object_that_goes_with_our_own_write_is_gone_at_once() -> None:
    """The watch may tell of the deletion before the answer to the write is here."""
    cluster = FakeCluster(VirtualClock(), latency=0)
    store = Store([SERVICES])
    cached = Cached(cluster, store)
    await cached.create(SERVICES, "shop", {"metadata": {"name": "a", "finalizers": ["mine"]}})
    await cached.delete(SERVICES, "shop", "a")
    await cached.patch(SERVICES, "shop", "a", {"metadata": {"finalizers": None}})
    assert store.get(SERVICES, ("shop", "a")) is None


async def test_watched_kinds_are_read_from_memory_and_own_writes_are_seen_at_once() -> None:
    cluster = FakeCluster(VirtualClock(), latency=0)
    cached = Cached(cluster, Store([SERVICES]))
    with pytest.raises(NotFound):
        await cached.get(SERVICES, "shop", "a")
    await cached.create(SERVICES, "shop", {"metadata": {"name": "a"}, "spec": {"x": 1}})
    await cached.patch(SERVICES, "shop", "a", {"spec": {"x": 2}})
    before = cluster.requests.total()
    assert (await cached.get(SERVICES, "shop", "a"))["spec"] == {"x": 2}
    assert [obj["spec"] for obj in await cached.list(SERVICES, "shop")] == [{"x": 2}]
    assert cluster.requests.total() == before
    await cached.list(PODS, "shop")
    await cached.list(SERVICES, "shop", "app=x")
    assert cluster.requests.total() == before + 2

"""What a route's parents say of it."""

from __future__ import annotations

from typing import Any

from tidegate.core import parents

Json = dict[str, Any]
HERE = {"name": "g"}


def route(*answers: Json, refs: tuple[Json, ...] = (HERE,)) -> Json:
    """A route of generation 3."""
    return {
        "metadata": {"name": "r", "namespace": "shop", "generation": 3},
        "spec": {"parentRefs": list(refs)},
        "status": {"parents": list(answers)},
    }


def answer(ref: Json = HERE, generation: int = 3, accepted: str = "True", resolved: str = "True") -> Json:
    """What a parent says."""
    conditions = [
        {"type": type_, "status": status, "observedGeneration": generation, "reason": "Why", "message": "so"}
        for type_, status in (("Accepted", accepted), ("ResolvedRefs", resolved))
    ]
    return {"controllerName": "x/y", "parentRef": ref, "conditions": conditions}


def test_a_parent_is_known_with_and_without_the_defaults() -> None:
    full = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "shop", "name": "g"}
    assert parents.unread(route(answer(full))) == ""
    assert "no Gateway controller" in parents.unread(route(answer({"name": "g", "namespace": "elsewhere"})))
    assert "no Gateway controller" in parents.unread(route(answer({"name": "g", "sectionName": "web"})))


def test_all_parents_must_have_read_the_newest_generation() -> None:
    other = {"name": "h"}
    assert (
        parents.unread(route(answer(), answer(other, 2), refs=(HERE, other))) == "x/y has not read its newest version"
    )
    assert parents.unread(route(answer(), answer(other), refs=(HERE, other))) == ""


def test_a_former_parent_counts_no_more() -> None:
    """Traefik leaves its word on a route that has moved to another Gateway."""
    assert parents.unread(route(answer(), answer({"name": "old"}, 1))) == ""
    assert not parents.taken(route(answer({"name": "old"}, 1)))


def test_a_parent_that_refused_the_route_is_no_trouble_where_another_serves_it() -> None:
    other = {"name": "h"}
    assert parents.unread(route(answer(), answer(other, accepted="False"), refs=(HERE, other))) == ""
    assert parents.unread(route(answer(accepted="False"))) == "Accepted is False: Why: so"
    assert not parents.taken(route(answer(accepted="False")))
    assert parents.taken(route(answer(accepted="False", generation=2))), "it may have served the generation before"


def test_references_that_are_not_resolved_are_told() -> None:
    assert parents.unread(route(answer(resolved="False"))) == "ResolvedRefs is False: Why: so"


def test_no_parent_at_all() -> None:
    bare: Json = {"metadata": {"name": "r", "namespace": "shop", "generation": 1}, "spec": {}}
    assert not parents.taken(bare)
    assert "no Gateway controller" in parents.unread(bare)

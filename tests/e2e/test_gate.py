"""The admission policies on a real API server: every branch of their CEL, and what the Deployment controller does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.rig.operator import install
from tidegate.core.gate import CEILING, DEADLINE_WISH, FLOOR, HELD_DEADLINE, RELEASE, Bounds
from tidegate.core.hold import RELEASING
from tidegate.core.reading import HASH

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
# The group is for kubectl, which reads before it writes; the operator itself has no need to.
TIDEGATE = ("--as=system:serviceaccount:tidegate-system:tidegate", "--as-group=system:masters")
DESIRED = "deployment.kubernetes.io/desired-replicas"
REVISION = "deployment.kubernetes.io/revision"
NO_PODS = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-pods"},
    "spec": {"hard": {"pods": "0"}},
}


@pytest.fixture(scope="module")
def gated(cluster: Cluster) -> Cluster:
    """A cluster with the gate."""
    install(cluster)
    # The API server takes a moment to read new policies.
    wait_until("the gate stands", lambda: None if _born(cluster, Born())[0] == 0 else "a birth is not held", 30)
    return cluster


@pytest.fixture(scope="module")
def namespace(gated: Cluster) -> Iterator[str]:
    """A namespace without pods: sizes are asked for, nothing comes of it."""
    yield from _namespace(gated, NO_PODS)


@pytest.fixture
def live_namespace(gated: Cluster) -> Iterator[str]:
    """A namespace for pods."""
    yield from _namespace(gated)


def _namespace(at: Cluster, *objects: Json) -> Iterator[str]:
    name = f"gate-{secrets.token_hex(3)}"
    at.kubectl("create", "namespace", name)
    try:
        if objects:
            at.kubectl("apply", f"--namespace={name}", "--filename=-", stdin=_list(objects))
        yield name
    finally:
        at.kubectl("delete", "namespace", name, "--wait=false")


def _list(items: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _replicaset(name: str, notes: Mapping[str, str] | None, replicas: int | None) -> Json:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, **({} if notes is None else {"annotations": dict(notes)})},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "none:1"}]}},
        },
    }


# Births.


@dataclass(frozen=True)
class Born:
    """A ReplicaSet as it is created: by default the second revision of a managed Deployment, of 3 pods."""

    release: str | None = "checkout"
    revision: str | None = "2"
    owner: str | None = "Deployment"
    replicas: int | None = 3


HELD = (0, "0")
BIRTHS = {
    "a new revision": (Born(), HELD),
    "an empty name": (Born(release=""), HELD),
    "no revision known": (Born(revision=None), HELD),
    "no size asked": (Born(replicas=None), HELD),
    "none asked": (Born(replicas=0), HELD),
    "the first revision": (Born(revision="1"), (3, None)),
    "the tenth": (Born(revision="10"), HELD),
    "not managed": (Born(release=None), (3, None)),
    "not managed, nothing noted": (Born(release=None, revision=None), (3, None)),
    "nobody's": (Born(owner=None), (3, None)),
    "of something else": (Born(owner="Rollout"), (3, None)),
}


def _born(at: Cluster, born: Born) -> tuple[int, str | None]:
    notes = {RELEASE: born.release, REVISION: born.revision}
    noted = {key: value for key, value in notes.items() if value is not None}
    body = _replicaset("born", noted or None, born.replicas)
    if born.owner:
        owner = {
            "apiVersion": "apps/v1",
            "kind": born.owner,
            "name": "checkout",
            "uid": "2b4a9a4e-6d5c-4b5e-9d1f-0c6f1d8a7e55",
        }
        body["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    create = ("create", "--namespace=default", "--dry-run=server", "--output=json", "--filename=-")
    made = json.loads(at.kubectl(*create, stdin=json.dumps(body)))
    return made["spec"]["replicas"], made["metadata"].get("annotations", {}).get(CEILING)


@pytest.mark.parametrize("case", BIRTHS)
def test_a_new_revision_of_a_managed_deployment_is_born_held(gated: Cluster, case: str) -> None:
    born, expected = BIRTHS[case]
    assert _born(gated, born) == expected


# Sizes.


@dataclass(frozen=True)
class Asked:
    """A ReplicaSet that is there, with its bounds and N, and a write of its size."""

    size: int
    floor: str | None = None
    ceiling: str | None = None
    desired: str | None = "8"
    had: int = 2
    notes: Mapping[str, str | None] | None = field(default_factory=dict)
    """Annotations that the same write changes; None: it removes them all."""
    of: str | None = None
    """N that the gate reckons with, where it is not ``desired``."""


NOTHING: Mapping[str, str | None] | None = None
SIZES = {
    "no bounds": (Asked(5), 5),
    "above a floor": (Asked(5, floor="4"), 5),
    "below a floor": (Asked(3, floor="4"), 4),
    "none, below a floor": (Asked(0, floor="4"), 4),
    "above a ceiling": (Asked(5, ceiling="4"), 4),
    "below a ceiling": (Asked(3, ceiling="4"), 3),
    "ceiling of none": (Asked(5, ceiling="0"), 0),
    "floor of none": (Asked(0, floor="0"), 0),
    "a floor above the ceiling wins": (Asked(1, floor="5", ceiling="2"), 5),
    "stable keeps its pods": (Asked(5, floor="100%"), 8),
    "stable grows past N": (Asked(10, floor="100%"), 10),
    "N of none": (Asked(0, floor="100%", desired="0"), 0),
    "a quarter, asked for more": (Asked(8, floor="25%", ceiling="25%"), 2),
    "a quarter, asked for none": (Asked(0, floor="25%", ceiling="25%"), 2),
    "a quarter of 1": (Asked(1, floor="25%", ceiling="25%", desired="1"), 1),
    "a quarter of 4": (Asked(4, floor="25%", ceiling="25%", desired="4"), 1),
    "a quarter of 5, rounded up": (Asked(4, floor="25%", ceiling="25%", desired="5"), 2),
    "a quarter of 9, rounded up": (Asked(9, floor="25%", ceiling="25%", desired="9"), 3),
    "a quarter of 12": (Asked(9, floor="25%", ceiling="25%", desired="12"), 3),
    "a hundredth of 300": (Asked(0, floor="1%", desired="300"), 3),
    "a hundredth of 301": (Asked(0, floor="1%", desired="301"), 4),
    "nought percent": (Asked(7, ceiling="0%"), 0),
    "all of very many": (Asked(0, floor="100%", desired="2000000000"), 2_000_000_000),
    "N changes in the same write": (Asked(8, floor="25%", ceiling="25%", notes={DESIRED: "16"}, of="16"), 4),
    "N is lost in the same write": (Asked(8, floor="25%", ceiling="25%", notes={DESIRED: None}), 2),
    "N becomes unreadable in it": (Asked(8, floor="25%", ceiling="25%", notes={DESIRED: "many"}), 2),
    "N unknown, a floor is what it has": (Asked(0, floor="100%", desired=None, had=3, of="3"), 3),
    "N unknown, more is granted": (Asked(7, floor="100%", desired=None, had=3, of="3"), 7),
    "N unknown, a ceiling is what it has": (Asked(9, ceiling="25%", desired=None, had=2, of="8"), 2),
    "N unknown, pods are pods": (Asked(9, ceiling="4", desired=None), 4),
    "bounds dropped in the same write": (Asked(8, ceiling="1", notes={CEILING: None}), 1),
    "bounds raised in the same write": (Asked(8, ceiling="1", notes={CEILING: "100%"}), 1),
    "all annotations dropped": (Asked(0, floor="100%", notes=NOTHING), 8),
}
UNREADABLE = ("many", "", "25 %", "%", "-3", "2.5", "1e3", "99999999999", "1000%", "25%%")


def _bounded(name: str, asked: Asked) -> Json:
    notes = {FLOOR: asked.floor, CEILING: asked.ceiling, DESIRED: asked.desired}
    noted = {key: value for key, value in notes.items() if value is not None}
    return _replicaset(name, noted or None, asked.had)


def _ask(at: Cluster, namespace: str, name: str, asked: Asked, *arguments: str) -> int:
    patch = json.dumps({"metadata": {"annotations": asked.notes}, "spec": {"replicas": asked.size}})
    where = ("patch", f"--namespace={namespace}", "replicaset", name, "--dry-run=server", "--output=json")
    written = json.loads(at.kubectl(*where, "--type=merge", f"--patch={patch}", *arguments))
    return int(written["spec"]["replicas"])


@pytest.fixture(scope="module")
def sets(gated: Cluster, namespace: str) -> Mapping[str, str]:
    """The ReplicaSets of the table, by case."""
    named = {case: f"case-{number}" for number, case in enumerate(SIZES)}
    items = [_bounded(named[case], asked) for case, (asked, _) in SIZES.items()]
    items += [_bounded(f"unreadable-{number}", Asked(0, floor=text)) for number, text in enumerate(UNREADABLE)]
    gated.kubectl("create", f"--namespace={namespace}", "--filename=-", stdin=_list(items))
    return named


@pytest.mark.parametrize("case", SIZES)
def test_whoever_writes_a_size_gets_it_within_the_bounds(
    gated: Cluster, namespace: str, sets: Mapping[str, str], case: str
) -> None:
    asked, granted = SIZES[case]
    assert _ask(gated, namespace, sets[case], asked) == granted
    # What Tidegate reckons with is what the policy grants.
    desired = int(asked.of or asked.desired or 0)
    assert Bounds(asked.floor, asked.ceiling).size(asked.size, desired) == granted


@pytest.mark.parametrize(("number", "text"), list(enumerate(UNREADABLE)))
def test_a_bound_that_cannot_be_read_binds_nothing_and_shuts_nothing(
    gated: Cluster, namespace: str, sets: Mapping[str, str], number: int, text: str
) -> None:
    asked = Asked(5, floor=text, notes={FLOOR: None})
    assert _ask(gated, namespace, f"unreadable-{number}", asked) == 5


def test_tidegate_itself_is_not_bound(gated: Cluster, namespace: str, sets: Mapping[str, str]) -> None:
    asked = Asked(7, ceiling="0")
    assert _ask(gated, namespace, sets["ceiling of none"], asked, *TIDEGATE) == 7


def test_a_bounded_replicaset_takes_every_other_edit(gated: Cluster, namespace: str, sets: Mapping[str, str]) -> None:
    patch = json.dumps({"metadata": {"labels": {"team": "shop"}}, "spec": {"minReadySeconds": 7}})
    where = ("patch", f"--namespace={namespace}", "replicaset", sets["stable keeps its pods"], "--output=json")
    written = json.loads(gated.kubectl(*where, "--dry-run=server", "--type=merge", f"--patch={patch}"))
    assert written["metadata"]["labels"]["team"] == "shop"
    assert written["spec"]["minReadySeconds"] == 7
    assert written["spec"]["replicas"] == 8


# Routes.

NOTE = '{"release":"checkout","rules":{}}'
REST = [{"name": "checkout", "port": 80}]
SPLIT = [{"name": "checkout-stable", "port": 80, "weight": 90}, {"name": "checkout-canary", "port": 80, "weight": 10}]
OTHER = [{"name": "catalog", "port": 80}]


def _rule(path: str, refs: list[Json] | None, name: str | None = None, **more: object) -> Json:
    return {
        **({"name": name} if name else {}),
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        **({} if refs is None else {"backendRefs": refs}),
        **more,
    }


def _plain(refs: list[Json] | None, **more: object) -> Json:
    return {**({} if refs is None else {"backendRefs": refs}), **more}


def _weights(refs: list[Json]) -> list[tuple[str, int]]:
    return [(ref["name"], ref.get("weight", 1)) for ref in refs]


@dataclass(frozen=True)
class Edit:
    """The rules of a route in mid-release, a write by somebody else, and what its rules then hold."""

    rules: list[Json]
    written: list[Json] | None
    refs: list[list[Json]]
    notes: Mapping[str, str | None] | None = field(default_factory=dict)
    at_rest: bool = False


EDITS = {
    "refs set back, one rule without a name": Edit([_plain(SPLIT)], [_plain(REST)], [SPLIT]),
    "refs set back, a rule with a name": Edit([_rule("/", SPLIT, "main")], [_rule("/", REST, "main")], [SPLIT]),
    "only weights": Edit([_plain(SPLIT)], [_plain([{**SPLIT[0], "weight": 1}, {**SPLIT[1], "weight": 99}])], [SPLIT]),
    "refs left out": Edit([_plain(SPLIT)], [_plain(None, timeouts={"request": "5s"})], [SPLIT]),
    "refs kept": Edit([_plain(SPLIT)], [_plain(SPLIT)], [SPLIT]),
    "another order, with names": Edit(
        [_rule("/", SPLIT, "main"), _rule("/x", OTHER, "other")],
        [_rule("/x", OTHER, "other"), _rule("/", REST, "main")],
        [OTHER, SPLIT],
    ),
    "another order, without names": Edit(
        [_rule("/", SPLIT), _rule("/x", OTHER)], [_rule("/x", OTHER), _rule("/", REST)], [OTHER, SPLIT]
    ),
    "a new rule in front": Edit([_rule("/", SPLIT)], [_rule("/new", OTHER), _rule("/", REST)], [OTHER, SPLIT]),
    "a new rule to the Service": Edit([_rule("/", SPLIT)], [_rule("/", REST), _rule("/new", REST)], [SPLIT, REST]),
    "a rule removed": Edit([_rule("/", SPLIT), _rule("/x", SPLIT)], [_rule("/x", REST)], [SPLIT]),
    "all rules removed": Edit([_rule("/x", SPLIT)], None, [[]]),
    "two rules, each its own": Edit(
        [_rule("/", SPLIT), _rule("/x", [*SPLIT, *OTHER])],
        [_rule("/", REST), _rule("/x", REST)],
        [SPLIT, [*SPLIT, *OTHER]],
    ),
    "a rule of another Service": Edit(
        [_rule("/", SPLIT), _rule("/x", OTHER)], [_rule("/", REST), _rule("/x", REST)], [SPLIT, REST]
    ),
    "a rule that had no refs": Edit(
        [_rule("/", SPLIT), _rule("/x", None)], [_rule("/", REST), _rule("/x", OTHER)], [SPLIT, OTHER]
    ),
    "a name given": Edit([_rule("/", SPLIT)], [_rule("/", REST, "main")], [SPLIT]),
    "a name taken away": Edit([_rule("/", SPLIT, "main")], [_rule("/", REST)], [SPLIT]),
    "other matches under the same name": Edit([_rule("/", SPLIT, "main")], [_rule("/shop", REST, "main")], [SPLIT]),
    "the name goes before the matches": Edit(
        [_rule("/a", SPLIT, "a"), _rule("/b", [*SPLIT, *OTHER], "b")],
        [_rule("/b", REST, "a"), _rule("/a", REST, "b")],
        [SPLIT, [*SPLIT, *OTHER]],
    ),
    "two rules of equal matches, each its own": Edit(
        [_rule("/", SPLIT), _rule("/", [*SPLIT, *OTHER])],
        [_rule("/", REST), _rule("/", REST)],
        [SPLIT, [*SPLIT, *OTHER]],
    ),
    "of two rules of equal matches the second is held": Edit(
        [_rule("/", OTHER), _rule("/", SPLIT)], [_rule("/", OTHER), _rule("/", REST)], [OTHER, SPLIT]
    ),
    "rules of equal matches, told apart by names": Edit(
        [_rule("/", OTHER), _rule("/", SPLIT, "main")], [_rule("/", REST, "main"), _rule("/", OTHER)], [SPLIT, OTHER]
    ),
    "a name given to the second of equal matches": Edit(
        [_rule("/", SPLIT, "a"), _rule("/", [*SPLIT, *OTHER])],
        [_rule("/", REST, "a"), _rule("/", REST, "b")],
        [SPLIT, [*SPLIT, *OTHER]],
    ),
    "one more rule of equal matches": Edit([_rule("/", SPLIT)], [_rule("/", REST), _rule("/", REST)], [SPLIT, REST]),
    "16 rules of equal matches": Edit(
        [_rule("/", SPLIT)] * 15 + [_rule("/", OTHER)], [_rule("/", REST)] * 16, [SPLIT] * 15 + [REST]
    ),
    "another rule altogether": Edit([_rule("/", SPLIT)], [_rule("/shop", REST)], [REST]),
    "16 rules": Edit(
        [_rule(f"/{number}", SPLIT) for number in range(16)],
        [_rule(f"/{number}", REST) for number in range(16)],
        [SPLIT] * 16,
    ),
    "the note removed": Edit([_plain(SPLIT)], [_plain(REST)], [SPLIT], notes={RELEASING: None}),
    "the note changed": Edit([_plain(SPLIT)], [_plain(REST)], [SPLIT], notes={RELEASING: "{}"}),
    "all annotations removed": Edit([_plain(SPLIT)], [_plain(REST)], [SPLIT], notes=None),
    "another annotation": Edit([_plain(SPLIT)], [_plain(REST)], [SPLIT], notes={"team": "shop"}),
    "at rest": Edit([_plain(REST)], [_plain(OTHER)], [OTHER], at_rest=True),
    "at rest, weights of the user's own": Edit([_plain(SPLIT)], [_plain(OTHER)], [OTHER], at_rest=True, notes=None),
}


def _edit(at: Cluster, namespace: str, name: str, body: Json, *arguments: str) -> Json:
    where = ("patch", f"--namespace={namespace}", "--dry-run=server", "--output=json", "--type=merge")
    kind = "httproutes.v1.gateway.networking.k8s.io"
    written: Json = json.loads(at.kubectl(*where, kind, name, f"--patch={json.dumps(body)}", *arguments))
    return written


@pytest.fixture(scope="module")
def routes(gated: Cluster, namespace: str) -> Mapping[str, str]:
    """The routes of the table, by case."""
    named = {case: f"case-{number}" for number, case in enumerate(EDITS)}
    items = [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {
                "name": named[case],
                **({} if edit.at_rest else {"annotations": {RELEASING: NOTE, "by": "user"}}),
            },
            "spec": {"hostnames": ["old.example"], "rules": edit.rules},
        }
        for case, edit in EDITS.items()
    ]
    gated.kubectl("create", f"--namespace={namespace}", "--filename=-", stdin=_list(items))
    return named


@pytest.mark.parametrize("case", EDITS)
def test_a_route_in_mid_release_keeps_its_weights_and_takes_every_other_edit(
    gated: Cluster, namespace: str, routes: Mapping[str, str], case: str
) -> None:
    edit = EDITS[case]
    body = {
        "metadata": {"annotations": edit.notes},
        "spec": {"hostnames": ["new.example"], "rules": edit.written},
    }
    written = _edit(gated, namespace, routes[case], body)
    rules, notes = written["spec"].get("rules") or [], written["metadata"].get("annotations", {})
    assert [_weights(rule.get("backendRefs", [])) for rule in rules] == [_weights(refs) for refs in edit.refs]
    assert notes.get(RELEASING) == (None if edit.at_rest else NOTE)
    assert written["spec"]["hostnames"] == ["new.example"]
    for rule, wanted in zip(rules, edit.written or (), strict=False):
        assert {key: rule[key] for key in wanted if key != "backendRefs"} == {
            key: value for key, value in wanted.items() if key != "backendRefs"
        }
    if edit.notes is not None and not edit.at_rest:
        assert notes["by"] == "user"
        assert {key: value for key, value in notes.items() if key not in {RELEASING, "by"}} == {
            key: value for key, value in edit.notes.items() if key != RELEASING
        }


def test_an_older_version_of_the_api_is_no_way_around(
    gated: Cluster, namespace: str, routes: Mapping[str, str]
) -> None:
    name = routes["refs set back, one rule without a name"]
    where = ("patch", f"--namespace={namespace}", "httproutes.v1beta1.gateway.networking.k8s.io", name)
    patch = json.dumps({"spec": {"rules": [_plain(REST)]}})
    written = json.loads(gated.kubectl(*where, "--dry-run=server", "--output=json", "--type=merge", f"--patch={patch}"))
    assert _weights(written["spec"]["rules"][0]["backendRefs"]) == _weights(SPLIT)


def test_tidegate_itself_writes_weights_and_takes_the_note_away(
    gated: Cluster, namespace: str, routes: Mapping[str, str]
) -> None:
    body = {"metadata": {"annotations": {RELEASING: None}}, "spec": {"rules": [_plain(REST)]}}
    written = _edit(gated, namespace, routes["refs set back, one rule without a name"], body, *TIDEGATE)
    assert _weights(written["spec"]["rules"][0]["backendRefs"]) == _weights(REST)
    assert RELEASING not in written["metadata"]["annotations"]


def test_a_router_writes_the_status_of_a_route_in_mid_release(
    gated: Cluster, namespace: str, routes: Mapping[str, str]
) -> None:
    body: Json = {"status": {"parents": []}}
    written = _edit(gated, namespace, routes["refs set back, one rule without a name"], body, "--subresource=status")
    assert written["status"]["parents"] == []


def test_a_grpcroute_keeps_its_weights_too(gated: Cluster, namespace: str) -> None:
    kind, method = "grpcroutes.v1.gateway.networking.k8s.io", {"matches": [{"method": {"service": "shop.Checkout"}}]}
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GRPCRoute",
        "metadata": {"name": "checkout", "annotations": {RELEASING: NOTE}},
        "spec": {"rules": [{**method, "backendRefs": SPLIT}, {"backendRefs": OTHER}]},
    }
    gated.kubectl("create", f"--namespace={namespace}", "--filename=-", stdin=json.dumps(body))
    rules = [{"backendRefs": OTHER}, {**method, "backendRefs": REST}]
    patch = json.dumps({"metadata": {"annotations": None}, "spec": {"rules": rules, "hostnames": ["new.example"]}})
    where = ("patch", f"--namespace={namespace}", "--dry-run=server", "--output=json", "--type=merge")
    written = json.loads(gated.kubectl(*where, kind, "checkout", f"--patch={patch}"))
    assert [_weights(rule["backendRefs"]) for rule in written["spec"]["rules"]] == [_weights(OTHER), _weights(SPLIT)]
    assert written["metadata"]["annotations"] == {RELEASING: NOTE}
    assert written["spec"]["hostnames"] == ["new.example"]


# Ownership of fields.


def _applied(at: Cluster, namespace: str, *objects: Json) -> None:
    """By a tool that applies server-side and does not force: a conflict is an error."""
    where = ("apply", f"--namespace={namespace}", "--server-side", "--field-manager=helm", "--filename=-")
    at.kubectl(*where, stdin=_list(objects))


def test_what_tidegate_writes_makes_it_no_owner(gated: Cluster, namespace: str) -> None:
    """Else `helm upgrade` would fail by a conflict with it, for routes ever after."""
    gateway, meta = {"apiVersion": "gateway.networking.k8s.io/v1"}, {"metadata": {"name": "owned"}}
    refs = {"backendRefs": [{"name": "checkout", "port": 80}]}
    objects = [
        {**gateway, "kind": "HTTPRoute", **meta, "spec": {"hostnames": ["a.example"], "rules": [refs]}},
        {**gateway, "kind": "GRPCRoute", **meta, "spec": {"rules": [refs]}},
        {**_service(USERS, None), **meta},
        {**_deployment(None), **meta},
    ]
    _applied(gated, namespace, *objects)
    weight = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 7}]
    selector = [{"op": "add", "path": f"/spec/selector/{HASH}", "value": "6fcbd"}]
    deadline = [{"op": "replace", "path": "/spec/progressDeadlineSeconds", "value": HELD_DEADLINE}]
    for kind, patch in (("httproute", weight), ("grpcroute", weight), ("service", selector), ("deployment", deadline)):
        what = ("patch", kind, "owned", "--type=json", f"--patch={json.dumps(patch)}", "--output=json")
        by = (*TIDEGATE, "--field-manager=tidegate", "--show-managed-fields")
        written = json.loads(gated.kubectl(*what, f"--namespace={namespace}", *by))
        # Of the GRPCRoute Helm wrote nothing else but the rules: then nobody is left, and we with nothing.
        owners = {owner["manager"]: owner["fieldsV1"] for owner in written["metadata"]["managedFields"]}
        assert owners.pop("tidegate", {}) == {}, kind
        assert ("helm" in owners) is (kind != "grpcroute")
    _applied(gated, namespace, *objects)


# Services and Deployments.

USERS = {"app": "checkout"}
NARROW = {**USERS, HASH: "6fcbd"}
ABSENT: Any = object()


@dataclass(frozen=True)
class Kept:
    """An object of Tidegate's concern, a write by somebody else, and what then stands."""

    before: Json
    write: Json
    after: Json
    """Fields, by path; ABSENT: it is not there."""
    whole: bool = False
    """The write is a PUT of a manifest, else a merge patch."""
    by: tuple[str, ...] = ()


def _service(selector: Json | None, notes: Json | None, **more: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {} if notes is None else {"annotations": notes},
        "spec": {"ports": [{"port": 80}], **({} if selector is None else {"selector": selector}), **more},
    }


def _deployment(notes: Json | None, deadline: int | None = 600, image: str = "none:1") -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {} if notes is None else {"annotations": notes},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": USERS},
            "template": {"metadata": {"labels": USERS}, "spec": {"containers": [{"name": "app", "image": image}]}},
            **({} if deadline is None else {"progressDeadlineSeconds": deadline}),
        },
    }


def _notes(**notes: str | None) -> Json:
    return {"metadata": {"annotations": notes}}


ON = {RELEASING: NOTE}
MANAGED, ONE = {RELEASE: "checkout"}, {REVISION: "1"}
_selector, _kept = "spec.selector", "metadata.annotations"
_deadline = "spec.progressDeadlineSeconds"
KEPT = {
    # Services
    "a narrowed service, replaced": Kept(
        _service(NARROW, ON), _service(USERS, None), {_selector: NARROW, _kept: ON}, whole=True
    ),
    "a narrowed service, applied": Kept(
        _service(NARROW, ON), {"spec": {"selector": {HASH: None}}}, {_selector: NARROW, _kept: ON}
    ),
    "a narrowed service, narrowed to another": Kept(
        _service(NARROW, ON), {"spec": {"selector": {HASH: "7d9f5"}}}, {_selector: NARROW}
    ),
    "a narrowed service, of other pods": Kept(
        _service(NARROW, ON),
        _service({"app": "shop"}, {"team": "shop"}, ports=[{"port": 81}]),
        {_selector: {"app": "shop", HASH: "6fcbd"}, _kept: {**ON, "team": "shop"}, "spec.ports.0.port": 81},
        whole=True,
    ),
    "a narrowed service, of no selector": Kept(
        _service(NARROW, ON), {"spec": {"selector": None}}, {_selector: {HASH: "6fcbd"}}
    ),
    "a wide service in mid-release, narrowed": Kept(
        _service(USERS, ON), {"spec": {"selector": {HASH: "7d9f5"}}}, {_selector: USERS}
    ),
    "a wide service in mid-release, replaced": Kept(
        _service(USERS, ON), _service(USERS, None), {_selector: USERS, _kept: ON}, whole=True
    ),
    "a service in mid-release, its note removed": Kept(
        _service(NARROW, ON), {"metadata": {"annotations": None}}, {_selector: NARROW, _kept: ON}
    ),
    "a service in mid-release, its note changed": Kept(
        _service(NARROW, ON), _notes(**{RELEASING: "{}", "by": "user"}), {_kept: {**ON, "by": "user"}}
    ),
    "a service at rest": Kept(_service(NARROW, None), {"spec": {"selector": {HASH: None}}}, {_selector: USERS}),
    "a service that Tidegate writes": Kept(
        _service(NARROW, ON),
        {"metadata": {"annotations": None}, "spec": {"selector": {HASH: None}}},
        {_selector: USERS, _kept: ABSENT},
        by=TIDEGATE,
    ),
    # Deployments
    "a managed deployment, replaced": Kept(
        _deployment({**MANAGED, **ONE}), _deployment(None, image="none:2"), {_kept: MANAGED}, whole=True
    ),
    "a managed deployment, replaced with notes of its own": Kept(
        _deployment({**MANAGED, **ONE}),
        _deployment({"team": "shop"}),
        {_kept: {**MANAGED, "team": "shop"}},
        whole=True,
    ),
    "a managed deployment, replaced by an export": Kept(
        _deployment({**MANAGED, **ONE}), _deployment(ONE), {_kept: {**MANAGED, **ONE}}, whole=True
    ),
    "a managed deployment, replaced by one of another name": Kept(
        _deployment({**MANAGED, **ONE}), _deployment({RELEASE: "other"}), {_kept: MANAGED}, whole=True
    ),
    "a managed deployment, let go": Kept(_deployment({**MANAGED, **ONE}), _notes(**{RELEASE: None}), {_kept: ONE}),
    "a managed deployment, all annotations removed": Kept(
        _deployment({**MANAGED, **ONE}), {"metadata": {"annotations": None}}, {_kept: MANAGED}
    ),
    "a managed deployment, of a new template": Kept(
        _deployment({**MANAGED, **ONE}),
        {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "none:2"}]}}}},
        {_kept: {**MANAGED, **ONE}, "spec.template.spec.containers.0.image": "none:2", _deadline: 600},
    ),
    "at rest the deadline is the user's": Kept(
        _deployment({**MANAGED, **ONE}),
        {"spec": {"progressDeadlineSeconds": 60}},
        {_deadline: 60, _kept: {**MANAGED, **ONE}},
    ),
    "in mid-release the deadline is held, and the wish kept": Kept(
        _deployment({**MANAGED, **ONE}, HELD_DEADLINE),
        {"spec": {"progressDeadlineSeconds": 60}},
        {_deadline: HELD_DEADLINE, _kept: {**MANAGED, **ONE, DEADLINE_WISH: "60"}},
    ),
    "in mid-release the default is a wish": Kept(
        _deployment({**MANAGED, **ONE}, HELD_DEADLINE),
        {"spec": {"progressDeadlineSeconds": None}},
        {_deadline: HELD_DEADLINE, _kept: {**MANAGED, **ONE, DEADLINE_WISH: "600"}},
    ),
    "in mid-release replaced": Kept(
        _deployment({**MANAGED, **ONE}, HELD_DEADLINE),
        _deployment(None, 90),
        {_deadline: HELD_DEADLINE, _kept: {**MANAGED, DEADLINE_WISH: "90"}},
        whole=True,
    ),
    "a newer wish": Kept(
        _deployment({**MANAGED, **ONE, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        _deployment(None, None),
        {_deadline: HELD_DEADLINE, _kept: {**MANAGED, DEADLINE_WISH: "600"}},
        whole=True,
    ),
    "no newer wish": Kept(
        _deployment({**MANAGED, **ONE, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        _deployment(None, HELD_DEADLINE),
        {_deadline: HELD_DEADLINE, _kept: {**MANAGED, DEADLINE_WISH: "60"}},
        whole=True,
    ),
    "let go in mid-release, the deadline is held once more": Kept(
        _deployment({**MANAGED, **ONE, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        _notes(**{RELEASE: None, DEADLINE_WISH: None}),
        {_deadline: HELD_DEADLINE, _kept: ONE},
    ),
    "let go, the deadline is the user's": Kept(
        _deployment(ONE, HELD_DEADLINE), {"spec": {"progressDeadlineSeconds": 60}}, {_deadline: 60, _kept: ONE}
    ),
    "a deployment of nobody, replaced": Kept(
        _deployment({DEADLINE_WISH: "60", **ONE}), _deployment(None), {_kept: ABSENT}, whole=True
    ),
    "a deployment that Tidegate writes": Kept(
        _deployment({**MANAGED, **ONE, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        {"metadata": {"annotations": None}, "spec": {"progressDeadlineSeconds": 60}},
        {_deadline: 60, _kept: ABSENT},
        by=TIDEGATE,
    ),
}


def _at(obj: Any, path: str) -> Any:
    for part in path.split("."):
        obj = obj[int(part)] if isinstance(obj, list) else obj.get(part, ABSENT)
        if obj is ABSENT:
            return ABSENT
    return obj


@pytest.fixture(scope="module")
def kept(gated: Cluster, namespace: str) -> Mapping[str, str]:
    """Services and Deployments of the table, by case. No controller is to number a Deployment of none: it is paused."""
    named = {case: f"case-{number}" for number, case in enumerate(KEPT)}
    items = []
    for case, each in KEPT.items():
        pause = {"paused": True} if each.before["kind"] == "Deployment" else {}
        meta = {**each.before["metadata"], "name": named[case]}
        items.append({**each.before, "metadata": meta, "spec": {**each.before["spec"], **pause}})
    gated.kubectl("create", f"--namespace={namespace}", "--filename=-", stdin=_list(items))
    return named


@pytest.mark.parametrize("case", KEPT)
def test_what_a_release_holds_stays(gated: Cluster, namespace: str, kept: Mapping[str, str], case: str) -> None:
    each = KEPT[case]
    where = (f"--namespace={namespace}", "--dry-run=server", "--output=json", *each.by)
    if each.whole:
        body = {**each.write, "metadata": {**each.write["metadata"], "name": kept[case]}}
        said = gated.kubectl("replace", *where, "--filename=-", stdin=json.dumps(body))
    else:
        named = (each.before["kind"], kept[case], "--type=merge", f"--patch={json.dumps(each.write)}")
        said = gated.kubectl("patch", *where, *named)
    written = json.loads(said)
    assert {path: _at(written, path) for path in each.after} == each.after


def test_the_way_out_of_a_service_and_a_deployment_is_open(gated: Cluster, namespace: str) -> None:
    here = f"--namespace={namespace}"
    objects = (_service(NARROW, ON), _deployment({**MANAGED, **ONE, DEADLINE_WISH: "60"}, HELD_DEADLINE))
    named = [{**obj, "metadata": {**obj["metadata"], "name": "out"}} for obj in objects]
    gated.kubectl("create", here, "--filename=-", stdin=_list(named))
    gated.kubectl("annotate", here, "deployment/out", f"{RELEASE}-", f"{DEADLINE_WISH}-")
    gated.kubectl("patch", here, "deployment/out", '--patch={"spec":{"progressDeadlineSeconds":600}}')
    left = gated.get(here, "deployment/out")
    assert left["spec"]["progressDeadlineSeconds"] == 600
    assert not set(left["metadata"]["annotations"]) & {RELEASE, DEADLINE_WISH}
    binding = gated.get("mutatingadmissionpolicybinding", "tidegate-services")
    gated.kubectl("delete", "mutatingadmissionpolicybinding", "tidegate-services")
    try:

        def let_go() -> str | None:
            gated.kubectl("annotate", here, "service/out", f"{RELEASING}-")
            notes = gated.get(here, "service/out")["metadata"].get("annotations", {})
            return f"it keeps {notes}" if RELEASING in notes else None

        wait_until("the Service is let go", let_go, 10)
        gated.kubectl("patch", here, "service/out", f'--patch={{"spec":{{"selector":{{"{HASH}":null}}}}}}')
        assert gated.get(here, "service/out")["spec"]["selector"] == USERS
    finally:
        own = {"apiVersion": binding["apiVersion"], "kind": binding["kind"], "spec": binding["spec"]}
        meta = {"metadata": {"name": "tidegate-services", "labels": binding["metadata"].get("labels") or {}}}
        gated.kubectl("create", "--filename=-", stdin=json.dumps({**own, **meta}))


# The Deployment controller, with pods.


class Managed:
    """A Deployment as Tidegate would adopt it, with Tidegate's own writes made by hand."""

    def __init__(self, at: Cluster, namespace: str) -> None:
        self._at, self._here = at, f"--namespace={namespace}"

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As a user."""
        return self._at.kubectl(*arguments, self._here, stdin=stdin)

    def create(self, version: str, replicas: int) -> None:
        """The Deployment, rolled out."""
        app = {"app": "checkout"}
        probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
        container = {
            "name": "app",
            "image": "localhost/tidegate-demo:latest",
            "imagePullPolicy": "IfNotPresent",
            "env": [{"name": "VERSION", "value": version}, {"name": "DRAIN_MS", "value": "0"}],
            "readinessProbe": probe,
        }
        spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "checkout", "labels": app},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": app},
                "template": {"metadata": {"labels": app}, "spec": spec},
            },
        }
        self.kubectl("create", "--filename=-", stdin=json.dumps(body))
        self.rolled_out()

    def rolled_out(self) -> None:
        """Wait until the newest template is all that runs."""
        self.kubectl("rollout", "status", "deployment/checkout", "--timeout=90s")

    def ship(self, version: str) -> None:
        """A new template."""
        self.kubectl("set", "env", "deployment/checkout", f"VERSION={version}")

    def write(self, what: str, notes: Mapping[str, str], replicas: int | None = None) -> None:
        """A write of Tidegate."""
        spec = {} if replicas is None else {"spec": {"replicas": replicas}}
        patch = json.dumps({"metadata": {"annotations": notes}, **spec})
        self.kubectl("patch", what, "--type=merge", f"--patch={patch}", *TIDEGATE)

    def sets(self) -> dict[str, Json]:
        """The ReplicaSets by version."""
        found = self._at.get("replicasets", self._here)["items"]
        return {rs["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]: rs for rs in found}

    def pods(self) -> set[str]:
        """All pods that are not going."""
        found = self._at.get("pods", self._here)["items"]
        return {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}

    def name_of(self, version: str) -> str:
        """What the ReplicaSet of a version is called, to kubectl."""
        return f"replicaset/{self.sets()[version]['metadata']['name']}"

    def becomes(self, sizes: Mapping[str, int], *, current: str) -> None:
        """Wait until the controller has seen all and left these sizes, with as many pods ready."""

        def seen() -> str | None:
            deployment, sets = self._at.get("deployment", "checkout", self._here), self.sets()
            if deployment["status"].get("observedGeneration") != deployment["metadata"]["generation"]:
                return "the controller has not seen the newest generation"
            newest = max(sets, key=lambda version: int(sets[version]["metadata"]["annotations"][REVISION]))
            if newest != current:
                return f"the newest revision is {newest}"
            desired = str(deployment["spec"]["replicas"])
            behind = [
                version
                for version, rs in sets.items()
                if rs["spec"]["replicas"] and rs["metadata"]["annotations"][DESIRED] != desired
            ]
            if behind:
                return f"{', '.join(behind)} not told yet that N is {desired}"
            asked = {version: rs["spec"]["replicas"] for version, rs in sets.items()}
            ready = {version: rs["status"].get("readyReplicas", 0) for version, rs in sets.items()}
            pods = {version: rs["status"]["replicas"] for version, rs in sets.items()}
            return None if asked == ready == pods == dict(sizes) else f"asked {asked}, there {pods}, ready {ready}"

        wait_until(f"the sizes become {dict(sizes)}", seen, 90)


def test_the_deployment_controller_does_its_work_within_the_gate(gated: Cluster, live_namespace: str) -> None:
    app = Managed(gated, live_namespace)
    app.create("v0", 2)
    app.ship("v1")
    app.rolled_out()
    served = app.pods()

    # Adoption, as at rest: the annotation, stable's floor, a ceiling for what does not serve.
    app.write("deployment/checkout", {RELEASE: "checkout"})
    app.write(app.name_of("v1"), {FLOOR: "100%"})
    app.write(app.name_of("v0"), {CEILING: "0"})
    app.becomes({"v0": 0, "v1": 2}, current="v1")

    # A new template is born held; and stays so, though the controller is made to look again.
    app.ship("v2")
    app.becomes({"v0": 0, "v1": 2, "v2": 0}, current="v2")
    assert app.sets()["v2"]["metadata"]["annotations"][CEILING] == "0"
    app.kubectl("scale", "deployment/checkout", "--replicas=4")
    app.becomes({"v0": 0, "v1": 4, "v2": 0}, current="v2")
    assert served <= app.pods()

    # A step, and then nobody but the Deployment controller: the shares hold at every scale.
    app.write(app.name_of("v2"), {FLOOR: "25%", CEILING: "25%"}, 1)
    for desired, share in ((4, 1), (8, 2), (9, 3), (12, 3), (4, 1), (1, 1)):
        app.kubectl("scale", "deployment/checkout", f"--replicas={desired}")
        app.becomes({"v0": 0, "v1": desired, "v2": share}, current="v2")

    # Back to stable's template in mid-release: the candidate's floor keeps it, for its traffic is still there.
    app.ship("v1")
    app.becomes({"v0": 0, "v1": 1, "v2": 1}, current="v1")

    # An old revision is a release like any other.
    app.kubectl("rollout", "undo", "deployment/checkout", "--to-revision=1")
    app.becomes({"v0": 0, "v1": 1, "v2": 1}, current="v0")

    # The way out: one line, and the Deployment controller has it all again.
    gone = (f"{note}-" for note in (RELEASE, FLOOR, CEILING))
    app.kubectl("annotate", "deployments,replicasets", "--selector=app=checkout", *gone)
    app.rolled_out()
    app.becomes({"v0": 1, "v1": 0, "v2": 0}, current="v0")
    app.ship("v3")
    app.becomes({"v0": 0, "v1": 0, "v2": 0, "v3": 1}, current="v3")

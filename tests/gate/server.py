"""The table of cases on a real API server: who writes is asked what would be stored, and nothing is."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.cluster.interface import Cluster
from tests.gate import CASES, deployments, routes, services
from tests.gate.api import Api
from tests.gate.case import Json, mismatch
from tidegate.core.gate import HELD_DEADLINE
from tidegate.core.reading import HASH

TIDEGATE = "system:serviceaccount:tidegate-system:tidegate"
AS_TIDEGATE = (f"--as={TIDEGATE}", "--as-group=system:masters")
"""For kubectl. The group is for its reading before it writes; the operator itself has no need to."""
NO_PODS = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-pods"},
    "spec": {"hard": {"pods": "0"}},
}


class Server:
    """A namespace with the objects of all cases as they were before."""

    def __init__(self, cluster: Cluster, api: Api, namespace: str) -> None:
        self._cluster, self._api, self.namespace = cluster, api, namespace
        self._names = {case: f"case-{number}" for number, case in enumerate(CASES)}

    def furnish(self) -> None:
        """Make the objects. A size is asked for, and no pod comes of it."""
        items = [_named(case.before, self._names[name]) for name, case in CASES.items() if case.before is not None]
        self.create(NO_PODS, *items)

    def create(self, *objects: Json) -> None:
        """Make some objects, as Tidegate: none is held."""
        self.kubectl("create", "--filename=-", *AS_TIDEGATE, stdin=items_of(objects))

    def apply(self, *objects: Json) -> None:
        """By a tool that applies server-side and does not force: a conflict is an error."""
        self.kubectl("apply", "--server-side", "--field-manager=helm", "--filename=-", stdin=items_of(objects))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """As an administrator, in the namespace."""
        return self._cluster.kubectl(*arguments, f"--namespace={self.namespace}", stdin=stdin)

    def get(self, kind: str, name: str) -> Json:
        """An object of the namespace."""
        return self._cluster.get(kind, name, self.namespace)

    def name_of(self, case: str) -> str:
        """What the object of a case is called."""
        return self._names[case]

    def write(self, name: str) -> Json:
        """What would be stored."""
        case, called = CASES[name], self._names[name]
        by = TIDEGATE if case.by_tidegate else ""
        if case.before is None:
            return self._api.write("POST", case.kind, self.namespace, _named(case.write, called), as_user=by)
        verb, body = ("PUT", _named(case.write, called)) if case.whole else ("PATCH", case.write)
        return self._api.write(verb, case.kind, self.namespace, body, name=called, as_user=by)

    def wrong(self, name: str) -> str | None:
        """How what would be stored differs from the table."""
        return mismatch(self.write(name), CASES[name].after)

    def wrong_by_an_older_version(self) -> str | None:
        """The same, where a route is written by an older version of its API: that is no way around."""
        name = self._names["route: refs set back, one rule without a name"]
        body = {"spec": {"rules": [routes.plain(routes.REST)]}}
        written = self._api.write("PATCH", "HTTPRoute", self.namespace, body, name=name, version="v1beta1")
        return mismatch(written["spec"], {"rules": [{"backendRefs": routes.SPLIT}]})

    def wrong_of_ownership(self) -> str | None:
        """The same, where Tidegate writes to what others own: else `helm upgrade` would fail by a conflict with it."""
        weight = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 7}]
        selector = [{"op": "add", "path": f"/spec/selector/{HASH}", "value": "6fcbd"}]
        deadline = [{"op": "replace", "path": "/spec/progressDeadlineSeconds", "value": HELD_DEADLINE}]
        refs = [{"backendRefs": routes.REST}]
        patches = (
            (routes.route(refs, None), weight),
            ({**routes.route(refs, None, "GRPCRoute"), "spec": {"rules": refs}}, weight),
            (services.service(services.WIDE, None), selector),
            (deployments.deployment(None), deadline),
        )
        manifests = [_named(manifest, "owned") for manifest, _ in patches]
        self.apply(*manifests)
        by = (*AS_TIDEGATE, "--field-manager=tidegate", "--show-managed-fields", "--output=json")
        for manifest, patch in patches:
            kind = manifest["kind"]
            said = self.kubectl("patch", kind, "owned", "--type=json", f"--patch={json.dumps(patch)}", *by)
            owners = {owner["manager"]: owner["fieldsV1"] for owner in json.loads(said)["metadata"]["managedFields"]}
            # Of the GRPCRoute Helm wrote nothing else but the rules: then nobody is left, and we with nothing.
            if owners.pop("tidegate", {}) or ("helm" in owners) is (kind == "GRPCRoute"):
                return f"{kind}: {owners}"
        self.apply(*manifests)
        return None

    def wrong_of_a_status(self) -> str | None:
        """The same, where a router writes its status."""
        name = self._names["route: refs set back, one rule without a name"]
        body: Json = {"status": {"parents": []}}
        return mismatch(
            self._api.write("PATCH", "HTTPRoute", self.namespace, body, name=name, subresource="status"), body
        )


@contextmanager
def furnished(cluster: Cluster) -> Iterator[Server]:
    """A namespace with the table."""
    with Api(cluster) as api, namespace(cluster) as name:
        server = Server(cluster, api, name)
        server.furnish()
        yield server


@contextmanager
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that goes afterwards."""
    name = f"gate-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def without_bindings(cluster: Cluster, *names: str) -> Iterator[None]:
    """Bindings are away for a while."""
    own = [cluster.get("mutatingadmissionpolicybinding", name) for name in names]
    for binding in own:
        for read in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
            binding["metadata"].pop(read, None)
    cluster.kubectl("delete", "mutatingadmissionpolicybinding", *names)
    try:
        yield
    finally:
        cluster.kubectl("create", "--filename=-", stdin=items_of(own))


def items_of(objects: Iterable[Json]) -> str:
    """Objects as kubectl takes them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _named(obj: Mapping[str, Any], name: str) -> Json:
    return {**obj, "metadata": {**obj["metadata"], "name": name}}

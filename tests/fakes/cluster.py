"""An API server in memory: versions, generations, patches, finalizers, owners, and the admission of DESIGN §3.

The port's methods act as Tidegate. Everybody else (the user, the controllers) writes through the ``*_as`` methods
and is subject to the gate.
"""

from __future__ import annotations

import asyncio
import marshal
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

from tidegate.api.crd import UNSEEN
from tidegate.core import clamp
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import (
    DEPLOYMENTS,
    FEATURE_FLAGS,
    GATEWAY_ROUTES,
    POLICIES,
    POLICY_BINDINGS,
    RELEASES,
    REPLICASETS,
    SERVICES,
    TRAEFIK_SERVICES,
    Conflict,
    Kind,
    NotFound,
    Object,
    PatchType,
    Rejected,
)

TIDEGATE = "system:serviceaccount:tidegate-system:tidegate"
GARBAGE_COLLECTOR = "garbage-collector"
GATES = {
    REPLICASETS: "tidegate-replicasets",
    **dict.fromkeys(GATEWAY_ROUTES, "tidegate-routes"),
    TRAEFIK_SERVICES: "tidegate-traefikservices",
    SERVICES: "tidegate-services",
    DEPLOYMENTS: "tidegate-deployments",
}
"""The admission policy of each kind."""

CLIENT: ContextVar[str] = ContextVar("client", default="")
"""Which operator process makes a request of the port, where there are several."""

T = TypeVar("T")
Watcher = Callable[[Kind, str, Object], None]
"""Kind, ADDED / MODIFIED / DELETED, the object (not to be changed)."""


@dataclass(frozen=True)
class Write:
    """A write that changed something."""

    at: float
    who: str
    verb: str
    kind: Kind
    name: str
    before: Object | None
    after: Object | None
    client: str = ""
    """The operator process, of Tidegate's writes."""


class FakeCluster:
    """See the module. ``latency`` is how long a request of the port takes."""

    def __init__(self, clock: Clock, latency: float = 0.003) -> None:
        self._clock, self._latency = clock, latency
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._version = 100
        self._uid = 0
        self.watchers: list[Watcher] = []
        self.requests: Counter[tuple[str, str]] = Counter()
        """Requests of Tidegate: (verb, plural)."""
        self.writes: list[Write] = []
        """Every write, by whomever, that changed something."""

    # The port: what Tidegate does.

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        await self._take("get", kind)
        found = self.find(kind, namespace, name)
        if found is None:
            raise NotFound(f"{kind.name} {namespace}/{name} not found")
        return copied(found)

    async def list(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """Objects of a namespace, or all."""
        await self._take("list", kind)
        return [copied(obj) for obj in self.all(kind, namespace, selector)]

    async def pages(self, kind: Kind, namespace: str = "") -> AsyncIterator[Sequence[Object]]:
        """All objects, in one page."""
        yield await self.list(kind, namespace)

    async def referring(self, kind: Kind, namespace: str, to: Collection[str]) -> Sequence[Object]:
        """All objects: whoever asks looks for those that do refer."""
        return await self.list(kind, namespace)

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """A new object."""
        await self._take("create", kind)
        return copied(self.create_as(TIDEGATE, kind, namespace, body))

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """Change an object."""
        await self._take("patch", kind)
        return copied(self.patch_as(TIDEGATE, kind, namespace, name, body, type_=type_, subresource=subresource))

    async def delete(self, kind: Kind, namespace: str, name: str, *, version: str = "") -> None:
        """Remove an object."""
        await self._take("delete", kind)
        found = self.find(kind, namespace, name)
        if version and found and found["metadata"]["resourceVersion"] != version:
            raise Conflict(f"{kind.name} {namespace}/{name}: the object has been modified")
        self.delete_as(TIDEGATE, kind, namespace, name)

    async def _take(self, verb: str, kind: Kind) -> None:
        self.requests[verb, kind.plural] += 1
        await self._clock.sleep(self._latency)

    # For everybody.

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object, not to be changed."""
        return self._objects[kind].get((namespace, name))

    def all(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """Objects, not to be changed."""
        shelf = self._objects[kind]
        here = [obj for (where, _), obj in sorted(shelf.items()) if namespace in ("", where)] if shelf else []
        if not selector:
            return here
        wanted = selects(selector)
        return [obj for obj in here if wanted(obj["metadata"].get("labels") or {})]

    def create_as(self, who: str, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """Somebody creates an object."""
        new = copied(dict(body))
        meta = new.setdefault("metadata", {})
        self._uid += 1
        name = meta.setdefault("name", f"{meta.get('generateName', '')}{self._uid:05x}")
        if (namespace, name) in self._objects[kind]:
            raise Conflict(f"{kind.name} {namespace}/{name} already exists")
        meta.update(uid=f"uid-{self._uid}", generation=1, creationTimestamp=self.stamp())
        if kind.namespaced:
            meta["namespace"] = namespace
        new.update(apiVersion=kind.api_version, kind=kind.name)
        if kind in (*RELEASES, FEATURE_FLAGS):
            new.setdefault("status", copied(UNSEEN))
        return self._commit(who, "create", kind, None, self._admitted(who, kind, None, new))

    def patch_as(
        self,
        who: str,
        kind: Kind,
        namespace: str,
        name: str,
        body: object,
        *,
        type_: PatchType = "merge",
        subresource: str = "",
    ) -> Object:
        """Somebody changes an object; of a subresource the status only, else all but the status."""
        old = self.find(kind, namespace, name)
        if old is None:
            raise NotFound(f"{kind.name} {namespace}/{name} not found")
        new = merge(old, body) if type_ == "merge" else patched(old, body)
        lock = body.get("metadata", {}).get("resourceVersion") if isinstance(body, dict) else None
        if lock is not None and lock != old["metadata"]["resourceVersion"]:
            raise Conflict(f"{kind.name} {namespace}/{name}: the object has been modified")
        if subresource == "status":
            new = {**old, "status": new.get("status", {})}
        else:
            new = {**new, **({"status": old["status"]} if "status" in old else {})}
        for fixed in ("uid", "name", "namespace", "resourceVersion", "generation", "creationTimestamp"):
            if fixed in old["metadata"]:
                new["metadata"][fixed] = old["metadata"][fixed]
        if not subresource:
            new = self._admitted(who, kind, old, new)
        return self._commit(who, "patch", kind, old, new)

    def delete_as(self, who: str, kind: Kind, namespace: str, name: str) -> None:
        """Somebody removes an object. One with finalizers goes when they have gone."""
        old = self.find(kind, namespace, name)
        if old is None:
            return
        if not old["metadata"].get("finalizers"):
            self._remove(who, kind, old)
        elif "deletionTimestamp" not in old["metadata"]:
            self._commit(
                who, "delete", kind, old, merge(old, {"metadata": {"deletionTimestamp": self.stamp()}}), bump=True
            )

    @property
    def version(self) -> int:
        """Grows with each write."""
        return self._version

    def _admitted(self, who: str, kind: Kind, old: Object | None, new: Object) -> Object:
        """What the policy of the kind, where it stands, makes of a write."""
        name = ("", GATES.get(kind, ""))
        if who == TIDEGATE or name not in self._objects[POLICIES] or name not in self._objects[POLICY_BINDINGS]:
            return new
        operations = clamp.patch(kind.name, old, new)
        return patched(new, operations) if operations else new

    def stamp(self) -> str:
        """Now, as the API writes it: whole seconds."""
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _commit(
        self, who: str, verb: str, kind: Kind, old: Object | None, new: Object, *, bump: bool = False
    ) -> Object:
        if old == new:
            return new
        meta = new["metadata"] = dict(new["metadata"])
        if old and (bump or _asks_for_more(kind, old, new)):
            meta["generation"] = old["metadata"]["generation"] + 1
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            self._remove(who, kind, new)
            return new
        self._objects[kind][meta.get("namespace", ""), meta["name"]] = new
        self._note(who, verb, kind, old, new)
        self._tell(kind, "MODIFIED" if old else "ADDED", new)
        return new

    def _remove(self, who: str, kind: Kind, obj: Object) -> None:
        meta = obj["metadata"]
        del self._objects[kind][meta.get("namespace", ""), meta["name"]]
        self._version += 1
        last = {**obj, "metadata": {**meta, "resourceVersion": str(self._version)}}
        self._note(who, "delete", kind, obj, None)
        self._tell(kind, "DELETED", last)
        asyncio.get_running_loop().call_later(1.5, self._collect, meta["uid"])

    def _collect(self, owner: str) -> None:
        """The garbage collector: what the owner owned goes too."""
        for kind in list(self._objects):
            for obj in list(self._objects[kind].values()):
                if any(ref["uid"] == owner for ref in obj["metadata"].get("ownerReferences", ())):
                    self.delete_as(GARBAGE_COLLECTOR, kind, obj["metadata"]["namespace"], obj["metadata"]["name"])

    def _note(self, who: str, verb: str, kind: Kind, old: Object | None, new: Object | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        client = CLIENT.get() if who == TIDEGATE else ""
        self.writes.append(Write(self._clock.monotonic(), who, verb, kind, name, old, new, client))

    def _tell(self, kind: Kind, type_: str, obj: Object) -> None:
        for watcher in self.watchers:
            watcher(kind, type_, obj)


def copied(value: T) -> T:
    """A copy of JSON, quickly: it is what a simulation does most."""
    copy: T = marshal.loads(marshal.dumps(cast("Any", value)))
    return copy


def merge(old: Any, patch: object) -> Any:
    """RFC 7386: a new value; null deletes."""
    if not isinstance(patch, dict):
        return copied(patch) if isinstance(patch, list) else patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def merged(old: Object, patch: Object) -> Object:
    """The same, of an object."""
    result: Object = merge(old, patch)
    return result


def patched(old: Object, operations: object) -> Object:
    """RFC 6902, as much of it as we send; what does not fit is a Conflict."""
    if not isinstance(operations, list):
        raise Rejected("a JSON patch is a list")
    new = copied(old)
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        try:
            at: Any = new
            for part in way:
                at = at[int(part) if isinstance(at, list) else part]
            key: Any = last if not isinstance(at, list) else len(at) if last == "-" else int(last)
            match operation["op"]:
                case "test" if at[key] != operation["value"]:
                    raise Conflict(f"test of {operation['path']} failed")
                case "add" if last == "-":
                    at.append(copied(operation["value"]))
                case "add":
                    at[key] = copied(operation["value"])
                case "replace":
                    _ = at[key]
                    at[key] = copied(operation["value"])
                case "remove":
                    del at[key]
        except (KeyError, IndexError, TypeError) as error:
            raise Conflict(f"{operation['op']} {operation['path']}: no such field") from error
    return new


@cache
def selects(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """A label selector as a predicate: equality, ``in``, presence."""
    terms = [_term(term.strip()) for term in re.split(r",(?![^(]*\))", selector) if term.strip()]
    if not terms:
        return lambda _: True
    if len(terms) == 1:
        return terms[0]
    return lambda labels: all(fits(labels) for fits in terms)


def _term(term: str) -> Callable[[Mapping[str, str]], bool]:
    within = re.fullmatch(r"(\S+) in \((.*)\)", term)
    if within:
        key, values = within[1], frozenset(value.strip() for value in within[2].split(","))
        return lambda labels: labels.get(key) in values
    key, equals, value = term.partition("=")
    if equals:
        return lambda labels: labels.get(key) == value
    if term.startswith("!"):
        return lambda labels: term[1:] not in labels
    return lambda labels: term in labels


def _asks_for_more(kind: Kind, old: Object, new: Object) -> bool:
    """Generation counts changes of the spec; of a Deployment, those of its annotations too."""
    if old.get("spec") != new.get("spec"):
        return True
    return kind == DEPLOYMENTS and _notes(old) != _notes(new)


def _notes(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}

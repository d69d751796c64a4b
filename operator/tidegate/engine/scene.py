"""The objects of one release as they were read, for those who must write to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.core.gate import RELEASE
from tidegate.core.hold import Hold
from tidegate.core.observed import Backends
from tidegate.core.reading import owned_by
from tidegate.ports.cluster import Kind, Object


def ours(service: Object) -> bool:
    """A Service that a release made, of whatever name."""
    return RELEASE in (service["metadata"].get("labels") or {})


@dataclass(frozen=True)
class Scene:
    """JSON beside the values that the core decides upon.

    ``routes`` are those that the release names, if it does, as Kind/name; ``made`` are Services that it made.
    ``versions`` are those that the decision was made upon, and then of our own writes: what is written to anything
    else is refused by the API server, and decided anew.
    """

    kind: Kind
    release: Object
    deployment: Object | None = None
    replicasets: Mapping[str, Object] = field(default_factory=dict)
    service: Object | None = None
    made: tuple[str, ...] = ()
    backends: Backends | None = None
    routes: tuple[str, ...] | None = None
    term: int = 0
    versions: dict[tuple[Kind, str], str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Of the release and of all that it touches."""
        return str(self.release["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Of the release."""
        return str(self.release["metadata"]["name"])

    @property
    def hold(self) -> Hold:
        """By which the release and the leader hold what they write to."""
        return Hold(f"{self.kind.name}/{self.name}", self.term, self.owner())

    def owns(self, obj: Object) -> bool:
        """The release made it: no other one of its name, and none of another kind."""
        return owned_by(obj, self.release["metadata"]["uid"])

    def version(self, kind: Kind, obj: Object) -> str:
        """The version that an object must have for what was decided to be still right."""
        meta = obj["metadata"]
        return self.versions.get((kind, meta["name"]), str(meta.get("resourceVersion", "")))

    def wrote(self, kind: Kind, answer: Object) -> None:
        """What the next write within the same decision is based upon."""
        self.versions[kind, answer["metadata"]["name"]] = str(answer["metadata"]["resourceVersion"])

    def owner(self) -> dict[str, Any]:
        """Reference to the release, for what lives no longer than it does."""
        meta = self.release["metadata"]
        return {
            "apiVersion": self.kind.api_version,
            "kind": self.kind.name,
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
        }

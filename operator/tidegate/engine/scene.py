"""The objects of one release as they were read, for those who must write to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegate.api.release import RouteRef
from tidegate.core.gate import RELEASE
from tidegate.core.observed import Backends
from tidegate.ports.cluster import Kind, Object


def ours(service: Object) -> bool:
    """A Service that a release made, of whatever name."""
    return RELEASE in (service["metadata"].get("labels") or {})


@dataclass(frozen=True)
class Scene:
    """JSON beside the values that the core decides upon. ``routes`` are those that the release names, if it does."""

    kind: Kind
    release: Object
    deployment: Object | None = None
    service: Object | None = None
    backends: Backends | None = None
    routes: tuple[RouteRef, ...] | None = None

    @property
    def namespace(self) -> str:
        """Of the release and of all that it touches."""
        return str(self.release["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Of the release."""
        return str(self.release["metadata"]["name"])

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

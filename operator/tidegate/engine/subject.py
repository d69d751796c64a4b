"""What is worked on: an object of a kind that the operator has the status of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tidegate.ports.cluster import Kind


@dataclass(frozen=True)
class Subject:
    """A release, or a flag."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name}/{self.namespace}/{self.name}"


class Reconciles(Protocol):
    """Brings subjects of some kinds one step nearer to where they should be."""

    async def reconcile(self, key: Subject) -> datetime | None:
        """When to be asked again though nothing was seen to change. Raises ClusterError; then it is asked again."""
        ...

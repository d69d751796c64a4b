"""What is to be done: actions are data, each idempotent, carried out by one interpreter (engine/act.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from tidegate.api.releasestatus import ReleaseRecord, ReleaseStatus
from tidegate.api.traffic import Share
from tidegate.core.gate import Bounds


@dataclass(frozen=True)
class Manage:
    """Put the Deployment under management, or let it go: one annotation."""

    release: str | None


@dataclass(frozen=True)
class Bound:
    """Write a ReplicaSet's bounds and, with them, its size."""

    replicaset: str
    bounds: Bounds
    replicas: int | None
    """None leaves the size to the Deployment controller."""


@dataclass(frozen=True)
class SetDeadline:
    """Write the Deployment's progressDeadlineSeconds; None removes the field."""

    seconds: int | None
    owners: str | None = None
    """Its owner's, noted on the Deployment while another stands there; None removes the note."""


@dataclass(frozen=True)
class SetImages:
    """Write images of containers of the Deployment's template, by name."""

    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RestoreTemplate:
    """Set the Deployment's template back to a revision's, as `kubectl rollout undo` does."""

    replicaset: str


@dataclass(frozen=True)
class SetPaused:
    """Pause the Deployment, or let it go on: the brake where the gate does not hold."""

    paused: bool


@dataclass(frozen=True)
class Seize:
    """Write our term to the routes and Services that the release holds: no older write lands after it."""


@dataclass(frozen=True)
class EnsureServices:
    """The Services of a release, one a revision, and that of the preview."""

    stable: str
    candidate: str


@dataclass(frozen=True)
class DeleteServices:
    """All Services that the release made, gone."""


@dataclass(frozen=True)
class Select:
    """The user's Service selects this revision only; None removes the narrowing."""

    hash: str | None
    held: bool = True
    """The release goes on holding the Service; else its note goes too."""


@dataclass(frozen=True)
class Split:
    """Routes send this share of requests to the candidate."""

    share: Share


@dataclass(frozen=True)
class SetFinalizer:
    """The release object waits for us before it goes, or does so no more."""

    present: bool


@dataclass(frozen=True)
class StartJob:
    """A Job of a gate runs: created once, by this name."""

    name: str
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RemoveJob:
    """A Job of a gate, gone with its pods."""

    name: str


Action = (
    Manage
    | Bound
    | SetDeadline
    | SetImages
    | RestoreTemplate
    | SetPaused
    | Seize
    | EnsureServices
    | DeleteServices
    | Select
    | Split
    | SetFinalizer
    | StartJob
    | RemoveJob
)


@dataclass(frozen=True)
class Event:
    """Something happened: one Kubernetes Event, on a transition."""

    type: Literal["Normal", "Warning"]
    reason: StrEnum
    message: str


@dataclass(frozen=True)
class Plan:
    """A decision.

    The status is written before the actions (intent before act) and guards them: a conflict drops them all.
    ``urgent`` is done before the status: traffic back to stable waits for nothing, and is right whoever does it.
    """

    status: ReleaseStatus
    actions: Sequence[Action] = ()
    urgent: Sequence[Action] = ()
    events: Sequence[Event] = ()
    ended: ReleaseRecord | None = None
    """The release that this decision ends, for the metrics."""
    wake: datetime | None = None
    """When to decide again though nothing was seen to change."""
    watched: bool = False
    """Beside that it is looked at now and then, as often as there is time for: what no watch reports may change."""

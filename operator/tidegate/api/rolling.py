"""RollingRelease: pods are replaced batch by batch, each batch watched before the next."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from tidegate.api.base import Duration, Model, Rules
from tidegate.api.release import OF_EVERY_KIND, ReleaseSpec, Step
from tidegate.api.releasestatus import ReleaseStatus


class OnFailure(StrEnum):
    """How far a release goes back when a batch fails."""

    REVERT_ALL = "RevertAll"
    """All the way."""
    REVERT_BATCH = "RevertBatch"
    """By the batch that failed: those before it stay, and the release is held there. The first one is all there is."""


class RollingSpec(ReleaseSpec):
    """How pods are replaced batch by batch."""

    routed: ClassVar[bool] = False
    needs_route: ClassVar[bool] = False

    batch: Annotated[str, Field(pattern=r"^(100|[1-9][0-9]?)%$", max_length=4)] = "25%"
    """How many pods are replaced at once, in percent of the Deployment's replicas. So many at most are
    out of service."""
    bake: Duration = timedelta(seconds=30)
    """How long each batch is watched."""

    on_failure: OnFailure = OnFailure.REVERT_ALL
    """How far a release goes back when a batch fails."""

    @property
    def retreats(self) -> bool:
        """The batches that passed are kept."""
        return self.on_failure is OnFailure.REVERT_BATCH

    def plan(self) -> tuple[Step, ...]:
        """A step a batch."""
        batch = int(self.batch.rstrip("%"))
        done = [*range(batch, 100, batch), 100]
        return tuple(Step(share, self.bake, share, stable=100 - share, out=batch) for share in done)


class RollingRelease(Model):
    """A release that replaces pods batch by batch, and goes back by itself."""

    spec: RollingSpec
    """What is wanted."""
    status: ReleaseStatus | None = None
    """What is."""

    cel_rules: ClassVar[Rules] = OF_EVERY_KIND
    kind: ClassVar[str] = "RollingRelease"
    plural: ClassVar[str] = "rollingreleases"
    short_names: ClassVar[tuple[str, ...]] = ("rolling",)
    columns: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("Phase", "string", ".status.phase"),
        ("Batch", "integer", ".status.step.index"),
        ("Done", "integer", ".status.step.weight"),
        ("Verdict", "string", ".status.analysis.verdict"),
        ("Message", "string", ".status.message"),
        ("Age", "date", ".metadata.creationTimestamp"),
    )

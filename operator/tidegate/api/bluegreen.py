"""BlueGreenRelease: a full second set of pods, tested before anybody sees it, and one switch."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from tidegate.api.base import Duration, Model, Rules
from tidegate.api.release import TARGET_STAYS, Name, ReleaseSpec, ReleaseStatus, Step


class PreviewSpec(Model):
    """How the idle set is reached before the switch."""

    service: Name
    """A Service that leads to the candidate, made for the time of a release. Routes of yours may point at it."""


class BlueGreenSpec(ReleaseSpec):
    """How a second set of pods takes over at once."""

    switches: ClassVar[bool] = True
    needs_route: ClassVar[bool] = False

    preview: PreviewSpec | None = None
    """How the idle set is reached before the switch. Default: by the Service <service>-canary only."""
    watch: Duration = timedelta(seconds=60)
    """How long the candidate is compared, once it has all requests. What fails switches back at once."""
    keep: Duration = timedelta(minutes=10)
    """How long the old set is kept after that, ready to take all requests again."""

    @property
    def preview_service(self) -> str:
        """The Service of the preview."""
        return self.preview.service if self.preview else ""

    def plan(self) -> tuple[Step, ...]:
        """The idle set in full; the switch and its watch; the old set kept warm."""
        return (
            Step(0, timedelta(), 100, name="preview"),
            Step(100, self.watch, 100, name="watch"),
            Step(100, self.keep, 100, judged=False, name="keep"),
        )


class BlueGreenRelease(Model):
    """A release that starts a full second set of pods, tests it, and gives it all requests at once."""

    spec: BlueGreenSpec
    """What is wanted."""
    status: ReleaseStatus | None = None
    """What is."""

    cel_rules: ClassVar[Rules] = TARGET_STAYS
    kind: ClassVar[str] = "BlueGreenRelease"
    plural: ClassVar[str] = "bluegreenreleases"
    short_names: ClassVar[tuple[str, ...]] = ("bluegreen",)
    columns: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("Phase", "string", ".status.phase"),
        ("Step", "string", ".status.step.name"),
        ("Weight", "integer", ".status.traffic.weight"),
        ("Verdict", "string", ".status.analysis.verdict"),
        ("Message", "string", ".status.message"),
        ("Age", "date", ".metadata.creationTimestamp"),
    )

"""BlueGreenRelease: a full second set of pods, tested before anybody sees it, and one switch."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from tidegate.api.base import Duration, Model, Rules
from tidegate.api.gates import Gate, GateAt, ManualGate
from tidegate.api.release import OF_EVERY_KIND, ReleaseSpec, Step
from tidegate.api.releasestatus import ReleaseStatus


class PreviewSpec(Model):
    """How the idle set is reached before the switch."""

    service: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    """A Service that leads to the candidate, made for the time of a release. Routes of yours may point at it."""


class Approval(StrEnum):
    """Who decides about the switch."""

    AUTOMATIC = "Automatic"
    """The gates that there are, if any."""
    MANUAL = "Manual"
    """Somebody: `kubectl tidegate approve`."""


class SwitchSpec(Model):
    """How requests go over."""

    approval: Approval = Approval.AUTOMATIC
    """Manual: the idle set waits until somebody approves."""


APPROVED = Gate(name="switch", at=GateAt.BEFORE_TRAFFIC, manual=ManualGate())
"""What a manual approval is: a gate like any other."""
NO_SWITCH = "spec.gates: switch is the name of the gate that switch.approval: Manual implies: use another"
OWN_NAME = "spec.preview.service: the Service itself, <service>-stable and <service>-canary are taken: use another name"


class BlueGreenSpec(ReleaseSpec):
    """How a second set of pods takes over at once."""

    switches: ClassVar[bool] = True
    needs_route: ClassVar[bool] = False

    preview: PreviewSpec | None = None
    """How the idle set is reached before the switch. Default: by the Service <service>-canary only."""
    switch: SwitchSpec = SwitchSpec()
    """How requests go over."""
    watch: Duration = timedelta(seconds=60)
    """How long the candidate is compared, once it has all requests. What fails switches back at once."""
    keep: Duration = timedelta(minutes=10)
    """How long the old set is kept after that, ready to take all requests again."""

    cel_rules: ClassVar[Rules] = (
        (
            "!has(self.switch) || !has(self.switch.approval) || self.switch.approval != 'Manual'"
            " || !has(self.gates) || self.gates.all(g, g.name != 'switch')",
            NO_SWITCH,
        ),
        (
            "!has(self.preview) || !has(self.serviceRef) || !(self.preview.service in [self.serviceRef.name,"
            " self.serviceRef.name + '-stable', self.serviceRef.name + '-canary'])",
            OWN_NAME,
        ),
    )

    @model_validator(mode="after")
    def _one_switch(self) -> Self:
        if self.switch.approval is Approval.MANUAL and any(gate.name == APPROVED.name for gate in self.gates):
            raise ValueError(NO_SWITCH)
        return self

    @model_validator(mode="after")
    def _another_name(self) -> Self:
        service = self.service_ref.name if self.service_ref else ""
        if self.preview and service and self.preview.service in (service, f"{service}-stable", f"{service}-canary"):
            raise ValueError(OWN_NAME)
        return self

    @property
    def lastly(self) -> tuple[Gate, ...]:
        """The approval of the switch."""
        return (APPROVED,) if self.switch.approval is Approval.MANUAL else ()

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

    cel_rules: ClassVar[Rules] = OF_EVERY_KIND
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

"""What somebody asks of a release or a flag in passing, and what has become of it."""

from __future__ import annotations

from enum import StrEnum

from tidegate.api.base import Model, Time


class RequestAction(StrEnum):
    """What people ask of a release, by the annotation ``tidegate.dev/request``."""

    PROMOTE = "Promote"
    """Go through the remaining steps without their bakes. A failing analysis still reverts."""
    PAUSE = "Pause"
    """Hold the release where it is. Never holds a revert."""
    RESUME = "Resume"
    """Go on."""
    ABORT = "Abort"
    """Back to stable, from wherever the release is until stable's pods go. Asked again of one that is Stuck on its way
    back: on, without the router's word."""
    RETRY = "Retry"
    """Release the revision again that was reverted."""
    SKIP_STEP = "SkipStep"
    """End the bake of this step."""
    APPROVE = "Approve"
    """Say yes to a manual gate that waits: to the one that is named, or to all."""


class RequestOutcome(StrEnum):
    """How a request was answered."""

    DONE = "Done"
    REFUSED = "Refused"


class RequestStatus(Model):
    """The answer to the last request."""

    id: str
    """The request's own."""
    action: str
    """What was asked."""
    by: str = ""
    """Who asked, if the request says."""
    outcome: RequestOutcome
    """Done or Refused."""
    message: str = ""
    """Why it was refused."""
    at: Time
    """When it was answered."""

"""A release whose status another version wrote, by words that this one does not know. It is left as it is: whoever
wrote it can go on by it. So no condition may say so, and its users are told by an Event."""

from __future__ import annotations

from tidegate.api.conditions import Reason
from tidegate.core.observed import Release
from tidegate.core.plan import Event


def told(release: Release) -> Event:
    """What is not understood, what becomes of the release, and what to do."""
    left = "the release is left alone, with traffic and pods as they are, for the version that wrote this: run that one"
    message = f"another version of Tidegate wrote {release.unreadable}; {left}"
    if release.leaving:
        way_out = 'see "The way out without the operator" in docs/canary.md'
        message += f". Until it has done so the Deployment is not let go, nor does the object go; without it {way_out}"
    return Event("Warning", Reason.STATUS_UNREADABLE, message)

"""A request by annotation, whatever of: read once, answered once, in ``status.lastRequest``.

Anyone with kubectl can write it: ``{"id": …, "action": …, "hash": …}``. It names what it is meant for by a hash: one
that was meant for something else must not hit what came after it.
"""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import BaseModel, ValidationError

from tidegate.api.base import GROUP
from tidegate.api.requests import RequestAction, RequestOutcome, RequestStatus

REQUEST = f"{GROUP}/request"
"""The annotation on a release or a flag."""


class Request(BaseModel):
    """What somebody asks."""

    id: str
    action: str
    hash: str
    by: str = ""
    gate: str = ""

    @property
    def named(self) -> RequestAction | None:
        """The action, however it is spelt; None where there is none of the name."""
        known = {action.value.lower(): action for action in RequestAction}
        return known.get(self.action.replace("-", "").lower())

    @property
    def told(self) -> str:
        """For an Event."""
        return f"{self.action} by {self.by}" if self.by else self.action


def new(text: str, last: RequestStatus | None) -> Request | None:
    """What is asked, unless it was answered before. What cannot be read is a request that names no action."""
    if not text:
        return None
    try:
        request = Request.model_validate_json(text)
    except ValidationError:
        request = Request(id=text[:64], action="?", hash="")
    return None if last and last.id == request.id else request


def no_request(what: str) -> str:
    """Why something is refused that names no action. ``what`` is whose hash a request must name."""
    wanted = json.dumps({"id": "any", "action": "|".join(RequestAction), "hash": what})
    return f"not a request: write {REQUEST}: {wanted}"


def answered(request: Request, refusal: str, at: datetime) -> RequestStatus:
    """The answer, as the status keeps it."""
    outcome = RequestOutcome.REFUSED if refusal else RequestOutcome.DONE
    return RequestStatus(id=request.id, action=request.action, by=request.by, outcome=outcome, message=refusal, at=at)

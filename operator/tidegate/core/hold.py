"""Who holds a route or a Service in mid-release: a note on the object itself, kept there by the admission policies.

It names the release, and the term of the leader that wrote last. Whoever leads next writes its own term first of all:
a write of the old leader that is still on its way was decided upon an older version of the object, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from tidegate.api.base import GROUP
from tidegate.api.traffic import AT_REST, Match, Share, Stay

RELEASING = f"{GROUP}/releasing"
"""The annotation. On a route it tells the backendRefs at rest as well."""


@dataclass(frozen=True)
class Hold:
    """A release holds something."""

    release: str
    """Its id: Kind/name."""
    term: int = 0
    """Of the leader that wrote last: Lease.spec.leaseTransitions; 0 without an election."""
    owner: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """A reference to the release, for what is made to hold something: it goes with it, whatever happens."""

    def note(self, **more: object) -> str:
        """The value of the annotation."""
        return json.dumps({"release": self.release, "term": self.term, **more}, sort_keys=True, separators=(",", ":"))


def noted(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What the note on an object says; nothing where there is none that can be read."""
    try:
        found = json.loads((obj["metadata"].get("annotations") or {}).get(RELEASING, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def annotate(obj: Mapping[str, Any], name: str, text: str | None) -> list[dict[str, Any]]:
    """JSON patch that has an annotation say this, or be gone; empty where it does so already."""
    found, path = obj["metadata"].get("annotations") or {}, f"/metadata/annotations/{name.replace('/', '~1')}"
    if text is None:
        return [{"op": "remove", "path": path}] if name in found else []
    if found.get(name) == text:
        return []
    if "annotations" not in obj["metadata"]:
        return [{"op": "add", "path": "/metadata/annotations", "value": {name: text}}]
    return [{"op": "add", "path": path, "value": text}]


def noting(share: Share) -> dict[str, Any]:
    """What a note says of the share that is written with it."""
    match = {"match": [one.wire() for one in share.match]} if share.match else {}
    return {"weight": share.weight, **match, **({"stay": share.stay.wire()} if share.stay else {})}


def noted_share(obj: Mapping[str, Any]) -> Share:
    """The share that was written last; that of an object at rest where no note tells, or none that can be read."""
    found = noted(obj)
    weight, match, stay = found.get("weight"), found.get("match") or (), found.get("stay")
    if not isinstance(weight, int):
        return AT_REST
    try:
        return Share(weight, tuple(map(Match.model_validate, match)), Stay.model_validate(stay) if stay else None)
    except (ValidationError, TypeError):
        return Share(weight)


def holder(obj: Mapping[str, Any]) -> Hold | None:
    """Who holds the object; nobody where no note tells."""
    found = noted(obj)
    if "release" not in found:
        return None
    term = found.get("term", 0)
    return Hold(str(found["release"]), term if isinstance(term, int) else 0)


def holds(hold: Hold, obj: Mapping[str, Any]) -> bool:
    """The object is held by this release, in whatever term."""
    found = holder(obj)
    return found is not None and found.release == hold.release


def renoted(obj: Mapping[str, Any], hold: Hold) -> str:
    """The note on an object with another holder, and all else that it says."""
    return Hold(hold.release, hold.term).note(**{k: v for k, v in noted(obj).items() if k not in ("release", "term")})

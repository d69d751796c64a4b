"""What operators have written, as the API server noted it: the only witness that is neither of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

LEASES = "leases"
CREDENTIAL = "authentication.kubernetes.io/credential-id"


@dataclass(frozen=True)
class Write:
    """A request that was to change something, but for elections."""

    credential: str
    """Of the token that it came with: which process it was."""
    received: float
    """In seconds of the epoch, by the API server's clock, as ``done``."""
    done: float
    verb: str
    kind: str
    name: str
    code: int

    @property
    def landed(self) -> bool:
        """It was not refused."""
        return self.code < 300


def written(log: Path) -> int:
    """How long the log is, in bytes."""
    return log.stat().st_size if log.exists() else 0


def writes(log: Path, start: int = 0) -> list[Write]:
    """All of them from a place in the log on, in the order in which they were done. To read all of a log that is hours
    old takes as long as a step of a release."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode().splitlines()
    # The last line may be half written yet.
    found = [_write(json.loads(line)) for line in lines if line.endswith("}")]
    return [write for write in found if write.kind != LEASES]


def _write(entry: dict[str, Any]) -> Write:
    known = entry.get("objectRef", {})
    return Write(
        credential=next(iter(entry["user"].get("extra", {}).get(CREDENTIAL, ())), ""),
        received=datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp(),
        done=datetime.fromisoformat(entry["stageTimestamp"]).timestamp(),
        verb=entry["verb"],
        kind="/".join(filter(None, (known.get("resource"), known.get("subresource")))),
        name=f"{known.get('namespace')}/{known.get('name')}",
        code=entry.get("responseStatus", {}).get("code", 0),
    )

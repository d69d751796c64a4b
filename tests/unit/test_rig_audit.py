"""What the API server's audit log says of writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.rig.audit import writes


def entry(resource: str, code: int, **ref: str) -> dict[str, Any]:
    return {
        "verb": "patch",
        "user": {"username": "x", "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]}},
        "objectRef": {"resource": resource, "namespace": "shop", "name": "checkout", **ref},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": "2026-01-01T10:00:00.250000Z",
        "stageTimestamp": "2026-01-01T10:00:00.500000Z",
    }


def test_writes_are_read_and_elections_are_not(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    assert writes(log) == []
    lines = [
        json.dumps(entry("httproutes", 200)),
        json.dumps(entry("leases", 200)),
        json.dumps(entry("canaryreleases", 409, subresource="status")),
        json.dumps(entry("services", 201))[:40],
    ]
    log.write_text("\n".join(lines))
    first, second = writes(log)
    assert (first.credential, first.verb, first.kind, first.name) == ("JTI=1", "patch", "httproutes", "shop/checkout")
    assert first.done - first.received == pytest.approx(0.25)
    assert first.landed
    assert (second.kind, second.landed) == ("canaryreleases/status", False)

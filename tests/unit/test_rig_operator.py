"""What the operator was refused is found in its metrics as they are."""

from __future__ import annotations

from prometheus_client import generate_latest
from tests.rig.operator import refused

from tidegate.engine.meters import Meters


def test_what_was_refused_is_found_in_the_metrics() -> None:
    meters = Meters()
    for verb, resource, code in (("LIST", "pods", 200), ("POST", "jobs", 403), ("GET", "", 401), ("GET", "x", 404)):
        meters.requested(verb, resource, code)
    found = refused(generate_latest(meters.registry).decode())
    assert sorted(found) == [
        'tidegate_api_requests_total{code="401",resource="",verb="GET"}',
        'tidegate_api_requests_total{code="403",resource="jobs",verb="POST"}',
    ]

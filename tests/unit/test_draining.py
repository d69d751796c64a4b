"""Whether a pod's spec has a way to drain, and what is advised where it has none."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.core.draining import advice

PORTS = [{"containerPort": 80}]


def spec(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod's."""
    return {"containers": [{"name": f"c{number}", **one} for number, one in enumerate(containers)], **more}


def sleeps(seconds: int) -> dict[str, Any]:
    """A container that is asked, and goes on answering."""
    return {"ports": PORTS, "lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}}


@pytest.mark.parametrize(
    "fine",
    [
        spec({}),
        spec({"lifecycle": {}}, {}),
        spec(sleeps(5)),
        spec(sleeps(29)),
        spec(sleeps(30), terminationGracePeriodSeconds=60),
        spec(
            {"ports": PORTS, "lifecycle": {"preStop": {"exec": {"command": ["drain"]}}}},
            terminationGracePeriodSeconds=1,
        ),
        spec({"ports": PORTS, "lifecycle": {"preStop": {}}}),
        spec({"ports": PORTS}, sleeps(5)),
        {},
    ],
)
def test_nothing_to_say(fine: dict[str, Any]) -> None:
    assert not advice(fine)


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        (spec({"ports": PORTS}), "add lifecycle.preStop.sleep.seconds: 5 to container c0"),
        (
            spec({}, {"ports": PORTS, "lifecycle": {"postStart": {}}}),
            "lifecycle.preStop.sleep.seconds: 5 to container c1",
        ),
        (
            spec(sleeps(30)),
            "terminationGracePeriodSeconds is 30, and lifecycle.preStop.sleep.seconds of container c0 is 30",
        ),
        (spec(sleeps(5), terminationGracePeriodSeconds=0), "terminationGracePeriodSeconds is 0"),
        (spec(sleeps(30), terminationGracePeriodSeconds=10), "set the former to 60"),
    ],
)
def test_advice(lacking: dict[str, Any], told: str) -> None:
    assert told in advice(lacking)

"""Whether a pod's spec has a way to drain, and what is advised where it has none."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.api.canary import CanarySpec
from tidegate.api.rolling import RollingSpec
from tidegate.core.draining import advice, cut_short, grace

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
        spec(sleeps(5)),
        spec({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}, {}),
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
        (spec({}), "add lifecycle.preStop.sleep.seconds: 5 to container c0, unless"),
        (spec({"lifecycle": {}}, {}), "add lifecycle.preStop.sleep.seconds: 5 to container c0, c1, unless"),
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


def test_the_grace_period() -> None:
    assert grace({}) == 30
    assert grace({"terminationGracePeriodSeconds": None}) == 30
    assert grace({"terminationGracePeriodSeconds": 0}) == 0


@pytest.mark.parametrize(
    ("kind", "drain", "seconds", "told"),
    [
        (RollingSpec, {}, 30, ""),
        (RollingSpec, {}, 10, "spec.drain, which is 30 s"),
        (RollingSpec, {"drain": "1m"}, 59, "terminationGracePeriodSeconds, which is 59; set it to 60"),
        (RollingSpec, {"drain": "1s"}, 0, "set it to 1"),
        (CanarySpec, {"drain": "1m"}, 0, ""),
    ],
)
def test_pods_that_go_without_drain(
    kind: type[CanarySpec | RollingSpec], drain: dict[str, str], seconds: int, told: str
) -> None:
    spec = kind.model_validate({"targetRef": {"name": "checkout"}, **drain})
    said = cut_short(spec, seconds)
    assert told in said
    assert bool(said) == bool(told)

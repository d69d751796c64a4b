"""Stable's own pods are compared before the candidate is: what is wrong with them is told, and holds nothing."""

from __future__ import annotations

import re
from datetime import datetime

from tests.sim.test_analyze import told
from tests.sim.world import QUICK, World
from tidegate.app.cli.analyze import _measured, warnings
from tidegate.app.settings import Settings
from tidegate.core import analysis
from tidegate.core.counters import Answer, Series

SICK = "checkout-sick"
ERRORS = {"name": "errors", "preset": "ErrorRatio", "from": "Pods", "maxIncrease": "50%"}
COMPARED = {
    **QUICK,
    "traffic": {"podShare": {}},
    "analysis": {"metrics": [ERRORS], "interval": "2s", "warmup": "1s", "minRequests": 0},
}


def an_hour(query: str, at: datetime) -> Answer | None:
    """Of four pods, one of which has most errors; None where looks are asked for."""
    asked = re.search(r"\[(\d+)s\]$", query)
    if asked is None or int(asked[1]) < 300 or "http_requests_total" not in query:
        return None
    now, looks = at.timestamp(), int(asked[1])
    found = []
    for pod, every in (("checkout-a", 100), ("checkout-b", 100), ("checkout-c", 100), (SICK, 4)):
        for code, of in (("200", 20.0), ("500", 20.0 / every)):
            counted = tuple((now - second, float(round(of * (looks - second)))) for second in range(looks - 1, 0, -1))
            labels = {"__name__": "http_requests_total", "namespace": "shop", "pod": pod, "code": code}
            found.append(Series(labels, counted))
    return tuple(found)


async def test_the_pod_that_stands_out_is_told_once_and_the_release_goes_on() -> None:
    world = await World.begin(spec=COMPARED)
    world.metrics.more = an_hour
    world.release("v2")
    await world.until(lambda: "PodsDiffer" in world.events(), within=600)
    caveat = world.status.analysis.caveat if world.status.analysis else None
    assert caveat is not None
    assert f"pod {SICK} has " in caveat
    await world.ends("Promoted")
    assert world.events().count("PodsDiffer") == 1


async def test_it_is_told_before_a_release_too() -> None:
    world = await World.begin(spec=COMPARED)
    world.metrics.more = an_hour
    spec, arms = await _measured(world.cluster, "shop", "checkout", Settings())
    asked = (*analysis.queries(spec, arms), *analysis.before(spec, arms))
    answers = dict(await world.metrics.fetch(asked))
    lines = list(warnings(spec, arms, answers, world.clock.now()))
    assert len(lines) == 1
    text, right = lines[0]
    assert text.startswith("! errors: ")
    assert f"pod {SICK} has " in text
    assert right, "nothing is held up by it"
    assert not any(line.startswith("!") for line in await told(world))

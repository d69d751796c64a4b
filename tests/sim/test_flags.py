"""Flags by the whole operator: weeks of a rollout, breaches, kills, operators that die; no gate stands anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.fakes.cluster import TIDEGATE
from tests.fakes.virtual import EPOCH
from tests.sim.world import NAMESPACE, USER, World
from tidegate.api.flagstatus import FlagStatus
from tidegate.api.requests import RequestAction
from tidegate.app.cli.request import ask
from tidegate.core.counters import Answer, Series
from tidegate.core.flags.effective import Declared
from tidegate.core.flags.flagset import flag_set
from tidegate.engine import operator
from tidegate.engine.leader import Leader
from tidegate.ports.cluster import EVENTS, FEATURE_FLAGS, NotFound

Json = dict[str, Any]
FLAG = "new-checkout"
GUARDED: Json = {
    "steps": [{"percentage": 10, "bake": "2h"}, {"percentage": 100}],
    "minExposures": 0,
    "analysis": {
        "metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%"}],
        "warmup": "0s",
        "interval": "1m",
    },
}


class Shop:
    """A world with flags, and who is served what."""

    def __init__(self) -> None:
        self.world = World.empty()
        self.errors: Mapping[str, float] = {"on": 0.01, "off": 0.01}
        self.world.metrics.more = self._counted

    def flag(self, name: str = FLAG, **spec: Any) -> None:
        """The user creates one."""
        self.world.cluster.create_as(USER, FEATURE_FLAGS, NAMESPACE, {"metadata": {"name": name}, "spec": spec})

    def edit(self, name: str = FLAG, **spec: Any) -> None:
        """The user changes one."""
        self.world.cluster.patch_as(USER, FEATURE_FLAGS, NAMESPACE, name, {"spec": spec})

    def status(self, name: str = FLAG) -> FlagStatus:
        """Of one."""
        found = self.world.cluster.find(FEATURE_FLAGS, NAMESPACE, name) or {}
        return FlagStatus.model_validate(found.get("status", {}))

    def milli(self, name: str = FLAG) -> int:
        """As gateways serve it."""
        found = self.world.cluster.find(FEATURE_FLAGS, NAMESPACE, name) or {}
        effective = flag_set([Declared(name, NAMESPACE, found["spec"], self.status(name))]).programs[name].effective
        return 0 if effective.off else effective.milli

    def condition(self, type_: str, name: str = FLAG) -> str:
        """Its status."""
        return next((one.status for one in self.status(name).conditions if one.type == type_), "")

    def _counted(self, query: str, at: datetime) -> Answer | None:
        """An application's counters, scraped every 15 s: 50 requests a second by either variant."""
        variant = next((one for one in self.errors if f'feature_flag_variant=~"{one}"' in query), None)
        if variant is None:
            return None
        now = (at - EPOCH).total_seconds()
        times = [15.0 * number for number in range(int(now / 15) + 1)][-17:]
        bad = self.errors[variant]
        return tuple(
            Series(
                {"pod": "app-1", "code": code},
                tuple((EPOCH.timestamp() + time, float(int(time * 50 * part))) for time in times),
            )
            for code, part in (("200", 1 - bad), ("500", bad))
        )


@pytest.fixture
def slow_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing turns by the second: two weeks have a million of them."""

    async def never(_: Leader) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Leader, "lost", never)
    monkeypatch.setattr(operator, "BEAT", 3600.0)
    monkeypatch.setattr(operator, "AUDIT", 36_000.0)


@pytest.mark.usefixtures("slow_heart")
async def test_two_weeks_with_operators_that_die() -> None:
    shop = Shop()
    steps = [{"percentage": one, "bake": "3d"} for one in (1, 5, 25, 50)]
    shop.flag(rollout={"steps": [*steps, {"percentage": 100}]})
    shop.world.start()
    seen: list[int] = []
    for day in range(14):
        await shop.world.wait(86_400)
        seen.append(shop.milli())
        if day % 4 == 1:
            shop.world.kill(shop.world.process)
    assert seen == sorted(seen)
    assert seen[0] == 1000
    assert (seen[-1], shop.condition("Ready")) == (100_000, "True")
    assert shop.world.events().count("StepStarted") == 5


async def test_a_breach_is_off_and_stands_in_the_status_alone() -> None:
    shop = Shop()
    shop.flag(rollout=GUARDED)
    shop.world.start()
    await shop.world.until(lambda: shop.milli() == 10_000)
    spec = (shop.world.cluster.find(FEATURE_FLAGS, NAMESPACE, FLAG) or {})["spec"]
    await shop.world.wait(1800)
    shop.errors = {"on": 0.9, "off": 0.01}
    await shop.world.until(lambda: shop.condition("Breached") == "True", within=150)
    assert (shop.milli(), shop.condition("Stalled"), shop.condition("Ready")) == (0, "True", "False")
    shop.errors = {"on": 0.0, "off": 0.01}
    await shop.world.wait(7200)
    assert shop.milli() == 0, "latched"
    ours = [one for one in shop.world.cluster.writes if one.who == TIDEGATE and one.kind == FEATURE_FLAGS]
    assert all(one.after and one.after["spec"] == spec for one in ours)
    told = await ask(
        shop.world.cluster, shop.world.clock, NAMESPACE, f"featureflag/{FLAG}", RequestAction.RETRY, by="ada"
    )
    assert told["outcome"] == "Done"
    assert shop.milli() == 10_000


async def test_a_healthy_one_reaches_everybody() -> None:
    shop = Shop()
    shop.flag(rollout=GUARDED)
    shop.world.start()
    await shop.world.until(lambda: shop.milli() == 100_000, within=10_000)
    assert shop.status().analysis
    assert shop.condition("Breached") == "False"


async def test_the_kill_switch_and_back() -> None:
    shop = Shop()
    shop.flag(rollout={"steps": [{"percentage": 10, "bake": "1h"}, {"percentage": 100}]})
    shop.world.start()
    await shop.world.until(lambda: shop.milli() == 10_000)
    shop.edit(enabled=False)
    await shop.world.until(lambda: shop.condition("Killed") == "True", within=1)
    await shop.world.wait(7200)
    assert shop.milli() == 0
    shop.edit(enabled=True)
    await shop.world.until(lambda: shop.condition("Killed") == "False", within=1)
    assert shop.milli() == 10_000


async def test_others_of_the_set_are_found() -> None:
    shop = Shop()
    shop.flag(prerequisites=[{"flag": "payments", "variants": ["on"]}])
    shop.world.start()
    await shop.world.until(lambda: shop.condition("Compiled") == "False", within=5)
    shop.flag("payments")
    await shop.world.until(lambda: shop.condition("Compiled") == "True", within=1)
    await shop.world.wait(2)
    shop.flag("payments-too", key="payments", rollout={"steps": [{"percentage": 100}]})
    await shop.world.until(lambda: shop.condition("KeyConflict", "payments-too") == "True", within=1)
    shop.world.delete(FEATURE_FLAGS, "payments")
    await shop.world.until(lambda: shop.condition("KeyConflict", "payments-too") == "False", within=1)
    assert shop.condition("Compiled") == "True"


async def test_strangers_of_the_same_key_hide_nothing_that_is_needed() -> None:
    shop = Shop()
    shop.flag("stock")
    shop.flag("payments", prerequisites=[{"flag": "stock", "variants": ["off"]}], defaultVariant="on")
    shop.flag(prerequisites=[{"flag": "payments", "variants": ["on"]}], rollout={"steps": [{"percentage": 5}]})
    await shop.world.clock.sleep(1)
    for number in range(5):
        needs = [{"flag": f"nothing-{number}-{one}", "variants": ["on"]} for one in range(8)]
        spec = {"flagSet": NAMESPACE, "prerequisites": needs}
        body = {"metadata": {"name": FLAG}, "spec": spec}
        shop.world.cluster.create_as(USER, FEATURE_FLAGS, f"stranger-{number}", body)
    shop.world.start()
    await shop.world.wait(5)
    rollout = shop.status().rollout
    assert rollout
    assert rollout.milli == 5000


async def test_what_a_rollout_comes_to_is_known_at_once_to_all_that_need_the_flag() -> None:
    shop = Shop()
    steps = [{"percentage": 0, "bake": "10m"}, {"percentage": 10, "bake": "9h"}]
    shop.flag("payments", rollout={"steps": steps})
    shop.flag("basket", prerequisites=[{"flag": "payments", "variants": ["on"]}], defaultVariant="on")
    shop.flag(prerequisites=[{"flag": "basket", "variants": ["on"]}], rollout={"steps": [{"percentage": 5}]})
    shop.world.start()
    await shop.world.until(lambda: shop.milli("payments") == 10_000, within=700)
    rollout = shop.status().rollout
    assert rollout is None or rollout.milli == 0
    await shop.world.wait(1)
    rollout = shop.status().rollout
    assert rollout
    assert rollout.milli == 5000
    await ask(shop.world.cluster, shop.world.clock, NAMESPACE, "featureflag/payments", RequestAction.ABORT, by="ada")
    await shop.world.wait(1)
    assert "prerequisite basket serves off to everybody" in shop.status().message


async def test_a_flag_at_rest_is_not_written_again() -> None:
    shop = Shop()
    shop.flag()
    shop.world.start()
    await shop.world.wait(60)
    before = shop.world.cluster.version
    await shop.world.wait(900)
    assert shop.world.cluster.version == before


async def test_a_flag_that_goes_is_shown_no_more() -> None:
    shop = Shop()
    shop.flag()
    shop.world.start()
    await shop.world.wait(5)
    shown = {"namespace": NAMESPACE, "name": FLAG, "phase": "Serving"}
    assert shop.world.meters.registry.get_sample_value("tidegate_flag_phase", shown) == 1
    shop.world.delete(FEATURE_FLAGS, FLAG)
    await shop.world.wait(5)
    assert shop.world.meters.registry.get_sample_value("tidegate_flag_phase", shown) is None
    with pytest.raises(NotFound, match="no featureflag/other"):
        await ask(shop.world.cluster, shop.world.clock, NAMESPACE, "featureflag/other", RequestAction.PAUSE, by="ada")


async def test_a_status_of_another_version_is_left_alone() -> None:
    shop = Shop()
    shop.flag()
    body = {"status": {"phase": "Levitating"}}
    shop.world.cluster.patch_as(USER, FEATURE_FLAGS, NAMESPACE, FLAG, body, subresource="status")
    shop.world.start()
    await shop.world.wait(60)
    found = shop.world.cluster.find(FEATURE_FLAGS, NAMESPACE, FLAG) or {}
    assert found["status"]["phase"] == "Levitating"
    assert not [one for one in shop.world.cluster.writes if one.kind == EVENTS]

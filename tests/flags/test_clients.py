"""SDKs as they are shipped read flags of each type from the gateway, and see a kill switch at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flags.clients import CLIENTS, NODE, Asked, Client
from tests.flags.running import SERVER, STEPS, Running, flag, running
from tests.rig.environments import Unavailable

pytestmark = pytest.mark.realtime

Json = dict[str, Any]
BETA: Json = {"name": "beta", "when": {"attribute": "plan", "equals": "beta"}, "serve": "on"}
VALUES: dict[str, list[Any]] = {
    "Boolean": [True, False],
    "String": ["blue", "red"],
    "Integer": [7, 0],
    "Number": [1, 2.5],
    "Object": [{"a": [1, {"b": None}]}, {}],
}


def flags(revision: str) -> list[Json]:
    """One of each type, which serves the first of its values; a rule; a rollout."""
    made = [
        flag(
            type_.lower(),
            type=type_,
            variants=[{"name": f"v{number}", "value": value} for number, value in enumerate(values)],
            offVariant="v1",
            defaultVariant="v0",
        )
        for type_, values in VALUES.items()
    ]
    bucketing = {"revision": revision}
    return [*made, flag("beta", rules=[BETA]), flag("rollout", rollout=STEPS, milli=40_000, bucketing=bucketing)]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda one: f"{one.environment.name}-{one.name}")
async def test_an_sdk(client: Client, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    async with running(tmp_path) as gateway:
        # Python's provider 0.6 hashes by v3, JavaScript's 0.16 by v2; over OFREP it is all the same.
        gateway.now(*flags("v2" if client.environment is NODE else "v3"))
        where = {"url": gateway.url, "host": "127.0.0.1", "grpc": gateway.grpc, "set": "shop", "token": SERVER}
        try:
            asked = await client.start(where)
        except Unavailable as error:
            pytest.skip(f"{client.environment.name} cannot be had: {error}")
        try:
            await _reads(asked, client, gateway)
            record_property(f"{client.environment.name} {client.name}: killed after", await _killed(asked, gateway))
        finally:
            await asked.stop()


async def _reads(asked: Asked, client: Client, gateway: Running) -> None:
    who = {"targetingKey": "ann", "plan": "beta"}
    for type_, values in VALUES.items():
        found = await asked.evaluate(type_, type_.lower(), who)
        assert found == {"value": values[0], "variant": "v0", "reason": "STATIC", "error": None}
    assert (await asked.evaluate("Boolean", "beta", who))["value"] is True
    assert (await asked.evaluate("Boolean", "beta", {"targetingKey": "ben"}))["value"] is False
    assert (await asked.evaluate("Boolean", "none", who))["error"] == "FLAG_NOT_FOUND"
    inside = []
    for number in range(20 if client.watches else 50):
        person = {"targetingKey": f"user-{number}"}
        ours = (await gateway.post("/rollout", person))[1]["value"]
        assert (await asked.evaluate("Boolean", "rollout", person))["value"] is ours
        inside.append(ours)
    assert len(set(inside)) == 2


async def _killed(asked: Asked, gateway: Running) -> str:
    """Seconds from the kill switch to the SDK's saying so."""
    who = {"targetingKey": "ann", "plan": "beta"}
    assert (await asked.evaluate("Boolean", "beta", who))["value"] is True
    began = time.monotonic()
    gateway.tell(flag("beta", rules=[BETA], enabled=False))
    async with asyncio.timeout(5):
        while (found := await asked.evaluate("Boolean", "beta", who))["value"]:  # noqa: ASYNC110 - it is asked, nobody tells
            await asyncio.sleep(0.01)
    assert (found["variant"], found["error"]) == ("off", None)
    return f"{time.monotonic() - began:.2f} s"

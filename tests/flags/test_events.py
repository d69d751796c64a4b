"""Listeners: told what is served as they come, and of each change once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.flags.running import CLIENT, SERVER, Running, flag, running, until
from tidegate.flags import events

pytestmark = pytest.mark.realtime


@asynccontextmanager
async def listening(gateway: Running, *, token: str = CLIENT, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """By the URL that the answers tell, and without a header, as browsers do."""
    url = gateway.url + await gateway.events_path(token)
    async with gateway.session.get(url, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream"
        yield answer


async def event(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """The next one."""
    async with asyncio.timeout(5):
        while True:
            line = (await answer.content.readline()).decode()
            if line.startswith("data: "):
                found: dict[str, str] = json.loads(line.removeprefix("data: "))
                return found


async def test_who_comes_is_told_what_is_served_and_then_of_changes_together(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one", clientSide=True))
        async with listening(gateway) as answer:
            first = await event(answer)
            assert first["type"] == "refetchEvaluation"
            assert (await gateway.post("", token=CLIENT))[1]["metadata"]["version"] in first["etag"]
            gateway.now(flag("one", clientSide=True, defaultVariant="on"))
            await asyncio.sleep(0.01)
            gateway.now(flag("one", clientSide=True, enabled=False))
            second = await event(answer)
            assert (await gateway.post("", token=CLIENT))[1]["metadata"]["version"] in second["etag"]
            assert gateway.parts.events.listening == 1
        await until(lambda: gateway.parts.events.listening == 0)


async def test_clients_hear_nothing_of_what_they_do_not_see(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one", clientSide=True))
        async with listening(gateway) as client, listening(gateway, token=SERVER) as server:
            await event(client)
            await event(server)
            gateway.now(flag("inner"))
            await event(server)
            gateway.now(flag("one", clientSide=True, defaultVariant="on"))
            told = await event(client)
            assert (await gateway.post("", token=CLIENT))[1]["metadata"]["version"] in told["etag"]


async def test_who_comes_back_and_has_missed_nothing_is_told_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one", clientSide=True))
        known = (await gateway.post("", token=CLIENT))[1]["metadata"]["version"]
        async with listening(gateway, **{"last-event-id": known}) as answer:
            gateway.now(flag("one", clientSide=True, defaultVariant="on"))
            assert known not in (await event(answer))["etag"]


async def test_a_line_that_says_nothing_is_kept_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING", 0.05)
    async with running(tmp_path) as gateway:
        gateway.now(flag("one", clientSide=True))
        async with listening(gateway) as answer:
            await event(answer)
            async with asyncio.timeout(5):
                while await answer.content.readline() != b":\n":
                    pass


async def test_a_ticket_is_of_its_token_and_its_set(tmp_path: Path) -> None:
    async with running(tmp_path, streams=1) as gateway:
        gateway.now(flag("one", clientSide=True))
        assert (await gateway.get("/ofrep/v1/events?flagSet=shop&ticket=guess"))[0] == 401
        assert (await gateway.get("/ofrep/v1/events"))[0] == 401
        async with listening(gateway) as answer:
            await event(answer)
            where = answer.url.path_qs
            status, _, headers = await gateway.get(where)
            assert (status, headers["retry-after"]) == (429, "30")
            assert (await gateway.get(where.replace("flagSet=shop", "flagSet=other")))[0] == 401


async def test_listeners_end_when_the_gateway_does(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one", clientSide=True))
        answer = await gateway.session.get(gateway.url + await gateway.events_path())
        await event(answer)
        gateway.stop.set()
        async with asyncio.timeout(5):
            assert b"data" not in await answer.read()


async def test_who_s_token_is_gone_hears_of_no_change_any_more(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(flag("one", clientSide=True))
        async with listening(gateway) as answer:
            await event(answer)
            (tmp_path / "shop.client").write_text("another-token-of-shop\n")
            gateway.parts.access.look()
            gateway.now(flag("one", clientSide=True, defaultVariant="on"))
            async with asyncio.timeout(5):
                assert b"data" not in await answer.read()
            assert (await gateway.get(answer.url.path_qs))[0] == 401


async def test_nothing_is_kept_for_sets_that_nobody_waits_for(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        changes = gateway.parts.changes
        waits = changes.next("shop")
        for number in range(10):
            changes.next(f"made-up-{number}")
        assert set(changes._gathered) == {"shop"}
        gateway.now(flag("one"))
        async with asyncio.timeout(5):
            await waits.wait()


async def test_one_token_cannot_take_the_places_of_another(tmp_path: Path) -> None:
    async with running(tmp_path, streams=8) as gateway:
        gateway.now(flag("one", clientSide=True))

        public, servers = await gateway.events_path(CLIENT), await gateway.events_path(SERVER)
        async with contextlib.AsyncExitStack() as held:

            async def listen(where: str) -> int:
                answer = await held.enter_async_context(gateway.session.get(f"{gateway.url}{where}"))
                return answer.status

            assert [await listen(public) for _ in range(10)] == [200] * 6 + [429] * 4
            assert [await listen(servers) for _ in range(3)] == [200, 200, 429]
        await until(lambda: gateway.parts.events.listening == 0)
        async with gateway.session.get(f"{gateway.url}{public}") as answer:
            assert answer.status == 200

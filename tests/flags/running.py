"""A gateway on the loopback interface whose flags the test tells it: all of it but the watch."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tidegate.adapters.clock import SystemClock
from tidegate.api.flag import FlagSpec
from tidegate.app.flag_settings import FlagSettings
from tidegate.app.flag_wiring import Parts
from tidegate.core.flags.effective import rollout_digest
from tidegate.flags.descriptors import MANY

Json = dict[str, Any]
SERVER, CLIENT = "server-token-of-shop", "client-token-of-shop"
STEPS: Json = {"steps": [{"percentage": 10}, {"percentage": 100}]}


def flag(name: str, *, milli: int | None = None, namespace: str = "shop", created: str = "", **spec: Any) -> Json:
    """A FeatureFlag; ``milli``: how far its rollout is."""
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created or "2026-01-01T00:00:00Z"}
    status: Json = {}
    if milli is not None:
        status = {"rollout": {"digest": rollout_digest(FlagSpec.model_validate(spec)), "milli": milli}}
    return {"metadata": metadata, "spec": spec, "status": status}


@dataclass
class Running:
    """A gateway that runs."""

    parts: Parts
    session: aiohttp.ClientSession
    port: int
    grpc: int
    probes: int
    stop: asyncio.Event

    @property
    def url(self) -> str:
        """Where OFREP is."""
        return f"http://127.0.0.1:{self.port}"

    def tell(self, *flags: Json) -> None:
        """As the watch would."""
        for one in flags:
            self.parts.catalog.put(one)

    def now(self, *flags: Json) -> None:
        """The same, and served at once."""
        self.tell(*flags)
        self.parts.catalog.refresh()

    async def post(
        self, path: str = "", body: object = None, *, token: str = SERVER, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Evaluate; code, JSON and headers."""
        sent = {**({"authorization": f"Bearer {token}"} if token else {}), **headers}
        raw = body if isinstance(body, bytes) else json.dumps({"context": body or {}}).encode()
        url = f"{self.url}/ofrep/v1/evaluate/flags{path}"
        async with self.session.post(url, data=raw, headers=sent) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None, answer.headers

    async def events_path(self, token: str = SERVER) -> str:
        """Path of the events, as the answers tell it."""
        _, told, _ = await self.post(token=token)
        return str(told["eventStreams"][0]["endpoint"]["requestUri"])

    async def get(self, path: str, *, token: str = SERVER, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        """Something else; code, body and headers."""
        sent = {**({"authorization": f"Bearer {token}"} if token else {}), **headers}
        async with self.session.get(f"{self.url}{path}", headers=sent, auto_decompress=False) as answer:
            return answer.status, await answer.read(), answer.headers

    async def metrics(self) -> dict[str, float]:
        """All series."""
        async with self.session.get(f"http://127.0.0.1:{self.probes}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@asynccontextmanager
async def running(
    tokens: Path | None = None, *, known: bool = True, files: int = MANY, **settings: Any
) -> AsyncIterator[Running]:
    """Until the block ends. With a folder for tokens, those of flag set shop are put there; without, it is open."""
    port, sync, probes = free_ports(3)
    if tokens:
        (tokens / "shop.server").write_text(f"{SERVER}\n")
        (tokens / "shop.client").write_text(f"{CLIENT}\n")
    chosen = {"tokens": str(tokens)} if tokens else {"open": True}
    listens = {"listen": port, "sync_listen": sync, "probe_listen": probes}
    where = {name: f"127.0.0.1:{number}" for name, number in listens.items()}
    made = Parts(FlagSettings(**{"drain": 0.0, "rate": 0.0, **chosen, **where, **settings}), SystemClock(), files)
    if known:
        made.freshness.confirmed()
    stop = asyncio.Event()
    serving = asyncio.create_task(made.serve(stop, []))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        await _listening(port)
        await _listening(probes)
        try:
            yield Running(made, session, port, sync, probes, stop)
        finally:
            await session.close()
            stop.set()
            async with asyncio.timeout(15):
                assert await serving == 0


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - it is looked at, nobody tells
            await asyncio.sleep(0.01)


async def _listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return

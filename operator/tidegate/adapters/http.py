"""Questions by HTTP: bounded in time and size, no redirect followed, nothing kept open, no proxy of the environment."""

from __future__ import annotations

import asyncio
import os
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from tidegate.api.addresses import forbidden, literal
from tidegate.core.asking import MOST_READ, Call, Reply


class HttpProber:
    """A ``Prober``. To be used from one event loop, and closed at its end."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """End what is under way."""
        for session in self._sessions.values():
            await session.close()

    async def ask(self, call: Call) -> Reply:
        """See ``Prober``."""
        host = literal(URL(call.url, encoded=True).host or "")
        if host and not call.anywhere and (kind := forbidden(host)):
            return Reply(error=_no_way(str(host), kind))
        try:
            async with asyncio.timeout(call.timeout):
                return await self._ask(call)
        except TimeoutError:
            return Reply(error=f"not within {call.timeout:g} s", late=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(error=_why(error))

    async def _ask(self, call: Call) -> Reply:
        headers = {"Accept-Encoding": "identity", "User-Agent": "tidegate", **call.headers}
        async with self._opened(anywhere=call.anywhere).request(
            call.method, URL(call.url, encoded=True), headers=headers, allow_redirects=False
        ) as response:
            body = b""
            async for part in response.content.iter_any():
                body += part
                if len(body) > MOST_READ:
                    return Reply(error=f"status {response.status} and more than {MOST_READ // 1024} KiB")
            return Reply(response.status, body.decode(errors="replace"))

    def _opened(self, *, anywhere: bool) -> aiohttp.ClientSession:
        if anywhere not in self._sessions:
            # A pod's certificate is for the name of its Service, if anything: like the kubelet, none is checked.
            # Elsewhere the addresses that were checked are those that are connected to: nothing is resolved again.
            resolver = None if anywhere else _Checked()
            connector = aiohttp.TCPConnector(
                ssl=not anywhere, limit=0, force_close=True, resolver=resolver, use_dns_cache=False
            )
            self._sessions[anywhere] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._sessions[anywhere]


class _NoWay(OSError):
    """An address that no gate may ask."""


def _no_way(host: str, kind: str) -> str:
    return f"http.url leads to {host}, which is {kind}: no gate may ask that; name a Service or another host"


class _Checked(AbstractResolver):
    """Resolves hosts, unless one of their addresses is forbidden: some would be enough for who wants them."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """As the resolver."""
        found = await self._inner.resolve(host, port, family)
        for one in found:
            address = literal(one["host"])
            kind = forbidden(address) if address else "no address"
            if kind:
                raise _NoWay(_no_way(f"{host} at {one['host']}", kind))
        return found

    async def close(self) -> None:
        """As the resolver."""
        await self._inner.close()


def _why(error: Exception) -> str:
    """As a person would say it: what the operating system says, where it does."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, _NoWay):
        return str(inner)
    if isinstance(inner, OSError) and inner.errno and inner.errno > 0:
        return os.strerror(inner.errno)
    return f"{type(error).__name__}: {error}".rstrip(": ")

"""Questions by HTTP: bounded in time and size, no redirect followed, nothing kept open, no proxy of the environment."""

from __future__ import annotations

import asyncio
import os

import aiohttp
from yarl import URL

from tidegate.core.asking import MOST_READ, Call, Reply


class HttpProber:
    """A ``Prober``. To be used from one event loop, and closed at its end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End what is under way."""
        if self._session:
            await self._session.close()

    async def ask(self, call: Call) -> Reply:
        """See ``Prober``."""
        try:
            async with asyncio.timeout(call.timeout):
                return await self._ask(call)
        except TimeoutError:
            return Reply(error=f"not within {call.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(error=_why(error))

    async def _ask(self, call: Call) -> Reply:
        headers = {"Accept-Encoding": "identity", "User-Agent": "tidegate", **call.headers}
        async with self._opened().request(
            call.method, URL(call.url, encoded=True), headers=headers, allow_redirects=False
        ) as response:
            body = b""
            async for part in response.content.iter_any():
                body += part
                if len(body) > MOST_READ:
                    return Reply(error=f"status {response.status} and more than {MOST_READ // 1024} KiB")
            return Reply(response.status, body.decode(errors="replace"))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A pod's certificate is for the name of its Service, if anything: like the kubelet, none is checked.
            connector = aiohttp.TCPConnector(ssl=False, limit=0, force_close=True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        return self._session


def _why(error: Exception) -> str:
    """As a person would say it: what the operating system says, where it does."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, OSError) and inner.errno and inner.errno > 0:
        return os.strerror(inner.errno)
    return f"{type(error).__name__}: {error}".rstrip(": ")

"""Pods' own counters by HTTP: bounded in time and size, no redirect followed, no proxy of the environment.

Connections are kept: a pod is read each second. A pod's certificate is for the name of its Service, if anything: like
the kubelet, none is checked.
"""

from __future__ import annotations

import asyncio
import os
import zlib

import aiohttp
from yarl import URL

from tidegate.core.exposition import cut_short
from tidegate.ports.metrics import Exposition

TIMEOUT = 0.8
"""Seconds until all of an answer must be there."""
MOST_READ = 1024 * 1024
"""Bytes of an answer, as they come and unpacked."""
_TOO_MUCH = f"more than {MOST_READ // 1024} KiB"
_WANTED = {
    "Accept": "text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "tidegate",
}


class _Refused(Exception):
    """The answer is none that can be read."""


class HttpPodReader:
    """A ``PodReader``. To be used from one event loop, and closed at its end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End what is under way."""
        if self._session is not None:
            await self._session.close()

    async def read(self, url: str) -> Exposition:
        """See ``PodReader``."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return Exposition(await self._read(url))
        except TimeoutError:
            return Exposition(error=f"not within {TIMEOUT:g} s")
        except _Refused as error:
            return Exposition(error=str(error))
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            return Exposition(error=_why(error))

    async def _read(self, url: str) -> str:
        async with self._opened().get(URL(url), headers=_WANTED, allow_redirects=False) as response:
            if response.status != 200:
                raise _Refused(f"status {response.status}")
            packed = response.headers.get("Content-Encoding", "identity").lower()
            if packed not in ("identity", "gzip"):
                raise _Refused(f"it is packed by {packed[:16]}, which was not asked for")
            unpack = zlib.decompressobj(wbits=31) if packed == "gzip" else None
            body, came = bytearray(), 0
            async for part in response.content.iter_any():
                # A packed one may go on without anything coming out of it.
                came += len(part)
                if came > MOST_READ:
                    raise _Refused(_TOO_MUCH)
                # One byte more than is taken is enough to know, however much there is in a packed one.
                body += unpack.decompress(part, MOST_READ + 1 - len(body)) if unpack else part
                if len(body) > MOST_READ:
                    raise _Refused(_TOO_MUCH)
                if unpack and unpack.unused_data:
                    raise _Refused("more follows where what is packed ends")
            if unpack and not unpack.eof:
                raise _Refused("it ends in the middle")
            text = body.decode(errors="replace")
            if "openmetrics" in response.headers.get("Content-Type", "") and cut_short(text):
                raise _Refused("it ends before its # EOF")
            return text

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=False, limit=0, use_dns_cache=False),
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

"""What prometheus-api-client asks of its session, over one pool of connections, and no more.

``requests`` works out cookies, proxies, redirects and hooks anew for each request. That took as long as the request
itself, and where hundreds of releases are looked at there are more than a hundred a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import urllib3
from pydantic_core import from_json
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from tidegate.adapters.access import Access, Unreadable

_AT_ONCE = 64 * 1024


class TooLarge(Exception):
    """An answer with more bytes than are read."""


@dataclass(frozen=True)
class Response:
    """What was answered, read to its end."""

    status_code: int
    reason: str
    content: bytes

    def json(self) -> Any:
        """The body as JSON; ValueError where it is none."""
        return from_json(self.content)


class Session:
    """Requests to one server, by any thread: with headers that are read at each, without proxies and credentials of the
    environment, and without following redirects. Raises what urllib3 raises, Unreadable of its headers, and TooLarge.

    The query of the server's URL is part of each request.
    """

    verify = cert = None
    """Of the client, which hands them on: the pool knows what it trusts."""

    def __init__(self, url: str, access: Access, *, parallel: int, most: int) -> None:
        self._access, self._most = access, most
        self._always = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        trusts = {"ca_certs": access.ca or DEFAULT_CA_BUNDLE_PATH} if url.startswith("https:") else {}
        self._pool = urllib3.connection_from_url(url, maxsize=parallel, **trusts)
        # Within a cluster, packing takes both sides longer than the bytes would.
        self._encoding = "gzip" if url.startswith("https:") else "identity"
        self._heard = threading.local()

    @property
    def heard(self) -> Response | None:
        """What was answered to the last request of this thread: the client gives away no more than a part of it."""
        return getattr(self._heard, "response", None)

    def mount(self, *_: object) -> None:
        """The client's own way to send is not taken."""

    def request(
        self, method: str, url: str, params: Mapping[str, str], timeout: tuple[float, float], **_: object
    ) -> Response:
        """One request; ``timeout`` in seconds until there is a connection, and until an answer begins and ends.

        The body is read in time and size: a timeout of the socket is that of each part, and the memory ours.
        """
        self._heard.response = None
        path = f"{urllib3.util.parse_url(url).path}?{urlencode([*params.items(), *self._always])}"
        try:
            answer = self._pool.urlopen(
                method,
                path,
                headers={"Accept-Encoding": self._encoding, **self._access.now()},
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(*timeout),
                preload_content=False,
            )
        except urllib3.exceptions.SSLError:
            if self._access.ca and not Path(self._access.ca).is_file():
                raise Unreadable(f"{self._access.ca} cannot be read: there is no such file") from None
            raise
        body, late = bytearray(), time.monotonic() + timeout[1]
        try:
            while part := answer.read1(_AT_ONCE, decode_content=True):
                body += part
                if len(body) > self._most:
                    raise TooLarge
                if time.monotonic() > late:
                    raise urllib3.exceptions.TimeoutError
        finally:
            # Of what was read to its end the connection is back in the pool by now; any other is of no more use.
            answer.close()
        heard = self._heard.response = Response(answer.status, answer.reason or "", bytes(body))
        return heard

    def close(self) -> None:
        """Its connections are closed."""
        self._pool.close()

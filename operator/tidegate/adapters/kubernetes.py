"""The API server through the official client: its configuration, TLS, tokens and connection pool, with raw JSON.

The client's typed models cost several times the request, and know nothing of our kinds, so they are left aside.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp

from tidegate import __version__
from tidegate.adapters.lines import lines
from tidegate.adapters.listed import Listed
from tidegate.core import depth
from tidegate.ports.cluster import (
    LONGEST_WRITE,
    ClusterError,
    Conflict,
    Kind,
    NotFound,
    Object,
    PatchType,
    Rejected,
    Unavailable,
)

if TYPE_CHECKING:
    from kubernetes.aio import client

    from tidegate.adapters.pod import PodClient

READ_TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
WRITE_TIMEOUT = aiohttp.ClientTimeout(total=LONGEST_WRITE)
WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=5, sock_read=90)
"""Bookmarks come every minute: a watch that says nothing for longer is dead."""
WRITE = f"fieldManager=tidegate&timeout={LONGEST_WRITE:.0f}s"
PAGE = 100
_CONTENT = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


async def connect() -> client.ApiClient:
    """A client of the cluster we run in, or else of the kubeconfig (KUBECONFIG, ~/.kube/config)."""
    # Who comes with a client of its own need not take the memory.
    from kubernetes.aio import client, config

    configuration = client.Configuration()
    if _in_pod():
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        # The client takes KUBECONFIG for what it was when the client was imported.
        file = os.environ.get("KUBECONFIG")
        await config.load_kube_config(file, client_configuration=configuration)  # type: ignore[no-untyped-call]
    configuration.connection_pool_maxsize = 64
    api = client.ApiClient(configuration)
    api.user_agent = f"tidegate/{__version__}"
    return api


def _in_pod() -> bool:
    return "KUBECONFIG" not in os.environ and SERVICE_ACCOUNT.exists()


class KubeCluster:
    """The cluster port. ``count`` is told of every request: verb, resource, status code."""

    def __init__(
        self, api: client.ApiClient | PodClient, count: Callable[[str, str, int], None] = lambda *_: None
    ) -> None:
        self._api, self._count = api, count

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()

    async def identity(self) -> str:
        """Who the API server takes us for."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self._request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
        return str(answer["status"]["userInfo"]["username"])

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        return await self._request("GET", _path(kind, namespace, name), kind=kind)

    async def list(self, kind: Kind, namespace: str = "", selector: str = "") -> Sequence[Object]:
        """All objects."""
        return [obj async for page in self.pages(kind, namespace, selector) for obj in page]

    async def pages(self, kind: Kind, namespace: str = "", selector: str = "") -> AsyncIterator[Listed]:
        """All objects, page by page."""
        path = _path(kind, namespace)
        query = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            raw = await self._send("GET", f"{path}?{urlencode(query)}", kind=kind, verb="LIST")
            with _readable(f"LIST {path}"):
                page = Listed(raw.decode())
            del raw
            yield page
            with _readable(f"LIST {path}"):
                more = page.rest["metadata"].get("continue")
            if not more:
                return
            query["continue"] = more

    async def events(self, kind: Kind, namespace: str, version: str, *, lasting: int) -> AsyncIterator[Object]:
        """What a watch tells from a version on, for so many seconds. Raises Unavailable where it says nothing for long:
        bookmarks come every minute."""
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "1",
            "timeoutSeconds": str(lasting),
        }
        path = f"{_path(kind, namespace)}?{urlencode(query)}"
        url = self._api.configuration.host + path
        code, response = 0, None
        try:
            headers = await self._headers("GET", path)
            answer = await self._api.call_api("GET", url, headers, _request_timeout=WATCH_TIMEOUT)
            code, response = answer.status, answer.response
            if code >= 300:
                raise _error("WATCH", path, code, await response.read(), response.headers.get("Retry-After", ""))
            async for line in lines(response.content.iter_any()):
                with _readable(f"WATCH {path}"):
                    event = depth.loads(line.decode())
                yield event
        except (TimeoutError, aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            raise Unavailable(f"WATCH {path}: {type(error).__name__}: {error}") from error
        finally:
            self._count("WATCH", kind.plural, code)
            if response is not None:
                response.close()

    async def create(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> Object:
        """A new object."""
        full = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        return await self._request("POST", f"{_path(kind, namespace)}?{WRITE}", full, kind=kind)

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: object, *, type_: PatchType = "merge", subresource: str = ""
    ) -> Object:
        """Change an object. A JSON patch whose tests fail is a Conflict: the object is not what we thought."""
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        try:
            return await self._request("PATCH", f"{path}?{WRITE}", body, kind=kind, content=_CONTENT[type_])
        except Rejected as error:
            if type_ == "json" and "the server rejected our request due to an error in our request" in str(error):
                raise Conflict(f"{kind.name} {namespace}/{name} has changed") from error
            raise

    async def delete(self, kind: Kind, namespace: str, name: str, *, version: str = "") -> None:
        """Remove an object."""
        # A Job would leave its pods behind, by a default from before there was another way.
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if version:
            body["preconditions"] = {"resourceVersion": version}
        try:
            await self._request("DELETE", _path(kind, namespace, name), body, kind=kind)
        except NotFound:
            return

    async def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: Kind | None = None,
        content: str = "application/json",
    ) -> Object:
        raw = await self._send(method, path, body, kind=kind, content=content)
        with _readable(f"{method} {path}"):
            answer: Object = depth.loads(raw.decode())
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: Kind | None = None,
        content: str = "application/json",
        verb: str = "",
    ) -> bytes:
        code = 0
        try:
            # A token that cannot be read is as little an answer as one that does not come.
            headers = await self._headers(method, path, body, content)
            response = await self._api.call_api(
                method,
                self._api.configuration.host + path,
                headers,
                body,
                _request_timeout=READ_TIMEOUT if method == "GET" else WRITE_TIMEOUT,
            )
            code = response.status
            raw: bytes = await response.read()
        except (TimeoutError, aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            raise Unavailable(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            self._count(verb or method, kind.plural if kind else "", code)
        if code < 300:
            return raw
        raise _error(method, path, code, raw, response.headers.get("Retry-After", ""))

    async def _headers(
        self, method: str, path: str, body: object = None, content: str = "application/json"
    ) -> dict[str, str]:
        headers: dict[str, str] = {
            "Content-Type": content,
            "Accept": "application/json",
            "User-Agent": self._api.user_agent,
        }
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        return headers


@contextmanager
def _readable(asked: str) -> Iterator[None]:
    """What is no JSON of an API server is none of its answers: something between us gave it, or cut it off."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"{asked}: the answer cannot be read ({type(error).__name__})") from error


def _path(kind: Kind, namespace: str = "", name: str = "") -> str:
    scope = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"/{kind.path}{scope}/{kind.plural}" + (f"/{name}" if name else "")


def _error(method: str, path: str, code: int, raw: bytes, retry_after: str) -> ClusterError:
    try:
        said = json.loads(raw).get("message", "")
    except ValueError:
        said = raw[:200].decode(errors="replace")
    told = f"{method} {path}: {code}: {said}"
    match code:
        case 404:
            return NotFound(told)
        case 409:
            return Conflict(told)
        case 429 | 500 | 502 | 503 | 504:
            return Unavailable(told, after=float(retry_after) if retry_after.isdigit() else 0.0)
        case _:
            return Rejected(told)

"""Answers of an API server that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from tidegate.adapters.kubernetes import KubeCluster
from tidegate.core import depth
from tidegate.ports.cluster import CANARY_RELEASES, Unavailable

PAGE = b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"one"}}]}'


class Api:
    """Answers whatever is asked with the same."""

    def __init__(self, body: bytes) -> None:
        self.body, self.configuration, self.user_agent = body, SimpleNamespace(host="http://api"), "test"

    async def update_params_for_auth(self, *_: object) -> None:
        """Nothing is needed."""

    async def call_api(self, *_: object, **__: object) -> Any:
        async def read() -> bytes:
            return self.body

        async def parts() -> AsyncIterator[bytes]:
            yield self.body

        raw = SimpleNamespace(content=SimpleNamespace(iter_any=parts), close=lambda: None)
        return SimpleNamespace(status=200, headers={}, read=read, response=raw)


def cluster(body: bytes) -> KubeCluster:
    return KubeCluster(Api(body))  # type: ignore[arg-type]  # it is like one


NONE = pytest.mark.parametrize(
    "body",
    [b"<html>please sign in</html>", b"", b"[]", b"\xff\xfe", PAGE[:20], PAGE[:-3]],
    ids=["HTML", "empty", "a list", "no text", "cut early", "cut late"],
)


@NONE
async def test_an_answer_that_cannot_be_read_is_none(body: bytes) -> None:
    with pytest.raises(Unavailable):
        await cluster(body).list(CANARY_RELEASES)


async def test_a_list_without_metadata_is_none() -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        await cluster(b'{"items":[]}').list(CANARY_RELEASES)
    assert [one["metadata"]["name"] for one in await cluster(PAGE).list(CANARY_RELEASES)] == ["one"]


@pytest.mark.parametrize("body", [b"<html>please sign in</html>\n", b'{"type":\n', b"\xff\n"])
async def test_what_a_watch_tells_that_cannot_be_read_ends_it_as_a_break_does(body: bytes) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        async for _ in cluster(body).events(CANARY_RELEASES, "", "1", lasting=1):
            pass


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"metadata":'])
async def test_an_object_that_cannot_be_read_is_none(body: bytes) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        await cluster(body).get(CANARY_RELEASES, "shop", "one")


async def test_an_object_that_goes_too_deep_hides_no_other_of_its_list() -> None:
    deep = b'{"metadata":{"name":"deep"},"spec":' + b"[" * 9000 + b"]" * 9000 + b"},"
    found = await cluster(PAGE.replace(b'"items":[', b'"items":[' + deep)).list(CANARY_RELEASES)
    assert [obj["metadata"]["name"] for obj in found] == ["deep", "one"]
    one = await cluster(deep[:-1]).get(CANARY_RELEASES, "shop", "deep")
    assert depth.deeper(one, depth.SPEC)
    assert not depth.deeper(one, depth.LEFT)


async def test_an_object_that_goes_too_deep_ends_no_watch() -> None:
    line = b'{"type":"MODIFIED","object":{"metadata":{"name":"deep"},"spec":%b,"status":{}}}\n' % (
        b"[" * 9000 + b"]" * 9000
    )
    told = [event async for event in cluster(line * 2).events(CANARY_RELEASES, "", "1", lasting=1)]
    assert [(one["type"], one["object"]["metadata"], one["object"]["status"]) for one in told] == [
        ("MODIFIED", {"name": "deep"}, {})
    ] * 2


async def test_a_token_that_cannot_be_read_is_no_end_of_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    async def missing(*_: object) -> None:
        raise PermissionError("token")

    monkeypatch.setattr(Api, "update_params_for_auth", missing)
    with pytest.raises(Unavailable, match="token"):
        await cluster(PAGE).list(CANARY_RELEASES)
    with pytest.raises(Unavailable, match="token"):
        async for _ in cluster(PAGE).events(CANARY_RELEASES, "", "1", lasting=1):
            pass

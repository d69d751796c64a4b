"""The last known good flags: kept whole, read if they can be, and no longer than until the truth is known."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.flags.running import flag, running, until
from tidegate.app import flag_wiring
from tidegate.app.flag_wiring import Told, keep, load
from tidegate.flags import snapshot


async def test_a_gateway_begins_with_what_another_kept_and_says_how_old_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flag_wiring, "KEEPING", 0.05)
    async with running(open=True) as first:
        keeping = asyncio.create_task(keep(first.parts, tmp_path))
        await asyncio.sleep(0)
        first.now(flag("one", defaultVariant="on"), flag("two"))
        await until((tmp_path / snapshot.FILE).exists)
        keeping.cancel()
    objects, at = snapshot.read(tmp_path) or ([], datetime.now(UTC))
    snapshot.write(tmp_path, objects, at - timedelta(minutes=5))
    async with running(open=True, known=False) as second:
        load(second.parts, tmp_path)
        status, body, headers = await second.post("/one", token="")
        assert (status, body["variant"]) == (200, "on")
        assert 299 <= int(headers["x-config-age"]) <= 310
        async with second.session.get(f"http://127.0.0.1:{second.probes}/readyz") as answer:
            assert answer.status == 200
        told = Told(second.parts.catalog, second.parts.freshness)
        told.put(flag("two", defaultVariant="on"))
        told.keep_only([("shop", "two")])
        told.confirmed()
        second.parts.catalog.refresh()
        assert (await second.post("/one", token=""))[0] == 404
        _, body, headers = await second.post("/two", token="")
        assert (body["variant"], headers["x-config-age"]) == ("on", "0")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"flags/1": 7}', '{"flags/2": []}'])
def test_one_that_cannot_be_read_is_left_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / snapshot.FILE).write_text(text)
    assert snapshot.read(tmp_path) is None


async def test_one_that_is_still_right_gets_no_older_while_the_watch_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flag_wiring, "KEEPING", 0.02)
    monkeypatch.setattr(flag_wiring, "CONFIRMING", 0.02)
    hours_ago = datetime.now(UTC) - timedelta(hours=3)
    snapshot.write(tmp_path, [flag("one")], hours_ago)

    def age() -> timedelta:
        return datetime.now(UTC) - (snapshot.read(tmp_path) or ([], hours_ago))[1]

    async with running(open=True, known=False) as gateway:
        keeping = asyncio.create_task(keep(gateway.parts, tmp_path))
        await asyncio.sleep(0.2)
        assert age() > timedelta(hours=2), "nobody knows whether it is right"
        gateway.parts.freshness.confirmed()
        await until(lambda: age() < timedelta(minutes=1))
        keeping.cancel()


def test_there_need_be_none(tmp_path: Path) -> None:
    assert snapshot.read(tmp_path) is None


def test_one_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    snapshot.write(tmp_path, [{"a": 1}], now)
    with pytest.raises(TypeError):
        snapshot.write(tmp_path, [{"a": object()}], now)
    objects, at = snapshot.read(tmp_path) or ([], now)
    assert objects == [{"a": 1}]
    assert abs(at - now) < timedelta(milliseconds=1)
    assert [file.name for file in tmp_path.iterdir()] == [snapshot.FILE]

"""The last known good flags: kept whole, read if they can be, and no longer than until the truth is known."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flags.running import flag, running, until
from tidegate.app import flag_wiring
from tidegate.app.flag_wiring import Told, keep, load
from tidegate.flags import snapshot
from tidegate.flags.catalog import Catalog

pytestmark = pytest.mark.realtime


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
    snapshot.write(tmp_path, objects, at - timedelta(minutes=5), MOST)
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


MOST = 1_000_000


def test_what_does_not_fit_is_left_out_and_nothing_of_a_crash_stays(tmp_path: Path) -> None:
    (tmp_path / ".flags-left").write_text("x" * 1000)
    objects = [flag(f"f{number}", description="x" * 100 * number) for number in range(20)]
    assert snapshot.write(tmp_path, objects, datetime.now(UTC), 5000) > 0
    kept, _ = snapshot.read(tmp_path) or ([], None)
    assert [one["metadata"]["name"] for one in kept] == [f"f{number}" for number in range(len(kept))]
    assert 3 <= len(kept) < 20
    assert [one.name for one in tmp_path.iterdir()] == [snapshot.FILE]
    assert (tmp_path / snapshot.FILE).stat().st_size <= 5000
    assert snapshot.write(tmp_path, objects, datetime.now(UTC), MOST) == 0


@pytest.mark.parametrize("levels", [100, 900, 984])
def test_a_spec_that_goes_too_deep_is_kept_for_its_kill_switch_and_hurts_no_other(tmp_path: Path, levels: int) -> None:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    spec = {"type": "Object", "variants": [{"name": "off", "value": value}], "offVariant": "off"}
    first, second = Catalog(lambda _: None), Catalog(lambda _: None)
    deep = flag("deep")
    first.put(deep)
    first.put(deep | {"spec": spec | {"enabled": False}})
    first.put(flag("other"))
    assert snapshot.write(tmp_path, list(first.objects()), datetime.now(UTC), MOST) == 0
    objects, _ = snapshot.read(tmp_path) or ([], None)
    for one in objects:
        second.put(one)
    for made in (first, second):
        made.refresh()
        assert made.of("shop").flags.keys() == {"deep", "other"}
        assert made.of("shop").flags["deep"].program.effective.killed
        assert "deeper than 64 levels" in made.problems["shop"]["deep"]


async def test_that_not_all_fit_is_said_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(flag_wiring, "KEEPING", 0.05)
    async with running(open=True, snapshot_bytes=4000) as gateway:
        keeping = asyncio.create_task(keep(gateway.parts, tmp_path))
        await asyncio.sleep(0)
        gateway.now(flag("one"), flag("two", description="x" * 1000), flag("three", description="x" * 1001))
        await until((tmp_path / snapshot.FILE).exists)
        await until(lambda: "1 of 3 flags do not fit" in caplog.text)
        keeping.cancel()


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
    snapshot.write(tmp_path, [flag("one")], hours_ago, MOST)

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
    snapshot.write(tmp_path, [{"a": 1}], now, MOST)
    with pytest.raises(TypeError):
        snapshot.write(tmp_path, [{"a": object()}], now, MOST)
    objects, at = snapshot.read(tmp_path) or ([], now)
    assert objects == [{"a": 1}]
    assert abs(at - now) < timedelta(milliseconds=1)
    assert [file.name for file in tmp_path.iterdir()] == [snapshot.FILE]

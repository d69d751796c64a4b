"""OFREP as clients ask: one flag, all flags, nothing new, and each way to ask wrongly."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.flags.running import CLIENT, SERVER, STEPS, flag, running
from tidegate.core.flags.attributes import Context
from tidegate.core.flags.compile import Answer

pytestmark = pytest.mark.realtime

Json = dict[str, Any]
BETA: Json = {"name": "beta", "when": {"attribute": "plan", "equals": "beta"}, "serve": "on"}
FLAGS = (flag("new", rules=[BETA], owner="team", clientSide=True), flag("inner", rollout=STEPS, milli=50_000))


async def test_one_flag(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        status, body, headers = await gateway.post("/new", {"targetingKey": "ann", "plan": "beta"})
        assert status == 200
        assert body == {
            "key": "new",
            "reason": "TARGETING_MATCH",
            "variant": "on",
            "value": True,
            "metadata": {"flagSetId": "shop", "bucketing": "v2", "owner": "team"},
        }
        assert headers["x-config-age"] == "0"
        assert (await gateway.post("/new", b""))[1]["variant"] == "off", "nobody in particular may ask"
        assert (await gateway.post("/new", b'{"context":null}'))[0] == 200


async def test_all_flags_and_then_nothing_new(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        context = {"targetingKey": "ann", "plan": "beta"}
        status, body, headers = await gateway.post("", context)
        assert status == 200
        assert sorted(one["key"] for one in body["flags"]) == ["inner", "new"]
        (stream,) = body["eventStreams"]
        assert (stream["type"], stream["inactivityDelaySec"]) == ("sse", 120)
        assert body["metadata"]["flagSetId"] == "shop"
        tag = headers["etag"]
        status, nothing, headers = await gateway.post("", context, **{"if-none-match": tag})
        assert (status, nothing, headers["etag"]) == (304, None, tag)
        assert (await gateway.post("", {"targetingKey": "ben"}, **{"if-none-match": tag}))[0] == 200
        gateway.now(flag("new", enabled=False, rules=[BETA], clientSide=True))
        status, body, _ = await gateway.post("", context, **{"if-none-match": tag})
        assert status == 200
        assert {one["key"]: one["variant"] for one in body["flags"]}["new"] == "off"


async def test_a_new_token_is_told_anew_where_to_listen(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        tag = (await gateway.post("", token=CLIENT))[2]["etag"]
        (tmp_path / "shop.client").write_text("another-token-of-shop\n")
        gateway.parts.access.look()
        status, body, _ = await gateway.post("", token="another-token-of-shop", **{"if-none-match": tag})
        assert status == 200
        assert (await gateway.post("", token="another-token-of-shop"))[1] == body


async def test_a_flag_that_cannot_be_evaluated_hurts_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: Context) -> Answer:
        raise ZeroDivisionError

    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        gateway.parts.catalog.of("shop").flags["inner"].evaluate = fails
        status, body, _ = await gateway.post("", {"targetingKey": "secret-person"})
        assert status == 200
        inner, new = body["flags"]
        assert (inner["key"], inner["errorCode"], new["variant"]) == ("inner", "GENERAL", "off")
        assert "value" not in inner
        assert (await gateway.post("/inner", {}))[0] == 500
    assert len([one for one in caplog.records if one.exc_info and "flag inner" in one.message]) == 2
    assert "secret-person" not in caplog.text


async def test_a_client_sees_what_is_meant_for_it_only(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        _, body, _ = await gateway.post("", token=CLIENT)
        assert [one["key"] for one in body["flags"]] == ["new"]
        assert "owner" not in body["flags"][0]["metadata"]
        assert "owner" not in (await gateway.post("/new", {"plan": "beta"}, token=CLIENT))[1]["metadata"]
        assert (await gateway.post("/new", {"plan": "beta"}))[1]["metadata"]["owner"] == "team"
        status, body, _ = await gateway.post("/inner", token=CLIENT)
        assert (status, body["errorCode"]) == (404, "FLAG_NOT_FOUND")
        status, raw, _ = await gateway.get("/flagd/v1/shop.json", token=CLIENT)
        assert status == 403
        assert b"rules" in raw


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/none", b"{}", 404, "FLAG_NOT_FOUND"),
        ("/%00%ff%22", b"{}", 404, "FLAG_NOT_FOUND"),
        ("/new", b"{", 400, "PARSE_ERROR"),
        ("/new", b"\xff", 400, "PARSE_ERROR"),
        ("/new", b"[]", 400, "PARSE_ERROR"),
        ("/new", b'{"context": 7}', 400, "PARSE_ERROR"),
        ("/new", b'{"context": {"a": NaN}}', 400, "PARSE_ERROR"),
        ("/new", b'{"context": {"a": ' + b"1" * 5000 + b"}}", 400, "PARSE_ERROR"),
        ("/new", b"[" * 30_000, 400, "PARSE_ERROR"),
        ("/new", b'{"context": {"a":' + b"[" * 40 + b"]" * 40 + b"}}", 400, "PARSE_ERROR"),
        ("/new", b'{"context": {"a":"' + b"x" * 70_000 + b'"}}', 413, "PARSE_ERROR"),
        ("", b"{", 400, "PARSE_ERROR"),
        ("", b'{"context": []}', 400, "PARSE_ERROR"),
    ],
)
async def test_what_cannot_be_read_is_told_without_quoting_it(
    tmp_path: Path, path: str, body: bytes, status: int, code: str
) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        got, said, _ = await gateway.post(path, body)
        assert (got, said["errorCode"]) == (status, code)
        assert said["errorDetails"]
        if path and status != 413:
            assert "key" in said


async def test_odd_contexts_are_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        for context in (
            {"targetingKey": 7},
            {"targetingKey": ["x"]},
            {"targetingKey": "\ud83d"},
            {"targetingKey": 10**400},
            {"plan": {"deep": [1, [2, [3]]]}},
            {"plan": None, "": "", "a.b": 1},
        ):
            assert (await gateway.post("", context))[0] == 200
        assert (await gateway.post("/inner", b'{"context":{"targetingKey":1e999}}'))[0] == 200


async def test_who_may_not_ask(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        status, body, headers = await gateway.post("/new", token="")
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "Bearer TOKEN" in body["errorDetails"]
        assert (await gateway.post("/new", token="somebody-else-s-token"))[0] == 401
        assert (await gateway.post("/new", token="", **{"x-api-key": SERVER}))[0] == 200
        assert (await gateway.post("/new", **{"flagd-selector": "flagSetId=other"}))[0] == 403
        assert (await gateway.post("/new", **{"flagd-selector": "flagSetId=shop"}))[0] == 200
        assert (await gateway.get("/flagd/v1/other.json"))[0] == 403


async def test_where_all_may_ask_the_set_is_said_or_the_only_one() -> None:
    async with running() as gateway:
        gateway.now(flag("new"))
        assert (await gateway.post("/new", token=""))[0] == 200
        gateway.now(flag("old", namespace="books"))
        status, body, _ = await gateway.post("/new", token="")
        assert status == 400
        assert "Flagd-Selector" in body["errorDetails"]
        assert (await gateway.post("/new", token="", **{"flagd-selector": "flagSetId=shop"}))[0] == 200


async def test_too_often(tmp_path: Path) -> None:
    async with running(tmp_path, rate=5.0) as gateway:
        gateway.now(*FLAGS)
        codes = [(await gateway.post("/new"))[0] for _ in range(20)]
        assert codes[:10] == [200] * 10
        status, _, headers = await gateway.post("/new")
        assert (status, headers["retry-after"]) == (429, "1")
        assert (await gateway.post("/new", token=CLIENT))[0] == 200, "another token has its own rate"


async def test_what_a_proxy_tells_is_no_longer_than_an_address(tmp_path: Path) -> None:
    async with running(tmp_path, rate=5.0, proxies="127.0.0.0/8") as gateway:
        gateway.now(*FLAGS)
        assert (await gateway.post("/new", **{"x-forwarded-for": "x" * 8000}))[0] == 200
        assert max(len(str(who)) for who in gateway.parts.gateway._rates._full) < 300


async def test_pages_of_listed_origins_may_ask(tmp_path: Path) -> None:
    async with running(tmp_path, cors_origins="https://shop.example, https://*.example.org") as gateway:
        gateway.now(*FLAGS)
        url = f"{gateway.url}/ofrep/v1/evaluate/flags"
        async with gateway.session.options(url, headers={"origin": "https://a.example.org"}) as answer:
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == "https://a.example.org"
            assert "if-none-match" in answer.headers["access-control-allow-headers"]
        _, _, headers = await gateway.post("", origin="https://shop.example")
        assert headers["access-control-allow-origin"] == "https://shop.example"
        assert "etag" in headers["access-control-expose-headers"]
        for origin in ("https://evil.example", "https://.example.org", "https://shop.example.evil"):
            assert "access-control-allow-origin" not in (await gateway.post("", origin=origin))[2]


async def test_other_methods_and_paths(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        status, _, headers = await gateway.get("/ofrep/v1/evaluate/flags")
        assert (status, headers["allow"]) == (405, "POST")
        assert (await gateway.get("/ofrep/v1/configuration"))[0] == 404


async def test_nothing_is_answered_before_something_is_known(tmp_path: Path) -> None:
    async with running(tmp_path, known=False) as gateway:
        status, _, headers = await gateway.post("/new")
        assert (status, headers["retry-after"]) == (503, "1")
        async with gateway.session.get(f"http://127.0.0.1:{gateway.probes}/readyz") as answer:
            assert answer.status == 503
        gateway.now(*FLAGS)
        gateway.parts.freshness.confirmed()
        assert (await gateway.post("/new"))[0] == 200


async def test_who_was_told_by_a_gateway_that_is_ahead_is_not_answered_by_what_was(tmp_path: Path) -> None:
    async with running(tmp_path) as gateway, running(tmp_path) as ahead:
        gateway.now(*FLAGS)
        ahead.now(flag("new", enabled=False, clientSide=True), FLAGS[1])
        newer = (await ahead.post(""))[1]["metadata"]["version"]
        asked = asyncio.create_task(gateway.post(f"?flagConfigEtag=%22{newer}%22"))
        await asyncio.sleep(0.05)
        assert not asked.done()
        gateway.tell(flag("new", enabled=False, clientSide=True))
        _, body, _ = await asked
        assert body["metadata"]["version"] == newer
        older = json.dumps(newer)
        gateway.now(*FLAGS)
        async with asyncio.timeout(0.5):
            await gateway.post(f"?flagConfigEtag={older}")


async def test_nothing_of_a_context_is_logged_or_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with running(tmp_path) as gateway:
        gateway.now(*FLAGS)
        await gateway.post("/inner", {"targetingKey": "secret-person"})
        await gateway.post("/inner", b'{"context": {"targetingKey": "secret-person" ')
        await gateway.post("", {"targetingKey": "secret-person"})
        series = await gateway.metrics()
    assert "secret-person" not in caplog.text
    assert not any("secret" in name for name in series)
    total = sum(value for name, value in series.items() if name.startswith("tidegate_flag_evaluations_total"))
    assert total == 3

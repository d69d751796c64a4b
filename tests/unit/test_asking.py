"""What is made of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tidegate.api.health import Expect, HealthSpec
from tidegate.core.asking import Reply, amiss, excerpt

CHECK: dict[str, Any] = {"name": "works", "http": {"path": "/", "port": 80}}


def expect(**fields: Any) -> Expect:
    """Of the JSON answered."""
    return Expect.model_validate({"json": fields})


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, "no JSON at all"),
        ({"db": "ok"}, '{"db": "ok", "more": [1]}'),
        ({"checks.db": "ok"}, '{"checks": {"db": "ok"}}'),
        ({"checks.db": "ok"}, '{"checks.db": "ok"}'),
        ({"up": True, "n": 3, "x": 1.5}, '{"up": true, "n": 3, "x": 1.5}'),
        ({"n": 3}, '{"n": 3.0}'),
    ],
)
def test_as_expected(fields: dict[str, Any], body: str) -> None:
    assert not amiss(expect(**fields), Reply(200, body))


@pytest.mark.parametrize(
    ("fields", "reply", "told"),
    [
        ({}, Reply(500, "oh\n  no\x00!"), "answered 500 oh no !, expected status 200"),
        ({}, Reply(500), "answered 500, expected status 200"),
        ({}, Reply(error="Connection refused"), "gave no answer: Connection refused"),
        ({"db": "ok"}, Reply(200, "ok"), "answered 200 ok, expected JSON"),
        ({"db": "ok"}, Reply(200, '["db"]'), 'answered 200 ["db"], expected db to be "ok"'),
        ({"db": "ok"}, Reply(200, '{"db": null}'), 'answered 200 {"db": null}, expected db to be "ok"'),
        ({"n": 1}, Reply(200, '{"n": true}'), 'answered 200 {"n": true}, expected n to be 1'),
        ({"n": 1}, Reply(200, '{"n": "1"}'), 'answered 200 {"n": "1"}, expected n to be 1'),
        ({"a.b": 1}, Reply(200, '{"a": 1}'), 'answered 200 {"a": 1}, expected a.b to be 1'),
    ],
)
def test_amiss(fields: dict[str, Any], reply: Reply, told: str) -> None:
    assert amiss(expect(**fields), reply) == told


def test_several_codes_may_do() -> None:
    both = Expect(status=(200, 204))
    assert not amiss(both, Reply(204))
    assert amiss(both, Reply(500)) == "answered 500, expected status 200 or 204"


def test_what_is_told_is_short() -> None:
    assert len(excerpt("x" * 10_000)) == 200
    assert excerpt("x" * 10_000).endswith("x…")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"interval": "100ms"}, "interval must be from 1s to 5m"),
        ({"timeout": "1m"}, "timeout must be from 100ms to 30s"),
        ({"failureThreshold": 0}, "greater than or equal to 1"),
        ({"http": {"path": "deep", "port": 80}}, "pattern"),
        ({"http": {"path": "/", "port": 0}}, "greater than or equal to 1"),
        ({"http": {"path": "/", "port": 80, "headers": {"a": "b\r\nc: d"}}}, "pattern"),
        ({"http": {"path": "/", "port": 80, "expect": {"json": {"a": {}}}}}, "valid"),
    ],
)
def test_what_cannot_be_right_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        HealthSpec.model_validate({"checks": [{**CHECK, **change}]})


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="distinct names"):
        HealthSpec.model_validate({"checks": [CHECK, CHECK]})

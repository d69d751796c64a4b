"""What goes deeper than Python reads."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sim.world import canary

from tidegate.core.depth import LEFT, READ, SPEC, cut, decoded, deeper, dumps, loads
from tidegate.engine.observe import read_release
from tidegate.ports.cluster import CANARY_RELEASES, Object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[]é\n', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='k"\\{}[]', max_size=3), inner, max_size=4)
    ),
)


def nested(levels: int, inside: str = "1") -> str:
    return '{"a":[' * (levels // 2) + inside + "]}" * (levels // 2)


def levels(value: object) -> int:
    depth = 0
    while deeper(value, depth):
        depth += 1
    return depth


@given(VALUES, VALUES, st.sampled_from([2, READ, READ + 2, 3000, 9998]))
def test_what_is_beside_it_is_read_as_it_is(before: object, after: object, deep: int) -> None:
    text = f'{{"before":{json.dumps(before)},"deep":{nested(deep, json.dumps(after))},"after":{json.dumps(after)}}}'
    found, end = decoded(f" {text} more", 1)
    assert (found["before"], found["after"], end) == (before, after, 1 + len(text))
    assert loads(text) == found
    short = json.loads(cut(text))
    assert (short["before"], short["after"]) == (before, after)
    assert levels(short["deep"]) <= READ
    assert json.loads(cut(cut(text))) == short


@pytest.mark.parametrize("deep", [2, 100, READ])
def test_what_can_be_read_is_not_cut(deep: int) -> None:
    assert cut(nested(deep)) == nested(deep)
    assert cut(f"[{nested(2)},{nested(4)}]" * 400) == f"[{nested(2)},{nested(4)}]" * 400


@given(VALUES, st.sampled_from([2, 198, 202, 254, 258, READ]))
def test_what_is_written_is_read(value: object, deep: int) -> None:
    written = {"deep": loads(nested(deep, json.dumps(value))), "value": value, "\u2028": [0.1, -0.0, 1e300, 2**63 - 1]}
    assert loads(dumps(written)) == json.loads(dumps(written)) == written


def test_half_a_sign_is_read_and_written() -> None:
    assert loads('{"a":"\\ud83d"}') == {"a": "\ud83d"}
    assert loads(dumps({"a": "\ud83d"})) == {"a": "\ud83d"}


def test_of_what_goes_deeper_a_part_is_left() -> None:
    assert levels(json.loads(cut(nested(READ + 2)))) == LEFT
    assert levels(loads(nested(9998))) == LEFT


@pytest.mark.parametrize("text", ["", "[", nested(4000)[:-1], "[" * 5000, '"' + "[" * 600])
def test_what_has_no_end_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        decoded(text, 0)
    with pytest.raises(ValueError):
        loads(text)


@pytest.mark.parametrize("deep", [SPEC, READ, 900])
def test_a_release_that_goes_too_deep_is_told_so(deep: int) -> None:
    template = {"metadata": {"annotations": loads(nested(deep))}, "spec": {"containers": []}}
    spec = canary(gates=[{"name": "deep", "at": "BeforeStart", "job": {"template": template}}])["spec"]
    obj: Object = {"metadata": {"namespace": "shop", "name": "checkout", "uid": "1"}, "spec": spec}
    release = read_release(CANARY_RELEASES, obj)
    assert release.spec is None
    assert "spec goes deeper than 64 levels" in release.invalid

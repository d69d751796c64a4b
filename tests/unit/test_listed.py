"""Lists are read one object at a time, and say the same as read at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.adapters.listed import Listed
from tidegate.ports.cluster import Unavailable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
BODIES = st.builds(
    lambda fields, items: {**fields, **items},
    st.dictionaries(st.text(max_size=4), JSON, max_size=3),
    st.fixed_dictionaries({}, optional={"items": st.lists(JSON, max_size=4), "metadata": JSON}),
)


@given(body=BODIES, order=st.randoms(use_true_random=False), indent=st.sampled_from([None, 2]))
def test_nothing_is_lost_in_whatever_order_it_comes(body: dict[str, Any], order: Any, indent: int | None) -> None:
    fields = list(body.items())
    order.shuffle(fields)
    page = Listed(json.dumps(dict(fields), indent=indent))
    assert list(page) == body.pop("items", [])
    assert page.rest == body


def test_an_object_is_read_when_it_is_taken() -> None:
    page = iter(Listed('{"items": [{"a": 1}, {"b": 2}, {]}'))
    assert [next(page), next(page)] == [{"a": 1}, {"b": 2}]
    with pytest.raises(Unavailable, match="Expecting"):
        next(page)


def test_a_list_of_nothing_may_be_null() -> None:
    page = Listed(' {"items": null, "metadata": {"continue": "x"}}\n')
    assert list(page) == []
    assert page.rest["metadata"] == {"continue": "x"}


@pytest.mark.parametrize("text", ["", "Unauthorized", "[]", '{"items": [{}', '{"items": [{}]', '{"a"'])
def test_what_is_no_list_is_an_error(text: str) -> None:
    with pytest.raises(Unavailable, match=r"Expecting|no list"):
        list(Listed(text))

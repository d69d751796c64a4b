"""Versions compare as Semantic Versioning 2.0 has it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tidegate.core.flags import versions
from tidegate.core.flags.versions import comparison, parse

IN_ORDER = ("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0")


def test_the_order_of_the_specification() -> None:
    for one, other in pairwise(IN_ORDER):
        assert comparison(f"<{other}")(one)
        assert comparison(f">{one}")(other)


@pytest.mark.parametrize("text", ["v1.2.0", "V1.2.0", "1.2", "1.2.0+build.5"])
def test_the_same_version(text: str) -> None:
    assert comparison("=1.2.0")(text)
    assert comparison("1.2.0")(text)
    assert not comparison("!= v1.2.0")(text)


@pytest.mark.parametrize("text", ["", "x", "1.2.3.4", "01.2.3", "1.2.3-01", "vv1.2.3", " 1.2.3", "1.2.3\n", "1" * 300])
def test_no_version_compares_with_nothing(text: str) -> None:
    assert parse(text) is None
    assert not comparison("!=1.0.0")(text)


def test_what_is_too_long_for_a_version_is_not_kept() -> None:
    kept = versions._parsed.cache_info().currsize
    assert parse("1" * 60_000) is None
    assert versions._parsed.cache_info().currsize == kept


@pytest.mark.parametrize(
    ("wanted", "yes", "no"),
    [("~1.4.0", "1.4.9", "1.5.0"), ("^2.0.0", "2.9.1", "3.0.0"), (">=2.3.0", "2.3.0", "2.3.0-rc.1")],
)
def test_ranges(wanted: str, yes: str, no: str) -> None:
    assert comparison(wanted)(yes)
    assert not comparison(wanted)(no)

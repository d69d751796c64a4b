"""Where keys fall: as flagd's cores say, by their own figures, and whatever the length."""

from __future__ import annotations

import pytest

from tidegate.api.bucketing import BucketingRevision
from tidegate.core.flags.attributes import key_of
from tidegate.core.flags.bucketing import _cbor, bucket

V2, V3 = BucketingRevision.V2, BucketingRevision.V3


@pytest.mark.parametrize(
    ("prefix", "key", "v2", "v3"),
    [
        ("checkout/r/", "user-1", 58_835, 75_423),
        ("checkout/r/", "user-2", 84_534, 906),
        ("checkout/a/", "user-1", 50_850, 18_490),
        ("checkout/r/", "Jürgen", 62_434, 98_166),
        ("s/r/", "k" * 300, 84_709, 60_900),
    ],
)
def test_as_flagd_core_1_and_2_have_it(prefix: str, key: str, v2: int, v3: int) -> None:
    assert (bucket(V2, prefix, 100_000)(key), bucket(V3, prefix, 100_000)(key)) == (v2, v3)


@pytest.mark.parametrize(
    ("length", "head"),
    [
        (0, "60"),
        (23, "77"),
        (24, "7818"),
        (255, "78ff"),
        (256, "790100"),
        (65_535, "79ffff"),
        (65_536, "7a00010000"),
    ],
)
def test_the_length_is_written_as_short_as_it_goes(length: int, head: str) -> None:
    assert _cbor(b"x" * length) == bytes.fromhex(head) + b"x" * length


def test_half_a_surrogate_pair_is_no_error() -> None:
    assert 0 <= bucket(V2, "a/", 10)("\ud83d") < 10


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("ann", "ann"),
        (" ", " "),
        ("", None),
        (None, None),
        (7, "7"),
        (7.0, "7"),
        (7.5, None),
        (0, None),
        (-7, None),
        (True, None),
        (10**15 - 1, "999999999999999"),
        (10**15, None),
        (float("nan"), None),
        (["ann"], None),
        ({"id": "ann"}, None),
    ],
)
def test_who_has_a_key(value: object, key: str | None) -> None:
    assert key_of(value) == key

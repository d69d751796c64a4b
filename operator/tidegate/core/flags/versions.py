"""Comparing versions as flagd does: Semantic Versioning 2.0, a ``v`` before it and missing parts allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_NUMBER = "(?:0|[1-9][0-9]*)"
_WORD = f"(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"[vV]?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_WORD}(?:\.{_WORD})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
_SHORT = re.compile(r"([vV]?[^-+.]+(?:\.[^-+.]+)?)([-+].*)?")
_WANTED = re.compile(r"(=|!=|<|<=|>|>=|~|\^)? ?v?([0-9].*)")
_LONGEST = 256
"""A longer text is no version: numbers in it would cost too much."""


class Version(NamedTuple):
    """A version, in the order of which versions are: a pre-release comes before its release."""

    major: int
    minor: int
    patch: int
    released: bool = True
    before: tuple[tuple[int, int, str], ...] = ()
    """The words of a pre-release: numbers come before words."""


def parse(text: str) -> Version | None:
    """A version, or None where it is none."""
    return _parsed(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Version | None:
    """Few are asked about, and again in each flag."""
    found = _VERSION.fullmatch(text) or _VERSION.fullmatch(_padded(text))
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    if before is None:
        return Version(int(major), int(minor), int(patch))
    words = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in before.split("."))
    return Version(int(major), int(minor), int(patch), False, words)


def _padded(text: str) -> str:
    """With the numbers that are missing: 1.2 is 1.2.0."""
    found = _SHORT.fullmatch(text)
    if found is None:
        return text
    numbers, rest = found.groups()
    return numbers + ".0" * (2 - numbers.count(".")) + (rest or "")


def split(wanted: str) -> tuple[str, str]:
    """Operator and version of a comparison, as flagd takes them; the model has checked it."""
    found = _WANTED.fullmatch(wanted)
    if found is None:
        raise ValueError(f"semver: {wanted[:64]!r} is no comparison of versions: write it like >=2.3.0")
    return found[1] or "=", found[2]


def comparison(wanted: str) -> Callable[[str], bool]:
    """Whether a text is a version that compares so."""
    operator, text = split(wanted)
    limit = parse(text)
    if limit is None:
        raise ValueError(f"semver: {wanted[:64]!r} is no comparison of versions: write it like >=2.3.0")
    compares: dict[str, Callable[[Version], bool]] = {
        "=": lambda version: version == limit,
        "!=": lambda version: version != limit,
        "<": lambda version: version < limit,
        "<=": lambda version: version <= limit,
        ">": lambda version: version > limit,
        ">=": lambda version: version >= limit,
        "^": lambda version: version.major == limit.major,
        "~": lambda version: version.major == limit.major and version.minor == limit.minor,
    }
    holds = compares[operator]

    def compare(text: str) -> bool:
        version = parse(text)
        return version is not None and holds(version)

    return compare

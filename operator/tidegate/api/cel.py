"""Texts of CEL, of which the rules of the CRDs are made."""

from __future__ import annotations


def quoted(pattern: str) -> str:
    """A regular expression as a literal of CEL."""
    return f"r'{pattern}'"


def literal(text: str) -> str:
    """A text as a literal of CEL."""
    return "'" + text.replace("'", "\\'") + "'"


def first(items: str, wrong: str, most: int) -> str:
    """The first item ``i`` that is wrong. Found by its number: the API server counts on the longest text there is for
    what comes out of a filter, and refuses the message as too costly."""
    return f"{items}[{list(range(most))}.filter(i, i < {items}.size() && {wrong})[0]]"

"""What a process exposes of itself, in the text format of Prometheus or in OpenMetrics: the counters that are wanted.

The parser of prometheus_client takes some 40 µs a line: more than a core, if 32 pods with 1,000 lines are read each
second. So lines of other names are skipped, and what a line's labels are is asked of that parser when they are first
seen; a line is then its number. Labels that nobody goes by are summed over: a counter for each route of each method
makes no more of a pod than one for all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property

from prometheus_client.parser import text_string_to_metric_families

from tidegate.core.selector import NAME

Key = tuple[tuple[str, str], ...]
"""Labels that are gone by, with the name among them, in their order."""

_LABELS = r'\{(?:[^"}\n]|"(?:[^"\\\n]|\\.)*")*\}'
_REST = re.compile(rf"[ \t]*({_LABELS})?[ \t]*([^ \t\r#]+)(?:[ \t]+[-+0-9.eE]+)?[ \t]*(?:#.*)?\r?")
_MOST_KNOWN = 50_000
"""Lines whose labels are remembered, of all pods: those of one revision are alike."""


class Malformed(Exception):
    """The text cannot be gone by, and why."""


class Wanted:
    """Counters by name, and the labels of theirs that are gone by."""

    def __init__(self, names: frozenset[str], labels: frozenset[str]) -> None:
        self.names, self.labels = names, labels
        self._known: dict[tuple[str, str], Key] = {}

    def read(self, text: str) -> Mapping[Key, tuple[float, int]]:
        """The sum of each counter, and of how many lines it is one. Raises Malformed."""
        sums: dict[Key, tuple[float, int]] = {}
        seen: set[tuple[str, str]] = set()
        known = self._known
        for name, rest in self._lines.findall("\n" + text):
            end = rest.rfind("}") + 1
            line = name, rest[:end]
            key = known.get(line)
            if key is not None and "#" not in rest:
                number = rest[end:]
            else:
                line, number = _split(name, rest)
                key = known.get(line) or self._learn(line)
            if line in seen:
                continue  # what is exposed twice is counted once
            seen.add(line)
            value, lines = sums.get(key, (0.0, 0))
            sums[key] = value + _number(name, number), lines + 1
        return sums

    @cached_property
    def _lines(self) -> re.Pattern[str]:
        either = "|".join(sorted(self.names))
        return re.compile(rf"\n[ \t]*({either})(?![a-zA-Z0-9_:])([^\n]*)")

    def _learn(self, line: tuple[str, str]) -> Key:
        name, labels = line
        try:
            (family,) = text_string_to_metric_families(f"{name}{labels} 0\n")
            found = family.samples[0].labels
        except Exception:  # noqa: BLE001 - the parser raises what its own code happens to raise
            raise Malformed(f"the labels of {name} are not understood: {labels[:64]}") from None
        key = ((NAME, name), *sorted((label, value) for label, value in found.items() if label in self.labels))
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[line] = key
        return key


def _split(name: str, rest: str) -> tuple[tuple[str, str], str]:
    """A line's labels and its number, where a quoted text or what follows may have any sign in it."""
    found = _REST.fullmatch(rest)
    if found is None:
        raise Malformed(f"a line is not understood: {name}{rest[:64]}")
    return (name, found[1] or ""), found[2]


def _number(name: str, text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number, _, time = text.strip().partition(" ")
        return _number(name, number) if time else _no_count(name, text)
    return value if 0 <= value < math.inf else _no_count(name, text)


def _no_count(name: str, text: str) -> float:
    raise Malformed(f"{name} is {text.strip()[:32]!r}, which is no count")


def cut_short(text: str) -> bool:
    """OpenMetrics says where it ends: whether this ends before."""
    return not text.rstrip("\n").endswith("# EOF")

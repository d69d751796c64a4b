"""What a process exposes of itself, in the text format of Prometheus or in OpenMetrics: the counters that are wanted.

The parser of prometheus_client takes some 40 µs a line, and of long ones a millisecond: more than a core, if 32 pods
with 1,000 lines are read each second. So lines of other names are skipped, and what a line's labels are is looked at
when they are first seen; a line is then its number. Labels that nobody goes by are summed over: a counter for each
route of each method makes no more of a pod than one for all.

Pods may expose anything: whatever it is, it takes no long time, for nothing else happens meanwhile, and little memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property

from tidegate.core.selector import NAME

Key = tuple[tuple[str, str], ...]
"""Labels that are gone by, with the name among them, in their order."""

# No two parts may take the same signs, and none gives any back: a line that fits nothing would be tried in all ways.
_QUOTED = r'"((?:[^"\\\n]++|\\.)*+)"'
_LABELS = rf'\{{(?:[^"}}\n]++|{_QUOTED.replace("((", "(?:(")})*+\}}'
_LABEL = re.compile(rf"[ \t]*([a-zA-Z_]\w*+|{_QUOTED})[ \t]*=[ \t]*{_QUOTED}[ \t]*(?:,[ \t]*|(?=\}}))")
_REST = re.compile(rf"[ \t]*(?:({_LABELS})[ \t]*)?([^ \t\r#]++)(?:[ \t]+[-+0-9.eE]+)?[ \t]*(?:#.*)?\r?")
_ESCAPED = re.compile(r'\\([\\n"])')
_LONGEST = 8192
"""Characters of a line after its name."""
_MOST_NEW = 2000
"""Lines that are first seen in one reading: what is learnt is known at the next, of labels that come again."""
_MOST_KNOWN = 8_000_000
"""Characters of lines whose labels are remembered, of all pods: those of one revision are alike."""
_EACH = 100
"""For how many characters more a line stands, however short it is."""


class Malformed(Exception):
    """The text cannot be gone by, and why."""


class Wanted:
    """Counters by name, and the labels of theirs that are gone by."""

    def __init__(self, names: frozenset[str], labels: frozenset[str]) -> None:
        self.names, self.labels = names, labels
        self._known: dict[tuple[str, str], Key] = {}
        self._size = 0

    def read(self, text: str) -> Mapping[Key, tuple[float, int]]:
        """The sum of each counter, and of how many lines it is one. Raises Malformed."""
        sums: dict[Key, tuple[float, int]] = {}
        seen: set[tuple[str, str]] = set()
        known, new = self._known, 0
        for name, rest in self._lines.findall("\n" + text):
            if len(rest) > _LONGEST:
                raise Malformed(f"a line of {name} is longer than {_LONGEST} characters")
            end = rest.rfind("}") + 1
            line = name, rest[:end]
            key = known.get(line)
            if key is not None and "#" not in rest:
                number = rest[end:]
            else:
                line, number = _split(name, rest)
                key = known.get(line)
            if key is None:
                new += 1
                if new > _MOST_NEW:
                    raise Malformed(f"more than {_MOST_NEW} lines of {name} and its like are new: have fewer labels")
                key = self._learn(line)
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
        key = ((NAME, name), *sorted(pair for pair in _pairs(name, labels).items() if pair[0] in self.labels))
        self._size += _EACH + len(labels)
        if self._size > _MOST_KNOWN:
            self._known.clear()
            self._size = _EACH + len(labels)
        self._known[line] = key
        return key


def _split(name: str, rest: str) -> tuple[tuple[str, str], str]:
    """A line's labels and its number, where a quoted text or what follows may have any sign in it."""
    found = _REST.fullmatch(rest)
    if found is None:
        raise Malformed(f"a line is not understood: {name}{rest[:64]}")
    return (name, found[1] or ""), found[2]


def _pairs(name: str, labels: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    at = 1
    while labels[at:-1].strip(" \t"):
        found = _LABEL.match(labels, at)
        label = (found[2] or found[1]) if found else ""
        if found is None or label in pairs:
            raise Malformed(f"the labels of {name} are not understood: {labels[:64]}")
        pairs[label] = _ESCAPED.sub(lambda escape: escape[1].replace("n", "\n"), found[3])
        at = found.end()
    return pairs


def _number(name: str, text: str) -> float:
    try:
        value = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number, *time = text.split()
        return _number(name, number) if time else _no_count(name, text)
    return value if 0 <= value < math.inf else _no_count(name, text)


def _no_count(name: str, text: str) -> float:
    raise Malformed(f"{name} is {text.strip()[:32]!r}, which is no count")


def cut_short(text: str) -> bool:
    """OpenMetrics says where it ends: whether this ends before."""
    return not text.rstrip("\n").endswith("# EOF")

"""Range selectors, ``name{label="value",…}[60s]``: of PromQL that which raw samples are asked for by, and no more.

Who has samples and is no Prometheus answers the same questions by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

NAME = "__name__"
"""The label that a series' name is."""
_WHOLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?\{(.*)\}\[(\d+)s\]", re.DOTALL)
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")\s*(?:,|$)', re.DOTALL)
_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(\|[a-zA-Z_:][a-zA-Z0-9_:]*)*")


@dataclass(frozen=True)
class Matcher:
    """What a label's value must be, or must not be. A label that is not there is an empty one."""

    label: str
    op: str
    value: str

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is meant."""
        found = labels.get(self.label, "")
        same = re.fullmatch(self.value, found) is not None if "~" in self.op else found == self.value
        return same != self.op.startswith("!")


@dataclass(frozen=True)
class Selector:
    """Series by name, which of them, and how far back."""

    names: frozenset[str]
    matchers: tuple[Matcher, ...]
    window: float
    """Seconds."""

    def fits(self, labels: Mapping[str, str], *known: str) -> bool:
        """Whether it means a series of these labels; where labels are ``known``, as far as those go."""
        return all(one.fits(labels) for one in self.matchers if not known or one.label in known)


def parse(text: str) -> Selector | None:
    """A range selector that names what it wants; None where a query asks for anything else."""
    whole = _WHOLE.fullmatch(text)
    if whole is None:
        return None
    matchers, at = [], 0
    inner = whole[2]
    while at < len(inner):
        found = _MATCHER.match(inner, at)
        if found is None:
            return None
        matchers.append(Matcher(found[1], found[2], json.loads(found[3])))
        at = found.end()
    named = [one for one in matchers if one.label == NAME]
    if whole[1]:
        names = whole[1]
    elif len(named) == 1 and named[0].op in ("=", "=~") and _PLAIN.fullmatch(named[0].value):
        names = named[0].value
    else:
        return None
    others = tuple(one for one in matchers if one.label != NAME)
    return Selector(frozenset(names.split("|")), others, float(whole[3]))

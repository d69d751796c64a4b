"""Questions by HTTP and what is made of the answers: values only, asked by an adapter (ports/prober.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate.api.health import Expect, Scalar

MOST_READ = 64 * 1024
"""Bytes of an answer that are read; what is longer is taken for no answer."""
EXCERPT = 200
"""Characters of an answer that are told."""


@dataclass(frozen=True)
class Call:
    """A request."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 2.0
    """Seconds for all of it."""
    anywhere: bool = False
    """The address is a pod's, as the cluster told it; else it is a user's word, and not every address will do."""

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


@dataclass(frozen=True)
class Reply:
    """What came of it."""

    status: int = 0
    body: str = ""
    error: str = ""
    """Why there is no answer; nothing where there is one."""
    late: bool = False
    """That is why."""


@dataclass(frozen=True)
class Asked:
    """What has become of a request of a gate."""

    since: datetime
    """Since when the operator that is at work now is to make it."""
    made: bool
    """It is under way, or was; else it waits for its turn."""
    reply: Reply | None = None
    """What came of it, if that is known."""


def amiss(expect: Expect, reply: Reply) -> str:
    """What an answer should have been and is not; nothing where it is as expected."""
    if reply.error:
        return f"gave no answer: {reply.error}"
    told = f"answered {reply.status} {excerpt(reply.body)}".rstrip()
    if reply.status not in expect.status:
        return f"{told}, expected status {' or '.join(map(str, expect.status))}"
    if not expect.fields:
        return ""
    try:
        found: Any = json.loads(reply.body)
    except ValueError:
        return f"{told}, expected JSON"
    for name, wanted in expect.fields.items():
        if not _same(_field(found, name), wanted):
            return f"{told}, expected {name} to be {json.dumps(wanted)}"
    return ""


def excerpt(text: str, most: int = EXCERPT) -> str:
    """The beginning of a text in one line, nothing unprintable in it."""
    plain = "".join(c if c.isprintable() else " " for c in re.sub(r"\s+", " ", text[: 4 * most]).strip())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def _field(value: Any, name: str) -> Any:
    """A field of an object; a dot leads below, unless the name with its dots is a field itself."""
    if not isinstance(value, dict):
        return None
    if name in value:
        return value[name]
    first, dot, rest = name.partition(".")
    return _field(value.get(first), rest) if dot else None


def _same(found: Any, wanted: Scalar) -> bool:
    """JSON's true is not its 1."""
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)

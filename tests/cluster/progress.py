"""Tell the person who waits what is going on, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print one line of progress; to stderr, so that stdout stays for results."""
    sys.stderr.write(f"cluster: {text}\n")
    sys.stderr.flush()


@contextmanager
def step(what: str, *, announce: bool = False) -> Iterator[None]:
    """Report a step when it is done, and how long it took; a long one also when it begins."""
    if announce:
        say(f"{what} …")
    start = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - start:.1f} s")

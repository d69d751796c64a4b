"""How many files may be open, and who has them: what strangers open by connecting gets what others leave.

Without a file the API server is not watched, and nobody is told apart from who cannot be answered.
"""

from __future__ import annotations

import contextlib
import resource

RESERVE = 256
"""For the API server, the probes, connections that are being refused, files, and Python's own."""
MANY = 1_000_000
"""As good as no limit."""


def raise_limit() -> int:
    """As many as may be; how many that is. Images and shells begin with 1,024, whatever else is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MANY if soft == resource.RLIM_INFINITY else soft


def shares(limit: int, *wanted: int) -> tuple[int, ...]:
    """What each gets of what is left of the limit: as much as it wants, or as large a part of it as all others."""
    left, total = max(limit - RESERVE, 0), sum(wanted)
    if total <= left:
        return wanted
    return tuple(max(1, one * left // total) for one in wanted)

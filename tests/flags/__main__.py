"""``python -m tests.flags``: requests at random, right and wrong ones, are answered as described."""

from __future__ import annotations

import argparse
import asyncio
import sys
from random import SystemRandom

from tests.flags.atrandom import ask


def main() -> int:
    """The exit code is 1 where an answer is not as described."""
    parser = argparse.ArgumentParser(prog="python -m tests.flags", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    report = asyncio.run(ask(arguments.requests // 3, arguments.seed))
    print(f"{report.requests} requests (seed {arguments.seed}), {report.grown / 2**20:.1f} MiB more memory")
    if report.failures:
        print(report.failures)
    return 1 if report.failures or report.requests < arguments.requests else 0


if __name__ == "__main__":
    sys.exit(main())

"""``make oracle``: many random flags against each SDK. ``--flags`` of each, ``--seed`` to see the same ones again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from random import SystemRandom

from tests.oracle.compare import Comparison, compare
from tests.oracle.sdks import SDKS
from tests.rig.environments import Unavailable

PEOPLE = 3


def main() -> int:
    """The exit code is 1 where an SDK disagrees, or could not be asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--flags", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    wrong = 0
    for sdk in SDKS:
        began = time.monotonic()
        try:
            found = compare(sdk, seed=arguments.seed, flags=arguments.flags, people=PEOPLE)
        except Unavailable as error:
            print(f"{sdk.name}: NOT RUN: {error}")
            wrong += 1
            continue
        wrong += len(found.disagreements)
        print(f"{sdk.name}: {told(found)} (seed {arguments.seed}, {time.monotonic() - began:.0f} s)", flush=True)
    return 1 if wrong else 0


def told(found: Comparison) -> str:
    """In a line, and the first disagreement in full."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in found.answers.items())
    line = f"{len(found.disagreements)} disagreements in {found.asked} answers of {found.flags} flags ({reasons})"
    if not found.disagreements:
        return line
    first = found.disagreements[0]
    return f"{line}\n  {json.dumps(first.flag)}\n  {first.context}\n  ours {first.ours}\n  theirs {first.theirs}\n"


if __name__ == "__main__":
    sys.exit(main())

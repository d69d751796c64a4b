"""`make histories`: every event in every phase, and thousands of histories at random from a printed seed."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.exhaustive.chance import check
from tests.exhaustive.deeds import DEEDS, STAGES
from tests.exhaustive.history import Telling
from tests.exhaustive.scenes import SCENES
from tests.exhaustive.test_histories import came, matrix

PIECE = 50
"""Histories from one seed: what has to be told again to see one of them."""


def main() -> int:
    """Tell them; 1 where one went wrong."""
    parser = argparse.ArgumentParser(prog="make histories", description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--scene", nargs="+", choices=sorted(SCENES), default=sorted(SCENES), help="default: all")
    parser.add_argument(
        "--matrix", nargs="+", choices=sorted(SCENES), default=(), help="all events in all phases first"
    )
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    unmet = sum([_matrix(scene) for scene in options.matrix])
    return _random(options.histories, options.seed, options.scene) or min(unmet, 1)


def _matrix(scene: str) -> int:
    """How many events never came in their phase."""
    histories, unmet = matrix(scene), 0
    began = time.process_time()
    for number, history in enumerate(histories, 1):
        if not came(history):
            unmet += 1
            _say(f"it never came to {history.deeds[-1].stage}: {history!r}")
        if not number % PIECE or number == len(histories):
            _say(f"{scene}: {number} of {len(histories)} events in phases, {time.process_time() - began:.0f} s of CPU")
    return unmet


def _random(histories: int, seed: int, scenes: Sequence[str]) -> int:
    met: Counter[tuple[str, str]] = Counter()
    of: Counter[str] = Counter()
    requests, restarts, began = 0, 0, time.process_time()

    def count(telling: Telling) -> None:
        nonlocal requests, restarts
        requests += telling.world.requests()
        restarts += telling.world.restarts
        of[telling.history.scene] += 1

    done = 0
    while done < histories:
        piece = min(PIECE, histories - done)
        _say(f"{done} of {histories} histories, next from seed {seed}")
        try:
            met += check(piece, seed, count, scenes)
        except AssertionError as error:
            _say(f"a history from seed {seed} goes wrong:\n{error}")
            return 1
        done, seed = done + piece, seed + 1
    cells = len(STAGES[1:]) * len(DEEDS)
    _say(
        f"{done} histories clean: {requests} requests, {restarts} deaths, {len(met)} of {cells} events in phases,"
        f" {time.process_time() - began:.0f} s of CPU"
    )
    _say("in each scene: " + ", ".join(f"{scene} {count}" for scene, count in sorted(of.items())))
    return 0


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    sys.exit(main())

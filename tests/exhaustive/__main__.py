"""`make histories`: every event in every phase, and thousands of histories at random from a printed seed."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter

from tests.exhaustive.chance import check
from tests.exhaustive.history import DEEDS, STAGES, Telling
from tests.exhaustive.test_histories import came, matrix

PIECE = 50
"""Histories from one seed: what has to be told again to see one of them."""


def main() -> int:
    """Tell them; 1 where one went wrong."""
    parser = argparse.ArgumentParser(prog="make histories", description=__doc__)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--matrix", action="store_true", help="every event in every phase first")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.matrix and _matrix():
        return 1
    return _random(options.histories, options.seed)


def _matrix() -> int:
    histories, unmet = matrix(), 0
    began = time.process_time()
    for number, history in enumerate(histories, 1):
        if not came(history):
            unmet += 1
            _say(f"it never came to {history.deeds[1].stage}: {history!r}")
        if not number % PIECE or number == len(histories):
            _say(f"{number} of {len(histories)} events in phases, {time.process_time() - began:.0f} s of CPU")
    return 1 if unmet else 0


def _random(histories: int, seed: int) -> int:
    met: Counter[tuple[str, str]] = Counter()
    requests, restarts, began = 0, 0, time.process_time()

    def count(telling: Telling) -> None:
        nonlocal requests, restarts
        requests += telling.world.requests()
        restarts += telling.world.restarts

    done = 0
    while done < histories:
        piece = min(PIECE, histories - done)
        _say(f"{done} of {histories} histories, next from seed {seed}")
        try:
            met += check(piece, seed, count)
        except AssertionError as error:
            _say(f"a history from seed {seed} goes wrong:\n{error}")
            return 1
        done, seed = done + piece, seed + 1
    cells = len(STAGES[1:]) * len(DEEDS)
    _say(
        f"{done} histories clean: {requests} requests, {restarts} deaths, {len(met)} of {cells} events in phases,"
        f" {time.process_time() - began:.0f} s of CPU"
    )
    return 0


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Levels, such as CPU, memory and queues: are they higher than they may be? ANALYSIS.md §4d.

A level now is much like a level a moment ago, so that looks are no independent draws, and no law says how levels
spread. They are averaged over blocks that are longer than they hang together, and a bet on each block wins by how far
it is beyond the limit. That is evidence as long as blocks at the limit are beyond it no further than below it. It is
not proven that they are, so a gauge passes for nothing but what it shows, and by default holds a release rather than
failing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.core.verdict.kernel import Floats

STAKES = np.array([0.05, 0.15, 0.35, 0.7, 0.97])
"""What is bet on each block: shares of what there is."""
BLOCK = 120.0
"""Seconds that a block lasts at least..."""
LEAST_LOOKS = 4
"""...and looks that it has."""

_LEAST, _MOST = -1.0, 3.0
_OF_STABLE, _OF_LIMIT = 0.2, 0.05
"""How far beyond the limit a block is that doubles what is bet: stable's own level moves, the limit does not."""


@dataclass(frozen=True)
class Block:
    """The mean levels of a block: of the candidate, and where it is compared of stable."""

    candidate: float
    stable: float | None


def against_stable(block: Block, rho: float) -> Floats | None:
    """Log e-values against "no more than ``rho`` times stable's level"; None where there is no such level."""
    if block.stable is None or block.stable <= 0:
        return None
    return _log_e((block.candidate / (rho * block.stable) - 1) / _OF_STABLE)


def against_limit(block: Block, limit: float) -> Floats:
    """Log e-values against "no more than ``limit``"."""
    return _log_e((block.candidate / limit - 1) / _OF_LIMIT)


def _log_e(beyond: float) -> Floats:
    log_e: Floats = np.log1p(STAKES * min(max(beyond, _LEAST), _MOST))
    return log_e


@dataclass(frozen=True)
class Levels:
    """What is remembered of a gauge."""

    since: float | None = None
    """Unix seconds at which the block under way began."""
    looks: int = 0
    """Of the block under way, and the sums of its levels."""
    candidate: float = 0.0
    stable: float = 0.0
    blocks: int = 0
    """Of this step that are over, and the sums of their means."""
    candidates: float = 0.0
    stables: float = 0.0

    def after(self, candidate: float, stable: float | None, now: float) -> tuple[Levels, Block | None]:
        """With one more look, and the block that is over with it, if one is."""
        since = now if self.since is None else self.since
        looks = self.looks + 1
        sums = self.candidate + candidate, self.stable + (stable or 0.0)
        if looks < LEAST_LOOKS or now - since < BLOCK:
            return Levels(since, looks, *sums, self.blocks, self.candidates, self.stables), None
        block = Block(sums[0] / looks, None if stable is None else sums[1] / looks)
        done = self.candidates + block.candidate, self.stables + (block.stable or 0.0)
        return Levels(now, 0, 0.0, 0.0, self.blocks + 1, *done), block

    def stepped(self) -> Levels:
        """The next step begins, and with it a block: load has changed."""
        return Levels()

    @property
    def seen(self) -> Block | None:
        """The mean levels of this step: of the blocks that are over, else of the one under way."""
        if self.blocks:
            return Block(self.candidates / self.blocks, self.stables / self.blocks)
        return Block(self.candidate / self.looks, self.stable / self.looks) if self.looks else None

    def dump(self) -> list[float | None]:
        """As JSON."""
        return [
            self.since, self.looks, self.candidate, self.stable, self.blocks, self.candidates, self.stables
        ]  # fmt: skip

    @staticmethod
    def load(data: Sequence[float | None]) -> Levels:
        """The inverse of ``dump``."""
        since, looks, candidate, stable, blocks, candidates, stables = data
        return Levels(
            since,
            int(looks or 0),
            candidate or 0.0,
            stable or 0.0,
            int(blocks or 0),
            candidates or 0.0,
            stables or 0.0,
        )

"""Levels, such as CPU, memory and queues: are they higher than they may be? ANALYSIS.md §4d.

A level now is much like a level a moment ago, so that looks are no independent draws, and no law says how levels
spread. They are averaged over blocks that are longer than they hang together, and a bet on each block wins by how far
it is beyond the limit. That is evidence as long as blocks at the limit are beyond it no further than below it. It is
not proven that they are, so a gauge passes for nothing but what it shows, and by default holds a release rather than
failing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    spans: bool = False
    """Whether the block under way began in an earlier step: it is evidence, and says nothing of this step alone."""

    def after(self, candidate: float, stable: float | None, now: float) -> tuple[Levels, Block | None]:
        """With one more look, and the block that is over with it, if one is."""
        since = now if self.since is None else self.since
        looks = self.looks + 1
        sums = self.candidate + candidate, self.stable + (stable or 0.0)
        if looks < LEAST_LOOKS or now - since < BLOCK:
            return replace(self, since=since, looks=looks, candidate=sums[0], stable=sums[1]), None
        block = Block(sums[0] / looks, None if stable is None else sums[1] / looks)
        if self.spans:
            return Levels(now), block
        done = self.candidates + block.candidate, self.stables + (block.stable or 0.0)
        return Levels(now, 0, 0.0, 0.0, self.blocks + 1, *done), block

    def stepped(self) -> Levels:
        """The next step begins. Its blocks are its own; the one under way goes on, or short steps would have none."""
        return replace(self, blocks=0, candidates=0.0, stables=0.0, spans=self.looks > 0)

    @property
    def seen(self) -> Block | None:
        """The mean levels of this step: of the blocks that are over, else of the one under way."""
        if self.blocks:
            return Block(self.candidates / self.blocks, self.stables / self.blocks)
        return Block(self.candidate / self.looks, self.stable / self.looks) if self.looks else None

    def dump(self) -> list[float | None]:
        """As JSON."""
        block = (self.since, self.looks, self.candidate, self.stable)
        return [*block, self.blocks, self.candidates, self.stables, self.spans]

    @staticmethod
    def load(data: Sequence[Any]) -> Levels:
        """The inverse of ``dump``."""
        return Levels(*data)

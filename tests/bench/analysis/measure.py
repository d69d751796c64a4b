"""Cells measured: many runs, in parts that have seeds of their own, by the engine and by the rivals' rules."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tests.bench.analysis import engine, rivals, sieve
from tests.bench.analysis.engine import NEVER, Judge
from tests.bench.analysis.worlds import WORLDS, Array, Case, Trace

PART = 250
"""Runs that are made at once."""
_NEAR = 0.2
"""Nats from failing within which the engine is asked in any case."""
_AUDITED = 2
"""Runs of each part and kind that the engine judges too."""


@dataclass(frozen=True)
class Cell:
    """What is measured at once: one world and case, under some of our rules and of others'."""

    world: str
    case: Case
    judges: tuple[str, ...] = ("tidegate",)
    rules: tuple[str, ...] = ()
    proving: bool = False
    """Whether runs end when they pass, too."""


@dataclass(frozen=True)
class Setting:
    """How a bench is run."""

    runs: int
    seed: int
    cores: int

    def parts(self, runs: int | None = None, size: int = PART) -> list[int]:
        """Numbers of runs that sum up."""
        whole = self.runs if runs is None else runs
        return [min(size, whole - begun) for begun in range(0, whole, size)]


def judges() -> dict[str, Judge]:
    """Ours, by the names that cells use."""
    return {
        "tidegate": engine.errors(),
        "tidegate, 20 %": engine.errors(increase=0.2),
        "tidegate, confidence 99 %": engine.errors(confidence=0.99),
        "untempered": dataclasses.replace(engine.errors(), tempered=False),
        "default metric": engine.errors(limit="5%"),
    }


@dataclass(frozen=True)
class Ends:
    """Of some runs under one rule."""

    looks: NDArray[np.int64]
    """When they were reverted, or ``NEVER``."""
    exposure: Array
    """Failed requests of the candidate from the onset until then, or until the time was over."""
    passed: NDArray[np.int64]
    """When they were proven, or ``NEVER``; only of ours."""

    @staticmethod
    def joined(parts: Sequence[Ends]) -> Ends:
        """All of their runs."""
        return Ends(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in dataclasses.fields(Ends)))

    def share(self) -> float:
        """Of the runs, those that were reverted."""
        return float(np.mean(self.looks != NEVER))

    def after(self, onset: int) -> Ends:
        """Those that were not reverted before there was a reason."""
        kept = (self.looks == NEVER) | (self.looks >= onset)
        return Ends(self.looks[kept], self.exposure[kept], self.passed[kept])

    def delay(self, case: Case) -> float:
        """Minutes from the onset to the revert, in the middle of all runs; infinite if half of them were never."""
        looks = np.where(self.looks == NEVER, math.inf, self.looks)
        return float((np.median(looks) - case.onset + 1) * case.seconds / 60)


def random_of(seed: int, what: object, part: int) -> np.random.Generator:
    """The chance of one part of one cell: the same whatever else is measured."""
    return np.random.default_rng([seed, zlib.crc32(repr(what).encode()), part])


Job = TypeVar("Job")
Result = TypeVar("Result")


def spread(work: Callable[[Job], Result], jobs: Sequence[Job], cores: int) -> Iterable[Result]:
    """The results of all jobs, in their order."""
    if cores < 2 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    with get_context("fork").Pool(cores) as pool:
        yield from pool.imap(work, jobs)


def measured(cells: Sequence[Cell], setting: Setting) -> dict[Cell, dict[str, Ends]]:
    """All cells, by the names of judges and rules."""
    cells = list(dict.fromkeys(cells))
    jobs = [
        (cell, runs, setting.seed, part) for cell in cells for part, runs in enumerate(setting.parts())
    ]  # fmt: skip
    found: dict[Cell, list[dict[str, Ends]]] = {cell: [] for cell in cells}
    for (cell, *_), part in zip(jobs, spread(_part, jobs, setting.cores), strict=True):
        found[cell].append(part)
    return {
        cell: {name: Ends.joined([part[name] for part in parts]) for name in parts[0]} for cell, parts in found.items()
    }


def _part(job: tuple[Cell, int, int, int]) -> dict[str, Ends]:
    cell, runs, seed, part = job
    rng = random_of(seed, (cell.world, cell.case), part)
    trace = WORLDS[cell.world](rng, runs, cell.case)
    known = judges()
    ours = {name: by_us(known[name], trace, cell.case, rng, proving=cell.proving) for name in cell.judges}
    nothing = np.full(runs, NEVER)
    theirs = {name: rivals.reverted(name, trace, cell.case.seconds, cell.case.base) for name in cell.rules}
    return {
        **ours,
        **{name: Ends(looks, exposed(trace, looks, cell.case.onset), nothing) for name, looks in theirs.items()},
    }


def by_us(judge: Judge, trace: Trace, case: Case, rng: np.random.Generator, *, proving: bool = False) -> Ends:
    """The verdicts on all runs, audited."""
    found = sieve.found(judge, trace, proving=proving)
    kinds = (np.abs(found.top) < _NEAR, found.failed != NEVER, found.passed != NEVER, found.top < 0)
    for kind, most in zip(kinds, (_AUDITED, _AUDITED, _AUDITED, 1), strict=True):
        for run in rng.permutation(np.flatnonzero(kind))[:most].tolist():
            audit(judge, trace, run, (int(found.failed[run]), int(found.passed[run])), proving=proving)
    return Ends(found.failed, exposed(trace, found.failed, case.onset), found.passed)


def audit(judge: Judge, trace: Trace, run: int, said: tuple[int, int], *, proving: bool = False) -> None:
    """Stop everything if the engine judges a run otherwise."""
    truth = engine.ended(judge, trace, run, proving=proving)
    if truth != said:
        raise AssertionError(f"the engine says {truth}, the arrays {said}: sieve.py is not what the engine is any more")


def exposed(trace: Trace, looks: NDArray[np.int64], onset: int) -> Array:
    """Failed requests of the candidate from the onset to the end of the look that reverts it, or of all looks."""
    failed = trace.candidate.totals[0].copy()
    failed[:, :onset] = 0
    last = np.where(looks == NEVER, failed.shape[1] - 1, looks)
    summed: Array = np.cumsum(failed, axis=1)[np.arange(len(looks)), last]
    return summed


def bounds(count: float, runs: int) -> tuple[float, float]:
    """Where a share truly is, with 95 % (Wilson)."""
    z, share = 1.96, count / runs
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z / (1 + z * z / runs) * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs))
    return max(0.0, middle - half), min(1.0, middle + half)


def keyed(cells: Mapping[Any, Cell], setting: Setting) -> dict[Any, dict[str, Ends]]:
    """The same by keys of the caller's."""
    found = measured(list(cells.values()), setting)
    return {key: found[cell] for key, cell in cells.items()}

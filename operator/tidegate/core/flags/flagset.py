"""A set of flags as one thing: flags need others of it, and a flag that cannot be served hurts no other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tidegate.core.flags.check import MOST_TOLD, Problem, some
from tidegate.core.flags.effective import Choice, Declared, Effective, choice
from tidegate.core.flags.program import Program, program

F = TypeVar("F")
MOST_NEEDED = 16
"""Flags that one is evaluated with, at most: SDKs that evaluate in process get all of them written into it."""


@dataclass(frozen=True)
class FlagSet:
    """What is served of a set."""

    programs: Mapping[str, Program]
    """By key."""
    problems: Mapping[str, tuple[Problem, ...]]
    """What is wrong with newest specs, by key. Such a flag is served by its last spec that was right; the off variant
    is where that one's prerequisites are gone too; and not at all if it never was right."""
    broken: Collection[str] = ()
    """Keys of those whose prerequisites cannot be asked: off for everybody."""


def eldest(flags: Iterable[F], declared: Callable[[F], Declared]) -> dict[str, F]:
    """Of several flags with one key the oldest is served. Those of one set, by key."""
    first: dict[str, F] = {}
    for flag in sorted(flags, key=lambda one: declared(one).age):
        first.setdefault(declared(flag).key, flag)
    return first


def flag_set(flags: Iterable[Declared]) -> FlagSet:
    """The set of these flags, which have distinct keys."""
    return chosen_set({flag.key: choice(flag) for flag in flags})


def chosen_set(choices: Mapping[str, Choice]) -> FlagSet:
    """The same, by key, where each flag has been read already: that is most of the work."""
    problems = {key: one.problems for key, one in choices.items() if one.problems}
    left = {key: list(one.candidates) for key, one in choices.items() if one.candidates}
    while True:
        chosen = {key: candidates[0] for key, candidates in left.items()}
        known = _known(chosen)
        wrong = {key: found for key in chosen if (found := tuple(_wrong(key, chosen, known)))}
        for key, found in wrong.items():
            problems.setdefault(key, found)
        next_best = [key for key in wrong if len(left[key]) > 1]
        if not next_best:
            return FlagSet(_programs(chosen, wrong), problems, wrong.keys())
        for key in next_best:
            del left[key][0]


def _programs(chosen: Mapping[str, Effective], broken: Mapping[str, object]) -> dict[str, Program]:
    """Each after those that it needs; those that need themselves are broken, and need none."""
    made: dict[str, Program] = {}

    def make(key: str) -> Program:
        if key not in made:
            flag, ok = chosen[key], key not in broken
            needed = {one.flag: make(one.flag) for one in flag.spec.prerequisites} if ok else {}
            made[key] = program(flag, needed, broken=not ok)
        return made[key]

    for key in chosen:
        make(key)
    return made


def _wrong(key: str, chosen: Mapping[str, Effective], known: str) -> Iterator[Problem]:
    """What is wrong with a flag's prerequisites. Which flags there are is told by each of them, and found once."""
    spec = chosen[key].spec
    for number, one in enumerate(spec.prerequisites):
        field = f"spec.prerequisites[{number}]"
        if one.flag not in chosen:
            yield Problem(
                f"{field}.flag", f"{one.flag[:MOST_TOLD]!r} is no flag of this set that can be served: {known}"
            )
            continue
        other = chosen[one.flag].spec
        names = [variant.name for variant in other.all_variants]
        if unknown := [name for name in one.variants if name not in names]:
            told = ", ".join(map(repr, unknown[:8]))
            yield Problem(f"{field}.variants", f"{told}: flag {one.flag[:MOST_TOLD]} has {some(names)}")
        if other.bucketing.revision is not spec.bucketing.revision:
            yield Problem(
                f"{field}.flag",
                f"{one.flag[:MOST_TOLD]!r} hashes by {other.bucketing.revision} and this flag by"
                f" {spec.bucketing.revision}: SDKs that evaluate in process know one of them; give both the same"
                " bucketing.revision",
            )
    yield from _too_many(key, chosen)


def _known(chosen: Mapping[str, Effective]) -> str:
    return f"it has {some(sorted(chosen))}"


def _too_many(key: str, chosen: Mapping[str, Effective]) -> Iterator[Problem]:
    """Whether a flag needs itself, by way of others, or more than can be written into it."""
    found = 0
    todo: list[tuple[str, ...]] = [(key,)]
    while todo and found <= MOST_NEEDED:
        path = todo.pop()
        for one in chosen[path[-1]].spec.prerequisites:
            if one.flag == key:
                yield Problem("spec.prerequisites", f"{' needs '.join((*path, key))}: a flag cannot need itself")
                return
            if one.flag in chosen and one.flag not in path:
                found += 1
                todo.append((*path, one.flag))
    if found > MOST_NEEDED:
        yield Problem("spec.prerequisites", f"more than {MOST_NEEDED} flags in all, those of prerequisites included")

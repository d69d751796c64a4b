"""From programs to closures: who asks in, variant, value and reason out. The gateway answers by these.

All that can be known beforehand is: names are values already, answers are made once. What is left is a lookup, a
comparison, a hash.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

from tidegate.api.flagrules import InnerWhen, Test, When
from tidegate.core.flags.attributes import Context, is_number, key_of, reader
from tidegate.core.flags.program import Branch, Hash, Program, Split
from tidegate.core.flags.versions import comparison


class Reason(StrEnum):
    """Why an answer is what it is: the words that all providers of OpenFeature take. An off variant is an answer like
    any other: they fail on one without a value, which DISABLED would be."""

    STATIC = "STATIC"
    """Everybody has this answer."""
    DEFAULT = "DEFAULT"
    """Nothing speaks of who asks."""
    TARGETING_MATCH = "TARGETING_MATCH"
    """A rule speaks of who asks, a prerequisite is not met, or a rollout has reached everybody."""
    SPLIT = "SPLIT"
    """By the hash of who asks."""


class Answer(NamedTuple):
    """What the application gets. The value is shared: it is not to be changed."""

    variant: str
    value: object
    reason: Reason


Evaluate = Callable[[Context], Answer]
Holds = Callable[[Context], bool]
_Branch = Callable[[Context], Answer | None]


def compile_set(programs: Mapping[str, Program]) -> dict[str, Evaluate]:
    """The flags of a set by key. One that others need is made once."""
    made: dict[int, Evaluate] = {}
    return {key: _compiled(program, made) for key, program in programs.items()}


def _compiled(program: Program, made: dict[int, Evaluate]) -> Evaluate:
    if id(program) not in made:
        made[id(program)] = _with_needs(program, _evaluation(program), made)
    return made[id(program)]


def _evaluation(program: Program) -> Evaluate:
    """Without prerequisites."""
    branches = [_branch(program, branch) for branch in program.branches]
    reason = Reason.STATIC if program.static else Reason.DEFAULT
    default = Answer(program.default, program.variants[program.default], reason)
    if not branches:
        return lambda _: default
    if len(branches) == 1:
        return _one_branch(program, program.branches[0], branches[0], default)

    def evaluate(context: Context) -> Answer:
        for branch in branches:
            if answer := branch(context):
                return answer
        return default

    return evaluate


def _one_branch(program: Program, branch: Branch, compiled: _Branch, default: Answer) -> Evaluate:
    """The usual flag, with one call less."""
    if branch.when is None or not isinstance(branch.serve, str):
        return lambda context: compiled(context) or default
    holds = question(branch.when)
    answer = Answer(branch.serve, program.variants[branch.serve], Reason.TARGETING_MATCH)
    return lambda context: answer if holds(context) else default


def _with_needs(program: Program, met: Evaluate, made: dict[int, Evaluate]) -> Evaluate:
    if not program.needs:
        return met
    needs = [(_compiled(need.program, made), frozenset(need.variants)) for need in program.needs]
    name = program.effective.spec.off
    off = Answer(name, program.variants[name], Reason.TARGETING_MATCH)

    def evaluate(context: Context) -> Answer:
        for other, variants in needs:
            if other(context).variant not in variants:
                return off
        return met(context)

    return evaluate


def _branch(program: Program, branch: Branch) -> _Branch:
    serves = _serving(program, branch)
    if branch.when is None:
        return serves
    holds = question(branch.when)
    if isinstance(branch.serve, str):
        answer = Answer(branch.serve, program.variants[branch.serve], Reason.TARGETING_MATCH)
        return lambda context: answer if holds(context) else None
    return lambda context: serves(context) if holds(context) else None


def _serving(program: Program, branch: Branch) -> _Branch:
    """What is served to those of whom the branch speaks, if their share is reached and there is a key to split by."""
    if isinstance(branch.serve, Split):
        return _splitting(program, branch.serve, branch.exposure)
    reason = Reason.SPLIT if branch.exposure else Reason.TARGETING_MATCH
    answer = Answer(branch.serve, program.variants[branch.serve], reason)
    if branch.exposure is None:
        return lambda _: answer
    hashed, below = branch.exposure
    read, bucket = reader(hashed.by), hashed.bucket

    def exposed(context: Context) -> Answer | None:
        key = key_of(read(context))
        return answer if key is not None and bucket(key) < below else None

    return exposed


def _splitting(program: Program, split: Split, exposure: tuple[Hash, int] | None) -> _Branch:
    read, allocate = reader(split.hash.by), split.hash.bucket
    limits = list(accumulate(weight for _, weight in split.weights))
    answers = [Answer(variant, program.variants[variant], Reason.SPLIT) for variant, _ in split.weights]

    def allocated(context: Context) -> Answer | None:
        key = key_of(read(context))
        if key is None or (exposure and expose(key) >= below):
            return None
        return answers[bisect_right(limits, allocate(key))]

    if exposure:
        expose, below = exposure[0].bucket, exposure[1]
    return allocated


def question(when: When | InnerWhen | Test) -> Holds:
    """Whether it holds for who asks."""
    combined = _combined(when) if isinstance(when, When | InnerWhen) else None
    return combined or _test(when)


def _combined(when: When | InnerWhen) -> Holds | None:
    if when.not_ is not None:
        negated = question(when.not_)
        return lambda context: not negated(context)
    parts = [question(part) for part in when.all or when.any or ()]
    if when.all:
        return _all(parts)
    return _any(parts) if when.any else None


def _all(parts: list[Holds]) -> Holds:
    def holds(context: Context) -> bool:
        for part in parts:  # noqa: SIM110  # all() makes a generator, which costs more than the parts
            if not part(context):
                return False
        return True

    return holds


def _any(parts: list[Holds]) -> Holds:
    def holds(context: Context) -> bool:
        for part in parts:  # noqa: SIM110  # as above
            if part(context):
                return True
        return False

    return holds


def _test(test: Test) -> Holds:
    read = reader(test.attribute or "")
    if test.exists is not None:
        there = test.exists
        return lambda context: (read(context) is not None) is there
    if test.is_ is not None:
        truth = test.is_
        return lambda context: read(context) is truth
    if test.contains is not None:
        return _containing(test)
    return _text(test) or _number(test)


def _text(test: Test) -> Holds | None:
    """Comparisons with text. What is of another type is not like any."""
    read = reader(test.attribute or "")
    if test.equals is not None:
        text = test.equals
        return lambda context: read(context) == text
    if test.not_in is not None:
        others = frozenset(test.not_in)
        return lambda context: _is_there(read(context), others)
    compare = _text_comparison(test)
    if compare is None:
        return None
    return lambda context: type(value := read(context)) is str and compare(value)


def _is_there(value: object, others: frozenset[str]) -> bool:
    return value is not None and not (type(value) is str and value in others)


def _text_comparison(test: Test) -> Callable[[str], bool] | None:
    if test.in_ is not None:
        return frozenset(test.in_).__contains__
    if test.starts_with is not None:
        start = test.starts_with
        return lambda text: text.startswith(start)
    if test.ends_with is not None:
        end = test.ends_with
        return lambda text: text.endswith(end)
    return comparison(test.semver) if test.semver is not None else None


def _containing(test: Test) -> Holds:
    read, part = reader(test.attribute or ""), test.contains or ""
    return lambda context: isinstance(value := read(context), str | list) and part in value


def _number(test: Test) -> Holds:
    read = reader(test.attribute or "")
    if test.at_least is not None:
        least = test.at_least
        return lambda context: is_number(value := read(context)) and value >= least
    if test.at_most is not None:
        most = test.at_most
        return lambda context: is_number(value := read(context)) and value <= most
    if test.above is not None:
        below = test.above
        return lambda context: is_number(value := read(context)) and value > below
    if test.below is not None:
        above = test.below
        return lambda context: is_number(value := read(context)) and value < above
    raise ValueError(f"attribute {test.attribute}: no comparison")

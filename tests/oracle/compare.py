"""Whether an SDK answers as the gateway does: any flag, anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.oracle.chance import Chance
from tests.oracle.sdks import Sdk
from tidegate.api.flag import FlagType
from tidegate.core.flags.compile import Answer, Reason, compile_set
from tidegate.core.flags.flagd import document
from tidegate.core.flags.flagset import flag_set

Json = dict[str, Any]
TOGETHER = 4
"""Flags in a set; some need others."""
AT_ONCE = 1000
"""Sets that are given to a process of the SDK."""
KINDS = {
    FlagType.BOOLEAN: "boolean",
    FlagType.STRING: "string",
    FlagType.INTEGER: "integer",
    FlagType.NUMBER: "float",
    FlagType.OBJECT: "object",
}


@dataclass(frozen=True)
class Disagreement:
    """Two answers to one question."""

    flag: Json
    context: Json
    ours: Answer
    theirs: list[Any]


@dataclass(frozen=True)
class Comparison:
    """What came of it."""

    flags: int
    asked: int
    answers: dict[Reason, int]
    """How many of ours had which reason: a comparison of nothing but defaults would say little."""
    disagreements: list[Disagreement]


def compare(sdk: Sdk, *, seed: int, flags: int, people: int) -> Comparison:
    """Ask both. JavaScript is not asked by keys that are not ASCII: it hashes them otherwise (docs/flags.md)."""
    chance = Chance(seed, revision=sdk.revision, ascii_keys=sdk.is_javascript)
    found: list[Disagreement] = []
    counted = dict.fromkeys(Reason, 0)
    asked = 0
    for _ in range(0, flags, TOGETHER * AT_ONCE):
        sets = min(AT_ONCE, (flags - asked // people) // TOGETHER)
        batch = [_case(chance, people) for _ in range(sets)]
        for case, theirs in zip(batch, sdk.answers(one.question for one in batch), strict=True):
            asked += len(theirs)
            found += _disagreements(case, theirs)
            for ours in case.ours:
                counted[ours.reason] += 1
    return Comparison(asked // people, asked, counted, found)


@dataclass(frozen=True)
class _Case:
    question: dict[str, Any]
    ours: list[Answer]


def _case(chance: Chance, people: int) -> _Case:
    flags = flag_set(chance.flags(TOGETHER))
    if flags.problems:
        raise ValueError(flags.problems)
    evaluate = compile_set(flags.programs)
    contexts = [chance.person() for _ in range(people)]
    asked: list[tuple[str, str, Json]] = [
        (key, KINDS[program.effective.spec.type], context)
        for key, program in flags.programs.items()
        for context in contexts
    ]
    written = json.dumps(document("chance", "1", flags.programs.values()))
    return _Case({"document": written, "asked": asked}, [evaluate[key](context) for key, _, context in asked])


def _disagreements(case: _Case, theirs: list[list[Any]]) -> Iterator[Disagreement]:
    for (key, _, context), ours, other in zip(case.question["asked"], case.ours, theirs, strict=True):
        # SDKs have no word for an answer by hash.
        reason = Reason.TARGETING_MATCH if ours.reason is Reason.SPLIT else ours.reason
        if [ours.variant, ours.value, reason] != other:
            flag = json.loads(case.question["document"])["flags"][key]
            yield Disagreement(flag, context, ours, other)

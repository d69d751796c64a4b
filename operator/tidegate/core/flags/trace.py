"""Why somebody is served what: each branch of a program with what speaks against it, for a person who wonders.

It asks the same closures as the gateway, one by one, and so is slower and never says anything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tidegate.api.flagrules import InnerWhen, Test, When
from tidegate.core.flags.attributes import Context, key_of, reader
from tidegate.core.flags.compile import Answer, compile_set, question
from tidegate.core.flags.program import Branch, Hash, Program, Split


@dataclass(frozen=True)
class Step:
    """What was asked on the way to the answer."""

    what: str
    """A prerequisite, a rule, or the rollout."""
    matched: bool
    """Whether it decided."""
    why: str
    """What speaks for it or against it: the attribute that failed, the place of the key."""


@dataclass(frozen=True)
class Trace:
    """An answer, and how it came about."""

    answer: Answer
    steps: tuple[Step, ...]


def trace(program: Program, context: Context) -> Trace:
    """What the flag answers, and why."""
    answer = compile_set({"": program})[""](context)
    return Trace(answer, tuple(_until_matched(_steps(program, context))))


def _until_matched(steps: Iterator[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        if step.matched:
            return


def _steps(program: Program, context: Context) -> Iterator[Step]:
    effective = program.effective
    if effective.killed:
        yield Step("spec.enabled", True, "false: off for everybody")
    elif effective.breached:
        yield Step("status.override", True, "its analysis has turned it off for everybody")
    for need in program.needs:
        variant = compile_set({"": need.program})[""](context).variant
        met = variant in need.variants
        wanted = " or ".join(need.variants)
        what = f"prerequisite {need.program.effective.key}"
        yield Step(what, not met, f"serves {variant}, {'as' if met else 'not'} {wanted}")
    for branch in program.branches:
        yield _step(branch, context)
    why = "one answer for everybody" if program.static else "nothing else speaks of who asks"
    yield Step("default", True, f"{why}: {program.default}")


def _step(branch: Branch, context: Context) -> Step:
    what = f"rule {branch.name}" if branch.name else "rollout"
    if branch.when is not None and (failed := _failed(branch.when, context)):
        return Step(what, False, failed)
    hashes = [branch.exposure[0]] if branch.exposure else []
    hashes += [branch.serve.hash] if isinstance(branch.serve, Split) else []
    for hashed in hashes:
        value = reader(hashed.by)(context)
        if key_of(value) is None:
            return Step(what, False, f"{hashed.by} {_told(value)}: no key to hash")
    told = []
    if branch.exposure:
        hashed, below = branch.exposure
        place, inside = _place(hashed, context), _place(hashed, context) < below
        told.append(f"place {place} of {hashed.total}, {'within' if inside else 'beyond'} {below / 1000:g} %")
        if not inside:
            return Step(what, False, told[0])
    if isinstance(branch.serve, Split):
        place = _place(branch.serve.hash, context)
        shares = ", ".join(f"{name} {weight}" for name, weight in branch.serve.weights)
        told.append(f"place {place} of {branch.serve.hash.total}, split into {shares}")
    return Step(what, True, "; ".join(told) or "speaks of who asks")


def _place(hashed: Hash, context: Context) -> int:
    return hashed.bucket(key_of(reader(hashed.by)(context)) or "")


def _failed(when: When | InnerWhen | Test, context: Context) -> str:
    """What of it does not hold; nothing if it does."""
    if question(when)(context):
        return ""
    if isinstance(when, When | InnerWhen):
        if when.not_ is not None:
            return f"not: {_asked(when.not_)} holds"
        if when.all:
            return next(filter(None, (_failed(part, context) for part in when.all)))
        if when.any:
            return "; ".join(_failed(part, context) for part in when.any)
    return f"{when.attribute} {_told(reader(when.attribute or '')(context))}: not {_asked(when)}"


def _asked(when: When | InnerWhen | Test) -> str:
    """The question, as it was written."""
    asked: dict[str, Any] = when.model_dump(mode="json", by_alias=True, exclude_none=True)
    attribute = asked.pop("attribute", "")
    return f"{attribute + ' ' if attribute else ''}{json.dumps(asked, ensure_ascii=False)}"


def _told(value: object) -> str:
    return "is missing" if value is None else f"is {json.dumps(value, ensure_ascii=False)}"

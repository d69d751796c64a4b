"""The same programs as flagd's JSON, for SDKs that evaluate in process. They answer as the gateway does.

Shapes are chosen by what Python's flagd-core 1.0 and 2.0 and JavaScript's 4.0 make of them, which are JSON Logic of
two makers: JavaScript stops with an error where a text that is no number is compared with one, or something is looked
for in a number; Python takes true for 1, and a missing attribute for 0. So each comparison asks for the type first,
with what both see alike:

* text: ``starts_with`` the empty text, true of text alone;
* no list: it is among its own elements, by ``merge``, where only a list is taken apart;
* boolean: it is ``===`` true and ``cat`` writes it "true" or "True", where Python writes the number 1 as "1";
* number: none of these, and ``cat`` does not write it "[object Object]" or "null" either.

What is left, and told in docs/flags.md: JavaScript hashes the UTF-16 of a key that is not ASCII, where Python and Go
hash its UTF-8; and it knows no version that lacks a part and has a suffix (``1-beta``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tidegate.api.flagrules import InnerWhen, Test, When
from tidegate.core.flags.attributes import KEYS_BELOW
from tidegate.core.flags.program import Branch, Hash, Need, Program, Split
from tidegate.core.flags.versions import split as version_split

Json = dict[str, Any]
_NO_NUMBER = ["true", "True", "false", "False", "null", "None", "[object Object]"]
"""What ``cat`` makes of what is neither text nor list nor number."""


def document(name: str, version: str, programs: Iterable[Program]) -> Json:
    """A set of flags. Its version changes when any of it does."""
    return {
        "flags": {program.effective.key: definition(program) for program in programs},
        "metadata": {"flagSetId": name, "version": version},
    }


def definition(program: Program) -> Json:
    """A flag. Always ENABLED: SDKs have no value for one that is DISABLED, and the off variant is one."""
    effective = program.effective
    metadata: dict[str, str | bool] = {"bucketing": effective.spec.bucketing.revision.value}
    if effective.spec.owner:
        metadata["owner"] = effective.spec.owner
    if effective.off:
        metadata["killed" if effective.killed else "breached"] = True
    flag = {
        "state": "ENABLED",
        "variants": dict(program.variants),
        "defaultVariant": program.default,
        "metadata": metadata,
    }
    return flag if program.static else {**flag, "targeting": {"if": [*_choices(program), None]}}


def _choices(program: Program) -> list[Any]:
    """Conditions and what is served by them, in turn."""
    found: list[Any] = []
    for need in program.needs:
        found += [{"!": [_met(need)]}, program.effective.spec.off]
    for branch in program.branches:
        found += [_condition(branch), _served(branch.serve)]
    return found


def _met(need: Need) -> Json:
    other = need.program
    return {"in": [{"if": [*_choices(other), other.default]}, list(need.variants)]}


def _served(serve: str | Split) -> str | Json:
    return serve if isinstance(serve, str) else _fractional(serve.hash, [list(weight) for weight in serve.weights])


def _fractional(hashed: Hash, weights: list[list[Any]]) -> Json:
    return {"fractional": [{"cat": [hashed.prefix, _var(hashed.by)]}, *weights]}


def _condition(branch: Branch) -> Any:
    parts = [_question(branch.when)] if branch.when else []
    if branch.exposure or isinstance(branch.serve, Split):
        hashed = branch.serve.hash if isinstance(branch.serve, Split) else branch.exposure[0]  # type: ignore[index]  # one of both
        parts.append(_has_key(hashed.by))
    if branch.exposure:
        hashed, below = branch.exposure
        parts.append({"===": [_fractional(hashed, [["in", below], ["out", hashed.total - below]]), "in"]})
    return True if not parts else parts[0] if len(parts) == 1 else {"and": parts}


def _has_key(by: str) -> Json:
    """As ``attributes.key_of``."""
    attribute = _var(by)
    whole = {"===": [{"%": [attribute, 1]}, 0]}
    number = [*_is_number(attribute), {"<": [0, attribute, KEYS_BELOW]}, whole]
    return {"or": [{"and": [_is_text(attribute), {"!!": [attribute]}]}, {"and": number}]}


def _var(attribute: str) -> Json:
    return {"var": [attribute]}


def _is_text(attribute: Json) -> Json:
    return {"starts_with": [attribute, ""]}


def _is_number(attribute: Json) -> list[Json]:
    """To be asked in this order: what follows is safe by what went before."""
    return [
        {"!": [_is_text(attribute)]},
        {"in": [attribute, {"merge": [attribute]}]},
        {"!": [{"in": [{"cat": [attribute]}, _NO_NUMBER]}]},
    ]


def _question(when: When | InnerWhen | Test) -> Json:
    if isinstance(when, When | InnerWhen):
        if when.not_ is not None:
            return {"!": [_question(when.not_)]}
        if when.all or when.any:
            return {"and" if when.all else "or": [_question(part) for part in when.all or when.any or ()]}
    return _test(when)


def _test(test: Test) -> Json:
    attribute = _var(test.attribute or "")
    there = {"!==": [attribute, None]}
    if test.exists is not None:
        return there if test.exists else {"!": [there]}
    if test.equals is not None:
        return {"===": [attribute, test.equals]}
    if test.in_ is not None:
        return {"in": [attribute, list(test.in_)]}
    if test.not_in is not None:
        return {"and": [there, {"!": [{"in": [attribute, list(test.not_in)]}]}]}
    if test.starts_with is not None:
        return {"starts_with": [attribute, test.starts_with]}
    if test.ends_with is not None:
        return {"ends_with": [attribute, test.ends_with]}
    if test.contains is not None:
        one_of = {"in": [test.contains, {"merge": [attribute]}]}
        return {"or": [one_of, {"and": [_is_text(attribute), {"in": [test.contains, attribute]}]}]}
    if test.is_ is not None:
        written = ["true", "True"] if test.is_ else ["false", "False"]
        return {"and": [{"===": [attribute, test.is_]}, {"in": [{"cat": [attribute]}, written]}]}
    if test.semver is not None:
        return {"and": [_is_text(attribute), {"sem_ver": [attribute, *version_split(test.semver)]}]}
    return {"and": [*_is_number(attribute), _limit(attribute, test)]}


def _limit(attribute: Json, test: Test) -> Json:
    limits = {">=": test.at_least, "<=": test.at_most, ">": test.above, "<": test.below}
    return next({operator: [attribute, limit]} for operator, limit in limits.items() if limit is not None)

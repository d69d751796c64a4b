"""From FeatureFlags to sets that are served. What came is gathered, and each set that it touches is made anew once.

A flag that cannot be served hurts no other. What is asked for while a set is made is answered by the one before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from tidegate.api.flagstatus import FlagStatus
from tidegate.core.flags.check import shallow
from tidegate.core.flags.compile import compile_set
from tidegate.core.flags.effective import Choice, Declared, choice, declared_of
from tidegate.core.flags.flagset import chosen_set, eldest
from tidegate.core.flags.program import Program
from tidegate.flags.served import Arms, Flag, Served, Tally

log = logging.getLogger("tidegate.flags")

Object = dict[str, Any]
Name = tuple[str, str]
"""Namespace and name."""
Soon = Callable[[Callable[[], None]], object]
"""Calls a function after a moment."""
MOST_TOLD = 4
"""Problems of one flag, in a log."""
Told = Callable[[str], None]
"""A set is another now."""


@dataclass(frozen=True)
class _Entry:
    """A FeatureFlag."""

    declared: Declared
    choice: Choice
    good: Mapping[str, Any] | None
    """The last spec that could be served by itself, for when a newer one cannot."""
    uid: str


class Catalog:
    """All that is known."""

    def __init__(self, soon: Soon) -> None:
        self._soon, self._listeners = soon, list[Told]()
        self._entries: dict[Name, _Entry] = {}
        self._members: dict[str, set[Name]] = {}
        self._touched: set[str] = set()
        self._tallies: dict[str, dict[str, dict[str, Tally]]] = {}
        self.sets: dict[str, Served] = {}
        """By name."""
        self.conflicts: dict[str, tuple[Name, ...]] = {}
        """By set: flags that are not served since an older one has their key."""
        self.problems: dict[str, dict[str, str]] = {}
        """By set and key: what is wrong with a newest spec."""

    def listen(self, told: Told) -> None:
        """Be told of each set that is another."""
        self._listeners.append(told)

    def of(self, name: str) -> Served:
        """A set; one that nobody has a flag in is empty."""
        return self.sets.get(name) or Served(name, {}, None)

    def put(self, obj: Object) -> None:
        """A FeatureFlag, new or changed. None of them may end the watch, which all others are told by."""
        try:
            self._put(obj)
        except Exception:
            log.exception("a FeatureFlag cannot be read, and is left as it was: %.200r", obj)

    def _put(self, obj: Object) -> None:
        declared = declared_of({**obj, "spec": shallow(obj.get("spec") or {})}, _status(obj.get("status") or {}))
        name = declared.namespace, declared.name
        before, uid = self._entries.get(name), str(obj["metadata"].get("uid") or "")
        if before and uid and before.uid and before.uid != uid:
            # Another object of the same name, whose predecessor was not seen to go: its spec is nobody's any more.
            before = None
        if before and before.declared == declared and _text(before.declared.spec) == _text(declared.spec):
            return
        entry = _entry(declared, before, uid)
        self._drop(name)
        self._entries[name] = entry
        self._members.setdefault(declared.flag_set, set()).add(name)
        self._touch(declared.flag_set)

    def remove(self, name: Name) -> None:
        """A FeatureFlag is gone."""
        if flag_set := self._drop(name):
            self._touch(flag_set)

    def keep_only(self, names: Collection[Name]) -> None:
        """These are all that there are."""
        for name in self._entries.keys() - set(names):
            self.remove(name)

    def objects(self) -> Iterator[Object]:
        """What is known, as it can be put again: with it the last good spec of each."""
        for entry in self._entries.values():
            yield _object(entry)

    def tallies(self) -> Iterator[tuple[str, str, str, Tally]]:
        """Evaluations by set, flag and variant."""
        for served in self.sets.values():
            served.settle()
        for flag_set, flags in self._tallies.items():
            for flag, variants in flags.items():
                for variant, tally in variants.items():
                    yield flag_set, flag, variant, tally

    def _drop(self, name: Name) -> str | None:
        entry = self._entries.pop(name, None)
        if entry is None:
            return None
        flag_set = entry.declared.flag_set
        self._members[flag_set].discard(name)
        self._touch(flag_set)
        return flag_set

    def _touch(self, flag_set: str) -> None:
        if not self._touched:
            self._soon(self.refresh)
        self._touched.add(flag_set)

    def refresh(self) -> None:
        """Make what was touched anew, and tell."""
        touched, self._touched = self._touched, set()
        for name in touched:
            try:
                self._make(name)
            except Exception:
                log.exception("flag set %s cannot be made, and stays as it was", name)
                continue
            for told in self._listeners:
                told(name)

    def _make(self, name: str) -> None:
        members = {member: self._entries[member] for member in self._members.get(name, ())}
        entries = eldest(members.values(), lambda entry: entry.declared)
        late = (member for member, entry in members.items() if entries[entry.declared.key] is not entry)
        self.conflicts[name] = tuple(sorted(late))
        before = self.sets.get(name)
        if before:
            before.settle()
        if not entries:
            for known in (self.sets, self._members, self.problems, self.conflicts, self._tallies):
                known.pop(name, None)
            return
        found = chosen_set({key: entry.choice for key, entry in entries.items()})
        self.problems[name] = {key: "; ".join(map(str, wrong)) for key, wrong in found.problems.items()}
        self.sets[name] = Served(name, self._flags(name, found.programs, before), before)

    def _flags(self, name: str, programs: Mapping[str, Program], before: Served | None) -> dict[str, Flag]:
        """Only those that have changed are made anew."""
        tallies = self._tallies.setdefault(name, {})
        for gone in tallies.keys() - programs.keys():
            del tallies[gone]
        kept = before.flags if before else {}
        same = {key: kept[key] for key, one in programs.items() if key in kept and _alike(kept[key].program, one)}
        fresh = {key: program for key, program in programs.items() if key not in same}
        made = {
            key: Flag(name, fresh[key], evaluate, tallies.setdefault(key, {}), _arms(fresh[key], kept.get(key)))
            for key, evaluate in compile_set(fresh).items()
        }
        return {key: same.get(key) or made[key] for key in programs}


def _alike(one: Program, other: Program) -> bool:
    """As JSON too: to Python 1 is True, and to those who are served it is not."""
    return one == other and _text(one.variants) == _text(other.variants)


def _arms(program: Program, before: Flag | None) -> Arms | None:
    """Those of the same share count on."""
    if not Arms.under_way(program):
        return None
    if before and before.arms and before.arms.of[1:] == program.branches[-1].exposure[1:]:  # type: ignore[index]  # it is under way
        arms = Arms(program)
        arms.inside, arms.outside = before.arms.inside, before.arms.outside
        return arms
    return Arms(program)


def _entry(declared: Declared, before: _Entry | None, uid: str) -> _Entry:
    found = choice(declared)
    if not found.problems:
        return _Entry(declared, found, declared.spec, uid)
    good = before.good if before else None
    told = "; ".join(map(str, found.problems[:MOST_TOLD]))
    log.warning("FeatureFlag %s/%s: %s", declared.namespace, declared.name, told)
    if not found.candidates and good is not None:
        status = (declared.status or FlagStatus()).model_copy(update={"accepted": _text(good)})
        found = choice(replace(declared, status=status))
    return _Entry(declared, found, good, uid)


def _status(status: Mapping[str, Any]) -> FlagStatus | None:
    """What of a status is served by. The rest changes more often, and one that cannot be read is none."""
    rollout = status.get("rollout") or {}
    less = {
        "rollout": {key: rollout[key] for key in ("digest", "milli") if key in rollout} or None,
        "override": status.get("override"),
        "accepted": status.get("accepted") or "",
    }
    try:
        return FlagStatus.model_validate(less)
    except ValidationError:
        return None


def _object(entry: _Entry) -> Object:
    declared = entry.declared
    status = declared.status.model_dump(mode="json", by_alias=True, exclude_defaults=True) if declared.status else {}
    if entry.good is not None and not status.get("accepted"):
        status["accepted"] = _text(entry.good)
    metadata = {"namespace": declared.namespace, "name": declared.name, "creationTimestamp": declared.created}
    if entry.uid:
        metadata["uid"] = entry.uid
    return {"metadata": metadata, "spec": declared.spec, "status": status}


def _text(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec)

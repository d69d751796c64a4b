"""A set of flags as it is served: everything that can be made beforehand is bytes."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property

from tidegate.core.flags.attributes import Context, key_of, reader
from tidegate.core.flags.compile import Answer, Evaluate, Reason, question
from tidegate.core.flags.flagd import definition
from tidegate.core.flags.program import Program, Split
from tidegate.flags.distinct import Distinct

log = logging.getLogger("tidegate.flags")

FAILED = "the flag could not be evaluated; the gateway's log says why"
SINGLE, BULK = 0, 1
Tally = list[int]
"""Evaluations, asked for one by one and in bulk."""


class Kind(StrEnum):
    """Who asks, by the token."""

    SERVER = "server"
    """Sees all flags, and may have the rules themselves."""
    CLIENT = "client"
    """In other people's hands: sees what is meant for it, and answers only."""


class Said:
    """One answer of a flag, as JSON."""

    __slots__ = ("answer", "tally", "text")

    def __init__(self, answer: Answer, text: bytes, tally: Tally) -> None:
        self.answer, self.text, self.tally = answer, text, tally


class Arms:
    """Of a rollout under way: how many people are in, and how many are not, of those whom no rule speaks of."""

    def __init__(self, program: Program) -> None:
        rollout = program.branches[-1]
        if rollout.exposure is None:
            raise ValueError(f"{program.effective.key}: everybody is in")
        self.of = rollout.exposure
        """By which hash, and below which place: other people are in where this differs."""
        self.share = self.of[1] / self.of[0].total
        self._key = reader(self.of[0].by)
        splits = (branch for branch in program.branches[:-1] if isinstance(branch.serve, Split))
        self._by_rule = [question(branch.when) for branch in splits if branch.when]
        self.inside, self.outside = Distinct(), Distinct()

    @staticmethod
    def under_way(program: Program) -> bool:
        """Whether there is a rollout that has reached some."""
        return bool(program.branches and program.branches[-1].exposure)

    def saw(self, context: Context, answer: Answer) -> None:
        """Somebody was answered."""
        if answer.reason is Reason.DEFAULT:
            arm = self.outside
        elif answer.reason is Reason.SPLIT and not (self._by_rule and any(holds(context) for holds in self._by_rule)):
            arm = self.inside
        else:
            return
        if (key := key_of(self._key(context))) is not None:
            arm.add(key)


class Flag:
    """A flag, ready to answer."""

    __slots__ = (
        "_discreet",
        "_head",
        "_said",
        "_tail",
        "_tallies",
        "arms",
        "client_side",
        "definition",
        "evaluate",
        "key",
        "program",
    )

    def __init__(
        self, set_name: str, program: Program, evaluate: Evaluate, tallies: dict[str, Tally], arms: Arms | None
    ) -> None:
        self.key, self.program, self.evaluate, self.arms = program.effective.key, program, evaluate, arms
        self.client_side = program.effective.spec.client_side
        told = definition(program)
        self.definition = f"{json.dumps(self.key)}:{_json(told)}".encode()
        metadata = {"flagSetId": set_name, **told["metadata"]}
        self._head, self._tail = f'{{"key":{json.dumps(self.key)},"reason":"', _tail(metadata)
        self._said: dict[int, Said] = {}
        """By the identity of the answer, which is kept: a compiled flag makes each of its answers once."""
        self._tallies = tallies
        self._discreet: Flag | None = None
        if metadata.pop("owner", None):
            self._discreet = copy.copy(self)
            self._discreet._said, self._discreet._tail = {}, _tail(metadata)

    @property
    def static(self) -> bool:
        """One answer for everybody."""
        return self.program.static

    @property
    def for_clients(self) -> Flag:
        """The same, for those who are not to know whose it is."""
        return self._discreet or self

    def answer(self, context: Context, mode: int) -> bytes:
        """What is said to who asks."""
        answer = self.evaluate(context)
        said = self._said.get(id(answer)) or self._say(answer)
        said.tally[mode] += 1
        if self.arms is not None:
            self.arms.saw(context, answer)
        return said.text

    @property
    def failed(self) -> bytes:
        """What is said to who asks for all flags where this one could not be evaluated."""
        return f'{{"key":{json.dumps(self.key)},"errorCode":"GENERAL","errorDetails":"{FAILED}"}}'.encode()

    def always(self) -> Said:
        """The one answer of a static flag."""
        answer = self.evaluate({})
        return self._said.get(id(answer)) or self._say(answer)

    def _say(self, answer: Answer) -> Said:
        variant = json.dumps(answer.variant)
        text = f'{self._head}{answer.reason.value}","variant":{variant},"value":{_json(answer.value)}{self._tail}'
        tally = self._tallies.setdefault(answer.variant, [0, 0])
        said = self._said[id(answer)] = Said(answer, text.encode(), tally)
        return said


def _tail(metadata: Mapping[str, object]) -> str:
    return f',"metadata":{_json(metadata)}}}'


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


class View:
    """What of a set one kind of token sees."""

    def __init__(self, flags: Iterable[Flag], before: View | None) -> None:
        seen = sorted(flags, key=lambda flag: flag.key)
        self.flags = {flag.key: flag for flag in seen}
        self.dynamic = [flag for flag in seen if not flag.static]
        self._always = [flag.always() for flag in seen if flag.static]
        self._block = b",".join(said.text for said in self._always)
        self._asked = 0
        digest = hashlib.sha256()
        for flag in seen:
            digest.update(flag.definition)
        self.revision = digest.hexdigest()[:16]
        """Of all that is answered: the same in every gateway that knows the same flags."""
        self.known: deque[str] = deque(before.known if before else (), maxlen=32)
        """Revisions that were served lately, this one among them."""
        if self.revision not in self.known:
            self.known.append(self.revision)

    def answers(self, context: Context) -> bytes:
        """All of it, as the elements of a list. A flag that cannot be evaluated hurts no other."""
        self._asked += 1
        parts = []
        for flag in self.dynamic:
            try:
                parts.append(flag.answer(context, BULK))
            except Exception:
                # A traceback has lines of code, and nothing of the context.
                log.exception("flag %s could not be evaluated", flag.key)
                parts.append(flag.failed)
        if self._block:
            parts.append(self._block)
        return b",".join(parts)

    def settle(self) -> None:
        """Static answers are counted together, and told apart only when somebody wants to know."""
        asked, self._asked = self._asked, 0
        for said in self._always:
            said.tally[BULK] += asked


class Served:
    """A set of flags, never changed: another one takes its place."""

    def __init__(self, name: str, flags: Mapping[str, Flag], before: Served | None) -> None:
        self.name, self.flags = name, flags
        mine = [flag.for_clients for flag in flags.values() if flag.client_side]
        self.views: dict[Kind, View] = {
            Kind.SERVER: View(flags.values(), before.views[Kind.SERVER] if before else None),
            Kind.CLIENT: View(mine, before.views[Kind.CLIENT] if before else None),
        }
        self.revision = self.views[Kind.SERVER].revision

    @cached_property
    def document(self) -> bytes:
        """For SDKs that evaluate in process, as flagd has it. Never empty: that would mean nothing to flagd."""
        metadata = _json({"flagSetId": self.name, "version": self.revision}).encode()
        flags = b",".join(flag.definition for flag in self.views[Kind.SERVER].flags.values())
        return b'{"flags":{' + flags + b'},"metadata":' + metadata + b"}"

    @cached_property
    def message(self) -> bytes:
        """The document as a message of flagd.sync.v1. One for all: each that is told of it keeps it for as long as it
        listens."""
        return encoded(self.document)

    @cached_property
    def compressed(self) -> bytes:
        """The document, gzipped; alike in every gateway."""
        return gzip.compress(self.document, 6, mtime=0)

    def settle(self) -> None:
        """See ``View.settle``."""
        for view in self.views.values():
            view.settle()


def encoded(document: bytes) -> bytes:
    """A message whose first field is this text."""
    return b"\x0a" + _varint(len(document)) + document


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))

"""Tokens: each of one set of flags, of kind server or client. What is kept of them is their hashes.

They are files of a mounted Secret, named SET.server or SET.client: a token a line, so that a new one can be there
before the old one goes; or ``sha256:`` and its hash in hex, where the Secret is not to have the token either.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tidegate.flags.served import Kind

log = logging.getLogger("tidegate.flags")

SHORTEST = 16
"""Characters of a token: a shorter one could be guessed."""
_HASH = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
SELECTED = "flagSetId="


class Caller(NamedTuple):
    """Who asks."""

    flag_set: str
    kind: Kind
    ticket: str
    """By which the same may listen to events, where no header can be sent."""
    digest: bytes
    """Of the token."""


@dataclass(frozen=True)
class Refused:
    """Who asks may not."""

    status: int
    message: str


class Access:
    """The tokens of a folder. Read again when asked to, at no cost where nothing has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: object = None
        self._callers: dict[bytes, Caller] = {}
        self.look()

    def look(self) -> None:
        """See whether there are other tokens by now. A folder that cannot be read leaves those that are known."""
        try:
            files = sorted(file for file in self._folder.iterdir() if file.is_file() and not file.name.startswith("."))
            seen = [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
            if seen == self._seen:
                return
            texts = {file.name: text for file in files if (text := _text(file)) is not None}
        except OSError as error:
            log.warning("tokens: %s: %s; those known before still hold", self._folder, error)
            return
        self._seen, self._callers = seen, callers(texts)
        log.info("tokens: %d of %d sets", len(self._callers), len({one.flag_set for one in self._callers.values()}))

    def who(self, token: str, selected: str) -> Caller | Refused:
        """By a token, and the set that is asked for if it is said."""
        if not token:
            return Refused(401, "a token is needed: Authorization: Bearer TOKEN, or X-API-Key: TOKEN")
        caller = self._callers.get(hashlib.sha256(token.encode()).digest())
        if caller is None:
            return Refused(401, "this token is not known: it is to be one of a file SET.server or SET.client")
        if selected and selected != caller.flag_set:
            return Refused(403, "this token is of another flag set")
        return caller

    def holds(self, caller: Caller) -> bool:
        """Whether it may still be told: its token may be gone by now."""
        return self._callers.get(caller.digest) == caller

    @property
    def tokens(self) -> Collection[bytes]:
        """Digests of all tokens."""
        return self._callers.keys()

    def listener(self, flag_set: str, ticket: str) -> Caller | Refused:
        """By the ticket of a stream's URL."""
        for caller in self._callers.values():
            if hmac.compare_digest(caller.ticket.encode(), ticket.encode()) and caller.flag_set == flag_set:
                return caller
        return Refused(401, "this stream is not known: ask for all flags, which tells its URL")


class Open:
    """No tokens: whoever asks sees everything. The set is said, or the only one."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names

    def look(self) -> None:
        """There is nothing to read."""

    def who(self, _: str, selected: str) -> Caller | Refused:
        """By the set that is asked for."""
        if not selected and len(self._names) == 1:
            selected = next(iter(self._names))
        if not selected:
            return Refused(400, f"say which flag set: Flagd-Selector: {SELECTED}NAME")
        return Caller(selected, Kind.SERVER, "", b"")

    def holds(self, _: Caller) -> bool:
        """Nobody's token is gone."""
        return True

    @property
    def tokens(self) -> Collection[bytes]:
        """All are one."""
        return (b"",)

    def listener(self, flag_set: str, _: str) -> Caller | Refused:
        """The same."""
        return self.who("", flag_set)


def callers(texts: Mapping[str, str]) -> dict[bytes, Caller]:
    """By the hash of their tokens. What cannot be right is told of by its place, and left out."""
    found: dict[bytes, Caller] = {}
    for name, text in texts.items():
        flag_set, _, kind = name.rpartition(".")
        if not flag_set or kind not in {one.value for one in Kind}:
            log.warning("tokens: file %s is named neither SET.server nor SET.client, and left out", name)
            continue
        for number, line in enumerate(text.splitlines(), 1):
            token = line.strip()
            if not token or token.startswith("#"):
                continue
            hashed = _HASH.fullmatch(token)
            if not hashed and (wrong := _wrong(token)):
                log.warning("tokens: %s, line %d: %s, and left out", name, number, wrong)
                continue
            digest = bytes.fromhex(hashed[1]) if hashed else hashlib.sha256(token.encode()).digest()
            ticket = hmac.new(digest, b"tidegate flag events", hashlib.sha256).hexdigest()[:32]
            caller = Caller(flag_set, Kind(kind), ticket, digest)
            kept = found.setdefault(digest, caller)
            if kept[:2] != caller[:2]:
                kept = found[digest] = min(kept, caller, key=lambda one: one.kind is not Kind.CLIENT)
                told = f"{kept.flag_set}.{kept.kind.value}"
                log.warning("tokens: %s, line %d: another file has it too, and it is one of %s", name, number, told)
    return found


def _wrong(token: str) -> str:
    """Why it is no token, or nothing."""
    if len(token) < SHORTEST:
        return f"less than {SHORTEST} characters"
    return "no SHA-256, which has 64 digits in hex," if token.lower().startswith("sha256:") else ""


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        log.warning("tokens: file %s is not UTF-8, and left out", file.name)
        return None


def token_of(authorization: str, key: str) -> str:
    """The token of what is sent as Authorization, or else as X-API-Key: a proxy may have put its own into the first."""
    return authorization[7:].strip() if authorization[:7].lower() == "bearer " else key


def selected(text: str) -> str:
    """The set of flagd's selector."""
    return _part(text, SELECTED)


def selector_token(text: str) -> str:
    """The token of a selector: some SDKs cannot send it elsewhere."""
    return _part(text, "token=")


def _part(text: str, name: str) -> str:
    parts = (part.strip() for part in text.split(","))
    return next((part[len(name) :] for part in parts if part.startswith(name)), "")

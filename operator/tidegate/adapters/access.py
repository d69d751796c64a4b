"""What a server asks of who asks it: headers, credentials, an authority. Secrets stay in files that are read anew each
time, so that a mounted Secret may change under us; what they say stands in no text for people.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Of a header."""
_VALUE = re.compile(r"[\x20-\x7e]*")
_LINE = re.compile(r"[^\x00-\x1f\x7f]*")
_SHORTEST_HIDDEN = 4
"""What is shorter is in any text by chance."""


class Unreadable(Exception):
    """A file that is needed cannot be read, or cannot be what it is there for."""


@dataclass(frozen=True)
class Access:
    """How to be let in."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent as they are, such as ``X-Scope-OrgID``."""
    headers_from: str = ""
    """A folder, each of whose files is a header by its name."""
    basic_auth: str = ""
    """A folder with ``username`` and ``password``."""
    token: str = ""
    """A file with a bearer token."""
    ca: str = ""
    """A file with the authorities that the server's certificate is to be of; empty: those of the system."""

    def now(self) -> dict[str, str]:
        """The headers to be sent now; Unreadable where they cannot be told."""
        found = dict(self.headers) | dict(self._from_folder())
        if self.token:
            found["Authorization"] = f"Bearer {_read(Path(self.token))}"
        elif self.basic_auth:
            found["Authorization"] = f"Basic {_basic(Path(self.basic_auth))}"
        return found

    def hide(self, text: str) -> str:
        """The text without anything that is a secret of ours, whoever wrote it."""
        for secret in self._secrets():
            if len(secret) >= _SHORTEST_HIDDEN:
                text = text.replace(secret, "…")
        return text

    def _from_folder(self) -> Iterator[tuple[str, str]]:
        if not self.headers_from:
            return
        try:
            # A mounted Secret has files of its own beside its keys, all with a dot before.
            files = sorted(file for file in Path(self.headers_from).iterdir() if not file.name.startswith("."))
        except OSError as error:
            raise Unreadable(f"{self.headers_from} cannot be read: {error.strerror}") from None
        for file in files:
            if not _NAME.fullmatch(file.name):
                raise Unreadable(f"{file} is no header's name; rename it")
            yield file.name, _read(file)

    def _secrets(self) -> Iterator[str]:
        try:
            yield from (value for _, value in self._from_folder())
            if self.token:
                yield _read(Path(self.token))
            elif self.basic_auth:
                yield self.now()["Authorization"].removeprefix("Basic ")
                yield _read(Path(self.basic_auth) / "password", _LINE)
        except Unreadable:
            return


def _basic(folder: Path) -> str:
    """Both in one, as it is sent: so they may have any characters."""
    username, password = (_read(folder / name, _LINE) for name in ("username", "password"))
    if ":" in username:
        raise Unreadable(f"{folder / 'username'} has a colon, which no username of basic auth may have")
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def _read(file: Path, allowed: re.Pattern[str] = _VALUE) -> str:
    """What a file says, in one line."""
    try:
        text = file.read_text("utf-8").strip()
    except OSError as error:
        raise Unreadable(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{file} is no text") from None
    if not text:
        raise Unreadable(f"{file} is empty")
    if not allowed.fullmatch(text):
        raise Unreadable(f"{file} has more than one line, or characters that no header may have")
    return text


def headers(lines: str) -> dict[str, str]:
    """Headers as they are written, ``Name: value``, one a line; ValueError where one is none."""
    found = {}
    for line in filter(None, map(str.strip, lines.splitlines())):
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value.strip()):
            raise ValueError(f"{name!r} is no header: write Name: value, one a line")
        found[name] = value.strip()
    return found

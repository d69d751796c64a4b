"""The last known good flags in a file: what a gateway begins with while the API server is away. Its date says when they
were last known to be right."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("tidegate.flags")

FILE = "flags.json"
_NEW = ".flags-"
FORMAT = "flags/1"
"""The objects' field: that of another version has another name, and is left aside."""


def write(folder: Path, objects: Sequence[dict[str, Any]], now: datetime, most: int) -> int:
    """All of it or nothing: whoever reads meanwhile, or after a crash, has the one before. It has so many bytes at
    most, for its volume is the node's. How many objects do not fit: the largest of all."""
    for left in folder.glob(f"{_NEW}*"):
        # Of a process that has ended while it wrote.
        left.unlink(missing_ok=True)
    texts, rest = _fitting(objects, most)
    handle, name = tempfile.mkstemp(dir=folder, prefix=_NEW)
    try:
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
            file.write(f'{{"{FORMAT}":[')
            file.writelines(f"{',' if number else ''}{text}" for number, text in enumerate(texts))
            file.write("]}")
            file.flush()
            os.fsync(file.fileno())
        _date(Path(name), now)
        Path(name).replace(folder / FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    return rest


def _fitting(objects: Sequence[dict[str, Any]], most: int) -> tuple[list[str], int]:
    """As many objects as may be, as ASCII; and how many others there are."""
    kept: list[str] = []
    size = len(FORMAT) + 8
    for text in sorted((json.dumps(one, separators=(",", ":")) for one in objects), key=len):
        size += len(text) + 1
        if size > most:
            break
        kept.append(text)
    return kept, len(objects) - len(kept)


def confirm(folder: Path, now: datetime) -> None:
    """It is what is known now, too."""
    with contextlib.suppress(FileNotFoundError):
        _date(folder / FILE, now)


def _date(file: Path, now: datetime) -> None:
    os.utime(file, (now.timestamp(), now.timestamp()))


def read(folder: Path) -> tuple[list[dict[str, Any]], datetime] | None:
    """Its objects, and when it was last known to be right. None where there is none that can be read."""
    file = folder / FILE
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        return list(whole[FORMAT]), datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("snapshot %s cannot be read, and is left aside: %s", file, error)
        return None

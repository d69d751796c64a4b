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
FORMAT = "flags/1"
"""The objects' field: that of another version has another name, and is left aside."""


def write(folder: Path, objects: Sequence[dict[str, Any]], now: datetime) -> None:
    """All of it or nothing: whoever reads meanwhile, or after a crash, has the one before."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".flags-")
    try:
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
            json.dump({FORMAT: objects}, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        _date(Path(name), now)
        Path(name).replace(folder / FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


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

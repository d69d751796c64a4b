"""The last known good flags in a file: what a gateway begins with while the API server is away."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("tidegate.flags")

FILE = "flags.json"
FORMAT = "flags/1"
"""The objects' field: that of another version has another name, and is left aside."""


def write(folder: Path, objects: Sequence[dict[str, Any]], now: datetime) -> None:
    """All of it or nothing: whoever reads meanwhile, or after a crash, has the one before."""
    whole = {"at": now.isoformat(), FORMAT: objects}
    handle, name = tempfile.mkstemp(dir=folder, prefix=".flags-")
    try:
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
            json.dump(whole, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(folder / FILE)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def read(folder: Path) -> tuple[list[dict[str, Any]], datetime] | None:
    """Its objects, and when it was taken. None where there is none that can be read."""
    file = folder / FILE
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        return list(whole[FORMAT]), datetime.fromisoformat(whole["at"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("snapshot %s cannot be read, and is left aside: %s", file, error)
        return None

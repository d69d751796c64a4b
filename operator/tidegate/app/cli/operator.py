"""``tidegate operator``: run the operator, in the cluster or outside of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any

from tidegate.app import logs
from tidegate.app.settings import Settings, add_flags
from tidegate.engine.gate import FORMS


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("operator", help="run the operator")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until stopped."""
    settings = Settings.of(args)
    if settings.gate not in FORMS:
        sys.stderr.write(f"--gate: {settings.gate!r} is none of {', '.join(FORMS)}\n")
        return 2
    if settings.wrong:
        sys.stderr.write(f"{settings.wrong}\n")
        return 2
    if settings.kubeconfig:
        # Both clients read it there, the official one as it is imported.
        os.environ["KUBECONFIG"] = settings.kubeconfig
    from tidegate.adapters.allocator import give_back_what_is_large
    from tidegate.app import wiring

    give_back_what_is_large()
    logs.set_up(settings.log_format, settings.log_level)
    return asyncio.run(wiring.run(settings))

"""``tidegate operator``: run the operator, in the cluster or outside of it."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from tidegate.app import logs
from tidegate.app.settings import Settings, add_flags


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("operator", help="run the operator")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until stopped."""
    from tidegate.app import wiring

    settings = Settings.of(args)
    logs.set_up(settings.log_format, settings.log_level)
    return asyncio.run(wiring.run(settings))

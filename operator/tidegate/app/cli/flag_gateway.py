"""``tidegate flag-gateway``: answer applications that ask for flags. Never in the operator's process."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from tidegate.app import logs
from tidegate.app.flag_settings import FlagSettings, add_flags


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("flag-gateway", help="serve feature flags to applications")
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until stopped."""
    settings = FlagSettings.of(args)
    if settings.wrong:
        sys.stderr.write(f"{settings.wrong}\n")
        return 2
    if settings.kubeconfig:
        os.environ["KUBECONFIG"] = settings.kubeconfig
    import uvloop

    from tidegate.adapters.allocator import give_back_what_is_large
    from tidegate.app import flag_wiring

    give_back_what_is_large()
    logs.set_up(settings.log_format, settings.log_level)
    return uvloop.run(flag_wiring.run(settings))

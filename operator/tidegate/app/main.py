"""The command line: ``tidegate COMMAND``. One file a command in ``cli``."""

from __future__ import annotations

import argparse
import io
import sys

from tidegate import __version__
from tidegate.app.cli import analyze, crds, flag_gateway, flags, let_go, operator, plan, request, simulate

COMMANDS = (operator, flag_gateway, request, analyze, flags, simulate, plan, let_go, crds)


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or a file of few letters is told the rest of it all the same.
            stream.reconfigure(errors="replace")
    parser = argparse.ArgumentParser(prog="tidegate", description="Progressive delivery for Kubernetes.")
    parser.add_argument("--version", action="version", version=f"tidegate {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    args = parser.parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())

"""``tidegate crds``: the CRDs of this version, as files or on standard output."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from tidegate.api.crd import crds

HEADER = "# Generated from operator/tidegate/api by `make generate`. Do not edit.\n"


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("crds", help="print the CustomResourceDefinitions, or write them to a folder")
    parser.add_argument("--out", type=Path, help="folder to write one file a kind to")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write."""
    for name, crd in crds():
        text = HEADER + yaml.safe_dump(crd, sort_keys=False, allow_unicode=True, width=110)
        if args.out:
            (args.out / name).write_text(text, encoding="utf-8")
        else:
            sys.stdout.write("---\n" + text)
    return 0

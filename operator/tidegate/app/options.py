"""Settings as options of a command, each with an environment variable of the same name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

S = TypeVar("S")


def add_options(parser: argparse.ArgumentParser, settings: type[Any], told: Mapping[str, str], prefix: str) -> None:
    """One option for each field of a dataclass; its variable begins with ``prefix``, and ``told`` says what it is."""
    for field in fields(settings):
        variable = f"{prefix}{field.name.upper()}"
        name, given = f"--{field.name.replace('_', '-')}", os.environ.get(variable)
        default = given if given is not None else field.default
        help_ = f"{told[field.name]} (${variable}; {default or 'unset'})"
        if isinstance(field.default, bool):
            parser.add_argument(name, action="store_true", default=given in {"true", "1"}, help=help_)
        else:
            # argparse reads a default that is a text by the type.
            parser.add_argument(name, type=type(field.default), default=default, help=help_)


def settings_of(args: argparse.Namespace, settings: type[S]) -> S:
    """From parsed arguments."""
    return settings(**{field.name: getattr(args, field.name) for field in fields(settings)})  # type: ignore[arg-type]  # a dataclass

"""Manifests and other files that a command is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

STANDARD_INPUT = "-"


class Wrong(Exception):
    """What was asked cannot be answered, and why."""


def documents(name: str) -> list[Any]:
    """The documents of a YAML file, or of standard input, as kubectl reads them. Raises Wrong."""
    import yaml

    class AsKubectl(yaml.SafeLoader):
        """A time is text."""

        yaml_implicit_resolvers = {  # noqa: RUF012 - as the class above has it
            first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        text = sys.stdin.read() if name == STANDARD_INPUT else Path(name).read_text(encoding="utf-8")
        return [one for one in yaml.load_all(text, AsKubectl) if one]
    except OSError as error:
        raise Wrong(f"{name}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise Wrong(f"{name}: {error}") from None

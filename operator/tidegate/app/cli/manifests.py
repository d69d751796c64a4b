"""Manifests and other files that a command is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Wrong(Exception):
    """What was asked cannot be answered, and why."""


def documents(name: str) -> list[Any]:
    """The documents of a YAML file, as kubectl reads them. Raises Wrong."""
    import yaml

    class AsKubectl(yaml.SafeLoader):
        """A time is text."""

        yaml_implicit_resolvers = {  # noqa: RUF012 - as the class above has it
            first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return [one for one in yaml.load_all(Path(name).read_text(encoding="utf-8"), AsKubectl) if one]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Wrong(f"{name}: {error}") from None

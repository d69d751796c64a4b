"""The SDKs as they are shipped, each in an environment of its own, asked to evaluate against a running gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.environments import Environment

HERE = Path(__file__).parent
PYTHON = Environment(
    "openfeature-py",
    ("openfeature-sdk==0.10.0", "openfeature-provider-ofrep==0.3.0", "openfeature-provider-flagd==0.6.1"),
)
NODE = Environment(
    "openfeature-js",
    (
        *("@openfeature/server-sdk@1.23.0", "@openfeature/ofrep-provider@0.1.3", "@openfeature/flagd-provider@0.16.1"),
        *("@openfeature/web-sdk@1.10.0", "@openfeature/ofrep-web-provider@0.4.3", "@openfeature/core@1.12.0"),
        *("@grpc/grpc-js@1.14.0", "eventsource@4.0.0"),
    ),
    javascript=True,
)


@dataclass(frozen=True)
class Client:
    """One provider."""

    name: str
    environment: Environment
    script: str
    watches: bool
    """It is told of changes."""

    async def start(self, where: dict[str, Any], enter: Sequence[str] = ()) -> Asked:
        """Run it, behind a command that leads to another network. Raises Unavailable."""
        command, environment = self.environment.command(str(HERE / self.script))
        process = await asyncio.create_subprocess_exec(
            *enter,
            *command,
            self.name,
            json.dumps(where),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        return Asked(process)


class Asked:
    """A process that evaluates what is written to it, line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def evaluate(self, type_: str, key: str, context: dict[str, Any]) -> dict[str, Any]:
        """What the SDK says: value, variant, reason, error."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write((json.dumps([type_, key, context]) + "\n").encode())
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line)
        return found

    async def stop(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


CLIENTS = (
    Client("ofrep", PYTHON, "client.py", watches=False),
    Client("flagd", PYTHON, "client.py", watches=True),
    Client("ofrep", NODE, "client.js", watches=False),
    Client("flagd", NODE, "client.js", watches=True),
    Client("ofrep-web", NODE, "client.js", watches=True),
)

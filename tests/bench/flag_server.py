"""The flag gateway in a process of its own, fed by lines on standard input instead of a watch.

A line is a number of flags to have, or ``kill``: the flag ``switch`` is turned off. Each is answered with the time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import uvloop

from tests.flags.running import flag
from tidegate.adapters.allocator import give_back_what_is_large
from tidegate.adapters.clock import SystemClock
from tidegate.app.flag_settings import FlagSettings
from tidegate.app.flag_wiring import Parts
from tidegate.flags.descriptors import raise_limit

SHARE: dict[str, Any] = {"steps": [{"percentage": 25}, {"percentage": 100}]}
BETA: dict[str, Any] = {
    "name": "beta",
    "when": {"all": [{"attribute": "plan", "in": ["beta", "pro"]}, {"attribute": "appVersion", "semver": ">=2.3.0"}]},
    "serve": "on",
}
COUNTRY: dict[str, Any] = {
    "name": "country",
    "when": {"attribute": "country", "in": ["GB", "DE"]},
    "split": {"on": 1, "off": 1},
}


def flags(count: int) -> list[dict[str, Any]]:
    """A third each answers everybody alike, has rules, has a rollout under way; one in ten has both."""
    made = [flag("switch", defaultVariant="on", clientSide=True)]
    for number in range(count - 1):
        name = f"flag-{number}"
        if number % 10 == 9:
            made.append(flag(name, rules=[BETA, COUNTRY], rollout=SHARE, milli=25_000))
        elif number % 3 == 0:
            made.append(flag(name, owner="team"))
        elif number % 3 == 1:
            made.append(flag(name, rules=[BETA]))
        else:
            made.append(flag(name, rollout=SHARE, milli=25_000))
    return made


async def main(port: int) -> int:
    """Until standard input ends."""
    give_back_what_is_large()
    where: dict[str, Any] = {
        "listen": f"127.0.0.1:{port}",
        "sync_listen": f"127.0.0.1:{port + 1}",
        "probe_listen": f"127.0.0.1:{port + 2}",
    }
    parts = Parts(FlagSettings(open=True, rate=0.0, drain=0.0, **where), SystemClock(), raise_limit())
    parts.freshness.confirmed()
    stop = asyncio.Event()
    serving = asyncio.create_task(parts.serve(stop, []))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        asked = line.decode().strip()
        began = time.time()
        if asked == "kill":
            parts.catalog.put(flag("switch", defaultVariant="on", clientSide=True, enabled=False))
        else:
            for one in flags(int(asked)):
                parts.catalog.put(one)
            parts.catalog.refresh()
        sys.stdout.write(f"{began}\n")
        sys.stdout.flush()
    stop.set()
    return await serving


if __name__ == "__main__":
    sys.exit(uvloop.run(main(int(sys.argv[1]))))

"""Requests at random, right and wrong ones, against what tests/flags/ofrep.yaml says: schemathesis, on its own."""

from __future__ import annotations

import asyncio
import re
import resource
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.flags.running import SERVER, STEPS, Running, flag, running
from tests.rig.environments import Environment
from tidegate.flags import ofrep

SCHEMA = Path(__file__).with_name("ofrep.yaml")
SCHEMATHESIS = Environment("schemathesis", ("schemathesis==4.32.5",))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"
RULES: tuple[dict[str, Any], ...] = (
    {"name": "beta", "when": {"attribute": "plan", "in": ["beta", "pro"]}, "split": {"on": 1, "off": 1}},
    {"name": "old", "when": {"attribute": "age", "atLeast": 18}, "serve": "on"},
    {"name": "new", "when": {"attribute": "version", "semver": ">=2.0.0"}, "serve": "on"},
    {"name": "key", "when": {"attribute": "targetingKey", "contains": "a"}, "serve": "on"},
)


@dataclass(frozen=True)
class Report:
    """What came of it."""

    requests: int
    failures: str
    grown: int
    """Bytes that the process has grown by, at most."""


async def ask(examples: int, seed: int) -> Report:
    """So many requests for each operation, about. Raises Unavailable."""
    folder = SCHEMATHESIS.installed()
    # Revisions at random are never heard of, and each would be waited for.
    patience, ofrep.CATCHING_UP = ofrep.CATCHING_UP, 0.001
    try:
        return await _ask(folder, examples, seed)
    finally:
        ofrep.CATCHING_UP = patience


async def _ask(folder: Path, examples: int, seed: int) -> Report:
    with TemporaryDirectory() as tokens:
        async with running(Path(tokens)) as gateway:
            gateway.now(flag("one", rules=list(RULES), rollout=STEPS, milli=50_000), flag("two"))
            await gateway.post("")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            failures = await _run(folder, gateway, examples, seed)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            series = await gateway.metrics()
            assert (await gateway.post("/two"))[0] == 200
    answered = {name: value for name, value in series.items() if name.startswith("tidegate_flag_requests_total")}
    wrong = [name for name in answered if 'code="5' in name]
    return Report(int(sum(answered.values())), failures or "; ".join(wrong), grown * 1024)


async def _run(folder: Path, gateway: Running, examples: int, seed: int) -> str:
    command = [
        *(str(folder / "bin/schemathesis"), "run", str(SCHEMA), f"--url={gateway.url}", f"--seed={seed}"),
        *(f"--max-examples={examples}", "--phases=examples,coverage,fuzzing", "--mode=all", "--workers=1"),
        *(f"--checks={CHECKS}", "--suppress-health-check=all", "--continue-on-failure", "--no-color"),
        *("--header", f"Authorization: Bearer {SERVER}", "--generation-database=none", "--no-shrink"),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    said, _ = await process.communicate()
    text = said.decode()
    found = re.search(r"=+ (?:ERRORS|FAILURES) =+(.*)=+ SUMMARY", text, re.DOTALL)
    return "" if process.returncode == 0 else (found[1] if found else text)[-3000:]

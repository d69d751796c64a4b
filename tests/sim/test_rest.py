"""What an operator costs whose releases are all at rest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.virtual import VirtualLoop

pytestmark = pytest.mark.realtime

ROOT = Path(__file__).parents[2]


def test_an_operator_at_rest_has_not_loaded_numpy() -> None:
    """It is a tenth of the memory: who has nothing to judge has no need of it. In a process of its own, since the
    tests beside this one have."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.sim.test_rest"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.stdout.split() == ["resting:", "False", "released:", "True"], told.stderr


async def _story() -> None:
    import tidegate.app.wiring  # noqa: F401 - what an operator has loaded from its start
    from tests.sim.world import World

    world = await World.begin(spec={"steps": [{"weight": 25, "bake": "30s"}], "drain": "1s"})
    print("resting:", "numpy" in sys.modules)
    world.release("v2")
    await world.until(world.baking(1))
    await asyncio.sleep(10)
    print("released:", "numpy" in sys.modules)
    await world.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_story())

"""A sample of ``python -m tests.flags``."""

from __future__ import annotations

import pytest

from tests.flags.atrandom import ask
from tests.rig.environments import Unavailable

pytestmark = pytest.mark.realtime


async def test_what_is_asked_at_random_is_answered_as_described() -> None:
    try:
        report = await ask(100, seed=1)
    except Unavailable as error:
        pytest.skip(f"schemathesis cannot be had: {error}")
    assert not report.failures, report.failures
    assert report.requests > 200

"""Simulations run on a loop whose time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tests.fakes.virtual import VirtualLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here gets the virtual loop."""
    return {"virtual": VirtualLoop}

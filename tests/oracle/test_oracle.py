"""SDKs that evaluate in process answer as the gateway does. ``make oracle`` asks twenty times as much."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.oracle.__main__ import told
from tests.oracle.compare import compare
from tests.oracle.sdks import SDKS, Sdk
from tests.rig.environments import Unavailable


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.name)
def test_nobody_is_answered_otherwise(sdk: Sdk, record_property: Callable[[str, object], None]) -> None:
    try:
        found = compare(sdk, seed=42, flags=5000, people=3)
    except Unavailable as error:
        pytest.skip(f"{sdk.name} cannot be compared with: {error}")
    record_property(sdk.name, told(found))
    assert found.disagreements == [], told(found)
    assert min(found.answers.values()) > 500, "a comparison of nothing but defaults says little"

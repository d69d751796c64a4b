"""Every event in every phase: one by one, and some hundred histories at random. `make histories` tells thousands."""

from __future__ import annotations

import pytest

from tests.exhaustive.chance import check, told
from tests.exhaustive.history import ARGUMENTS, STAGES, Deed, History
from tidegate.api.release import Stage
from tidegate.core.forward import FORWARD

BACK = (Stage.REVERT, Stage.DRAIN, Stage.RETIRE, Stage.FLAG)
FEW = 40
"""Histories in one test run: `make histories` is for more."""
SOME = 11
"""One of so many events with each of its arguments in a test run; `make histories` has all."""
SEED = 20_261_123


def leads_to(stage: str) -> Deed:
    """What has a release come to this stage: a version that fails goes back."""
    return Deed("release", "tiring" if stage in BACK else "v2")


def matrix() -> list[History]:
    """Every deed with each argument in each stage."""
    return [
        History((leads_to(stage), Deed(what, argument, stage=stage)))
        for stage in STAGES
        if stage
        for what, arguments in ARGUMENTS.items()
        for argument in arguments
    ]


def came(history: History) -> bool:
    """Tell one of the matrix: whether its event came in its stage. Else it showed nothing."""
    _, deed = history.deeds
    return told(history).met[deed.stage, deed.what] > 0


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage])
def test_each_event_in_this_phase(stage: str) -> None:
    here = [history for history in matrix() if history.deeds[1].stage == stage]
    for history in here[STAGES.index(stage) :: SOME]:
        assert came(history), f"it never came to {stage}: {history!r}"


def test_histories_at_random() -> None:
    met = check(FEW, SEED)
    assert len({what for _, what in met}) > 10
    assert {stage for stage, _ in met} >= {stage.value for stage in FORWARD}

"""Every event in every phase: one by one, and some hundred histories at random. `make histories` tells thousands."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.exhaustive.chance import check, told
from tests.exhaustive.deeds import ARGUMENTS, Deed, History
from tests.exhaustive.scenes import SCENES
from tidegate.api.releasestatus import Stage
from tidegate.core.forward import FORWARD

TAKEN_BACK = (Stage.REVERT, Stage.DRAIN)
FAILED = (Stage.RETIRE, Stage.FLAG)
FEW = 40
"""Histories in one test run: `make histories` is for more."""
SOME = 11
"""One of so many events with each of its arguments in a test run; `make histories` has all."""
SEED = 20_261_123


def leads_to(stage: str) -> tuple[Deed, ...]:
    """What has a release come to this stage. Of a version whose pods all fell there may be no request to take back."""
    if stage in TAKEN_BACK:
        return Deed("release", "v2"), Deed("restore", stage=Stage.BAKE)
    # Pods of v3 take their time, so that they are waited for.
    return (Deed("release", "tiring" if stage in FAILED else "v3" if stage == Stage.SCALE else "v2"),)


def matrix(scene: str = "quiet") -> list[History]:
    """Every deed with each argument in each stage that releases of this scene come to."""
    return [
        History((*leads_to(stage), Deed(what, argument, stage=stage)), scene)
        for stage in SCENES[scene].stages
        for what, arguments in ARGUMENTS.items()
        for argument in arguments
    ]


def came(history: History) -> bool:
    """Tell one of the matrix: whether its event came in its stage. Else it showed nothing."""
    deed = history.deeds[-1]
    return told(history).met[deed.stage, deed.what] > 0


@pytest.mark.parametrize("stage", Stage)
def test_each_event_in_this_phase(stage: Stage) -> None:
    """Each in another scene: of all scenes in which releases come to the stage, one after the other."""
    scenes = itertools.cycle(scene for scene in SCENES if stage.value in SCENES[scene].stages)
    here = [history for history in matrix() if history.deeds[-1].stage == stage]
    for history in here[list(Stage).index(stage) :: SOME]:
        one = replace(history, scene=next(scenes))
        assert came(one), f"it never came to {stage}: {one!r}"


def test_histories_at_random() -> None:
    met = check(FEW, SEED)
    assert len({what for _, what in met}) > 10
    assert {stage for stage, _ in met} >= {stage.value for stage in FORWARD}

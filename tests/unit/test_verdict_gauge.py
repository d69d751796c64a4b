"""Levels: what is beyond a limit is seen in blocks, and what goes up and down around stable's is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tidegate.core.verdict import gauge
from tidegate.core.verdict.decision import Family, Plan, judge
from tidegate.core.verdict.evidence import Check, Evidence, Rule
from tidegate.core.verdict.gauge import BLOCK, Block, Levels
from tidegate.core.verdict.kernel import Boundary
from tidegate.core.verdict.mixture import Pace

CPU = Rule(relative=Boundary(1.2, 0.0), margin=0.0, absolute=0.9, breaker=False, banded=False, usual=1e-3, level=True)
PLAN = Plan.of({"cpu": (Family.Other, CPU)}, alpha=0.05)
PACE = Pace(polls=30, steps=4)


def drifting(rng: np.random.Generator, looks: int) -> list[float]:
    """A level of mean 1 that is 0.8 of what it was a look ago."""
    level, found = 0.0, []
    for _ in range(looks):
        level = 0.8 * level + rng.normal(0, 0.06)
        found.append(1 + level)
    return found


def blocks_until_failed(candidate: float, stable: float, seed: int, blocks: int = 30) -> int | None:
    rng, evidence, levels = np.random.default_rng(seed), Evidence.new(CPU), Levels()
    ours, theirs = drifting(rng, 4 * blocks), drifting(rng, 4 * blocks)
    for look in range(4 * blocks):
        levels, block = levels.after(candidate * ours[look], stable * theirs[look], 30.0 * look)
        if block is not None:
            evidence = evidence.after_block(block, CPU, PACE, PLAN.caps_of("cpu"))
        if judge(PLAN, {"cpu": evidence}).failed:
            return levels.blocks
    return None


def test_as_much_as_stable_or_a_little_more_fails_nothing() -> None:
    assert [blocks_until_failed(candidate, 0.5, seed) for candidate in (0.5, 0.55) for seed in range(20)] == [None] * 40


@pytest.mark.parametrize("candidate", [0.8, 1.1])
def test_much_more_than_stable_fails_in_some_blocks_and_never_in_one(candidate: float) -> None:
    found = [blocks_until_failed(candidate, 0.5, seed) for seed in range(10)]
    assert all(blocks is not None and 2 <= blocks <= 12 for blocks in found)


def test_beyond_its_limit_it_fails_whatever_stable_does() -> None:
    assert all(blocks_until_failed(1.2, 1.2, seed) is not None for seed in range(10))


def test_a_block_lasts_and_has_looks() -> None:
    levels, ends = Levels(), []
    for look in range(50):
        levels, block = levels.after(1.0, 2.0, 5.0 * look)
        if block is not None:
            ends.append(5.0 * look)
            assert block == Block(1.0, 2.0)
    assert ends == [BLOCK, 2 * BLOCK]
    slow = Levels()
    for look in range(3):
        slow, block = slow.after(1.0, None, 3600.0 * look)
        assert block is None, "too few looks"
    slow, block = slow.after(1.0, None, 3 * 3600.0)
    assert block == Block(1.0, None)


def test_a_step_has_blocks_of_its_own_and_short_steps_have_one_between_them() -> None:
    levels, blocks = Levels(), 0
    for look in range(40):
        levels, block = levels.after(1.0, 2.0, 15.0 * look)
        blocks += block is not None
        assert levels.blocks == 0, "none is of this step alone"
        levels = levels.stepped()
    assert blocks == 4
    for look in range(40, 60):
        levels, _ = levels.after(1.0, 2.0, 15.0 * look)
    assert levels.blocks == 2


def test_without_a_level_of_stable_there_is_no_comparison() -> None:
    assert gauge.against_stable(Block(1.0, 0.0), 1.2) is None
    assert gauge.against_stable(Block(1.0, None), 1.2) is None
    evidence = Evidence.new(CPU).after_block(Block(0.5, 0.0), CPU, PACE, PLAN.caps_of("cpu"))
    assert evidence.failing[Check.Relative] == Evidence.new(CPU).failing[Check.Relative]
    assert evidence.passing == {}


def test_what_is_remembered_survives_a_restart() -> None:
    levels = Levels()
    for look in range(7):
        levels, _ = levels.after(0.1 * look, 1 / 3, 1.7e9 + 50.3 * look)
        assert Levels.load(json.loads(json.dumps(levels.dump()))) == levels
    evidence = Evidence.new(CPU).after_block(Block(1.3, 0.7), CPU, PACE, PLAN.caps_of("cpu"))
    again = Evidence.load(json.loads(json.dumps(evidence.dump())))
    for test in CPU.tests:
        assert again.failing[test].log_m == pytest.approx(evidence.failing[test].log_m, abs=1e-9)

"""What the evidence makes of a bake, for releases and rollouts of flags alike: on, wait, hold, longer, or back.

No data is not evidence, thin evidence is not a proof, and in doubt it is for the users.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from tidegate.api.analysis import Advance, AnalysisSpec, AnalysisStatus, Verdict, WhenInconclusive, WhenUnknown


class Word(Enum):
    """What is to become of a step."""

    ON = auto()
    """It is over, and nothing speaks against the next."""
    WAIT = auto()
    """Its bake is not over."""
    HOLD_UNKNOWN = auto()
    """The metrics give no answer."""
    EXPIRED_UNKNOWN = auto()
    """The metrics gave no answer for too long, and the declared end of that is to hold on: somebody had better look."""
    HOLD_FAILED = auto()
    """A metric that only pauses is beyond its limits: until somebody decides."""
    HOLD_THIN = auto()
    """There was too little evidence for too long, and the declared end is the same."""
    LONGER = auto()
    """The bake is over, and there is too little evidence: it is to bake once more."""
    BACK_UNKNOWN = auto()
    """The metrics gave no answer for too long."""
    BACK_THIN = auto()
    """There was too little evidence for too long, or it leans to failing."""


UNANSWERED = (Word.HOLD_UNKNOWN, Word.EXPIRED_UNKNOWN, Word.BACK_UNKNOWN)
"""The metrics give no answer. That has a deadline, whatever else holds a step."""

FIRST_SCRAPES = 2
"""Looks after a weight in which nobody wonders that Prometheus has not seen its requests yet."""


@dataclass(frozen=True)
class Bake:
    """A step's bake."""

    until: datetime
    extensions: int = 0
    unknown_since: datetime | None = None


def rule(spec: AnalysisSpec, seen: AnalysisStatus | None, bake: Bake, now: datetime) -> Word:
    """What the spec says of a step with this evidence. A failed analysis waits for no bake, and for none of this."""
    verdict = seen.verdict if seen else Verdict.Pass
    if verdict is Verdict.Unknown:
        if now < (bake.unknown_since or now) + spec.on_unknown.deadline:
            return Word.HOLD_UNKNOWN
        return Word.BACK_UNKNOWN if spec.on_unknown.then is WhenUnknown.Revert else Word.EXPIRED_UNKNOWN
    if seen is not None and seen.held_by:
        return Word.HOLD_FAILED
    if now < bake.until:
        early = seen is not None and spec.advance is Advance.Proven and verdict is Verdict.Pass
        return Word.ON if early else Word.WAIT
    return Word.ON if seen is None or enough(spec, seen) else _thin(spec, seen, bake)


def doubt(seen: AnalysisStatus) -> str:
    """Why a bake that is over does not end the step, in a word for people."""
    return "evidence leans to failing" if seen.leans_to_failing else "evidence is too thin"


def enough(spec: AnalysisSpec, seen: AnalysisStatus) -> bool:
    """The evidence lets a step end whose bake is over."""
    if seen.step_requests < spec.min_requests or seen.leans_to_failing:
        return False
    return spec.advance is Advance.Baked or seen.verdict is Verdict.Pass


def _thin(spec: AnalysisSpec, seen: AnalysisStatus, bake: Bake) -> Word:
    """The bake is over and evidence is thin: longer, then as the spec says."""
    policy = spec.on_inconclusive
    if bake.extensions < policy.extend:
        return Word.LONGER
    if seen.leans_to_failing or policy.then is WhenInconclusive.Revert:
        return Word.BACK_THIN
    return Word.ON if policy.then is WhenInconclusive.Advance else Word.HOLD_THIN

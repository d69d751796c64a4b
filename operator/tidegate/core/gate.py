"""The gate: bounds on ReplicaSets that the API server keeps (manifests/admission).

A bound is a number of pods or a percentage of the Deployment's replicas, written as an annotation. Sizes are
computed here by the same rule as in the admission policy, so what Tidegate writes is what the policy would grant.
"""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.api.base import GROUP

RELEASE = f"{GROUP}/release"
"""On a Deployment: the release that manages it. Its ReplicaSets inherit it."""
FLOOR = f"{GROUP}/floor"
CEILING = f"{GROUP}/ceiling"
HELD_DEADLINE = 2_147_483_646
"""progressDeadlineSeconds while a release runs; one more would remove the Progressing condition."""
DEADLINE_WISH = f"{GROUP}/progress-deadline-seconds"
"""On a Deployment in mid-release: the progressDeadlineSeconds that somebody asked for meanwhile."""


@dataclass(frozen=True)
class Bounds:
    """Floor and ceiling of a ReplicaSet, as written in its annotations; None is no bound."""

    floor: str | None = None
    ceiling: str | None = None

    def size(self, asked: int, desired: int) -> int:
        """Pods that the gate grants when ``asked`` are asked for and the Deployment has ``desired``."""
        ceiling = asked if self.ceiling is None else min(asked, pods(self.ceiling, desired))
        return ceiling if self.floor is None else max(ceiling, pods(self.floor, desired))


FREE = Bounds()
HELD = Bounds(ceiling="0")
"""No pods: a candidate before its first step, a reverted one, an old revision at rest."""
SERVING = Bounds(floor="100%")
"""Stable: scaled by its owner as always, but no rolling update takes a pod from it."""


def exactly(percent: int) -> Bounds:
    """A share of the Deployment, no more and no less."""
    return Bounds(floor=f"{percent}%", ceiling=f"{percent}%")


def pods(bound: str, desired: int) -> int:
    """``"25%"`` of 4 is 1, rounded up; ``"3"`` is 3. Raises ValueError on anything else."""
    if bound.endswith("%"):
        return (desired * int(bound[:-1]) + 99) // 100
    return int(bound)


def owners_note(seconds: int | None) -> str:
    """The value of the annotation that remembers the owner's progressDeadlineSeconds."""
    return "none" if seconds is None else str(seconds)

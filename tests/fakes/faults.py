"""What goes wrong between an operator and the API server: listeners of a ``Line``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.fakes.line import Point, When


@dataclass
class Refusal:
    """One point at which the operator sees an error: ``before`` nothing was done, ``after`` the answer is lost."""

    number: int
    error: Callable[[], BaseException]
    met: Point | None = None

    def __call__(self, point: Point) -> None:
        """Hear of a point."""
        if point.number == self.number:
            self.met = point
            raise self.error()


@dataclass
class Storm:
    """A share of all requests to the API server fails, before or after they have had their effect."""

    random: Random
    share: float
    errors: Sequence[Callable[[], BaseException]]
    when: Sequence[When] = ("before", "after")
    reads: bool = True

    def __call__(self, point: Point) -> None:
        """Hear of a point."""
        hit = point.write or (self.reads and point.request and point.verb != "ask")
        if hit and point.when in self.when and self.random.random() < self.share / len(self.when):
            raise self.random.choice(self.errors)()

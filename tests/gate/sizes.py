"""Sizes of ReplicaSets that carry bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.gate.case import Case, Json
from tidegate.core.gate import CEILING, FLOOR
from tidegate.core.reading import DESIRED

UNREADABLE = ("many", "", "25 %", "%", "-3", "2.5", "1e3", "99999999999", "1000%", "25%%")


def replicaset(notes: Mapping[str, str] | None, replicas: int | None) -> Json:
    """One of none but these pods."""
    labels = {"app": "checkout"}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {} if notes is None else {"annotations": dict(notes)},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "none:1"}]}},
        },
    }


@dataclass(frozen=True)
class Asked:
    """A ReplicaSet that is there, with its bounds and N, and a write of its size."""

    size: int
    floor: str | None = None
    ceiling: str | None = None
    desired: str | None = "8"
    had: int = 2
    notes: Mapping[str, str | None] | None = field(default_factory=dict)
    """Annotations that the same write changes; None: it removes them all."""
    of: str | None = None
    """N that the gate reckons with, where it is not ``desired``."""

    def case(self, granted: int, **more: Any) -> Case:
        """As a case of the table."""
        noted = {FLOOR: self.floor, CEILING: self.ceiling, DESIRED: self.desired}
        before = replicaset({key: value for key, value in noted.items() if value is not None} or None, self.had)
        write = {"metadata": {"annotations": self.notes}, "spec": {"replicas": self.size}}
        return Case(before, write, {"spec": {"replicas": granted}}, **more)


NOTHING: Mapping[str, str | None] | None = None
SIZES = {
    "no bounds": (Asked(5), 5),
    "above a floor": (Asked(5, floor="4"), 5),
    "below a floor": (Asked(3, floor="4"), 4),
    "none, below a floor": (Asked(0, floor="4"), 4),
    "above a ceiling": (Asked(5, ceiling="4"), 4),
    "below a ceiling": (Asked(3, ceiling="4"), 3),
    "ceiling of none": (Asked(5, ceiling="0"), 0),
    "floor of none": (Asked(0, floor="0"), 0),
    "a floor above the ceiling wins": (Asked(1, floor="5", ceiling="2"), 5),
    "a floor above the ceiling, asked for": (Asked(5, floor="5", ceiling="2"), 5),
    "a floor above the ceiling, asked for more": (Asked(9, floor="5", ceiling="2"), 5),
    "stable keeps its pods": (Asked(5, floor="100%"), 8),
    "stable grows past N": (Asked(10, floor="100%"), 10),
    "stable is scaled up": (Asked(16, floor="100%", had=8, notes={DESIRED: "16"}, of="16"), 16),
    "stable is scaled down": (Asked(4, floor="100%", had=8, notes={DESIRED: "4"}, of="4"), 4),
    "N of none": (Asked(0, floor="100%", desired="0"), 0),
    "a quarter, asked for more": (Asked(8, floor="25%", ceiling="25%"), 2),
    "a quarter, asked for none": (Asked(0, floor="25%", ceiling="25%"), 2),
    "a quarter of 1": (Asked(1, floor="25%", ceiling="25%", desired="1"), 1),
    "a quarter of 4": (Asked(4, floor="25%", ceiling="25%", desired="4"), 1),
    "a quarter of 5, rounded up": (Asked(4, floor="25%", ceiling="25%", desired="5"), 2),
    "a quarter of 9, rounded up": (Asked(9, floor="25%", ceiling="25%", desired="9"), 3),
    "a quarter of 12": (Asked(9, floor="25%", ceiling="25%", desired="12"), 3),
    "a hundredth of 300": (Asked(0, floor="1%", desired="300"), 3),
    "a hundredth of 301": (Asked(0, floor="1%", desired="301"), 4),
    "nought percent": (Asked(7, ceiling="0%"), 0),
    "all of very many": (Asked(0, floor="100%", desired="2000000000"), 2_000_000_000),
    "N changes in the same write": (Asked(8, floor="25%", ceiling="25%", notes={DESIRED: "16"}, of="16"), 4),
    "N is lost in the same write": (Asked(8, floor="25%", ceiling="25%", notes={DESIRED: None}), 2),
    "N becomes unreadable in it": (Asked(8, floor="25%", ceiling="25%", notes={DESIRED: "many"}), 2),
    "N unknown, a floor is what it has": (Asked(0, floor="100%", desired=None, had=3, of="3"), 3),
    "N unknown, more is granted": (Asked(7, floor="100%", desired=None, had=3, of="3"), 7),
    "N unknown, a ceiling is what it has": (Asked(9, ceiling="25%", desired=None, had=2, of="8"), 2),
    "N unknown, pods are pods": (Asked(9, ceiling="4", desired=None), 4),
    "bounds dropped in the same write": (Asked(8, ceiling="1", notes={CEILING: None}), 1),
    "bounds raised in the same write": (Asked(8, ceiling="1", notes={CEILING: "100%"}), 1),
    "all annotations dropped": (Asked(0, floor="100%", notes=NOTHING), 8),
}
"""What is asked, and what is granted."""

_STABLE = replicaset({FLOOR: "100%", DESIRED: "8"}, 2)
CASES = {
    **{name: asked.case(granted) for name, (asked, granted) in SIZES.items()},
    # A bound that cannot be read binds nothing and shuts nothing.
    **{f"a floor of {text!r}": Asked(5, floor=text, notes={FLOOR: None}).case(5) for text in UNREADABLE},
    **{f"a ceiling of {text!r}": Asked(5, ceiling=text).case(5) for text in UNREADABLE},
    "by Tidegate": Asked(7, ceiling="0").case(7, by_tidegate=True),
    "bounds taken away": Case(
        replicaset({FLOOR: "100%", CEILING: "100%", DESIRED: "2"}, 2),
        {"metadata": {"annotations": {FLOOR: None, CEILING: None}}},
        {"metadata": {"annotations": {DESIRED: "2"}}, "spec": {"replicas": 2}},
    ),
    "every other edit": Case(
        _STABLE,
        {"metadata": {"labels": {"team": "shop"}}, "spec": {"minReadySeconds": 7}},
        {"metadata": {"labels": {"team": "shop"}}, "spec": {"minReadySeconds": 7, "replicas": 8}},
    ),
}

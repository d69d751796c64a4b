"""What `make bench` makes of what it measured."""

from __future__ import annotations

import pytest
from tests.bench.bars import Row, table


@pytest.mark.parametrize(
    ("row", "met", "bar", "measured"),
    [
        (Row("requests failed", 0, 0, more="of 20000"), True, "0", "0 of 20000"),
        (Row("requests failed", 0, 1, more="of 20000"), False, "0", "1 of 20000"),
        (Row("median", 3, 3.0, "s"), True, "≤ 3 s", "3.00 s"),
        (Row("median", 0.5, 0.504, "s", "of 5"), False, "≤ 0.5 s", "0.50 s of 5"),
    ],
)
def test_a_figure_is_held_against_its_bar(row: Row, met: bool, bar: str, measured: str) -> None:
    assert (row.met, row.bar, row.measured) == (met, bar, measured)


def test_what_was_missed_is_marked() -> None:
    told = table([Row("memory", 120, 90, "MB"), Row("writes", 0, 7)]).splitlines()
    assert told == [
        "what   | bar      | measured",
        "memory | ≤ 120 MB | 90.00 MB",
        "writes | 0        | 7        | MISSED",
    ]

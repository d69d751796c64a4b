"""The demo's claims hold when they should, and fail, with the figure, when one thing goes wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.demo.claims import Record, beyond_bakes, check, exposure
from tests.rig.load import Result

FOUR = frozenset({"a", "b", "c", "d"})
NEXT = frozenset({"e", "f", "g", "h"})


def load(**changes: int) -> Result:
    counts = {"v1 200": 9000, "v2 200": 8000, "v3 200": 120, "v3 500": 7, **changes}
    first = {"v3 200": 99.0, "v3 500": 100.5}
    last = {"v3 200": 106.7, "v3 500": 104.0}
    return Result(sum(counts.values()), counts, first, last, {})


def record() -> Record:
    return Record(
        good="v2",
        bad="v3",
        bakes=30.0,
        load=load(),
        pods_before=FOUR,
        pods_adopted=FOUR,
        pods_at_full=NEXT,
        pods_promoted=NEXT,
        pods_reverted=NEXT,
        promoted={
            "outcome": "Promoted",
            "reason": "Promoted",
            "startedAt": "2026-01-01T10:00:00.000Z",
            "finishedAt": "2026-01-01T10:00:37.500Z",
        },
        reverted={"outcome": "RolledBack", "reason": "AnalysisFailed", "message": "errors 4 % vs 0 %"},
        deadlines=(600, 600),
    )


def failed(record: Record) -> dict[str, str]:
    return {claim.text: claim.figure for claim in check(record) if not claim.held}


def test_all_hold() -> None:
    assert failed(record()) == {}


@pytest.mark.parametrize(
    ("changes", "text", "figure"),
    [
        ({"pods_adopted": FOUR - {"a"} | {"x"}}, "taking the Deployment", "3 of 4 pods kept, 1 new"),
        ({"pods_promoted": NEXT | {"x"}, "pods_reverted": NEXT | {"x"}}, "promoting v2", "4 of 4 pods kept, 1 new"),
        ({"pods_before": frozenset(), "pods_adopted": frozenset()}, "taking the Deployment", "0 of 0"),
        ({"pods_reverted": NEXT - {"e"}}, "reverting v3", "3 of 4 pods kept"),
        ({"promoted": {}}, "v2 was promoted", "it has not ended"),
        ({"bakes": 5.0}, "v2 was promoted", "32.5 s beyond its 5 s"),
        ({"reverted": {"outcome": "RolledBack", "reason": "NotReady", "message": "m"}}, "v3 was reverted", "NotReady"),
        ({"load": load(**{"router 503": 2})}, "no request failed", "2 of 17,129: 2 × router 503"),
        ({"load": load(**{"error: EOF": 1})}, "no request failed", "1 × error: EOF"),
        ({"load": load(**{"v2 500": 3})}, "no request failed", "3 × v2 500"),
        ({"touched": ("replicas",)}, "no field of the Deployment", "touched: replicas"),
        ({"deadlines": (600, 1)}, "no field of the Deployment", "600 s before, 1 s after"),
        ({"changed": ("Service spec",)}, "the Service and the HTTPRoute", "Service spec"),
        ({"left": ("Service checkout-canary",)}, "nothing of ours", "Service checkout-canary"),
    ],
)
def test_one_thing_goes_wrong(changes: dict[str, object], text: str, figure: str) -> None:
    (found,) = failed(replace(record(), **changes)).items()  # type: ignore[arg-type]  # any field of it
    assert text in found[0]
    assert figure in found[1]


def test_exposure_is_from_the_first_bad_answer_to_the_last_of_any_kind() -> None:
    assert exposure(load(), "v3") == pytest.approx(6.2)
    assert exposure(load(), "v1") is None


def test_a_bad_version_that_was_never_bad_proves_nothing() -> None:
    never = Result(100, {"v3 200": 100}, {"v3 200": 1.0}, {"v3 200": 2.0}, {})
    assert "first bad answer of v3 → last request that reached it" in failed(replace(record(), load=never))


def test_extensions_count_as_bakes_and_are_told() -> None:
    claims = check(replace(record(), extensions=1))
    assert beyond_bakes(record().promoted, 30) == pytest.approx(7.5)
    assert any("30 s of bakes, 1 of them repeated" in claim.figure for claim in claims)

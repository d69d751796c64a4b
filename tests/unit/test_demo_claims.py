"""The demo's claims hold when they should, and fail, with the figure, when one thing goes wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.demo.claims import (
    Absence,
    Kept,
    Promotion,
    Record,
    Restoration,
    Reversion,
    Span,
    Switched,
    beyond_bakes,
    busy,
    check,
    exposure,
)
from tests.rig.load import Result

FOUR = frozenset("abcd")
NEXT = frozenset("efgh")
SIX = frozenset("ijklmn")
PROMOTED = {
    "outcome": "Promoted",
    "reason": "Promoted",
    "startedAt": "2026-01-01T10:00:00.000Z",
    "finishedAt": "2026-01-01T10:00:37.500Z",
}
BACK = 1767261625.0
"""2026-01-01T10:00:25Z."""


def load(**changes: int) -> Result:
    counts = {"v1 200": 9000, "v2 200": 8000, "v3 200": 120, "v3 500": 7, "v4 200": 900, "v5 200": 3000, **changes}
    first = {"v3 200": 99.0, "v3 500": 100.5}
    sent = {"v3 200": 106.7, "v3 500": 104.0, "v4 200": 200.8}
    last = {key: at + 5 for key, at in sent.items()}
    return Result(sum(counts.values()), counts, first, last, {"last_sent": sent, "latency_ms": {"p50": 3.2}})


def span(**counts: int) -> Span:
    """The load goes on from what it was."""
    began = {"v2 200": 4000, "v3 500": 7}
    return Span.begin(began).end(
        {key: began.get(key, 0) + count for key, count in {**dict.fromkeys(began, 0), **counts}.items()}
    )


def read(**changes: int) -> Result:
    """The load of the application that reads a flag."""
    counts = {"v1+off 200": 5000, "v1+on 200": 100, "v1+on 500": 40, **changes}
    sent = {"v1+off 200": 300.0, "v1+on 200": BACK + 0.4, "v1+on 500": BACK + 0.2}
    return Result(sum(counts.values()), counts, {}, {}, {"last_sent": sent, "latency_ms": {"p50": 3.2}})


def record() -> Record:
    return Record(
        load=load(),
        adopted=Kept(FOUR, FOUR),
        good=Promotion("v2", PROMOTED, Kept(NEXT, NEXT), bakes=30.0),
        bad=Reversion(
            "v3", {"outcome": "RolledBack", "reason": "AnalysisFailed", "message": "4 % vs 0 %"}, Kept(NEXT, NEXT)
        ),
        restored=Restoration(
            Reversion("v4", {"outcome": "Aborted", "reason": "TemplateRestored", "message": "m"}, Kept(NEXT, NEXT)),
            weight=50,
            committed=199.0,
            applied=200.3,
            turns=12,
            span=span(**{"v2 200": 3000, "v4 200": 900}),
        ),
        absent=Absence(
            Promotion("v5", PROMOTED, Kept(SIX, SIX), bakes=20.0),
            weight=25,
            away=span(**{"v2 200": 1500, "v5 200": 500}),
            seconds=10.0,
            replicas=(4, 6),
            ready={"stable": 6, "candidate": 2, "old": 0},
            back=BACK,
        ),
        switched=Switched(
            (1, 10),
            {
                "phase": "Breached",
                "message": "errors 70 % vs 0 %",
                "override": {"reason": "AnalysisFailed", "since": "2026-01-01T10:00:25.000Z"},
            },
            read(),
        ),
        deadlines=(600, 600),
    )


def put(whole: Any, path: str, value: object) -> Any:
    """The same with one thing otherwise: ``good.pods``."""
    name, _, rest = path.partition(".")
    if isinstance(whole, dict):
        return {**whole, name: put(whole[name], rest, value) if rest else value}
    return replace(whole, **{name: put(getattr(whole, name), rest, value) if rest else value})


def failed(record: Record) -> dict[str, str]:
    return {claim.text: claim.figure for claim in check(record) if not claim.held}


def figure(record: Record, text: str) -> str:
    (found,) = (claim.figure for claim in check(record) if text in claim.text)
    return found


def test_all_hold() -> None:
    assert failed(record()) == {}


@pytest.mark.parametrize(
    ("path", "value", "text", "figure"),
    [
        ("adopted.after", FOUR - {"a"} | {"x"}, "taking the Deployment", "3 of 4 pods kept, 1 new"),
        ("adopted", Kept(frozenset(), frozenset()), "taking the Deployment", "0 of 0"),
        ("good.pods.after", NEXT | {"x"}, "promoting v2", "4 of 4 pods kept, 1 new"),
        ("good.release", {}, "v2 was promoted", "it has not ended"),
        (
            "good.release.finishedAt",
            "2026-01-01T10:01:31Z",
            "v2 was promoted",
            "61.0 s beyond its 30 s of bakes (at most",
        ),
        ("bad.pods.after", NEXT - {"e"}, "reverting v3", "3 of 4 pods kept"),
        ("bad.release.reason", "NotReady", "v3 was reverted", "RolledBack, NotReady"),
        ("restored.applied", 195.5, "git revert at 50 %", "5.3 s (at most 5 s)"),
        ("restored.span", span(**{"v2 200": 9, "router 503": 1}), "no request failed over v4", "1 of 10"),
        ("restored.span", span(), "no request failed over v4", "0 of 0"),
        ("restored.reversion.release.reason", "Superseded", "v4 ended as its owner wished", "Aborted, Superseded"),
        ("restored.reversion.pods.after", NEXT - {"e"}, "taking v4 back", "3 of 4 pods kept"),
        ("absent.away", span(**{"v2 200": 1380, "v5 200": 620}), "traffic stayed", "31.0 % of 2,000"),
        ("absent.away", span(**{"v2 200": 15, "v5 200": 5, "error: EOF": 1}), "traffic stayed", "1 failed"),
        ("absent.away", span(), "traffic stayed", "0.0 % of 0"),
        ("absent.ready", {"stable": 6, "candidate": 1}, "kept their shares", "1 of 2 pods of candidate"),
        ("absent.ready", {"stable": 4, "candidate": 2}, "kept their shares", "4 of 6 pods of stable"),
        ("absent.promotion.release.outcome", "RolledBack", "came back and promoted v5", "RolledBack"),
        ("absent.back", BACK + 30, "came back and promoted v5", "-17.5 s after"),
        ("absent.promotion.pods.after", SIX - {"i"}, "promoting v5", "5 of 6 pods kept"),
        ("load", load(**{"router 503": 2}), "no request failed but", "2 of 21,029: 2 × router 503"),
        ("load", load(**{"error: EOF": 1}), "no request failed but", "1 × error: EOF"),
        ("load", load(**{"v2 500": 3}), "no request failed but", "3 × v2 500"),
        ("touched", ("replicas",), "no field of the Deployment", "touched: replicas"),
        ("deadlines", (600, 1), "no field of the Deployment", "600 s before, 1 s after"),
        ("changed", ("Service spec, after act 1",), "the Service and the HTTPRoute", "Service spec, after act 1"),
        ("left", ("Service checkout-canary",), "nothing of ours", "Service checkout-canary"),
        ("switched.percentages", (1,), "the flag grew", "1 %; on for 140 of 5,140 requests"),
        ("switched.status.override.reason", "Aborted", "the flag was turned off", "errors 70 % vs 0 %"),
        ("switched.status.override.since", "2026-01-01T10:00:24Z", "the flag turned off", "1.4 s (at most 1 s)"),
        ("switched.load", read(**{"v1+off 500": 1}), "no request failed but those", "1 of 5,141"),
    ],
)
def test_one_thing_goes_wrong(path: str, value: object, text: str, figure: str) -> None:
    (found,) = failed(put(record(), path, value)).items()
    assert text in found[0]
    assert figure in found[1]


def test_exposure_is_from_the_first_bad_answer_to_the_last_request_however_slowly_it_was_answered() -> None:
    assert exposure(load(), "v3") == pytest.approx(6.2)
    assert exposure(load(), "v1") is None


def test_a_bad_version_that_was_never_bad_proves_nothing() -> None:
    never = replace(load(), first={"v3 200": 1.0})
    assert figure(replace(record(), load=never), "first bad answer of v3") == "v3 gave no bad answer"
    assert "first bad answer of v3 → last request that reached it" in failed(replace(record(), load=never))


def test_a_version_that_no_request_reached_proves_nothing_of_git() -> None:
    never = replace(load(), raw={"last_sent": {"v3 200": 106.7}})
    assert never.last_sent("v4") is None
    assert list(failed(replace(record(), load=never)).values()) == ["no request reached v4"]


def test_the_time_of_a_git_revert_is_from_its_apply_and_never_negative() -> None:
    assert figure(record(), "git revert at 50 %") == "0.5 s (at most 5 s); it was applied 1.3 s after its commit"
    assert figure(put(record(), "restored.applied", 201.0), "git revert at 50 %").startswith("0.0 s")


def test_a_busy_machine_is_told() -> None:
    assert busy(load()) is None
    slow = replace(load(), raw={"latency_ms": {"p50": 2310.4}})
    assert "half of all answers took more than 2310 ms" in str(busy(slow))


def test_without_git_its_act_is_not_claimed() -> None:
    claims = check(replace(record(), restored=None))
    assert len(claims) == len(check(record())) - 4
    assert all(claim.held for claim in claims)


def test_a_flag_that_was_never_on_proves_nothing() -> None:
    never = put(record(), "switched.load", replace(read(), raw={"last_sent": {}, "latency_ms": {}}))
    assert failed(never) == {"the flag turned off → last request that it was on for": "it was never on, or never off"}


def test_extensions_count_as_bakes_and_are_told() -> None:
    assert beyond_bakes(PROMOTED, 30) == pytest.approx(7.5)
    assert "30 s of bakes, 1 of them repeated" in figure(put(record(), "good.extensions", 1), "v2 was promoted")


def test_a_span_counts_from_its_beginning() -> None:
    seen = span(**{"v2 200": 90, "v3 500": 4, "router 503": 6})
    assert (seen.total, seen.failed, seen.share("v2")) == (100, 10, 90.0)
    assert seen.short_of(100, 4107) is None
    assert seen.short_of(101, 4107) == "100 of 101 requests"

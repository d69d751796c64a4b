"""Every request is counted once: over resets, births, gaps, late scrapes and looks that overlap."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tidegate.core.counters import MOST_SOURCES, Counted, Ledger, Missing, Series, count, evened, scrape_period, sources

START = 1_700_000_000.0


def series(pod: str, *samples: tuple[float, float], **labels: str) -> Series:
    """Samples at seconds after START."""
    return Series({"pod": pod, **labels}, tuple((START + at, value) for at, value in samples))


def look(ledger: Ledger, *found: tuple[str, Series], opens: float = 0, born_at_zero: bool = False) -> Counted:
    return count(ledger, found, opens=START + opens, born_at_zero=born_at_zero)


def total(counted: Counted, column: str = "to") -> float:
    return sum(growth.get(column, 0.0) for growth in counted.growths.values())


def test_what_was_counted_before_the_start_is_the_baseline() -> None:
    counted = look(Ledger(), ("to", series("a", (-2, 100), (0, 110), (2, 115), (4, 125))))
    assert total(counted) == 15
    assert counted.before == ({"to": 110},)


def test_what_was_counted_before_is_known_while_nothing_counts_yet() -> None:
    counted = look(Ledger(), ("to", series("a", (-2, 100), (0, 110), (2, 115))), opens=60)
    assert (total(counted), counted.before) == (0, ({"to": 115},))


def test_looks_that_overlap_count_once() -> None:
    first = look(Ledger(), ("to", series("a", (-2, 100), (2, 115))))
    again = look(first.ledger, ("to", series("a", (-2, 100), (2, 115))))
    later = look(again.ledger, ("to", series("a", (2, 115), (4, 121))))
    assert [total(one) for one in (first, again, later)] == [15, 0, 6]


def test_a_restarted_process_counts_from_zero() -> None:
    counted = look(Ledger(), ("to", series("a", (-2, 100), (2, 110), (4, 3), (6, 5))))
    assert total(counted) == 15


def test_a_restart_is_one_of_all_counters_of_a_process() -> None:
    """The errors are as many as before by the next scrape; and one counter that begins anew is no restart."""
    good, bad = series("a", (1, 1000), (3, 20), code="200"), series("a", (1, 5), (3, 5), code="500")
    counted = look(Ledger(), ("to", good), ("to", bad), ("of", bad))
    assert (total(counted), total(counted, "of")) == (25, 5)
    good, bad = series("a", (1, 1000), (3, 1100), code="200"), series("a", (1, 5), (3, 2), code="500")
    counted = look(Ledger(), ("to", good), ("to", bad), ("of", bad))
    assert (total(counted), total(counted, "of")) == (102, 2)


def test_the_first_errors_of_a_pod_count() -> None:
    """Their series is born with them, at 3, while the pod was there all along."""
    ok = series("a", (-2, 100), (2, 110), (4, 120), code="200")
    failed = series("a", (4, 3), code="500")
    assert total(look(Ledger(), ("to", ok), ("to", failed), ("of", failed)), "of") == 3


def test_a_new_process_of_the_candidate_counts_from_zero_and_one_of_stable_does_not() -> None:
    found = ("to", series("new", (4, 50), (6, 60)))
    assert total(look(Ledger(answered=True), found, born_at_zero=True)) == 60
    assert total(look(Ledger(answered=True), found)) == 10


def test_the_warm_up_does_not_count() -> None:
    samples = (-2, 0), (2, 10), (4, 20), (6, 33)
    assert total(look(Ledger(), ("to", series("a", *samples)), opens=4)) == 13
    tracked = look(Ledger(), ("to", series("a", *samples[:2])), opens=4, born_at_zero=True)
    assert total(tracked) == 0
    assert total(look(tracked.ledger, ("to", series("a", *samples)), opens=4)) == 13


def test_a_gap_longer_than_the_window_is_bridged_by_the_counters() -> None:
    first = look(Ledger(), ("to", series("a", (-2, 100), (2, 110))), ("of", series("a", (-2, 1), (2, 1))))
    later = look(first.ledger, ("to", series("a", (300, 400), (302, 410))), ("of", series("a", (300, 4), (302, 4))))
    assert total(later) == 300
    assert total(later, "of") == 3


def test_a_restart_in_a_gap_counts_what_is_left_of_it() -> None:
    first = look(Ledger(), ("to", series("a", (-2, 100), (2, 110))))
    assert total(look(first.ledger, ("to", series("a", (300, 40), (302, 45))))) == 45


def test_a_gap_over_the_end_of_the_warm_up_does_not_count() -> None:
    first = look(Ledger(), ("to", series("a", (-2, 100), (2, 110))), opens=60)
    assert total(look(first.ledger, ("to", series("a", (300, 400), (302, 410))), opens=60)) == 10


def test_a_pod_that_is_gone_stands_and_one_that_comes_back_goes_on() -> None:
    first = look(Ledger(), ("to", series("a", (-2, 0), (2, 10))), ("to", series("b", (-2, 0), (2, 10))))
    without = look(first.ledger, ("to", series("a", (2, 10), (4, 20))))
    back = look(without.ledger, ("to", series("a", (4, 20), (6, 30))), ("to", series("b", (6, 17))))
    assert [total(one) for one in (first, without, back)] == [20, 10, 17]


def test_one_series_of_several_that_ends_is_no_restart() -> None:
    """A router drops a rule's series; the others go on."""
    rules = [series("router", (-2, 500), (2, 510), rule="1"), series("router", (-2, 50), (2, 55), rule="2")]
    first = look(Ledger(), *(("to", rule) for rule in rules))
    later = look(first.ledger, ("to", series("router", (2, 510), (4, 520), rule="1")), ("to", rules[1]))
    gone = look(later.ledger, ("to", series("router", (4, 520), (6, 530), rule="1")))
    assert [total(one) for one in (first, later, gone)] == [15, 10, 10]


def test_two_scrapers_of_one_counter_count_once() -> None:
    twice = [series("a", (-2, 0), (2, 10), job=job, instance="10.0.0.1:80") for job in ("one", "two")]
    assert total(look(Ledger(), *(("to", one) for one in twice))) == 10


def test_a_sum_that_shrank_has_lost_a_pod_and_counts_nothing() -> None:
    first = look(Ledger(), ("to", Series({}, ((START + 2, 1000.0),))))
    second = look(first.ledger, ("to", Series({}, ((START + 4, 1010.0),))))
    shrunk = look(second.ledger, ("to", Series({}, ((START + 6, 700.0),))))
    after = look(shrunk.ledger, ("to", Series({}, ((START + 8, 705.0),))))
    assert [total(one) for one in (first, second, shrunk, after)] == [0, 10, 0, 5]


def test_the_journal_keeps_times_and_counters_exactly() -> None:
    found = [("to", series(f"p{i}", (-2, 1e9 + i), (2.123, 1e9 + 2 * i + 0.5))) for i in range(8)]
    ledger = look(Ledger(), *found).ledger
    origin = round(START * 1000) - 4567
    restored = Ledger.load(json.loads(json.dumps(ledger.dump(origin))), origin)
    assert restored == ledger
    assert total(look(restored, *found)) == 0


@pytest.mark.parametrize("pods", [20, 2000])
def test_the_journal_stays_small(pods: int) -> None:
    """Of many pods some are read, always the same ones, and some have no counters kept for gaps."""
    edges = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]

    def found(at: float) -> list[tuple[str, Series]]:
        return [
            (edge, series(f"checkout-{i}", (at - 2, 1e6), (at, 1e6 + 10), le=edge))
            for i in range(pods)
            for edge in edges
        ]

    ledger = look(Ledger(), *found(0)).ledger
    assert len(json.dumps(ledger.dump(round(START * 1000)), separators=(",", ":"))) < 2300
    restored = Ledger.load(ledger.dump(round(START * 1000)), round(START * 1000))
    following = look(restored, *found(2))
    assert set(following.ledger.marks) == set(ledger.marks)
    assert total(following, "+Inf") == 10 * min(pods, len(ledger.marks))


def test_pods_that_are_long_gone_are_forgotten() -> None:
    old = look(Ledger(), ("to", series("old", (-2, 0), (0, 5)))).ledger
    new = look(old, ("to", series("new", (7000, 5)))).ledger
    assert len(new.marks) == 1


def test_a_series_without_samples_is_no_source() -> None:
    assert sources([("to", Series({"pod": "a"}, ()))]) == {}


def test_the_scrape_period_is_learnt_from_the_samples() -> None:
    assert scrape_period([(series("a", (0, 1), (15, 2), (30, 3)), series("b", (7, 1))), Missing("down")]) == 15
    assert scrape_period([(series("a", (0, 1)),)]) is None


def replica(name: str, *samples: tuple[float, float]) -> Series:
    return series("a", *samples, **({"prometheus_replica": name} if name else {}))


def test_one_of_a_pair_of_scrapers_is_read_until_it_stops() -> None:
    one = replica("one", (1, 10), (3, 30), (5, 50))
    two = replica("two", (2, 20), (4, 40), (6, 60))
    counted = look(Ledger(), ("to", one), ("to", two))
    assert total(counted) == 40
    # Of the one that stopped there is something as long as the window is.
    two = replica("two", (8, 80), (10, 100), (12, 120), (14, 140))
    counted = look(counted.ledger, ("to", replica("one", (3, 30), (5, 50))), ("to", two))
    assert total(counted) == 90, "since 5 s, exactly"
    counted = look(counted.ledger, ("to", replica("one", (14.5, 145), (16.5, 165))), ("to", two))
    assert total(counted) == 25, "the first is back: what was counted until 14 s is not counted again"


def test_replicas_behind_one_address_are_counted_on_from_where_the_other_was() -> None:
    """Each look is answered by another, which scrapes at other times; nothing is counted twice, and nothing is lost."""
    ledger, found = Ledger(), 0.0
    for at in range(10, 100, 5):
        shift = 0.3 if at % 2 else 2.2
        times = [at - 30 + 5 * i + shift for i in range(6)]
        counted = look(ledger, ("to", series("a", *((t, 5000 + 100 * t) for t in times))), opens=-40)
        found, ledger = found + total(counted), counted.ledger
    assert found == pytest.approx(100 * (times[-1] - (10 - 30 + 2.2)), abs=1e-6)


def test_a_scrape_that_overlaps_another_is_no_restart() -> None:
    """Later by its time, and yet before: the process answered the earlier scrape late."""
    before = look(Ledger(), ("to", series("a", (1, 100), (6, 600))))
    after = look(before.ledger, ("to", series("a", (1.5, 110), (6.2, 595))))
    assert total(after) == 0
    assert after.ledger.marks == before.ledger.marks
    assert total(look(after.ledger, ("to", series("a", (1.5, 110), (6.2, 595), (11.2, 1095))))) == 495


def test_a_restart_between_two_scrapers_counts_what_is_left_of_it() -> None:
    before = look(Ledger(), ("to", series("a", (1, 100), (6, 600))))
    after = look(before.ledger, ("to", series("a", (3.5, 300), (8.5, 40), (13.5, 90))))
    assert total(after) == 90


def test_an_error_that_is_born_between_two_scrapers_counts() -> None:
    before = look(Ledger(), ("to", series("a", (1, 100), (6, 600), code="200")))
    good = series("a", (3.5, 300), (8.5, 800), code="200")
    bad = series("a", (8.5, 3), code="500")
    after = look(before.ledger, ("to", good), ("to", bad), ("of", bad))
    assert (total(after), total(after, "of")) == (203, 3)


def test_where_a_birth_is_known_it_says_what_counts_from_zero() -> None:
    def born(at: float, *samples: tuple[float, float]) -> tuple[str, Series]:
        return "to", replace(series("a", *samples), born=START + at)

    assert total(look(Ledger(answered=True), born(3, (4, 50), (6, 60)))) == 60
    assert total(look(Ledger(answered=True), born(-3, (4, 50), (6, 60)), born_at_zero=True)) == 10
    first = look(Ledger(), born(3, (4, 50)))
    assert total(look(first.ledger, born(3, (6, 60)))) == 10, "once"


def test_a_counter_that_comes_back_after_a_restart_with_more_than_before_counts_from_zero() -> None:
    good = series("a", (-1, 100), (15, 4), (30, 20), code="200")
    bad = series("a", (-1, 5), (30, 7), code="500")
    counted = look(Ledger(), ("to", good), ("to", bad), ("of", bad))
    assert (total(counted, "to"), total(counted, "of")) == (27, 7)


def test_a_source_that_is_read_in_place_of_another_was_there_before() -> None:
    names = [f"p{number:02}" for number in range(MOST_SOURCES + 1)]
    first = look(
        Ledger(answered=True), *(("to", series(name, (0, 5000), (15, 5010))) for name in names), born_at_zero=True
    )
    read = [name for name in names if set(look(Ledger(), ("to", series(name, (15, 0)))).growths) <= set(first.growths)]
    assert len(read) == MOST_SOURCES
    later = look(
        first.ledger,
        *(("to", series(name, (615, 6000), (630, 6010))) for name in names if name != read[0]),
        born_at_zero=True,
    )
    assert max(growth["to"] for growth in later.growths.values()) == 6010 - 5010


def asked(*answers: list[tuple[str, Series]], by_promql: bool = False) -> list[tuple[str, Series]]:
    return evened([(by_promql, answer) for answer in answers])


def test_a_scrape_between_two_answers_loses_nothing() -> None:
    all_then, bad_then = series("a", (0, 100), (15, 110), (30, 120)), series("a", (0, 1), (15, 2))
    first = look(Ledger(), *asked([("of", bad_then)], [("to", all_then)]))
    assert (total(first, "of"), total(first, "to")) == (1, 10)
    bad_now = series("a", (0, 1), (15, 2), (30, 9), (45, 10))
    all_now = series("a", (0, 100), (15, 110), (30, 120), (45, 130))
    later = look(first.ledger, *asked([("of", bad_now)], [("to", all_now)]))
    assert (total(later, "of"), total(later, "to")) == (8, 20)


def test_a_counter_that_is_exposed_no_more_holds_back_the_others_for_one_scrape_alone() -> None:
    gone = series("a", (0, 1), (15, 2))
    first = look(Ledger(), *asked([("of", gone)], [("to", series("a", (0, 100), (15, 110), (30, 120)))]))
    later = asked([("of", gone)], [("to", series("a", (0, 100), (15, 110), (30, 120), (45, 130)))])
    assert total(look(first.ledger, *later), "to") == 20


@pytest.mark.parametrize("apart", [-0.04, 0.04])
def test_promql_that_is_worked_out_milliseconds_later_is_of_the_same_look(apart: float) -> None:
    def told(look_: int) -> list[tuple[str, Series]]:
        at = START + 15 * look_
        bad, every = Series({}, ((at, 500.0 + look_),)), Series({}, ((at + apart, 100_000.0 + 100 * look_),))
        return asked([("of", bad)], [("to", every)], by_promql=True)

    ledger = look(Ledger(), *told(1)).ledger
    for number in range(2, 6):
        counted = look(ledger, *told(number))
        ledger = counted.ledger
        assert (total(counted, "of"), total(counted, "to")) == (1, 100)

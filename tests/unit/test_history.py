"""Stable's samples from before the release, cut into looks."""

from __future__ import annotations

import pytest

from tidegate.core.counters import Series
from tidegate.core.history import growths, tallied
from tidegate.core.verdict.kernel import Tally


def series(pod: str, *samples: tuple[float, float]) -> Series:
    return Series({"pod": pod}, samples)


def test_samples_are_cut_into_looks_up_to_the_release() -> None:
    to = series("a", (0, 100), (10, 110), (20, 130), (30, 160), (40, 1000))
    (pod,) = growths([("to", to)], until=30.0, interval=10.0, looks=3)
    assert pod["to"].tolist() == [10, 20, 30]


def test_a_process_that_began_anew_and_one_that_was_born_count_no_more_than_they_did() -> None:
    anew = series("a", (0, 100), (10, 110), (20, 4), (30, 9))
    born = series("b", (15, 70), (30, 80))
    first, second = growths([("to", anew), ("to", born)], until=30.0, interval=10.0, looks=4)
    assert [first["to"].tolist(), second["to"].tolist()] == [[0, 10, 4, 5], [0, 0, 0, 10]]


def test_the_first_errors_of_a_process_count_from_zero() -> None:
    to, of = series("a", (0, 100), (10, 110), (20, 130)), series("a", (20, 7))
    (pod,) = growths([("of", of), ("to", to)], until=20.0, interval=10.0, looks=2)
    requests, events = tallied([pod], 2, lambda one: Tally(one["of"], one["to"]))
    assert (requests.tolist(), events.tolist()) == ([[10], [20]], [[0], [7]])


def test_a_look_without_a_scrape_has_nothing_and_the_next_has_all() -> None:
    (pod,) = growths([("to", series("a", (0, 0), (31, 60)))], until=40.0, interval=10.0, looks=4)
    assert pod["to"].tolist() == [0, 0, 0, 60]


def test_there_are_no_more_pods_than_are_counted() -> None:
    many = [("to", series(f"pod-{index}", (0, 0), (10, 5))) for index in range(50)]
    assert len(growths(many, until=10.0, interval=10.0, looks=1)) == 32


def test_no_series_is_no_history() -> None:
    assert growths([], until=10.0, interval=10.0, looks=1) == ()


@pytest.mark.parametrize("looks", [1, 5])
def test_before_the_first_sample_there_is_nothing(looks: int) -> None:
    (pod,) = growths([("to", series("a", (100, 3)))], until=50.0, interval=10.0, looks=looks)
    assert pod["to"].tolist() == [0] * looks

"""What all tests share: tests that did not run are named at the end, with the reason and the remedy."""

from __future__ import annotations

import socket
from collections import Counter

import pytest
from hypothesis import settings

# How long an example takes is the machine's.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

_HAVE_THE_MACHINE = ("e2e", "slow_cluster", "realtime")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first, so that a broken core is known before a cluster is built."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((rank for mark, rank in (("slow_cluster", 2), ("e2e", 1)) if item.get_closest_marker(mark)), 0)


@pytest.fixture(autouse=True)
def _no_connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process or thread answers in is time of the machine: those that are not marked so have little."""
    if any(map(request.node.get_closest_marker, _HAVE_THE_MACHINE)):
        return

    def refused(*_: object) -> None:
        pytest.fail("a test that connects goes by the machine's clock: pytestmark = pytest.mark.realtime")

    monkeypatch.setattr(socket.socket, "connect", refused)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The last lines: what was measured, what did not run, and why."""
    _tell_figures(terminalreporter)
    reasons: Counter[str] = Counter()
    for report in terminalreporter.getreports("skipped"):
        where = report.longrepr
        reasons[str(where[2]).removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)] += 1
    if reasons:
        terminalreporter.section("NOT RUN")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count} tests: {reason}")


def _tell_figures(terminalreporter: pytest.TerminalReporter) -> None:
    told = [report for report in terminalreporter.getreports("") if report.user_properties]
    if told:
        terminalreporter.section("FIGURES")
    for report in told:
        figures = ", ".join(f"{name}: {value}" for name, value in report.user_properties)
        terminalreporter.line(f"{report.nodeid.rpartition('/')[2]}: {figures}")

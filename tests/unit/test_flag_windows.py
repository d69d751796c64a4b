"""Windows of the week, by the clocks of a time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tidegate.api.rollout import Window
from tidegate.core.flags import windows


def opening(now: str, **window: Any) -> str:
    found = windows.opening((Window.model_validate(window),), datetime.fromisoformat(now).replace(tzinfo=UTC))
    return f"{found:%m-%d %H:%M}" if found else "never"


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-01-05T08:59", "01-05 09:00"),
        ("2026-01-05T09:00", "01-05 09:00"),
        ("2026-01-05T15:59", "01-05 15:59"),
        ("2026-01-05T16:00", "01-06 09:00"),
        ("2026-01-09T16:00", "01-12 09:00"),
    ],
)
def test_office_hours(now: str, opens: str) -> None:
    days = ["Mon", "Tue", "Wed", "Thu", "Fri"]
    assert opening(now, days=days, **{"from": "09:00", "to": "16:00"}) == opens


def test_a_night_ends_in_the_morning_after() -> None:
    night: dict[str, Any] = {"days": ["Fri"], "from": "22:00", "to": "04:00"}
    assert opening("2026-01-10T03:59", **night) == "01-10 03:59"
    assert opening("2026-01-10T04:00", **night) == "01-16 22:00"


def test_clocks_that_are_put_forward() -> None:
    berlin: dict[str, Any] = {"from": "09:00", "to": "10:00", "timeZone": "Europe/Berlin"}
    assert opening("2026-03-28T12:00", **berlin) == "03-29 07:00"
    assert opening("2026-03-27T12:00", **berlin) == "03-28 08:00"


def test_a_window_of_which_the_clocks_leave_nothing_does_not_open() -> None:
    gap = {"from": "02:30", "to": "03:00", "timeZone": "Europe/Berlin"}
    assert opening("2026-03-29T00:00", **gap) == opening("2026-03-29T12:00", **gap) == "03-30 00:30"


def test_at_any_time_unless_said() -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    assert windows.opening((), now) == now


@pytest.mark.parametrize("zone", ["Mars/North", "Europe", "../etc/passwd", ""])
def test_a_zone_that_there_is_not_is_told(zone: str) -> None:
    window = Window(time_zone=zone)
    (problem,) = windows.wrong((window,))
    assert str(problem).startswith(f"spec.rollout.schedule.windows[0].timeZone: {zone!r} is no time zone")
    assert opening("2026-01-05T09:00", timeZone=zone) == "never"

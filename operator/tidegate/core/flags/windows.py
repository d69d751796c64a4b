"""When a rollout may grow: windows of the week, by the clocks of a time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import MAXYEAR, UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tidegate.api.rollout import Weekday, Window
from tidegate.core.flags.check import MOST_TOLD, Problem

_DAYS = tuple(Weekday)


def wrong(windows: tuple[Window, ...]) -> Iterator[Problem]:
    """Time zones that there are not: the API server cannot know."""
    for number, window in enumerate(windows):
        if _zone(window) is None:
            field = f"spec.rollout.schedule.windows[{number}].timeZone"
            yield Problem(
                field, f"{window.time_zone[:MOST_TOLD]!r} is no time zone: write it like Europe/Berlin, or UTC"
            )


def opening(windows: tuple[Window, ...], now: datetime) -> datetime | None:
    """When it may grow: now, or when the next window opens. None: never."""
    if not windows:
        return now
    spans = [span for window in windows for span in _spans(window, now)]
    if any(start <= now < end for start, end in spans):
        return now
    return min((start for start, _ in spans if start > now), default=None)


def _spans(window: Window, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """From yesterday's, which may last until today, to that of a week from now."""
    zone = _zone(window)
    if zone is None or now.year >= MAXYEAR:
        # Who writes the last year there is means never.
        return
    today = now.astimezone(zone).date()
    start, end = time.fromisoformat(window.start), time.fromisoformat(window.to)
    for days in range(-1, 9):
        day = today + timedelta(days=days)
        if _DAYS[day.weekday()] not in window.days:
            continue
        until = day if end > start else day + timedelta(days=1)
        opens, closes = (
            datetime.combine(day, start, zone).astimezone(UTC),
            datetime.combine(until, end, zone).astimezone(UTC),
        )
        if opens < closes:
            # Clocks that are put forward may leave nothing of a window.
            yield opens, closes


def _zone(window: Window) -> ZoneInfo | None:
    try:
        return ZoneInfo(window.time_zone)
    except (ValueError, OSError, LookupError):  # not a name, a folder of names, or unknown
        return None

"""Plots of simulated releases: a few lines of text for a terminal, and an SVG. No library, no more than is shown."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tidegate.simulation.many import Summary
from tidegate.simulation.story import End, Story

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 64
_ROWS = 5
_COLOURS = {End.PROMOTED: "#2a9d5c", End.REVERTED: "#c0392b", End.HELD: "#d68910", End.UNFINISHED: "#888888"}
_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 180, 60, 30
_TICKS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def minutes(seconds: float) -> str:
    """``1h05m``, ``4m30s``, ``12s``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minute, second = divmod(rest, 60)
    if hours:
        return f"{hours}h{minute:02d}m"
    return f"{minute}m{second:02d}s" if minute else f"{second}s"


def of_story(story: Story) -> list[str]:
    """The candidate's weight, and how far the evidence is on its way to failing, over time."""
    end = max(story.at, 1.0)
    return [
        *_bars("weight", _at(story, [(one.at, one.weight / 100) for one in story.sights]), "100 %"),
        *_bars("evidence of failing", _at(story, [(one.at, one.evidence) for one in story.sights]), "fails"),
        _axis(end),
    ]


def of_many(summary: Summary) -> list[str]:
    """When releases ended, by how."""
    last = max(story.at for story in summary.stories) or 1.0
    lines = []
    for end in End:
        counts = _counted(summary, end, last, _COLUMNS)
        if any(counts):
            most = max(counts)
            lines += _bars(f"{end}", [count / most for count in counts], f"{most:,}")
    return [*lines, _axis(last)]


def svg(story: Story, summaries: Sequence[tuple[str, Summary]]) -> str:
    """All of it as one picture."""
    parts = [_story_panel(story)]
    parts += [_many_panel(name, summary, 1 + number) for number, (name, summary) in enumerate(summaries)]
    height = len(parts) * (_HEIGHT + 2 * _TOP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
    return f'{head} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'


def _at(story: Story, points: Sequence[tuple[float, float]]) -> list[float]:
    """The greatest value in each column of time, or the one before."""
    columns = [0.0] * _COLUMNS
    value, rest = 0.0, list(points)
    for number in range(_COLUMNS):
        until = (number + 1) * story.at / _COLUMNS
        inside = [found for at, found in rest if at <= until]
        rest = rest[len(inside) :]
        columns[number] = max(inside, default=value)
        value = inside[-1] if inside else value
    return columns


def _bars(name: str, shares: Sequence[float], top: str) -> list[str]:
    lines = [f"  {name}"]
    for row in reversed(range(_ROWS)):
        cells = (_EIGHTHS[round(8 * min(1.0, max(0.0, share * _ROWS - row)))] for share in shares)
        label = top if row == _ROWS - 1 else "0" if row == 0 else ""
        lines.append(f"{label:>8} ┤{''.join(cells)}".rstrip())
    return lines


def _axis(end: float) -> str:
    marks = [minutes(end * share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    line = " " * (_COLUMNS + 20)
    for number, mark in enumerate(marks):
        at = 10 + number * _COLUMNS // 4 - (len(mark) // 2 if number else 0)
        line = line[:at] + mark + line[at + len(mark) :]
    return line.rstrip()


def _counted(summary: Summary, end: End, last: float, columns: int) -> list[int]:
    counts = [0] * columns
    for story in summary.stories:
        if story.end is end:
            counts[min(columns - 1, int(columns * story.at / last))] += 1
    return counts


def _frame(number: int, title: str, last: float, top: str) -> tuple[str, float, float]:
    """A panel's frame; where its bottom is, and how many units of the picture a second is."""
    base = number * (_HEIGHT + 2 * _TOP) + _TOP + _HEIGHT
    scale = (_WIDTH - 2 * _LEFT) / last
    step = next((tick for tick in _TICKS if last / tick <= 8), 86400)
    ticks = "".join(
        f'<text x="{_LEFT + at * scale:.1f}" y="{base + 16}" text-anchor="middle">{minutes(at)}</text>'
        for at in range(0, int(last) + 1, step)
    )
    frame = (
        f'<text x="{_LEFT}" y="{base - _HEIGHT - 10}" font-weight="bold">{escape(title)}</text>'
        f'<path d="M{_LEFT} {base - _HEIGHT}V{base}H{_WIDTH - _LEFT}" fill="none" stroke="#888"/>'
        f'<text x="{_LEFT - 6}" y="{base - _HEIGHT + 10}" text-anchor="end">{escape(top)}</text>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>{ticks}'
    )
    return frame, base, scale


def _story_panel(story: Story) -> str:
    title = f"one release, {story.end} after {minutes(story.at)}: weight (grey), evidence of failing (red)"
    frame, base, scale = _frame(0, title, max(story.at, 1.0), "100 %")
    weight, evidence = "", ""
    for number, one in enumerate(story.sights):
        x, letter = _LEFT + one.at * scale, "L" if number else "M"
        y = base - one.weight / 100 * _HEIGHT
        weight += f"{letter}{x:.1f} {y:.1f}" if not number else f"H{x:.1f}V{y:.1f}"
        evidence += f"{letter}{x:.1f} {base - one.evidence * _HEIGHT:.1f}"
    return (
        f'{frame}<path d="{weight}" fill="none" stroke="#999" stroke-width="2"/>'
        f'<path d="{evidence}" fill="none" stroke="#c0392b" stroke-width="2"/>'
    )


def _many_panel(name: str, summary: Summary, number: int) -> str:
    last, columns = max(story.at for story in summary.stories) or 1.0, 80
    counts = {end: _counted(summary, end, last, columns) for end in End}
    most = max(max(each) for each in counts.values())
    told = ", ".join(f"{100 * summary.ended(end).share:.1f} % {end}" for end in End if any(counts[end]))
    title = f"{len(summary.stories):,} releases {name}: when they ended ({told})"
    frame, base, scale = _frame(number, title, last, f"{most:,}")
    width, bars = last * scale / columns, ""
    for end, each in counts.items():
        for column, count in enumerate(each):
            if count:
                high = count / most * _HEIGHT
                bars += (
                    f'<rect x="{_LEFT + column * width:.1f}" y="{base - high:.1f}" width="{width:.1f}"'
                    f' height="{high:.1f}" fill="{_COLOURS[end]}" fill-opacity="0.8"/>'
                )
    return frame + bars

"""Dots on a scale, as SVG: a row for each thing compared, a colour for each rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#0b6e4f", "#7fb069", "#c1121f", "#e07a5f", "#3d5a80", "#98a6b5", "#8d6a9f")
_LEFT, _WIDTH, _ROW, _TOP = 270, 480, 20, 44


def dots(title: str, rows: Sequence[str], series: Mapping[str, Sequence[float]], least: float) -> str:
    """Values above zero on a logarithmic scale that begins with ``least``, where all that is less stands too; values
    that are not finite are left out."""
    values = [value for line in series.values() for value in line if math.isfinite(value)]
    decades = max(1, math.ceil(math.log10(max([least * 10, *values]) / least) - 1e-9))
    legend = _TOP + _ROW * len(rows) + 36
    height = legend + 16 * math.ceil(len(series) / 2) + 8

    def x(value: float) -> float:
        return _LEFT + _WIDTH * math.log10(max(value, least) / least) / decades

    parts = [_text(8, 18, title, weight="bold")]
    for decade in range(decades + 1):
        at = least * 10**decade
        parts.append(_line(x(at), _TOP - 12, x(at), _TOP + _ROW * len(rows)))
        parts.append(_text(x(at), _TOP + _ROW * len(rows) + 14, f"{'≤ ' if not decade else ''}{at:g}", anchor="middle"))
    for number, row in enumerate(rows):
        y = _TOP + _ROW * number
        parts.append(_text(_LEFT - 12, y + 4, row, anchor="end"))
        parts.append(_line(_LEFT, y, _LEFT + _WIDTH, y))
        for colour, line in zip(_COLOURS, series.values(), strict=False):
            if math.isfinite(line[number]):
                parts.append(_dot(x(line[number]), y, colour))
    for number, (colour, name) in enumerate(zip(_COLOURS, series, strict=False)):
        left, y = 16 + 380 * (number % 2), legend + 16 * (number // 2)
        parts += [_dot(left, y - 4, colour), _text(left + 12, y, name)]
    size = f'width="{_LEFT + _WIDTH + 40}" height="{height}"'
    style = 'font-family="sans-serif" font-size="12" style="background:#fff"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n' + "\n".join(parts) + "\n</svg>\n"


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {place}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" fill-opacity="0.8"/>'

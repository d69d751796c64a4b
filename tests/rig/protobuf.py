"""What a client exposes of its native histograms, as Prometheus reads it: messages of io.prometheus.client, delimited.

By hand: the client for Python has none, and what is tested is what comes of them, such as a resolution that is reduced.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
_COUNTER, _HISTOGRAM = 0, 4
"""Of the enum MetricType."""


@dataclass
class Native:
    """One native histogram of durations, as the client for Go keeps it."""

    schema: int = 3
    """An octave has 2^schema buckets."""
    zero: float = 2.0**-128
    """Up to this everything is in one bucket."""
    seen: list[float] = field(default_factory=list)
    classic: tuple[float, ...] = ()
    """Upper edges of a classic histogram beside it."""

    def message(self) -> bytes:
        """The histogram in io.prometheus.client.Metric."""
        buckets: dict[int, int] = {}
        for value in self.seen:
            if value > self.zero:
                index = math.ceil(math.log2(value) * 2.0**self.schema - 1e-9)
                buckets[index] = buckets.get(index, 0) + 1
        spans, deltas = _spans(buckets)
        body = _whole(1, len(self.seen)) + _double(2, sum(self.seen))
        for edge in self.classic:
            below = sum(value <= edge for value in self.seen)
            body += _bytes(3, _whole(1, below) + _double(2, edge))
        body += _whole(5, _zigzag(self.schema)) + _double(6, self.zero)
        body += _whole(7, sum(value <= self.zero for value in self.seen))
        for offset, length in spans:
            body += _bytes(12, _whole(1, _zigzag(offset)) + _whole(2, length))
        if not spans:
            body += _bytes(12, _whole(1, 0) + _whole(2, 0))  # by which Prometheus tells that it is native
        for delta in deltas:
            body += _whole(13, _zigzag(delta))
        return _bytes(7, body)


def _spans(buckets: Mapping[int, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Where buckets are: how far from the last, how many; and by how much each counts more than the one before."""
    spans: list[tuple[int, int]] = []
    deltas, last, next_index = [], 0, 0
    for index in sorted(buckets):
        if spans and index == next_index:
            spans[-1] = spans[-1][0], spans[-1][1] + 1
        else:
            spans.append((index - next_index, 1))
        deltas.append(buckets[index] - last)
        last, next_index = buckets[index], index + 1
    return spans, deltas


def exposition(histograms: Mapping[str, Native], counters: Mapping[str, float]) -> bytes:
    """All families: a message of each, with its length before it. Both by names and labels, as in a text."""
    return b"".join(_framed(one) for one in _families(histograms, counters))


def _families(histograms: Mapping[str, Native], counters: Mapping[str, float]) -> Iterator[bytes]:
    told = [(_HISTOGRAM, *_split(text), one.message()) for text, one in histograms.items()]
    told += [(_COUNTER, *_split(text), _bytes(3, _double(1, value))) for text, value in counters.items()]
    for kind, name in dict.fromkeys((kind, name) for kind, name, _, _ in told):
        metrics = b"".join(_bytes(4, labels + value) for _, of, labels, value in told if of == name)
        yield _bytes(1, name.encode()) + _whole(3, kind) + metrics


def _split(text: str) -> tuple[str, bytes]:
    """A name, and io.prometheus.client.LabelPair of each label."""
    pairs = re.findall(r'(\w+)="([^"]*)"', text)
    return text.partition("{")[0], b"".join(
        _bytes(1, _bytes(1, label.encode()) + _bytes(2, value.encode())) for label, value in pairs
    )


def _framed(message: bytes) -> bytes:
    return _varint(len(message)) + message


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _framed(value)

"""What the demo promises, each with its figure: pure functions of what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.rig.load import Result

Json = dict[str, Any]

SLOWEST_REVERT = 30.0
"""Seconds from the first bad answer to the last request that reaches the bad version. Evidence takes requests: at
5 % more errors, some hundred of the candidate's."""
SLOWEST_PROMOTION = 15.0
"""Seconds that a good release may take beyond its bakes: pods that start, a router that applies, the drain. A small
machine that does everything at once takes most of it for its pods."""


@dataclass(frozen=True)
class Claim:
    """Something that was promised, whether it held, and the figure."""

    text: str
    held: bool
    figure: str


@dataclass
class Record:
    """What was seen of the two acts. Pods are uids."""

    good: str
    bad: str
    bakes: float
    """Seconds of all bakes of the good release, extensions included."""
    load: Result
    extensions: int = 0
    """How many bakes of the good release were repeated for want of evidence."""
    pods_before: frozenset[str] = frozenset()
    """Before the Deployment was taken under management."""
    pods_adopted: frozenset[str] = frozenset()
    pods_at_full: frozenset[str] = frozenset()
    """The good version's, when it had all of the traffic."""
    pods_promoted: frozenset[str] = frozenset()
    """After its promotion."""
    pods_reverted: frozenset[str] = frozenset()
    """After the bad version was reverted."""
    promoted: Json = field(default_factory=dict)
    """``status.lastRelease`` after the first act."""
    reverted: Json = field(default_factory=dict)
    """``status.lastRelease`` after the second act."""
    touched: tuple[str, ...] = ()
    """Fields of the Deployment's spec that were ever seen changed, the template and the deadline aside."""
    deadlines: tuple[int | None, int | None] = (None, None)
    """progressDeadlineSeconds of the Deployment: before, and at the end."""
    changed: tuple[str, ...] = ()
    """What differs of the user's Service and route between before and after."""
    left: tuple[str, ...] = ()
    """What is left of ours in Services and routes."""


def check(record: Record) -> list[Claim]:
    """Every claim, in the order of the story."""
    return [*_good(record), *_bad(record), *_users(record)]


def beyond_bakes(release: Json, bakes: float) -> float:
    """Seconds that a release took beyond its bakes."""
    began, ended = (datetime.fromisoformat(release[key]) for key in ("startedAt", "finishedAt"))
    return (ended - began).total_seconds() - bakes


def exposure(load: Result, version: str) -> float | None:
    """Seconds from a version's first bad answer to its last answer of any kind; None if it gave no bad one."""
    first = [at for key, at in load.first.items() if key.startswith(f"{version} ") and not key.endswith(" 200")]
    last = [at for key, at in load.last.items() if key.startswith(f"{version} ")]
    return max(last) - min(first) if first else None


def _good(record: Record) -> Iterator[Claim]:
    yield _same_pods(
        "taking the Deployment under management re-created no pod", record.pods_before, record.pods_adopted
    )
    done = record.promoted.get("outcome") == "Promoted"
    beyond = beyond_bakes(record.promoted, record.bakes) if done else 0.0
    repeated = f", {record.extensions} of them repeated for want of evidence" if record.extensions else ""
    yield Claim(
        f"{record.good} was promoted by itself",
        done and beyond <= SLOWEST_PROMOTION,
        f"{beyond:.1f} s beyond its {record.bakes:.0f} s of bakes{repeated} (at most {SLOWEST_PROMOTION:.0f} s)"
        if done
        else _ended(record.promoted),
    )
    yield _same_pods(f"promoting {record.good} re-created no pod", record.pods_at_full, record.pods_promoted)


def _bad(record: Record) -> Iterator[Claim]:
    proven = (record.reverted.get("outcome"), record.reverted.get("reason")) == ("RolledBack", "AnalysisFailed")
    yield Claim(f"{record.bad} was reverted by itself, on evidence", proven, _ended(record.reverted))
    took = exposure(record.load, record.bad)
    bad = sum(record.load.failed().values()) - sum(record.load.failed(but=record.bad).values())
    yield Claim(
        f"first bad answer of {record.bad} → last request that reached it",
        took is not None and took <= SLOWEST_REVERT,
        f"{record.bad} gave no bad answer"
        if took is None
        else f"{took:.1f} s (at most {SLOWEST_REVERT:.0f} s); it answered {record.load.of(record.bad)} of"
        f" {record.load.total:,} requests, {bad} of them by an error",
    )
    yield _same_pods(f"reverting {record.bad} re-created no pod", record.pods_promoted, record.pods_reverted)


def _users(record: Record) -> Iterator[Claim]:
    others = record.load.failed(but=record.bad)
    told = ", ".join(f"{count} × {key}" for key, count in sorted(others.items()))
    yield Claim(
        f"no request failed but {record.bad}'s own",
        not others and record.load.total > 0,
        f"{sum(others.values())} of {record.load.total:,}" + (f": {told}" if told else ""),
    )
    was, is_ = record.deadlines
    yield Claim(
        "no field of the Deployment's spec was written but progressDeadlineSeconds, which is as before",
        not record.touched and was == is_,
        f"touched: {', '.join(record.touched) or 'none'}; deadline {was} s before, {is_} s after",
    )
    yield Claim(
        "the Service and the HTTPRoute are as before",
        not record.changed,
        ", ".join(record.changed) or "spec, labels and annotations equal",
    )
    yield Claim("nothing of ours is left in Services and routes", not record.left, ", ".join(record.left) or "0 left")


def _same_pods(text: str, before: frozenset[str], after: frozenset[str]) -> Claim:
    kept = len(before & after)
    figure = f"{kept} of {len(before)} pods kept" + (f", {len(after - before)} new" if after - before else "")
    return Claim(text, bool(before) and before == after, figure)


def _ended(release: Json) -> str:
    if not release:
        return "it has not ended"
    return f"{release.get('outcome')}, {release.get('reason')}: {release.get('message')}"

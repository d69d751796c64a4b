"""What the demo promises, each with its figure: pure functions of what was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import ceil
from typing import Any, Self

from tests.rig.load import Result

Json = dict[str, Any]

SLOWEST_REVERT = 30.0
"""Seconds from the first bad answer to the last request that reaches the bad version. Evidence takes requests: at
5 % more errors, some hundred of the candidate's."""
SLOWEST_PROMOTION = 60.0
"""Seconds that a good release may take beyond its bakes: pods that start, a router that applies, the drain. Two cores
with nothing else to do take 7, and 40 with twelve times as much to do as they can."""
SLOWEST_RETURN = 5.0
"""Seconds from the template set back to the last request that reaches the version that was taken back."""
SLOWEST_OFF = 1.0
"""Seconds from a flag turned off to the last request that it is on for."""
BUSY = 250.0
"""Milliseconds that half of all answers may take before a machine is too busy for times to mean much."""
NEAR = 5
"""Points by which a share of the traffic may differ from its weight. Routers deal requests out in turn."""


class PromiseBroken(Exception):
    """Something that the demo claims did not hold."""


@dataclass(frozen=True)
class Claim:
    """Something that was promised, whether it held, and the figure."""

    text: str
    held: bool
    figure: str


@dataclass(frozen=True)
class Kept:
    """Pods, by uid, that were to be kept."""

    before: frozenset[str]
    after: frozenset[str]


@dataclass(frozen=True)
class Span:
    """What the load counted in a part of the story."""

    began: Mapping[str, int]
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def begin(cls, counts: Mapping[str, int]) -> Self:
        """From these totals on."""
        return cls(dict(counts))

    def end(self, counts: Mapping[str, int]) -> Self:
        """To these."""
        return replace(self, counts={key: count - self.began.get(key, 0) for key, count in counts.items()})

    def short_of(self, requests: int, total: int) -> str | None:
        """What a total lacks of this many requests since the beginning."""
        seen = total - sum(self.began.values())
        return None if seen >= requests else f"{seen} of {requests} requests"

    @property
    def total(self) -> int:
        """Requests."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Those that were no success."""
        return sum(count for key, count in self.counts.items() if not key.endswith(" 200"))

    def share(self, version: str) -> float:
        """Of the requests, in percent, those that a version answered."""
        own = sum(count for key, count in self.counts.items() if key.startswith(f"{version} "))
        return 100 * own / self.total if self.total else 0.0


@dataclass(frozen=True)
class Promotion:
    """A version was promoted."""

    version: str
    release: Json
    """``status.lastRelease`` at its end."""
    pods: Kept
    """The version's, from when it had all of the traffic to the end."""
    bakes: float
    """Seconds of all bakes, extensions included."""
    extensions: int = 0
    """How many bakes were repeated for want of evidence."""


@dataclass(frozen=True)
class Reversion:
    """A version was taken back."""

    version: str
    release: Json
    """``status.lastRelease`` at its end."""
    pods: Kept
    """All that there were before, and all that there are at the end."""


@dataclass(frozen=True)
class Restoration:
    """A version was taken back by its owner, in git."""

    reversion: Reversion
    weight: int
    """When it was."""
    committed: float
    """When the revert was committed, in seconds of the epoch."""
    applied: float
    """When it had been applied."""
    turns: int
    """How often the manifests were applied in all."""
    span: Span
    """From the commit that shipped it."""


@dataclass(frozen=True)
class Absence:
    """A version was promoted, with nobody watching for a part of it."""

    promotion: Promotion
    weight: int
    away: Span
    seconds: float
    """How long nobody watched."""
    replicas: tuple[int, int]
    """Of the Deployment, before it was scaled meanwhile and after."""
    ready: Mapping[str, int]
    """Pods ready, by role, at the end of that time."""
    back: float
    """When the operator was back, in seconds of the epoch."""


@dataclass(frozen=True)
class Switched:
    """A feature flag grew until it did harm."""

    percentages: tuple[float, ...]
    """How far it was seen to be, in turn."""
    status: Json
    """Of the flag, at its end."""
    load: Result
    """Of the application that reads it."""


@dataclass
class Record:
    """What was seen of the story."""

    load: Result
    adopted: Kept
    good: Promotion
    bad: Reversion
    absent: Absence
    restored: Restoration | None = None
    """None: there was no git."""
    switched: Switched | None = None
    """None: pods had no way to the gateway."""
    touched: tuple[str, ...] = ()
    """Fields of the Deployment's spec that were ever seen otherwise than their owner wrote them."""
    deadlines: tuple[int | None, int | None] = (None, None)
    """progressDeadlineSeconds of the Deployment: before, and at the end."""
    changed: tuple[str, ...] = ()
    """What differed of the user's Service and route at the end of an act."""
    left: tuple[str, ...] = ()
    """What was left of ours in Services and routes at the end of an act."""


def check(record: Record) -> list[Claim]:
    """Every claim, in the order of the story."""
    restored = _restored(record.restored, record.load) if record.restored else ()
    switched = _switched(record.switched) if record.switched else ()
    return [*_good(record), *_bad(record), *restored, *_absent(record.absent), *_users(record), *switched]


def beyond_bakes(release: Json, bakes: float) -> float:
    """Seconds that a release took beyond its bakes."""
    began, ended = (datetime.fromisoformat(release[key]) for key in ("startedAt", "finishedAt"))
    return (ended - began).total_seconds() - bakes


def busy(load: Result) -> str | None:
    """What to say of times that were taken on a machine that had no time for anything."""
    half = load.raw["latency_ms"]["p50"]
    if half <= BUSY:
        return None
    return f"this machine was very busy: half of all answers took more than {half:.0f} ms, so times say little here"


def exposure(load: Result, version: str) -> float | None:
    """Seconds from a version's first bad answer to the last request that reached it; None if it gave no bad one."""
    first = [at for key, at in load.first.items() if key.startswith(f"{version} ") and not key.endswith(" 200")]
    last = load.last_sent(version)
    return max(0.0, last - min(first)) if first and last is not None else None


def _good(record: Record) -> Iterator[Claim]:
    yield _same_pods("taking the Deployment under management re-created no pod", record.adopted)
    good = record.good
    done = good.release.get("outcome") == "Promoted"
    beyond = beyond_bakes(good.release, good.bakes) if done else 0.0
    repeated = f", {good.extensions} of them repeated for want of evidence" if good.extensions else ""
    yield Claim(
        f"{good.version} was promoted by itself",
        done and beyond <= SLOWEST_PROMOTION,
        f"{beyond:.1f} s beyond its {good.bakes:.0f} s of bakes{repeated} (at most {SLOWEST_PROMOTION:.0f} s)"
        if done
        else _ended(good.release),
    )
    yield _same_pods(f"promoting {good.version} re-created no pod", good.pods)


def _bad(record: Record) -> Iterator[Claim]:
    bad, load = record.bad, record.load
    yield _ended_so(f"{bad.version} was reverted by itself, on evidence", bad.release, "RolledBack", "AnalysisFailed")
    took = exposure(load, bad.version)
    errors = sum(load.failed().values()) - sum(load.failed(but=bad.version).values())
    yield Claim(
        f"first bad answer of {bad.version} → last request that reached it",
        took is not None and took <= SLOWEST_REVERT,
        f"{bad.version} gave no bad answer"
        if took is None
        else f"{took:.1f} s (at most {SLOWEST_REVERT:.0f} s); it answered {load.of(bad.version)} of"
        f" {load.total:,} requests, {errors} of them by an error",
    )
    yield _same_pods(f"reverting {bad.version} re-created no pod", bad.pods)


def _restored(restored: Restoration, load: Result) -> Iterator[Claim]:
    version, span = restored.reversion.version, restored.span
    last = load.last_sent(version)
    took = None if last is None else max(0.0, last - restored.applied)
    lag = restored.applied - restored.committed
    yield Claim(
        f"git revert at {restored.weight} %, applied → last request that reached {version}",
        took is not None and took <= SLOWEST_RETURN,
        f"no request reached {version}"
        if took is None
        else f"{took:.1f} s (at most {SLOWEST_RETURN:.0f} s); it was applied {lag:.1f} s after its commit",
    )
    yield Claim(
        f"no request failed over {version}, though all manifests were applied every 2 s",
        span.failed == 0 and span.total > 0,
        f"{span.failed} of {span.total:,}; applied {restored.turns} times",
    )
    release = restored.reversion.release
    yield _ended_so(f"{version} ended as its owner wished", release, "Aborted", "TemplateRestored")
    yield _same_pods(f"taking {version} back re-created no pod", restored.reversion.pods)


def _absent(absent: Absence) -> Iterator[Claim]:
    version, weight, away = absent.promotion.version, absent.weight, absent.away
    share = away.share(version)
    yield Claim(
        "operator killed: traffic stayed as it was, and no request failed",
        abs(share - weight) <= NEAR and away.failed == 0,
        f"{absent.seconds:.0f} s alone, {share:.1f} % of {away.total:,} requests to {version}"
        f" ({weight - NEAR} to {weight + NEAR} %), {away.failed} failed",
    )
    was, asked = absent.replicas
    wanted = {"stable": asked, "candidate": ceil(asked * weight / 100)}
    seen = {role: absent.ready.get(role, 0) for role in wanted}
    yield Claim(
        f"operator killed: the Deployment scaled from {was} to {asked}, both revisions kept their shares",
        seen == wanted,
        ", ".join(f"{ready} of {wanted[role]} pods of {role}" for role, ready in seen.items()),
    )
    release = absent.promotion.release
    done = release.get("outcome") == "Promoted"
    after = datetime.fromisoformat(release["finishedAt"]).timestamp() - absent.back if done else 0.0
    yield Claim(
        f"the operator came back and promoted {version}",
        done and after > 0,
        f"{after:.1f} s after it was back, its last bake included" if done else _ended(release),
    )
    yield _same_pods(f"promoting {version} re-created no pod", absent.promotion.pods)


def _users(record: Record) -> Iterator[Claim]:
    others = record.load.failed(but=record.bad.version)
    told = ", ".join(f"{count} × {key}" for key, count in sorted(others.items()))
    yield Claim(
        f"no request failed but {record.bad.version}'s own",
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
        "after each act the Service and the HTTPRoute were as before",
        not record.changed,
        ", ".join(record.changed) or "spec, labels and annotations equal",
    )
    yield Claim(
        "after each act nothing of ours was left in Services and routes",
        not record.left,
        ", ".join(record.left) or "0 left",
    )


def _switched(switched: Switched) -> Iterator[Claim]:
    load, status = switched.load, switched.status
    on = "v1+on"
    share = f"on for {load.of(on):,} of {load.total:,} requests"
    told = ", ".join(f"{percentage:g} %" for percentage in switched.percentages)
    grown = switched.percentages == (1, 10)
    yield Claim("the flag grew by itself as long as it did no harm", grown, f"{told}; {share}")
    override = status.get("override") or {}
    off = override.get("reason") == "AnalysisFailed" and status.get("phase") == "Breached"
    yield Claim("the flag was turned off by itself, on evidence", off, str(status.get("message")))
    last, since = load.last_sent(on), override.get("since")
    took = None if last is None or since is None else max(0.0, last - datetime.fromisoformat(since).timestamp())
    yield Claim(
        "the flag turned off → last request that it was on for",
        took is not None and took <= SLOWEST_OFF,
        "it was never on, or never off" if took is None else f"{took:.1f} s (at most {SLOWEST_OFF:.0f} s)",
    )
    others = load.failed(but=on)
    yield Claim(
        "no request failed but those that the flag was on for",
        not others and load.total > 0,
        f"{sum(others.values())} of {load.total:,}",
    )


def _same_pods(text: str, pods: Kept) -> Claim:
    kept, new = len(pods.before & pods.after), len(pods.after - pods.before)
    figure = f"{kept} of {len(pods.before)} pods kept" + (f", {new} new" if new else "")
    return Claim(text, bool(pods.before) and pods.before == pods.after, figure)


def _ended_so(text: str, release: Json, outcome: str, reason: str) -> Claim:
    return Claim(text, (release.get("outcome"), release.get("reason")) == (outcome, reason), _ended(release))


def _ended(release: Json) -> str:
    if not release:
        return "it has not ended"
    return f"{release.get('outcome')}, {release.get('reason')}: {release.get('message')}"

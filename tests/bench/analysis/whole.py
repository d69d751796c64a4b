"""Whole releases, and what a look costs."""

from __future__ import annotations

import math

import numpy as np

from tests.bench.analysis import releases as releases_of
from tests.bench.analysis.measure import Setting, random_of, spread
from tests.bench.analysis.releases import Service, Story, story
from tests.bench.analysis.sheet import Sheet, count, percent, share_bar
from tests.bench.bars import Row
from tidegate.api.analysis import DEFAULT_METRICS, AnalysisSpec

_SERVICES = tuple(
    Service(rps, base, ratio, noise)
    for rps, base, ratio, noise in (
        (10, 0.01, 1.0, 0.0), (10, 0.01, 1.2, 0.0), (10, 0.01, 2.0, 0.0), (10, 0.01, 5.0, 0.0), (10, 0.01, 1.0, 0.5),
        (10, 0.01, 2.0, 0.5), (100, 0.001, 1.0, 0.0), (100, 0.001, 2.0, 0.0), (1, 0.001, 1.0, 0.0),
        (1, 0.001, 2.0, 0.0),
    )
)  # fmt: skip


def releases(setting: Setting) -> Sheet:
    """From the first weight to the end."""
    many = max(1, setting.runs // 4)
    jobs = [
        (service, runs, setting.seed, part)
        for service in _SERVICES
        for part, runs in enumerate(setting.parts(many, size=10))
    ]
    found: dict[Service, list[Story]] = {service: [] for service in _SERVICES}
    for (service, *_), stories in zip(jobs, spread(_released, jobs, setting.cores), strict=True):
        found[service] += stories
    rows, bars = [], []
    for service, stories in found.items():
        ends = {end: sum(one.ended == end for one in stories) / many for end in ("promoted", "reverted", "held")}
        noise = f", pods ±{service.noise:.0%}" if service.noise else ""
        told = f"{service.rps:g} rps, {service.base:.1%}, ×{service.ratio:g}{noise}"
        took = float(np.median([one.took for one in stories]))
        failed = float(np.mean([one.failed for one in stories]))
        rows.append([told, *(percent(share) for share in ends.values()), f"{took:.0f} m", count(failed)])
        wrong = {1.0: "reverted", 2.0: "promoted"}.get(service.ratio)
        if wrong is not None and service.rps >= 10:
            bars.append(share_bar(f"{told}: {wrong}", 1.0, ends[wrong], many))
    text = (
        "Default steps and the default analysis (`advance: Baked`, errors and, as no histogram is exposed, no latency),"
        f" the Service's requests as given, ten replicas, scrapes every 15 s; {many} releases each. Held: somebody is"
        " to decide. Failed: requests that the candidate failed until the end, mean. At 1 rps and 0.1 % a release has"
        " about two errors in its first hour: there is nothing to tell by, as `tidegate plan` says before it."
    )
    head = ("release", "promoted, %", "reverted, %", "held, %", "took, median", "failed")
    return Sheet("whole", "Whole releases", text, head, rows, bars)


def _released(job: tuple[Service, int, int, int]) -> list[Story]:
    service, runs, seed, part = job
    rng = random_of(seed, service, part)
    return [story(service, AnalysisSpec(), rng) for _ in range(runs)]


def cost(setting: Setting) -> Sheet:
    """The operator's time for a look, and what it keeps."""
    rows, bars = [], []
    least = math.inf
    for replicas in (3, 10, 32):
        service = Service(200, 0.01, replicas=replicas)
        spec = AnalysisSpec(metrics=DEFAULT_METRICS[:1])
        looks = releases_of.looks(service, spec, random_of(setting.seed, service, 0), 240)
        spent = float(np.median([look.seconds for look in looks])) * 1000
        kept = max(look.kept for look in looks) / 1024
        rows.append([str(replicas), f"{spent:.2f} ms", f"{kept:.2f} KB"])
        bars.append(Row(f"a look with {replicas} pods: time of one metric", 1, spent, "ms", "median of 240"))
        least = min(least, spent)
        bars.append(Row(f"a look with {replicas} pods: what is kept of one metric", 4, kept, "KB", "the most of 240"))
    bars.append(Row("a look with 32 pods: time, of one with 3", 3, spent / least, "×", "on any machine"))
    text = (
        "`core.analysis.look` with the errors of so many pods of each revision: answers counted, journal read and"
        " written, findings told. Processor time, on whatever machine this ran."
    )
    return Sheet("cost", "What a look costs", text, ("pods of an arm", "time", "kept"), rows, bars)

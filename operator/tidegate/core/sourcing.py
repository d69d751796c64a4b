"""By which names requests may be counted: those of a router, and those that pods expose."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from tidegate.api.analysis import CounterSource, MetricSpec, Preset, RatioSpec, is_counter_name
from tidegate.core import presets
from tidegate.core.arms import Arms, Side
from tidegate.core.counters import RouterSeries, Uncounted
from tidegate.core.presets import Family, Protocol


def by_pods(metric: MetricSpec, arms: Arms, source: str | None) -> bool:
    """Whether the counters that are compared tell pods apart."""
    if metric.ratio is not None:
        return are_counters(metric.ratio)
    return chosen_by(metric, arms, source) is not None


def needs_stable(metric: MetricSpec) -> bool:
    """Whether stable is asked at all: not for a limit alone, but for errors, whose gross breaker compares."""
    compared = metric.max_increase is not None or metric.max_decrease is not None
    return compared or metric.preset is Preset.ErrorRatio


def sides(metric: MetricSpec) -> tuple[Side, ...]:
    """The arms that a metric asks."""
    return tuple(Side) if needs_stable(metric) else (Side.Candidate,)


def sources(metric: MetricSpec, arms: Arms) -> tuple[str, ...]:
    """Whose counters a metric may go by, the best first: growth of others is no continuation of theirs."""
    if metric.preset is None:
        return ("",)
    router = router_for(metric, arms)
    of_router = tuple(router_families(metric, router)) if router else ()
    if metric.source is CounterSource.Router or (router and router.sure):
        return of_router or ("",)
    return (*of_router, *(name_of(families) for families in combinations(metric, arms)))


def classic(metric: MetricSpec, arms: Arms) -> str:
    """The best of them that are no native histograms."""
    return next(source for source in sources(metric, arms) if not are_native(metric, arms, source))


def are_native(metric: MetricSpec, arms: Arms, source: str | None) -> bool:
    """Whether such counters are native histograms."""
    router = router_for(metric, arms)
    of_router = router_families(metric, router).items() if router else ()
    of_pods = ((name_of(some), family) for some in combinations(metric, arms) for family in some)
    return any(family.native and name == source for name, family in (*of_router, *of_pods))


def combinations(metric: MetricSpec, arms: Arms) -> tuple[tuple[Family, ...], ...]:
    """Families that together count all requests, each once; the best first."""
    return _combined(metric.preset is Preset.Latency, _protocols(metric, arms), arms.themselves)


@lru_cache
def _combined(of_durations: bool, protocols: tuple[Protocol, ...], themselves: bool) -> tuple[tuple[Family, ...], ...]:
    """A proxy counts requests of any protocol, an application's counters those of one. Of durations native histograms
    tell more than classic ones, whose edges move what is too slow; of requests they tell the same, and are longer to
    read.
    """
    families = _fitting(of_durations, protocols, themselves)
    if of_durations:
        families = (*filter(is_native, families), *itertools.filterfalse(is_native, families))
    alone: list[tuple[Family, ...]] = [(family,) for family in families if set(protocols).issubset(family.protocols)]
    if len(protocols) == 1:
        return tuple(alone)
    each = [[family for family in families if family.protocols == (protocol,)] for protocol in protocols]
    return (*itertools.product(*each), *alone)


def chosen_by(metric: MetricSpec, arms: Arms, source: str | None) -> tuple[Family, ...] | None:
    """The pods' families that a source's name stands for; None where it stands for none."""
    return next((some for some in combinations(metric, arms) if name_of(some) == source), None)


def is_native(family: Family) -> bool:
    """Whether it is one of native histograms."""
    return family.native


def _routers(router: RouterSeries) -> str:
    """What its counters are called: a proxy beside the pods may count by the same name."""
    return f"router's {router.requests}"


def name_of(families: Sequence[Family]) -> str:
    """By which a journal and people call them as a source."""
    return " ".join(family.name for family in families)


def _protocols(metric: MetricSpec, arms: Arms) -> tuple[Protocol, ...]:
    """Two histograms may have other edges: one of them must do."""
    return arms.protocols[:1] if metric.preset is Preset.Latency else arms.protocols


def pod_families(metric: MetricSpec, arms: Arms) -> tuple[Family, ...]:
    """By which names a metric's requests may be counted by pods."""
    return _fitting(metric.preset is Preset.Latency, _protocols(metric, arms), arms.themselves)


@lru_cache
def _fitting(of_durations: bool, protocols: tuple[Protocol, ...], themselves: bool) -> tuple[Family, ...]:
    """The pods' own text has no native histograms."""
    known, native = (
        (presets.BUCKETS, presets.NATIVE_BUCKETS) if of_durations else (presets.REQUESTS, presets.NATIVE_REQUESTS)
    )
    return presets.fitting((*known, *(() if themselves else native)), protocols)


def router_for(metric: MetricSpec, arms: Arms) -> RouterSeries | None:
    """The router's counters, where they will do."""
    if metric.source is CounterSource.Pods or not isinstance(arms.router, RouterSeries):
        return None
    blind = metric.preset is Preset.ErrorRatio and Protocol.GRPC in arms.protocols and not arms.router.grpc_label
    return None if blind else arms.router


def stands_alone(metric: MetricSpec, router: RouterSeries) -> bool:
    """Nothing stands in for the router's counters."""
    return router.sure or metric.source is CounterSource.Router


def unroutable(arms: Arms) -> str:
    """Why the router's counters cannot be gone by where they are wanted."""
    if isinstance(arms.router, Uncounted):
        return f"{arms.router.why}: set from: Pods"
    return "the router's counters of each arm are not known, or tell no errors of gRPC: set from: Pods"


def router_families(metric: MetricSpec, router: RouterSeries) -> dict[str, Family]:
    """By which names a router's requests are counted, by what its counters are called then: the best first."""
    labels = tuple(filter(None, (router.code_label, router.grpc_label)))
    if metric.preset is not Preset.Latency:
        return {_routers(router): Family(router.requests, tuple(Protocol), labels, router.per_second)}
    classic = Family(router.bucket, tuple(Protocol), per_second=router.per_second)
    native = replace(classic, name=router.bucket.removesuffix("_bucket"), native=True)
    return {f"router's {native.name}": native, _routers(router): classic}


def are_counters(ratio: RatioSpec) -> bool:
    """Whether both are counters of pods, and no PromQL."""
    return is_counter_name(ratio.of) and is_counter_name(ratio.to)

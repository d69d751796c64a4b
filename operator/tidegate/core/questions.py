"""What a metric asks Prometheus, and whose counters it goes by, as the answers have it.

Raw samples come from range vectors, such as ``http_requests_total{…}[60s]``, asked for at one instant: with the true
times of the scrapes, and nothing extrapolated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from tidegate.api.analysis import AnalysisSpec, CounterSource, MetricSpec, Preset, RatioSpec, Reason, is_counter_name
from tidegate.core import answered, presets, sourcing
from tidegate.core.answered import Question, Reads, Reply, Trouble
from tidegate.core.arms import Arms, Side
from tidegate.core.counters import Answer, Missing, RouterSeries
from tidegate.core.presets import Family, Protocol

TOLD_BY = frozenset({"le", *presets.STATUS_LABELS, *presets.MATCHED_LABELS})
"""Labels that anything is told by, the arms' aside: over all others counters may be summed."""


def window(spec: AnalysisSpec) -> int:
    """Seconds of samples that are asked for: some looks may fail, and with 60 s scrapes there is always one.

    It depends on the interval alone, so that the queries of all looks and releases are the same.
    """
    return max(math.ceil(4 * spec.interval.total_seconds()), 20)


HISTORY_LOOKS = 240
"""Looks of stable's history that are asked for: an hour's, at 15 s."""
_HISTORY = 3600.0
_HISTOGRAMS = 4
"""A histogram has many series: of it a fourth of that is asked for."""


def history_looks(spec: AnalysisSpec, metric: MetricSpec) -> int:
    """How many looks before the release are asked for."""
    looks = min(HISTORY_LOOKS, int(_HISTORY / spec.interval.total_seconds()))
    return max(1, looks // _HISTOGRAMS if metric.preset is Preset.Latency else looks)


def history(spec: AnalysisSpec, metric: MetricSpec, arms: Arms) -> tuple[Question, ...]:
    """What stable's pods did before the release, by their own counters; even where the router's are compared, as it
    takes no more than this query, and one for native histograms. None for PromQL of the user's, which tells no pods
    apart.

    Of a preset it asks for all names: whose counters there are is not seen before the first look. Pods that are asked
    themselves tell what is now: how they differ is learnt from the looks.
    """
    if not sourcing.needs_stable(metric) or metric.gauge is not None or arms.themselves:
        return ()
    span = math.ceil((history_looks(spec, metric) + 1) * spec.interval.total_seconds()) + window(spec)
    if metric.ratio is not None:
        return _counted(metric.ratio, arms, Side.Stable, span) if sourcing.are_counters(metric.ratio) else ()
    families = sourcing.pod_families(metric, arms)
    native = tuple(filter(sourcing.is_native, families))
    classic = tuple(itertools.filterfalse(sourcing.is_native, families))
    asked = (_of_families(metric, classic, arms, Side.Stable, span),)
    if not native:
        return asked
    # One histogram a pod, and only as often as there are looks: raw ones would be some 50 MB.
    told_by = ",".join(("__name__", "namespace", "pod", *presets.STATUS_LABELS * (metric.preset is Preset.ErrorRatio)))
    of_pods = _of_pods(tuple(family.name for family in native), arms, Side.Stable)
    step = round(1000 * spec.interval.total_seconds())
    text = f"sum by ({told_by}) ({of_pods})[{span}s:{step}ms]"
    return (*asked, Question(text, asked[0].reads, asked[0].remedy, native))


def history_of(
    spec: AnalysisSpec, metric: MetricSpec, arms: Arms, source: str | None, answers: Mapping[str, Answer]
) -> tuple[Question, ...]:
    """The same, each as the part of it in which a request is counted once: by the names that the looks go by, else by
    the best that there are."""
    asked = history(spec, metric, arms)
    if metric.preset is None or not asked:
        return asked
    chosen = sourcing.chosen_by(metric, arms, source)
    present = set().union(*(_present(one, answers) for one in asked))
    meant = chosen or _best(metric, arms, [present]) or asked[0].families
    parts = ((one, tuple(family for family in meant if family in one.families)) for one in asked)
    return tuple(replace(one, families=part) for one, part in parts if part)


@lru_cache(4096)
def questions(
    spec: AnalysisSpec, metric: MetricSpec, arms: Arms, side: Side, source: str | None = None
) -> tuple[Question, ...]:
    """The queries of one arm of a metric; none where the router's counters are wanted and it has none.

    Where ``source`` does not tell yet whose counters it goes by, they ask for all that it might be. Looks ask the same
    again and again: so many of the last ones are kept.
    """
    if metric.gauge is not None:
        remedy = "is the query right? For pods that have no series add: or vector(0)"
        return (Question(_worded(metric.gauge.query, arms, side), Reads.Level, remedy, single=True),)
    if metric.ratio is not None and sourcing.are_counters(metric.ratio):
        return _counted(metric.ratio, arms, side, window(spec))
    if metric.ratio is not None:
        return tuple(_own(spec, text, reads, arms, side) for reads, text in _parts(metric.ratio))
    router = sourcing.router_for(metric, arms)
    counted = sourcing.router_families(metric, router) if router else {}
    if router and source in counted:
        return (_ask_router(spec, metric, router, side, (counted[source],)),)
    of_router = (_ask_router(spec, metric, router, side, tuple(counted.values())),) if router else ()
    if router and sourcing.stands_alone(metric, router):
        return of_router
    if metric.source is CounterSource.Router:
        return ()
    chosen = sourcing.chosen_by(metric, arms, source)
    if chosen:
        return (_of_families(metric, chosen, arms, side, window(spec)),)
    return (*of_router, _of_families(metric, sourcing.pod_families(metric, arms), arms, side, window(spec)))


@dataclass(frozen=True)
class Choice:
    """Whose counters a metric goes by, as the answers have it."""

    source: str | None = None
    """None where that is open."""
    settled: bool = False
    """Nothing else is asked for any more."""
    trouble: Trouble | None = None
    """Why it is open."""


def choose(
    spec: AnalysisSpec, metric: MetricSpec, arms: Arms, answers: Mapping[str, Answer], *, patient: bool
) -> Choice:
    """Whose counters there are, by the answers to what was asked of all.

    The router's before the pods', and of the pods' the first that both arms have. While ``patient`` a router is waited
    for whose series are born with the first requests: those of pods were there before.
    """
    open_to = sourcing.sources(metric, arms)
    if len(open_to) == 1:
        return Choice(open_to[0], settled=True)
    asked = {side: questions(spec, metric, arms, side) for side in sourcing.sides(metric)}
    for its_questions in asked.values():
        if missing := next((found for one in its_questions if (found := answered.missing(one, answers))), None):
            return Choice(trouble=missing)
    router = sourcing.router_for(metric, arms)
    if router and (having := [present for its in asked.values() if (present := _present(its[0], answers))]):
        counted = sourcing.router_families(metric, router).items()
        its_own = next((source for source, family in counted if all(family in present for present in having)), None)
        return Choice(its_own, settled=True) if its_own else Choice(trouble=_unlike(metric, arms, having))
    if router and (sourcing.stands_alone(metric, router) or (router.late and patient)):
        return Choice(trouble=answered.unanswered(asked[Side.Candidate][0]))
    return _choose_pods(metric, arms, {side: its[-1] for side, its in asked.items()}, answers)


def _choose_pods(
    metric: MetricSpec, arms: Arms, asked: Mapping[Side, Question], answers: Mapping[str, Answer]
) -> Choice:
    found = {side: _present(question, answers) for side, question in asked.items()}
    having = {side: present for side, present in found.items() if present}
    if not having:
        return Choice(trouble=answered.unanswered(asked[Side.Candidate]))
    best = _best(metric, arms, having.values())
    if best:
        return Choice(sourcing.name_of(best), settled=len(having) == len(found))
    return Choice(trouble=_unlike(metric, arms, found.values()))


def _unlike(metric: MetricSpec, arms: Arms, found: Iterable[Collection[Family]]) -> Trouble:
    router = sourcing.router_for(metric, arms)
    known = (
        *(sourcing.router_families(metric, router).values() if router else ()),
        *sourcing.pod_families(metric, arms),
    )
    names = (next(family.name for family in known if family in present) for present in found)
    told = "{} counts by {}, and the candidate by {}, which cannot be compared".format(arms.control, *names)
    way = "let both expose one of them for this release, or give a ratio of your own"
    return Trouble(Reason.NoSeries, f"{told}: {way}")


def _best(metric: MetricSpec, arms: Arms, having: Collection[set[Family]]) -> tuple[Family, ...] | None:
    """Of the families that all have something of, those of which there is most."""
    fit = [some for some in sourcing.combinations(metric, arms) if all(present & set(some) for present in having)]
    present = set().union(*having)
    return max(fit, key=lambda some: len(present & set(some)) / len(some), default=None)


def _present(question: Question, answers: Mapping[str, Answer]) -> set[Family]:
    """The families of which there is something: where failures are asked for, of those that tell them if there are."""
    series = answered.meant(question, answers)
    if isinstance(series, Missing):
        return set()
    found = [(family, one) for one in series if (family := question.family(one))]
    telling = {family for family, one in found if set(family.status_labels) & set(one.labels)}
    return telling or {family for family, _ in found}


def _ask_router(
    spec: AnalysisSpec, metric: MetricSpec, router: RouterSeries, side: Side, families: tuple[Family, ...]
) -> Question:
    matchers = router.of_stable if side is Side.Stable else router.of_candidate
    names = "|".join(family.name for family in families)
    asked = f"{names}{{{matchers}}}" if len(families) == 1 else f'{{__name__=~"{names}",{matchers}}}'
    return Question(
        f"{asked}[{window(spec)}s]",
        Reads.Buckets if metric.preset is Preset.Latency else Reads.Requests,
        f"until {side} gets requests the router has none; {router.remedy}",
        families,
        namespace=router.namespace,
    )


def _of_families(metric: MetricSpec, families: tuple[Family, ...], arms: Arms, side: Side, seconds: int) -> Question:
    names = tuple(family.name for family in families)
    reads = Reads.Buckets if metric.preset is Preset.Latency else Reads.Requests
    classic = [family.name for family in families if not family.native] or names
    return Question(_of_pods(names, arms, side, seconds), reads, _scrape(" or ".join(classic), arms), families)


def _parts(ratio: RatioSpec) -> tuple[tuple[Reads, str], ...]:
    return (Reads.Of, ratio.of), (Reads.To, ratio.to)


def _counted(ratio: RatioSpec, arms: Arms, side: Side, seconds: int) -> tuple[Question, ...]:
    """Two counters by one query: so both are of the same scrapes."""
    both = _of_pods((ratio.of, ratio.to), arms, side, seconds)
    return tuple(_counter(text, reads, arms, side, seconds, both) for reads, text in _parts(ratio))


def _counter(name: str, reads: Reads, arms: Arms, side: Side, seconds: int, wider: str = "") -> Question:
    """A counter of the user's. What is a native histogram is told from one that is not there."""
    remedy = _scrape(name, arms)
    if reads is Reads.Of:
        way = "expose it from the start, at 0" if arms.themselves else "use PromQL that ends with: or vector(0)"
        remedy += f" If it only appears with the first bad event, {way}"
    families = tuple(Family(name, tuple(Protocol), native=native) for native in (False, True))
    return Question(_of_pods((name,), arms, side, seconds), reads, remedy, families, wider=wider)


def _own(spec: AnalysisSpec, text: str, reads: Reads, arms: Arms, side: Side) -> Question:
    """A counter of the user's beside PromQL, or that."""
    if is_counter_name(text):
        return _counter(text, reads, arms, side, window(spec))
    text = _worded(text, arms, side)
    return Question(text, reads, "is the query right? For a counter that may be absent add: or vector(0)", single=True)


def _worded(text: str, arms: Arms, side: Side) -> str:
    """PromQL of the user's, for one arm."""
    for name, value in arms.of(side).words:
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _of_pods(names: tuple[str, ...], arms: Arms, side: Side, seconds: int | None = None) -> str:
    matchers = [*arms.of(side).matchers, *presets.matchers(names)]
    name = names[0] if len(names) == 1 else ""
    if not name:
        matchers.insert(0, f'__name__=~"{"|".join(names)}"')
    return f"{name}{{{','.join(matchers)}}}{'' if seconds is None else f'[{seconds}s]'}"


def _scrape(name: str, arms: Arms) -> str:
    if arms.themselves:
        return f"do the pods expose {name}, where annotations prometheus.io/port and prometheus.io/path say?"
    return f"do the pods expose {name}{arms.labelled}, and are they scraped (annotation prometheus.io/scrape)?"


def told(
    spec: AnalysisSpec, metric: MetricSpec, arms: Arms, side: Side, source: str | None, answers: Mapping[str, Answer]
) -> tuple[Reply, ...]:
    """What answers the questions of one arm of a metric that goes by these counters, whether they were asked, or wider
    ones in their place."""
    asked = questions(spec, metric, arms, side, source)
    if not all(question.asked in answers for question in asked):
        wider = questions(spec, metric, arms, side)
        asked = tuple(question if question.asked in answers else _within(question, wider) for question in asked)
    return answered.replies(asked, answers)


def _within(question: Question, wider: Collection[Question]) -> Question:
    """The question as its part of a wider one, where there is one."""
    if not question.families:
        return question
    asked = next((one for one in wider if set(question.families) <= set(one.families)), question)
    return replace(question, wider=asked.asked)

"""What a metric asks Prometheus, and how it reads the answers: PromQL, columns, and what is wrong with an answer.

Raw samples come from range vectors, such as ``http_requests_total{…}[60s]``, asked for at one instant: with the true
times of the scrapes, and nothing extrapolated.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache

from tidegate.api.analysis import AnalysisSpec, CounterSource, MetricSpec, Preset, RatioSpec, Reason, is_counter_name
from tidegate.core import presets
from tidegate.core.cells import in_seconds
from tidegate.core.counters import Answer, Missing, RouterSeries, Series, Uncounted
from tidegate.core.presets import Family, Protocol

FLAG_LABEL, VARIANT_LABEL = "feature_flag_key", "feature_flag_variant"
"""By which an application's counters tell who was served what by a flag."""
TOLD_BY = frozenset({"le", *presets.STATUS_LABELS, *presets.MATCHED_LABELS})
"""Labels that anything is told by, the arms' aside: over all others counters may be summed."""


class Side(StrEnum):
    """The two arms of the comparison."""

    Stable = "stable"
    Candidate = "candidate"


@dataclass(frozen=True)
class Arm:
    """One of the two: how what it did is told from what the other did."""

    name: str
    """Evidence is of arms of the same names."""
    matchers: tuple[str, ...]
    """PromQL's for its series, where pods count by themselves."""
    words: tuple[tuple[str, str], ...]
    """What stands for it in PromQL of the user's: for which word between ``{{`` and ``}}``, and what."""


@dataclass(frozen=True)
class Arms:
    """Whose requests are compared: two revisions, or who is served what by a flag."""

    stable: Arm
    candidate: Arm
    router: RouterSeries | Uncounted | None = None
    """The router's counters, where it has them for each arm; else why it has not, where that is known."""
    protocols: tuple[Protocol, ...] = (Protocol.HTTP,)
    """What the pods are asked by, in this order."""
    control: str = "stable"
    """What people call the one that the other is compared with."""
    labelled: str = ""
    """Which labels the pods' counters need, if any are needed."""
    themselves: bool = False
    """The pods are asked themselves."""
    pods: int = 0
    """Of the candidate that are ready; 0: not known, or not what the two arms are."""

    @classmethod
    def of_revisions(
        cls,
        namespace: str,
        stable: tuple[str, str],
        candidate: tuple[str, str],
        router: RouterSeries | Uncounted | None = None,
    ) -> Arms:
        """Two revisions, each by its pod-template-hash and a regular expression of its pods' names."""

        def arm(hash_: str, pods: str) -> Arm:
            matchers = (f"namespace={json.dumps(namespace)}", f"pod=~{json.dumps(pods)}")
            return Arm(hash_, matchers, (("revision", hash_), ("pods", pods), ("namespace", namespace)))

        return cls(arm(*stable), arm(*candidate), router)

    @classmethod
    def of_variants(cls, namespace: str, flag: str, control: tuple[str, ...], candidate: tuple[str, ...]) -> Arms:
        """Who is served some variants of a flag, and who is served others at the same time."""

        def arm(variants: tuple[str, ...]) -> Arm:
            # A dot in a name is no more than a dot, in a matcher and in a quoted text of the user's alike.
            either = "|".join(name.replace(".", "[.]") for name in variants)
            labels = (f"namespace={json.dumps(namespace)}", f"{FLAG_LABEL}={json.dumps(flag)}")
            matchers = (*labels, f"{VARIANT_LABEL}=~{json.dumps(either)}")
            words = (("variant", either), ("flag", flag), ("namespace", namespace))
            return Arm(f"{flag}: {either}", matchers, words)

        labelled = f" with labels {FLAG_LABEL} and {VARIANT_LABEL}"
        return cls(arm(control), arm(candidate), control="control", labelled=labelled)

    def asked_themselves(self) -> Arms:
        """The same two, by what their pods say themselves: no continuation of what Prometheus had of them."""
        stable, candidate = (replace(arm, name=f"{arm.name}, asked itself") for arm in (self.stable, self.candidate))
        return replace(self, stable=stable, candidate=candidate, router=None, themselves=True)

    def of(self, side: Side) -> Arm:
        """The arm of a side."""
        return self.stable if side is Side.Stable else self.candidate

    @property
    def names(self) -> tuple[str, str]:
        """Of what the evidence speaks."""
        return self.stable.name, self.candidate.name


class Reads(StrEnum):
    """What the series of an answer are counted as."""

    Requests = "requests"
    """All requests, and by their status label the failed ones."""
    Buckets = "buckets"
    """Requests by duration, by the label ``le``."""
    Of = "of"
    """Events of a ratio."""
    To = "to"
    """All events."""
    Level = "level"
    """A level of a gauge."""


BY_LABELS = frozenset({Reads.Requests, Reads.Buckets})
"""What of a series counts as what, or is slow, stands in its labels."""


@dataclass(frozen=True)
class Question:
    """One query for one arm of a metric."""

    text: str
    """PromQL."""
    reads: Reads
    remedy: str
    """What to do when nothing is answered."""
    families: tuple[Family, ...] = ()
    """By which names it is answered: series of others are not meant, whatever else the query asks for."""
    single: bool = False
    """PromQL of the user's: it must answer one series, or of a gauge at least one."""
    namespace: str = ""
    """Only series of this one are meant, where the query cannot say so."""
    wider: str = ""
    """PromQL for more than this, where that was asked in its place."""

    @property
    def asked(self) -> str:
        """The query that is answered."""
        return self.wider or self.text

    def family(self, series: Series) -> Family | None:
        """By which of the names a series counts; None where it is not meant."""
        return self._by_name.get((series.labels.get("__name__"), series.cells is not None))

    @cached_property
    def _by_name(self) -> Mapping[tuple[str | None, bool], Family]:
        """By name, and whether they are native; of series that have no name the first."""
        nameless: dict[tuple[str | None, bool], Family] = {
            (None, family.native): family for family in reversed(self.families)
        }
        return {**nameless, **{(family.name, family.native): family for family in self.families}}


@dataclass(frozen=True)
class Reply:
    """A question, and what of the answers is meant by it."""

    question: Question
    answer: Answer

    @property
    def series(self) -> tuple[Series, ...]:
        """The series of the answer; none where there is no answer."""
        return () if isinstance(self.answer, Missing) else self.answer


@dataclass(frozen=True)
class Trouble:
    """Why an answer cannot be used."""

    reason: Reason
    message: str


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
    if not needs_stable(metric) or metric.gauge is not None or arms.themselves:
        return ()
    span = math.ceil((history_looks(spec, metric) + 1) * spec.interval.total_seconds()) + window(spec)
    if metric.ratio is not None:
        return _counted(metric.ratio, arms, Side.Stable, span) if _counters(metric.ratio) else ()
    families = _families(metric, arms)
    native = tuple(filter(_is_native, families))
    classic = tuple(itertools.filterfalse(_is_native, families))
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
    chosen = _chosen(metric, arms, source)
    present = set().union(*(_present(one, answers) for one in asked))
    meant = chosen or _best(metric, arms, [present]) or asked[0].families
    parts = ((one, tuple(family for family in meant if family in one.families)) for one in asked)
    return tuple(replace(one, families=part) for one, part in parts if part)


def by_pods(metric: MetricSpec, arms: Arms, source: str | None) -> bool:
    """Whether the counters that are compared tell pods apart."""
    if metric.ratio is not None:
        return _counters(metric.ratio)
    return _chosen(metric, arms, source) is not None


def needs_stable(metric: MetricSpec) -> bool:
    """Whether stable is asked at all: not for a limit alone, but for errors, whose gross breaker compares."""
    compared = metric.max_increase is not None or metric.max_decrease is not None
    return compared or metric.preset is Preset.ErrorRatio


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
    if metric.ratio is not None and _counters(metric.ratio):
        return _counted(metric.ratio, arms, side, window(spec))
    if metric.ratio is not None:
        return tuple(_own(spec, text, reads, arms, side) for reads, text in _parts(metric.ratio))
    router = _router(metric, arms)
    counted = _of_router(metric, router) if router else {}
    if router and source in counted:
        return (_ask_router(spec, metric, router, side, (counted[source],)),)
    of_router = (_ask_router(spec, metric, router, side, tuple(counted.values())),) if router else ()
    if router and _alone(metric, router):
        return of_router
    if metric.source is CounterSource.Router:
        return ()
    chosen = _chosen(metric, arms, source)
    if chosen:
        return (_of_families(metric, chosen, arms, side, window(spec)),)
    return (*of_router, _of_families(metric, _families(metric, arms), arms, side, window(spec)))


def sources(metric: MetricSpec, arms: Arms) -> tuple[str, ...]:
    """Whose counters a metric may go by, the best first: growth of others is no continuation of theirs."""
    if metric.preset is None:
        return ("",)
    router = _router(metric, arms)
    of_router = tuple(_of_router(metric, router)) if router else ()
    if metric.source is CounterSource.Router or (router and router.sure):
        return of_router or ("",)
    return (*of_router, *(_source(families) for families in _combinations(metric, arms)))


def classic(metric: MetricSpec, arms: Arms) -> str:
    """The best of them that are no native histograms."""
    return next(source for source in sources(metric, arms) if not are_native(metric, arms, source))


def are_native(metric: MetricSpec, arms: Arms, source: str | None) -> bool:
    """Whether such counters are native histograms."""
    router = _router(metric, arms)
    of_router = _of_router(metric, router).items() if router else ()
    of_pods = ((_source(some), family) for some in _combinations(metric, arms) for family in some)
    return any(family.native and name == source for name, family in (*of_router, *of_pods))


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
    open_to = sources(metric, arms)
    if len(open_to) == 1:
        return Choice(open_to[0], settled=True)
    sides = tuple(Side) if needs_stable(metric) else (Side.Candidate,)
    asked = {side: questions(spec, metric, arms, side) for side in sides}
    for its_questions in asked.values():
        if missing := next((found for one in its_questions if (found := _missing(one, answers))), None):
            return Choice(trouble=missing)
    router = _router(metric, arms)
    if router and (having := [present for its in asked.values() if (present := _present(its[0], answers))]):
        counted = _of_router(metric, router).items()
        its_own = next((source for source, family in counted if all(family in present for present in having)), None)
        return Choice(its_own, settled=True) if its_own else Choice(trouble=_unlike(metric, arms, having))
    if router and (_alone(metric, router) or (router.late and patient)):
        return Choice(trouble=unanswered(asked[Side.Candidate][0]))
    return _choose_pods(metric, arms, {side: its[-1] for side, its in asked.items()}, answers)


def _choose_pods(
    metric: MetricSpec, arms: Arms, asked: Mapping[Side, Question], answers: Mapping[str, Answer]
) -> Choice:
    found = {side: _present(question, answers) for side, question in asked.items()}
    having = {side: present for side, present in found.items() if present}
    if not having:
        return Choice(trouble=unanswered(asked[Side.Candidate]))
    best = _best(metric, arms, having.values())
    if best:
        return Choice(_source(best), settled=len(having) == len(found))
    return Choice(trouble=_unlike(metric, arms, found.values()))


def _unlike(metric: MetricSpec, arms: Arms, found: Iterable[Collection[Family]]) -> Trouble:
    router = _router(metric, arms)
    known = (*(_of_router(metric, router).values() if router else ()), *_families(metric, arms))
    names = (next(family.name for family in known if family in present) for present in found)
    told = "{} counts by {}, and the candidate by {}, which cannot be compared".format(arms.control, *names)
    way = "let both expose one of them for this release, or give a ratio of your own"
    return Trouble(Reason.NoSeries, f"{told}: {way}")


def _best(metric: MetricSpec, arms: Arms, having: Collection[set[Family]]) -> tuple[Family, ...] | None:
    """Of the families that all have something of, those of which there is most."""
    fit = [some for some in _combinations(metric, arms) if all(present & set(some) for present in having)]
    present = set().union(*having)
    return max(fit, key=lambda some: len(present & set(some)) / len(some), default=None)


def _present(question: Question, answers: Mapping[str, Answer]) -> set[Family]:
    """The families of which there is something: where failures are asked for, of those that tell them if there are."""
    series = meant(question, answers)
    if isinstance(series, Missing):
        return set()
    found = [(family, one) for one in series if (family := question.family(one))]
    telling = {family for family, one in found if set(family.status_labels) & set(one.labels)}
    return telling or {family for family, _ in found}


def _combinations(metric: MetricSpec, arms: Arms) -> tuple[tuple[Family, ...], ...]:
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
        families = (*filter(_is_native, families), *itertools.filterfalse(_is_native, families))
    alone: list[tuple[Family, ...]] = [(family,) for family in families if set(protocols).issubset(family.protocols)]
    if len(protocols) == 1:
        return tuple(alone)
    each = [[family for family in families if family.protocols == (protocol,)] for protocol in protocols]
    return (*itertools.product(*each), *alone)


def _chosen(metric: MetricSpec, arms: Arms, source: str | None) -> tuple[Family, ...] | None:
    """The pods' families that a source's name stands for; None where it stands for none."""
    return next((some for some in _combinations(metric, arms) if _source(some) == source), None)


def _is_native(family: Family) -> bool:
    return family.native


def _routers(router: RouterSeries) -> str:
    """What its counters are called: a proxy beside the pods may count by the same name."""
    return f"router's {router.requests}"


def _source(families: Sequence[Family]) -> str:
    return " ".join(family.name for family in families)


def _protocols(metric: MetricSpec, arms: Arms) -> tuple[Protocol, ...]:
    """Two histograms may have other edges: one of them must do."""
    return arms.protocols[:1] if metric.preset is Preset.Latency else arms.protocols


def _families(metric: MetricSpec, arms: Arms) -> tuple[Family, ...]:
    """By which names it may be counted."""
    return _fitting(metric.preset is Preset.Latency, _protocols(metric, arms), arms.themselves)


@lru_cache
def _fitting(of_durations: bool, protocols: tuple[Protocol, ...], themselves: bool) -> tuple[Family, ...]:
    """The pods' own text has no native histograms."""
    known, native = (
        (presets.BUCKETS, presets.NATIVE_BUCKETS) if of_durations else (presets.REQUESTS, presets.NATIVE_REQUESTS)
    )
    return presets.fitting((*known, *(() if themselves else native)), protocols)


def _router(metric: MetricSpec, arms: Arms) -> RouterSeries | None:
    """The router's counters, where they will do."""
    if metric.source is CounterSource.Pods or not isinstance(arms.router, RouterSeries):
        return None
    blind = metric.preset is Preset.ErrorRatio and Protocol.GRPC in arms.protocols and not arms.router.grpc_label
    return None if blind else arms.router


def _alone(metric: MetricSpec, router: RouterSeries) -> bool:
    """Nothing stands in for the router's counters."""
    return router.sure or metric.source is CounterSource.Router


def unroutable(arms: Arms) -> str:
    """Why the router's counters cannot be gone by where they are wanted."""
    if isinstance(arms.router, Uncounted):
        return f"{arms.router.why}: set from: Pods"
    return "the router's counters of each arm are not known, or tell no errors of gRPC: set from: Pods"


def _of_router(metric: MetricSpec, router: RouterSeries) -> dict[str, Family]:
    """By which names a router's requests are counted, by what its counters are called then: the best first."""
    labels = tuple(filter(None, (router.code_label, router.grpc_label)))
    if metric.preset is not Preset.Latency:
        return {_routers(router): Family(router.requests, tuple(Protocol), labels, router.per_second)}
    classic = Family(router.bucket, tuple(Protocol), per_second=router.per_second)
    native = replace(classic, name=router.bucket.removesuffix("_bucket"), native=True)
    return {f"router's {native.name}": native, _routers(router): classic}


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


def _counters(ratio: RatioSpec) -> bool:
    """Whether both are counters of pods, and no PromQL."""
    return is_counter_name(ratio.of) and is_counter_name(ratio.to)


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


def meant(question: Question, answers: Mapping[str, Answer]) -> Answer:
    """What answers the question: of a query for more than it asks, its own series."""
    answer = answers.get(question.asked, Missing("it was not asked"))
    if isinstance(answer, Missing) or not (question.families or question.namespace):
        return answer
    return tuple([one for one in answer if _is_meant(question, one)])


def replies(asked: Sequence[Question], answers: Mapping[str, Answer]) -> tuple[Reply, ...]:
    """What answers each of the questions."""
    return tuple(Reply(question, meant(question, answers)) for question in asked)


def told(
    spec: AnalysisSpec, metric: MetricSpec, arms: Arms, side: Side, source: str | None, answers: Mapping[str, Answer]
) -> tuple[Reply, ...]:
    """What answers the questions of one arm of a metric that goes by these counters, whether they were asked, or wider
    ones in their place."""
    asked = questions(spec, metric, arms, side, source)
    if not all(question.asked in answers for question in asked):
        wider = questions(spec, metric, arms, side)
        asked = tuple(question if question.asked in answers else _within(question, wider) for question in asked)
    return replies(asked, answers)


def _within(question: Question, wider: Collection[Question]) -> Question:
    """The question as its part of a wider one, where there is one."""
    if not question.families:
        return question
    asked = next((one for one in wider if set(question.families) <= set(one.families)), question)
    return replace(question, wider=asked.asked)


def _is_meant(question: Question, series: Series) -> bool:
    if question.families and question.family(series) is None:
        return False
    if not question.namespace:
        return True
    return series.labels.get("exported_namespace", series.labels.get("namespace")) == question.namespace


def columned(reply: Reply) -> Iterator[tuple[str, Series]]:
    """The series with the columns that they count in."""
    question = reply.question
    for series in reply.series:
        family = question.family(series) if question.reads in BY_LABELS else None
        if family is None:
            yield question.reads, series
        elif question.reads is Reads.Requests:
            yield Reads.To, series
            if presets.failed(series.labels, family.status_labels):
                yield Reads.Of, series
        elif series.cells is not None:
            for cell, samples in series.cells.items():
                yield in_seconds(cell, family.per_second), replace(series, samples=samples, cells=None)
        elif (le := series.labels.get("le")) is not None:
            yield str(presets.seconds(le, family.per_second)), series


def trouble(reply: Reply) -> Trouble | None:
    """Why the answer cannot be used. No series is none here: it takes both arms to tell."""
    question, answer = reply.question, reply.answer
    if isinstance(answer, Missing):
        return _untold(question, answer)
    if question.single and question.reads is not Reads.Level and len(answer) > 1:
        some = " and ".join(_labels(series) for series in answer[:2])
        what = f"{question.text}: {len(answer)} series, such as {some}: sum them, so that it answers one"
        return Trouble(Reason.SeveralSeries, what)
    if question.reads not in BY_LABELS and any(one.cells is not None for one in answer):
        way = _NUMBERS[question.reads is Reads.Level]
        return Trouble(Reason.QueryFailed, f"{question.text}: native histograms, where a number is needed: {way}")
    if question.reads is Reads.Requests and answer and not _tell_failures(question, answer):
        labels = " or ".join(dict.fromkeys(label for family in question.families for label in family.status_labels))
        return Trouble(Reason.NoSeries, f"{question.text}: the series have no label {labels} to tell failed requests")
    return None


_NUMBERS = (
    "give PromQL that counts them, such as histogram_count(sum(NAME{…})), or the preset Latency",
    "give PromQL that makes one of them, such as histogram_avg(sum(rate(NAME{…}[5m])))",
)
"""What to do about histograms where counters are wanted, or levels."""


def _missing(question: Question, answers: Mapping[str, Answer]) -> Trouble | None:
    answer = answers.get(question.asked, Missing("it was not asked"))
    return _untold(question, answer) if isinstance(answer, Missing) else None


def _untold(question: Question, missing: Missing) -> Trouble:
    return Trouble(Reason.QueryFailed, f"{question.text}: {missing.why}")


def _tell_failures(question: Question, answer: tuple[Series, ...]) -> bool:
    return any(
        family is not None and any(label in series.labels for label in family.status_labels)
        for series in answer
        for family in (question.family(series),)
    )


def _labels(series: Series) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(series.labels.items())) + "}"


def unanswered(question: Question) -> Trouble:
    """Nothing was answered where something must be."""
    return Trouble(Reason.NoSeries, f"no series {question.text}: {question.remedy}")

"""What a release will be able to see with its traffic, before it starts: by the bound that no test can beat, and by
what this one takes beyond it.

A request of the candidate gives at most ``core.verdict.decision.information`` nats, and a verdict takes as many as the
test's bar. Beside that, two things are reckoned with: that it is not known what to look for, and chance.
``tests/unit/test_forecast.py`` holds the result against simulated releases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tidegate.api.analysis import Advance, AnalysisSpec, MetricSpec, Preset
from tidegate.api.release import ReleaseSpec, Step
from tidegate.core import metric as held
from tidegate.core.verdict import decision
from tidegate.core.verdict.decision import Plan
from tidegate.core.verdict.evidence import BETA, WORSE_THAN_STABLE, Check, Rule
from tidegate.core.verdict.kernel import GROSS_DELTA, GROSS_RHO, Boundary, divergence
from tidegate.simulation.plots import minutes
from tidegate.simulation.scenario import Scenario, Size

UNKNOWN = 3.5
"""Nats that it takes not to know beforehand what a regression looks like, nor when it begins: measured, for regressions
that begin with a step."""
CHANCE = 1.645
"""Standard deviations of chance that are waited for: 95 %."""
FEWEST_LOOKS = 2
"""No single scrape decides, unless ``GROSS`` of the requests fail."""
GROSS = 0.6
_MOST_TIMES = 1000.0
_LEAST = 1e-9
"""What never fails is taken to fail so rarely."""
_LONG = 86400.0
"""Seconds: nobody bakes a step for longer."""
_WEIGHTS = (1, 2, 5, 10, 15, 20, 25, 30, 40, 50)


@dataclass(frozen=True)
class Seen:
    """When a regression is seen with 95 %, if it begins with a step."""

    size: str
    requests: float
    """That the candidate has to answer; infinite where it is within the limits."""
    bound: float
    """How few would do for a test that knew all but the verdict."""
    seconds: float
    """From the step's beginning."""
    within: bool
    """Before the bake ends."""


@dataclass(frozen=True)
class StepForecast:
    """One step."""

    index: int
    step: Step
    requests: float
    """That the candidate answers in its bake, those of the warm-up left out."""
    enough: bool
    """At least ``minRequests``."""
    smallest: float | None
    """The least regression that is seen in its bake with 95 %, as a factor; None: none is."""
    seen: tuple[Seen, ...]
    proven: float
    """Seconds until a candidate like stable is proven to be within its limits, with 95 %; may be infinite."""
    compares: bool
    """Stable has requests to compare with."""


@dataclass(frozen=True)
class MetricForecast:
    """What is seen by one metric."""

    metric: MetricSpec
    usual: float
    steps: tuple[StepForecast, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class _Sight:
    """A metric with its tests and rates: what the candidate's rate is for a regression of some size."""

    name: str
    rule: Rule
    tests: Plan
    usual: float
    """Stable's rate, as it is compared."""
    candidates: Callable[[Size], float]
    """The candidate's for a regression of some size, as it is compared."""
    alone: Callable[[Size], float]
    """The candidate's as it is held against a limit of its own."""


def forecast(
    spec: ReleaseSpec,
    scenario: Scenario,
    sizes: tuple[str, ...],
    slower: tuple[str, ...] = (),
    fewer: tuple[str, ...] = (),
) -> tuple[MetricForecast, ...]:
    """For each metric that the scenario tells of: regressions of these sizes; of a latency of others, and of what ought
    to happen of yet others."""
    found = []
    for metric in spec.analysis.metrics:
        sight = _sight(metric, held.plan(spec.analysis, metric.fails_by), scenario)
        if sight is not None:
            factors = tuple(size for size in slower if Size.of(size).times != 1)
            wanted = factors if metric.preset is Preset.Latency else sizes if sight.rule.rising else fewer
            steps = _steps(spec, scenario, sight, wanted)
            advice = tuple(_advice(spec, scenario, sight, steps))
            found.append(MetricForecast(metric, sight.usual, steps, advice))
    return tuple(found)


def _sight(metric: MetricSpec, tests: Plan, scenario: Scenario) -> _Sight | None:
    rule = held.rule(metric)
    if metric.preset is not Preset.Latency:
        usual = scenario.base if metric.ratio is None else scenario.ratios[metric.name]
        return _Sight(metric.name, rule, tests, usual, lambda size: size.on(usual), lambda size: size.on(usual))
    latency = scenario.latency
    if latency is None:
        return None
    slow = latency.quantile(metric.level) * (1 + (metric.max_increase or 0.0))
    edge = next((one for one in latency.edges if one >= (metric.limit or math.inf)), math.inf)
    return _Sight(
        metric.name,
        rule,
        tests,
        1 - metric.level,
        lambda size: 1 - latency.below(slow, size.times),
        lambda size: 1 - latency.below(edge, size.times) if math.isfinite(edge) else 0.0,
    )


def _steps(spec: ReleaseSpec, scenario: Scenario, sight: _Sight, sizes: tuple[str, ...]) -> tuple[StepForecast, ...]:
    """Of those that have requests. The analysis begins with the first of them, and so does its warm-up."""
    rules, found = spec.analysis, list[StepForecast]()
    warmup = rules.warmup.total_seconds()
    for index, step in enumerate(spec.plan(), start=1):
        if step.weight and step.bake:
            found.append(_step(rules, scenario, sight, sizes, index, step, warmup))
            warmup = max(0.0, warmup - _lasts(rules, scenario, step, warmup))
    return tuple(found)


def _lasts(rules: AnalysisSpec, scenario: Scenario, step: Step, warmup: float) -> float:
    """Seconds: a bake with fewer than ``minRequests`` is extended."""
    bake, rate = step.bake.total_seconds(), scenario.traffic.rps * step.weight / 100
    most = 1 + (rules.on_inconclusive.extend if step.judged else 0)
    bakes = math.ceil((warmup + rules.min_requests / rate) / bake) if rules.min_requests else 1
    return bake * min(most, max(1, bakes))


def _step(
    spec: AnalysisSpec, scenario: Scenario, sight: _Sight, sizes: tuple[str, ...], index: int, step: Step, warmup: float
) -> StepForecast:
    """``warmup``: so many seconds of the step do not count yet."""
    rate = scenario.traffic.rps * step.weight / 100
    many = (100 - step.weight) / step.weight
    bake = step.bake.total_seconds()
    requests = rate * max(0.0, bake - warmup)
    poll = poll_of(spec, scenario)

    def seen(text: str, size: Size) -> Seen:
        needs, bound = to_fail(sight, size, many)
        gross = Check.Gross in sight.rule.tests and sight.candidates(size) >= GROSS and rate * poll >= 30 and many > 0
        looks = (
            max(1 if gross else FEWEST_LOOKS, math.ceil(needs / (rate * poll))) if math.isfinite(needs) else math.inf
        )
        # The scrape that shows the last of it comes up to a period later.
        seconds = warmup + (looks + 1) * poll
        return Seen(text, needs, bound, seconds, seconds <= bake)

    return StepForecast(
        index=index,
        step=step,
        requests=requests,
        enough=requests >= spec.min_requests,
        smallest=_smallest(lambda times: seen("", Size(times=times)).within, rising=sight.rule.rising),
        seen=tuple(seen(text, Size.of(text)) for text in sizes),
        proven=warmup + max(FEWEST_LOOKS * poll, to_pass(sight, many) / rate),
        compares=many > 0,
    )


def poll_of(spec: AnalysisSpec, scenario: Scenario) -> float:
    """Seconds from look to look: looks follow the scrapes."""
    interval, scrape = spec.interval.total_seconds(), scenario.scrape.total_seconds()
    return max(scrape, math.floor(interval / scrape) * scrape)


def to_fail(sight: _Sight, size: Size, many: float) -> tuple[float, float]:
    """Requests of the candidate until it fails, with 95 %; and the bound. Of the test that sees it first."""
    found = [(math.inf, math.inf)]
    for test in sight.rule.tests:
        gains = _gains(test, sight, size, many)
        if gains and all(nats > 0 for nats, _ in gains):
            bar = sight.tests.bar((sight.name, test))
            needs = max(_with_chance(bar + UNKNOWN, nats, spread) for nats, spread in gains)
            found.append((needs, max(bar / nats for nats, _ in gains)))
    return min(found)


def _gains(test: Check, sight: _Sight, size: Size, many: float) -> list[tuple[float, float]]:
    """Nats that a request of the candidate gives for failing, and their variance; none or nothing within the limits.
    Beyond a limit of its own it fails if it is worse than stable, too, where that is asked: by the lesser of both."""
    if test is Check.Absolute:
        limit, alone = sight.rule.absolute, sight.alone(size)
        if limit is None or alone <= limit:
            return []
        stable = [_of_stable(sight.rule, WORSE_THAN_STABLE, alone, sight.alone(Size()), many)] if many > 0 else []
        return [_of_limit(alone, limit), *stable]
    boundary = sight.rule.relative if test is Check.Relative else Boundary(GROSS_RHO, GROSS_DELTA)
    if boundary is None or many <= 0:
        return []
    return [_of_stable(sight.rule, boundary, sight.candidates(size), sight.usual, many)]


def _of_stable(rule: Rule, boundary: Boundary, candidates: float, usual: float, many: float) -> tuple[float, float]:
    """Of a comparison with stable, which has so many requests to each of the candidate's."""
    usual = max(usual, _LEAST)
    if not _beyond(rule, candidates, boundary.at(usual)):
        return 0.0, 0.0
    nats = decision.information(boundary, candidates, usual, many)
    tilt = _tilt(boundary, candidates / boundary.at(usual), many)
    stable = math.log1p(-min(boundary.rho * tilt / many, 1 - 1e-9))
    return nats, candidates * math.log1p(tilt) ** 2 + many * usual * stable**2


def _beyond(rule: Rule, rate: float, boundary: float) -> bool:
    return rate > boundary if rule.rising else rate < boundary


def _of_limit(rate: float, limit: float) -> tuple[float, float]:
    """The same of a rate against a limit of its own, from whichever side."""
    rate = min(max(rate, 1e-9), 1 - 1e-9)
    odds = math.log(rate / limit) - math.log((1 - rate) / (1 - limit))
    return divergence(rate, limit), rate * (1 - rate) * odds**2


def _tilt(boundary: Boundary, effect: float, many: float) -> float:
    """The bet that grows fastest, where there is no delta: ANALYSIS.md §2."""
    return (effect - 1) / (1 + boundary.rho * effect / many)


def _with_chance(nats: float, gain: float, spread: float) -> float:
    """Requests until the sum of gains is beyond so many nats with 95 %: n gain - 1.645 sqrt(n spread) = nats."""
    chance = CHANCE * math.sqrt(spread)
    return ((chance + math.sqrt(chance**2 + 4 * gain * nats)) / (2 * gain)) ** 2


def to_pass(sight: _Sight, many: float) -> float:
    """Requests of the candidate until one like stable is proven to be within all limits, with 95 %."""
    usual, healthy, needs = max(sight.usual, _LEAST), max(sight.candidates(Size()), _LEAST), [0.0]
    boundary = sight.rule.to_pass
    if boundary is not None and many > 0:
        if _beyond(sight.rule, healthy, boundary.at(usual)) or healthy == boundary.at(usual):
            return math.inf
        tilt = _tilt(boundary, healthy / boundary.at(usual), many)
        stable = math.log1p(-boundary.rho * tilt / many)
        spread = healthy * math.log1p(tilt) ** 2 + many * usual * stable**2
        gain = decision.information(boundary, healthy, usual, many)
        needs.append(_with_chance(UNKNOWN - math.log(BETA), gain, spread))
    limit = sight.rule.absolute
    if limit is not None:
        alone = sight.alone(Size())
        if alone >= limit:
            return math.inf
        needs.append(_with_chance(UNKNOWN - math.log(BETA), *_of_limit(alone, limit)))
    return max(needs)


def _smallest(seen: Callable[[float], bool], *, rising: bool) -> float | None:
    """The least factor that is seen, to a percent; of what ought to happen the greatest."""
    low, high = 1.0, _MOST_TIMES if rising else 1 / _MOST_TIMES
    if not seen(high):
        return None
    while max(high / low, low / high) > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def _advice(spec: ReleaseSpec, scenario: Scenario, sight: _Sight, steps: tuple[StepForecast, ...]) -> Iterator[str]:
    """What the release cannot do with its traffic, and what would help."""
    rules, first = spec.analysis, steps[0] if steps else None
    warmup = rules.warmup.total_seconds()
    if first is None:
        return
    compared = [one for one in steps if one.compares]
    yield from _spoilt(sight, steps)
    if not compared:
        yield "no step has requests of both revisions: nothing is compared, only a limit of its own (max) can fail it"
    for number, seen in enumerate(first.seen):
        if math.isfinite(seen.requests) or any(math.isfinite(one.seen[number].requests) for one in compared):
            yield from _unseen(rules, scenario, sight, steps, number)
    short = [one for one in steps if not one.enough and one.step.judged]
    if short:
        rate = scenario.traffic.rps * short[0].step.weight / 100
        which = ", ".join(str(one.index) for one in short)
        bake = minutes(math.ceil((warmup if short[0] is first else 0.0) + rules.min_requests / rate))
        weight = ", or a greater weight," if short[0].step.weight < 100 else ""
        yield (
            f"step {which}: too few requests within the bake for minRequests ({rules.min_requests}): it is extended, up"
            f" to {rules.on_inconclusive.extend} times; a bake of {bake}{weight} would do"
        )
    if rules.advance is Advance.Proven:
        never = [
            one for one in compared if one.proven > one.step.bake.total_seconds() * (1 + rules.on_inconclusive.extend)
        ]
        if never:
            yield (
                f"step {', '.join(str(one.index) for one in never)}: a candidate like stable cannot be Proven within"
                " the bake and its extensions: a longer bake, a greater maxIncrease, or advance: Baked would do"
            )


def _spoilt(sight: _Sight, steps: tuple[StepForecast, ...]) -> Iterator[str]:
    """Stable itself is beyond the limit: what then becomes of a candidate that is like it."""
    limit, usual = sight.rule.absolute, sight.alone(Size())
    if limit is not None and _beyond(sight.rule, usual, limit):
        told = f"stable itself is beyond max ({100 * usual:.3g} % of requests, and {100 * limit:.3g} % are allowed)"
        alone = next((one for one in steps if not one.compares), None)
        what = (
            f"step {alone.index}, with nothing to compare with, reverts a candidate like it"
            if alone
            else "only what is worse than it fails"
        )
        yield f"{told}: {what}; a greater max would do"


def _unseen(
    rules: AnalysisSpec, scenario: Scenario, sight: _Sight, steps: tuple[StepForecast, ...], number: int
) -> Iterator[str]:
    """A regression that the first step does not see."""
    first, size = steps[0], steps[0].seen[number].size
    if first.seen[number].within:
        return
    bake, warmup = first.step.bake, rules.warmup.total_seconds()
    told = f"{size} cannot be seen at weight {first.step.weight} within {minutes(bake.total_seconds())}"
    for weight in _WEIGHTS:
        other = Step(weight, bake, weight)
        if weight > first.step.weight:
            tried = _step(rules, scenario, sight, (size,), 1, other, warmup)
            if tried.seen[0].within:
                yield f"{told}: start at {weight}"
                return
    # Where nothing is to compare with, or more than half of all requests are there, a greater weight is no help.
    weight = max(50, first.step.weight)
    where = "" if weight == first.step.weight else ", nor at 50"
    best = _step(rules, scenario, sight, (size,), 1, Step(weight, bake, weight), warmup).seen[0]
    sees = next((one for one in steps if one.seen[number].within), None)
    later = f"; step {sees.index} sees it" if sees else ""
    if not math.isfinite(best.seconds):
        yield f"{told}{later}"
    elif best.seconds <= _LONG:
        yield f"{told}{where}: bake for {minutes(best.seconds)}{' there' if where else ''}{later}"
    else:
        hours = best.bound / (scenario.traffic.rps * weight / 100)
        yield (
            f"{told}: physics: no test whatever sees it at weight {weight} in less than {minutes(hours)}, about: its"
            f" {best.bound:,.0f} requests take so long. More traffic would help, or to be content with what is"
            f" seen{later}"
        )

"""What is told of the evidence: the verdict on each metric and on all of them, in numbers and in a sentence.

Texts are the same as long as the findings are: no times, and numbers no finer than they are worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidegate.api.analysis import AnalysisSpec, MetricSpec, MetricStatus, OnFail, Preset, Reason, Verdict
from tidegate.core import metric as held
from tidegate.core.arms import Arms
from tidegate.core.metric import Known
from tidegate.core.sourcing import needs_stable
from tidegate.core.verdict import decision
from tidegate.core.verdict.decision import Outcome, Plan
from tidegate.core.verdict.histogram import edge_from, quantile, requests

_SENTENCES = {
    Reason.WarmingUp: "warming up",
    Reason.NoTraffic: "the candidate has had no request in this step",
    Reason.NeedsPods: "within limits, but stable's pods differ for long: it takes 3 pods of the candidate to prove it",
}

_MORE_HELPS = {Reason.NoTraffic, Reason.NeedsRequests, Reason.Resolution}
"""What more requests may end."""


def of_metric(
    plan: Plan, metric: MetricSpec, known: Known, outcome: Outcome, arms: Arms, *, warming: bool
) -> MetricStatus:
    """The status of one metric."""
    stable, candidate = _seen(metric, known)
    failed = known.failed or outcome.failed_by(metric.name)
    verdict, reason = _verdict(metric, known, arms, failed=failed, warming=warming)
    missing = None
    if reason in _MORE_HELPS:
        missing = decision.needed(plan, metric.name, held.rule(metric), known.evidence, known.dispersion.phi())
    band = known.evidence.band
    interval = band.interval(plan.alpha) if band else None
    return MetricStatus(
        name=metric.name,
        verdict=verdict,
        reason=reason,
        message=_message(metric, known, reason, stable, candidate, arms.control),
        stable=_rounded(stable),
        candidate=_rounded(candidate),
        ratio=_rounded(candidate / stable) if stable and candidate is not None else None,
        interval=[_plain(end) for end in interval] if interval else None,
        evidence=round(decision.progress(plan, metric.name, known.evidence), 3),
        dispersion=_plain(known.dispersion.phi()) if needs_stable(metric) and metric.gauge is None else None,
        requests=round(known.evidence.total.seen),
        needed=missing,
    )


def in_brief(metric: MetricSpec, known: Known, outcome: Outcome, arms: Arms, *, warming: bool) -> MetricStatus:
    """The verdict on one metric, and nothing else."""
    failed = known.failed or outcome.failed_by(metric.name)
    verdict, reason = _verdict(metric, known, arms, failed=failed, warming=warming)
    return MetricStatus(name=metric.name, verdict=verdict, reason=reason)


def _verdict(metric: MetricSpec, known: Known, arms: Arms, *, failed: bool, warming: bool) -> tuple[Verdict, Reason]:
    evidence = known.evidence
    if failed:
        return Verdict.Fail, Reason.LimitExceeded
    if known.trouble:
        return Verdict.Unknown, known.trouble.reason
    if warming:
        return Verdict.Inconclusive, Reason.WarmingUp
    if metric.gauge is not None:
        within = known.levels.blocks > 0 and not evidence.leans(held.rule(metric)) and _is_within(metric, known)
        return (Verdict.Pass, Reason.WithinLimits) if within else (Verdict.Inconclusive, Reason.NeedsTime)
    if evidence.proven(held.rule(metric)) and not evidence.leans(held.rule(metric)):
        if known.dispersion.vouched_by(arms.pods):
            return Verdict.Pass, Reason.WithinLimits
        return Verdict.Inconclusive, Reason.NeedsPods
    if _unresolved(metric, known):
        return Verdict.Inconclusive, Reason.Resolution
    if not evidence.step.seen and not requests(known.latency.candidate):
        return Verdict.Inconclusive, Reason.NoTraffic
    return Verdict.Inconclusive, Reason.NeedsRequests


def _is_within(metric: MetricSpec, known: Known) -> bool:
    """Whether a gauge's levels, as they are seen in this step, are within the limits."""
    seen, rule = known.levels.seen, held.rule(metric)
    if seen is None:
        return False
    of_stable = rule.relative is None or seen.stable is None or seen.candidate <= rule.relative.at(seen.stable)
    return of_stable and (rule.absolute is None or seen.candidate <= rule.absolute)


def _unresolved(metric: MetricSpec, known: Known) -> str:
    """Where a histogram lacks an edge, if it does."""
    if metric.preset is not Preset.Latency:
        return ""
    latency, factor = known.latency, held.cuts(metric).factor
    if not latency.resolved and factor is not None:
        near = f"between {latency.slow:.3g} and {latency.slow * factor:.3g} s" if latency.slow else "further up"
        return f"the histogram does not show {metric.quantile or 'p99'} grow: add a bucket edge {near}"
    limit, buckets = metric.limit, latency.candidate
    if limit is not None and requests(buckets) and edge_from(buckets, limit) is None:
        return f"the histogram does not show what is slower than {metric.max}: add a bucket edge there"
    return ""


def _message(
    metric: MetricSpec, known: Known, reason: Reason, stable: float | None, candidate: float | None, control: str
) -> str:
    if known.trouble and reason is known.trouble.reason:
        rest = "; the release goes on without it" if skipped(metric, known) else ""
        return known.trouble.message + rest
    if reason in _SENTENCES:
        return _SENTENCES[reason]
    if reason is Reason.Resolution:
        return _unresolved(metric, known)
    told = _number(metric, candidate)
    if stable is not None:
        told += f" vs {_number(metric, stable)} {control}"
    return told if reason is not Reason.LimitExceeded else f"{told}, {_limits(metric, control)}"


def _limits(metric: MetricSpec, control: str) -> str:
    """What was exceeded, as it was written."""
    limits = []
    if metric.max_increase is not None:
        limits.append(f"at most {100 * metric.max_increase:.4g} % more than {control}")
    if metric.max_decrease is not None:
        limits.append(f"at most {100 * metric.max_decrease:.4g} % less than {control}")
    if metric.max is not None:
        limits.append(f"at most {metric.max}")
    return "allowed: " + " and ".join(limits)


def _seen(metric: MetricSpec, known: Known) -> tuple[float | None, float | None]:
    """Stable's and the candidate's number in this step: a share, a quantile in seconds, or a level."""
    if metric.gauge is not None:
        levels = known.levels.seen
        if levels is None:
            return None, None
        return levels.stable if metric.max_increase is not None else None, levels.candidate
    if metric.preset is Preset.Latency:
        return quantile(known.latency.stable, metric.level), quantile(known.latency.candidate, metric.level)
    step = known.evidence.step.relative
    return step.stable.share, step.candidate.share


def _number(metric: MetricSpec, value: float | None) -> str:
    if metric.gauge is not None and (value is None or not (metric.max or "%").endswith("%")):
        return "not measured yet" if value is None else f"{_plain(value):g}"
    if metric.preset is Preset.Latency:
        name = metric.quantile or "p99"
        return f"{name} beyond all bucket edges" if value is None else f"{name} {_plain(1000 * value):g} ms"
    return "no requests" if value is None else f"{_plain(100 * value, digits=2):g} %"


def _rounded(value: float | None) -> float | None:
    return None if value is None else _plain(value)


def _plain(value: float, *, digits: int = 3) -> float:
    return float(f"{value:.{digits}g}")


def skipped(metric: MetricSpec, known: Known) -> bool:
    """Whether the release goes on without the metric: it may, and nothing exposes it."""
    nothing = known.trouble is not None and known.trouble.reason is Reason.NoSeries
    return metric.optional and nothing and not known.had_data


def overall(
    spec: AnalysisSpec, known: Mapping[str, Known], metrics: Sequence[MetricStatus]
) -> tuple[Verdict, Reason, str]:
    """One verdict of all: the worst, except for metrics that the release goes on without if there are others."""
    asked = {metric.name for metric in spec.metrics if not skipped(metric, known[metric.name])}
    counted = [metric for metric in metrics if metric.name in asked] or list(metrics)
    pausing = {metric.name for metric in spec.metrics if metric.fails_by is OnFail.Pause}
    held_by = [metric for metric in counted if metric.verdict is Verdict.Fail and metric.name in pausing]
    for verdict in (Verdict.Fail, Verdict.Unknown, Verdict.Inconclusive, Verdict.Pass):
        found = [metric for metric in counted if metric.verdict is verdict and metric not in held_by]
        if verdict is Verdict.Inconclusive and held_by:
            texts = dict.fromkeys(f"{metric.name} {metric.message}" for metric in held_by)
            return verdict, Reason.Held, "; ".join(texts)
        if found:
            # What holds the release is told beside what is not known: one who asks to resume needs both.
            unknown = [*held_by, *found] if verdict is Verdict.Unknown else found
            told = counted if verdict in (Verdict.Inconclusive, Verdict.Pass) else unknown
            texts = dict.fromkeys(f"{metric.name} {metric.message}" for metric in told)
            return verdict, found[0].reason, "; ".join(texts)
    return Verdict.Pass, Reason.WithinLimits, "no metrics"

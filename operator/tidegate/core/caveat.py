"""What to know of a comparison before it begins: that stable's own pods differ so much that it says little, which of
them stands out, and what would help. It is told, and holds nothing: evidence counts for less by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tidegate.core.verdict import decision
from tidegate.core.verdict.decision import Plan
from tidegate.core.verdict.evidence import Check, Rule
from tidegate.core.verdict.kernel import Floats

_DIFFER = 2.0
"""Evidence that counts for half or less is told of..."""
_WAIT = 300.0
"""...where a doubling takes longer than so many seconds to be seen, or a pod stands out: traffic makes up for much."""
_SHARE = 0.1
"""Of the traffic, for the candidate, by which that is reckoned."""
_TIMES, _SURE = 3.0, 5.0
"""A pod stands out that has so many times the others' rate, by so many standard deviations of chance beyond its
share."""
_REMEDY = (
    "what helps: 3 pods of the candidate or more, a higher weight, longer bakes, a wider limit; and if errors come in"
    " rows because callers try again, a metric that counts first attempts"
)


def told(
    name: str,
    rule: Rule,
    plan: Plan,
    phi: float,
    pods: Sequence[str],
    requests: Floats,
    events: Floats,
    interval: float,
) -> str:
    """Of one metric, by what stable's ``pods`` did before the release: a row for each look, which are ``interval``
    seconds apart, a column for each pod. Empty where there is nothing to tell."""
    if phi < _DIFFER:
        return ""
    seen, happened = requests.sum(axis=0), events.sum(axis=0)
    needed, outlier = _needed(name, rule, plan, phi, seen, happened), _outlier(pods, seen, happened, rule)
    seconds = needed / _SHARE / (float(seen.sum()) / (len(requests) * interval)) if needed else 0.0
    if not outlier and seconds <= _WAIT:
        return ""
    differ = (
        f"{name}: in the {_lasts(len(requests) * interval)} before, stable's {int((seen > 0).sum())} pods differed"
        f" {phi:.2g} times as much as chance explains: evidence counts for 1/{phi:.2g} of itself"
    )
    if needed:
        differ += (
            f", and to see a doubling takes about {_plain(needed)} requests of the candidate, {_lasts(seconds)} at"
            f" {100 * _SHARE:g} % of the traffic"
        )
    return f"{differ}; {outlier or _REMEDY}"


def _needed(name: str, rule: Rule, plan: Plan, phi: float, seen: Floats, happened: Floats) -> float:
    """The candidate's requests that show it twice as bad as stable; 0: that is within the limits, or there is no
    idea."""
    key = (name, Check.Relative)
    rate = float(happened.sum() / seen.sum()) if seen.sum() else 0.0
    if rule.relative is None or not rule.rising or key not in plan.weights or not 0 < rate < 0.5:
        return 0.0
    if 2 * rate <= rule.relative.at(rate):
        return 0.0
    return decision.to_fail(plan, key, rule.relative, 2 * rate, rate, (1 - _SHARE) / _SHARE, phi)


def _outlier(pods: Sequence[str], seen: Floats, happened: Floats, rule: Rule) -> str:
    """The pod that stands out, and what to do about it."""
    if not rule.rising or len(pods) < 2 or not happened.sum():
        return ""
    worst = int(happened.argmax())
    share, events = float(seen[worst] / seen.sum()), float(happened.sum())
    mine, others = float(happened[worst]), events - float(happened[worst])
    beyond = mine - share * events
    rate, theirs = mine / max(float(seen[worst]), 1.0), others / max(float(seen.sum() - seen[worst]), 1.0)
    if beyond <= _SURE * math.sqrt(share * (1 - share) * events) or rate < _TIMES * theirs:
        return ""
    return (
        f"pod {pods[worst]} has {100 * mine / events:.0f} % of the bad ones and {100 * share:.0f} % of all requests:"
        " look at that pod, or delete it so that another takes its place"
    )


def _lasts(seconds: float) -> str:
    """For people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.2g} h"


def _plain(count: float) -> str:
    return f"{float(f'{count:.2g}'):,.0f}"

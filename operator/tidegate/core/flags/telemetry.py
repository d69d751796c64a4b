"""How often a flag is evaluated and by how many people, as gateways and applications count it.

Gateways count what they answer, and estimate how many different people a rollout has let in and left out; applications
whose SDKs evaluate in process count by OpenFeature's hook. Here such counts only hold a rollout, or call a flag unused:
the evidence is the analysis' own.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tidegate.core.arms import FLAG_LABEL, VARIANT_LABEL
from tidegate.core.counters import Answer, Missing, Series
from tidegate.core.flags.effective import EVERYBODY, Declared

EVALUATIONS = "tidegate_flag_evaluations_total"
"""Of a gateway: by flag_set, flag and variant."""
USERS, SHARE = "tidegate_flag_distinct_keys", "tidegate_flag_rollout_share"
"""Of a gateway, while a rollout is under way: how many different keys it was asked for, by flag_set, flag and arm (in,
out), and since it has had which share of everybody."""
SERVED = "tidegate_flags"
"""Of a gateway: how many flags it serves."""
HOOK = "feature_flag_evaluation_success_total"
"""Of an application that evaluates in process."""
STREAMS, REQUESTS = "tidegate_flag_streams", "tidegate_flag_requests_total"
"""Of a gateway: who is told of changes, by protocol, and how often it was asked, by what."""
UNDER_WAY, AT_REST = timedelta(minutes=1), timedelta(hours=1)
"""How often to ask: each answer is a write of the status."""
BULK = "bulk"
"""The mode in which all flags are asked for at once."""
_OVERLAP = 2
"""Windows at rest overlap: one question may be lost."""
GAP = _OVERLAP * AT_REST + timedelta(minutes=5)
"""Between two answers. Where it was longer, what was evaluated meanwhile was seen by nobody."""
UNLIKELY = 0.001
"""How likely a difference in sizes may be by chance, to be called a mismatch."""
_INEXACT = 0.03
"""How far the estimate of a number of people may be off."""


class Role(StrEnum):
    """What is asked."""

    GATEWAYS = "gateways"
    HOOKS = "hooks"
    USERS = "users"
    WATCHED = "watched"
    UNSEEN = "unseen"
    """Who evaluates in process, while nothing in the flag's namespace counts that."""


Answers = Mapping[Role, Answer]


@dataclass(frozen=True)
class Users:
    """People that a rollout has let in and left out, as all gateways together saw them."""

    inside: float
    outside: float
    gateways: int
    """Each of them may have seen the same people."""


def queries(flag: Declared, since: datetime | None, now: datetime, *, split: bool) -> frozenset[str]:
    """PromQL. ``since``: when the step began, if evaluations of a step are asked for. ``split``: some are in and some
    are not."""
    seconds = (now - since if since else _OVERLAP * AT_REST).total_seconds()
    window = f"[{max(60, math.ceil(seconds))}s]"
    ours = f"flag_set={json.dumps(flag.flag_set)},flag={json.dumps(flag.key)}"
    theirs = f"namespace={json.dumps(flag.namespace)},{FLAG_LABEL}={json.dumps(flag.key)}"
    asked = {
        f"sum by (variant, mode) (increase({EVALUATIONS}{{{ours}}}{window}))",
        f"sum by ({VARIANT_LABEL}) (increase({HOOK}{{{theirs}}}{window}))",
        f"count({SERVED}) or count({HOOK})",
        f'count({STREAMS}{{protocol="grpc"}} > 0 or increase({REQUESTS}{{what="sync"}}{window}) > 0)'
        f" unless count({HOOK}{{namespace={json.dumps(flag.namespace)}}})",
    }
    return frozenset(asked | {f'{{__name__=~"{USERS}|{SHARE}",{ours}}}'} if split else asked)


def by_role(answers: Mapping[str, Answer]) -> Answers:
    """Answers by what was asked, however long ago: the window of a question grows with time, its kind does not."""
    return {_role(text): answer for text, answer in answers.items()}


def _role(text: str) -> Role:
    if STREAMS in text:
        return Role.UNSEEN
    if text.startswith("count("):
        return Role.WATCHED
    if text.startswith("{"):
        return Role.USERS
    return Role.HOOKS if HOOK in text else Role.GATEWAYS


def watched(answers: Answers) -> bool | None:
    """Whether evaluations of any flag are counted; None where nobody knows."""
    answer = answers.get(Role.WATCHED, Missing(""))
    return None if isinstance(answer, Missing) else any(_last(series) for series in answer)


def unseen(answers: Answers, *, client_side: bool) -> bool | None:
    """Whether somebody may evaluate the flag and is not counted: in process without the hook, or a browser that asks in
    bulk. None where nobody knows."""
    found = [answers.get(role, Missing("")) for role in (Role.UNSEEN, Role.GATEWAYS)]
    known = [answer for answer in found if not isinstance(answer, Missing)]
    if len(known) < len(found):
        return None
    in_process, gateways = known
    in_bulk = any(series.labels.get("mode") == BULK and _last(series) for series in gateways)
    return bool(in_process) or (client_side and in_bulk)


def evaluations(answers: Answers) -> Mapping[str, int] | None:
    """By variant; None where nobody knows, or nobody counts. Who is not counted at all was not served zero times.

    Whoever asks in bulk asks for all there are, and tells nobody which of them is used.
    """
    found = [answers.get(role, Missing("")) for role in (Role.GATEWAYS, Role.HOOKS)]
    known = [answer for answer in found if not isinstance(answer, Missing)]
    if len(known) < len(found) or not watched(answers):
        return None
    total: Counter[str] = Counter()
    for answer in known:
        for series in answer:
            if series.labels.get("mode") == BULK:
                continue
            variant = series.labels.get("variant") or series.labels.get(VARIANT_LABEL, "")
            total[variant] += round(_last(series))
    return total


def users(answers: Answers, milli: int) -> Users | None:
    """Of the gateways that have this share. None where nobody knows, or none has."""
    answer = answers.get(Role.USERS, Missing(""))
    if isinstance(answer, Missing):
        return None
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for series in answer:
        gateway = tuple(series.labels.get(label, "") for label in ("namespace", "pod", "instance"))
        found.setdefault(gateway, {})[series.labels.get("arm", "share")] = _last(series)
    alike = [one for one in found.values() if {"in", "out"} <= set(one) and _has(one, milli)]
    if not alike:
        return None
    return Users(sum(one["in"] for one in alike), sum(one["out"] for one in alike), len(alike))


def _has(gateway: Mapping[str, float], milli: int) -> bool:
    return round(gateway.get("share", -1.0) * EVERYBODY) == milli


def chance(seen: Users, milli: int) -> float:
    """How likely so many are in by chance, given the share: chi-square, with one degree of freedom.

    Whoever asked several gateways was counted by each: the same people again are no more evidence.
    """
    total, share = seen.inside + seen.outside, milli / EVERYBODY
    if not total or not 0 < share < 1:
        return 1.0
    by_chance = seen.gateways * total * share * (1 - share)
    off = _INEXACT**2 * ((seen.inside * (1 - share)) ** 2 + (seen.outside * share) ** 2)
    square = (seen.inside - total * share) ** 2 / (by_chance + off)
    return math.erfc(math.sqrt(square / 2))


def _last(series: Series) -> float:
    return series.samples[-1][1] if series.samples else 0.0

"""``tidegate flags``: what there is and what should go, who is served what and why, and whom a change would move."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tidegate.api.crd import mistyped
from tidegate.api.flag import FeatureFlag
from tidegate.api.flagstatus import FlagStatus, RolloutStatus
from tidegate.api.flagwords import FlagCondition
from tidegate.app.cli.manifests import Wrong, documents
from tidegate.core.flags.check import read
from tidegate.core.flags.compile import compile_set
from tidegate.core.flags.draft import Flag
from tidegate.core.flags.effective import rollout_digest
from tidegate.core.flags.flagset import eldest, flag_set
from tidegate.core.flags.trace import trace
from tidegate.engine.flags import read_flag
from tidegate.ports.cluster import FEATURE_FLAGS, Cluster, ClusterError, Object

DEBT = (FlagCondition.STALE, FlagCondition.UNUSED)


@dataclass(frozen=True)
class Changes:
    """Who is served something else."""

    users: int
    moves: Mapping[tuple[str, str, str], int]
    """Of so many of them: by key of the flag, variant before and variant after."""


def register(commands: Any) -> None:
    """Add the commands."""
    flags = commands.add_parser("flags", help="list feature flags, explain an answer, tell whom a change would move")
    verbs = flags.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = verbs.add_parser("list", help="flags, and what they serve")
    listing.add_argument("--stale", action="store_true", help="only those that somebody should remove")
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    listing.set_defaults(run=run, ask=_list)
    evaluating = verbs.add_parser("eval", help="what a flag answers, and why")
    evaluating.add_argument("key", help="the flag's key")
    evaluating.add_argument("--set", default="", help="the flag set; default: the namespace")
    evaluating.set_defaults(run=run, ask=_eval)
    diff = verbs.add_parser("diff", help="whom a change would serve something else: of sampled users, how many")
    diff.add_argument("before", help="a file of FeatureFlags; where it is the only one: what would be, after what is")
    diff.add_argument("after", nargs="?", help="another file")
    diff.add_argument("--users", type=int, default=10_000, metavar="N", help="sampled users (default 10,000)")
    diff.add_argument("--contexts", metavar="FILE", help="real ones instead: a JSON object on each line")
    diff.add_argument(
        "--percentage", type=float, default=100.0, help="of rollouts in files without a status (default 100)"
    )
    diff.set_defaults(run=run, ask=_diff)
    for parser in (listing, evaluating, diff):
        parser.add_argument("-n", "--namespace", help="default: the namespace of the kubeconfig's context")
    for parser in (evaluating, diff):
        parser.add_argument(
            "--context", action="append", default=[], metavar="KEY=VALUE", help="an attribute; JSON, or else text"
        )


def run(args: argparse.Namespace) -> int:
    """Answer; the exit code is 1 where that cannot be."""
    try:
        sys.stdout.write(asyncio.run(args.ask(args)))
    except (ClusterError, Wrong) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _list(args: argparse.Namespace) -> str:
    found, _ = await _flags(args)
    return listed(found, stale=args.stale)


async def _eval(args: argparse.Namespace) -> str:
    found, namespace = await _flags(args, everywhere=True)
    return explained(found, args.set or namespace, args.key, context(args.context))


async def _diff(args: argparse.Namespace) -> str:
    after = _from_file(args.after or args.before, args.namespace or "default", args.percentage)
    if args.after:
        before = _from_file(args.before, args.namespace or "default", args.percentage)
        sound(before)
        sound(after)
    else:
        before, namespace = await _flags(args, everywhere=True)
        changed = _from_file(args.before, args.namespace or namespace, args.percentage)
        after = over(before, changed)
        sound(after, {(one.declared.flag_set, one.declared.key) for one in changed})
    users = _from_lines(args.contexts) if args.contexts else sample(args.users, context(args.context))
    return told(compare(before, after, users))


def listed(flags: Sequence[Flag], *, stale: bool = False) -> str:
    """A table."""
    rows = [("NAMESPACE", "KEY", "SERVING", "ROLLOUT", "PHASE", "OWNER", "WHY IT SHOULD GO")]
    for flag in sorted(flags, key=lambda one: (one.declared.namespace, one.declared.key)):
        debt = [one for one in flag.status.conditions if one.type in DEBT and one.status == "True"]
        if debt or not stale:
            owner, why = str(flag.declared.spec.get("owner", "")), "; ".join(one.message for one in debt)
            standing = (flag.status.serving, flag.status.percentage, str(flag.status.phase))
            rows.append((flag.declared.namespace, flag.declared.key, *standing, owner, why))
    if len(rows) == 1:
        return "no flag should go\n" if stale else "there are no flags\n"
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def explained(flags: Iterable[Flag], name: str, key: str, who: Mapping[str, Any]) -> str:
    """What a flag of a set answers to somebody, and what was asked on the way."""
    made = flag_set(one.declared for one in served(flags, name))
    program = made.programs.get(key)
    if program is None:
        known = ", ".join(sorted(made.programs)) or "none"
        wrong = "; ".join(map(str, made.problems.get(key, ())))
        raise Wrong(f"flag {key} of set {name} is not served{': ' + wrong if wrong else f'. There are: {known}'}")
    found = trace(program, who)
    lines = [f"{key} = {json.dumps(found.answer.value)}  ({found.answer.variant}, {found.answer.reason})"]
    lines += [f"  {'→' if step.matched else ' '} {step.what}: {step.why}" for step in found.steps]
    lines += [f"  ! {problem}: the last spec that was right is served" for problem in made.problems.get(key, ())]
    return "\n".join(lines) + "\n"


def served(flags: Iterable[Flag], name: str) -> list[Flag]:
    """The flags of a set; of several with one key the oldest."""
    mine = (one for one in flags if one.declared.flag_set == name)
    return list(eldest(mine, lambda one: one.declared).values())


def over(before: Sequence[Flag], after: Sequence[Flag]) -> list[Flag]:
    """What would be, were these manifests applied: a status stays where it is."""
    known = {(one.declared.namespace, one.declared.name): one for one in before}
    for one in after:
        where = (one.declared.namespace, one.declared.name)
        old = known.get(where)
        status = old.declared.status if old else one.declared.status
        known[where] = replace(old or one, declared=replace(one.declared, status=status))
    return list(known.values())


def sound(flags: Sequence[Flag], of: Collection[tuple[str, str]] | None = None) -> None:
    """Raise what is wrong with these flags, or some of them, by set and key: what they need may not be there."""
    wrong = [
        f"{key} of set {name}: {problem}"
        for name in sorted({one.declared.flag_set for one in flags})
        for key, problems in flag_set(one.declared for one in served(flags, name)).problems.items()
        for problem in problems
        if of is None or (name, key) in of
    ]
    if wrong:
        raise Wrong("\n".join(wrong))


def compare(before: Sequence[Flag], after: Sequence[Flag], users: Sequence[Mapping[str, Any]]) -> Changes:
    """Ask both for each of the users."""
    moves: Counter[tuple[str, str, str]] = Counter()
    for name in sorted({one.declared.flag_set for one in (*before, *after)}):
        both = (flag_set(one.declared for one in served(flags, name)) for flags in (before, after))
        old, new = (compile_set(made.programs) for made in both)
        for key in sorted(old.keys() | new.keys()):
            for who in users:
                was, is_ = (by[key](who).variant if key in by else "nothing" for by in (old, new))
                if was != is_:
                    moves[key, was, is_] += 1
    return Changes(len(users), moves)


def told(changes: Changes) -> str:
    """In percent."""
    if not changes.moves:
        return f"nobody of {changes.users} users is served anything else\n"
    lines = [f"of {changes.users} users:"]
    for (key, was, is_), count in sorted(changes.moves.items()):
        lines.append(f"  {key}: {100 * count / changes.users:.4g} % go from {was} to {is_}")
    return "\n".join(lines) + "\n"


def sample(count: int, rest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Users with keys, the same ones each time, and whatever else is said of all of them."""
    return [{**rest, "targetingKey": f"user-{number}"} for number in range(count)]


def context(pairs: Iterable[str]) -> dict[str, Any]:
    """``plan=beta`` and ``age=42``: values are JSON, or else text. One dot goes into an object."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise Wrong(f"--context {pair}: write it as KEY=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        outer, dot, inner = key.partition(".")
        into = found.setdefault(outer, {}) if dot else found
        if not isinstance(into, dict) or (not dot and isinstance(found.get(key), dict)):
            raise Wrong(f"--context {pair}: {outer} is a value and an object: give one or the other")
        into[inner if dot else key] = value
    return found


async def _flags(args: argparse.Namespace, *, everywhere: bool = False) -> tuple[list[Flag], str]:
    from tidegate.app.cli.connected import connected

    async with connected(args.namespace) as (cluster, namespace):
        where = "" if everywhere or getattr(args, "all_namespaces", False) else namespace
        return [read_flag(obj) for obj in await _objects(cluster, where)], namespace


async def _objects(cluster: Cluster, namespace: str) -> Sequence[Object]:
    return await cluster.list(FEATURE_FLAGS, namespace)


def _from_file(name: str, namespace: str, percentage: float) -> list[Flag]:
    """The flags of a file; rollouts that have no status are taken to have this percentage."""
    found = [one for one in documents(name) if isinstance(one, dict) and one.get("kind") == FEATURE_FLAGS.name]
    if not found:
        raise Wrong(f"{name}: there is no FeatureFlag in it")
    flags = []
    for obj in found:
        if wrong := mistyped(FeatureFlag, obj):
            raise Wrong(f"{name}: {wrong}")
        if not isinstance(obj.get("metadata", {}).get("name"), str):
            raise Wrong(f"{name}: metadata.name is needed")
        obj["metadata"].setdefault("namespace", namespace)
        flag = read_flag(obj)
        spec = read(flag.declared.spec)
        if isinstance(spec, tuple):
            raise Wrong("\n".join(f"{name}: {flag.declared.name}: {problem}" for problem in spec))
        if flag.declared.status is None or flag.declared.status.rollout is None:
            rollout = RolloutStatus(digest=rollout_digest(spec), milli=round(percentage * 1000))
            flag = replace(flag, declared=replace(flag.declared, status=FlagStatus(rollout=rollout)))
        flags.append(flag)
    return flags


def _from_lines(name: str) -> list[Mapping[str, Any]]:
    try:
        return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise Wrong(f"{name}: {error}") from None

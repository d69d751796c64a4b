"""``tidegate analyze NAME --dry-run``: what each query of a release would return now; ``--lint``: what is wrong with an
AnalysisTemplate. Nothing is written.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tidegate.api.analysis import AnalysisSpec, Preset, Source
from tidegate.app.cli.connected import connected
from tidegate.app.settings import Settings, add_flags
from tidegate.core import analysis, answered, looking, reading, sourcing, templates
from tidegate.core import questions as ask
from tidegate.core.answered import Reads, Reply
from tidegate.core.arms import Arms, Side
from tidegate.core.counters import Answer, Missing
from tidegate.core.observed import Backends, Observed
from tidegate.core.verdict import histogram
from tidegate.engine.observe import read_release, with_templates
from tidegate.engine.store import Cached, Store
from tidegate.ports.cluster import (
    ANALYSIS_TEMPLATES,
    DEPLOYMENTS,
    RELEASES,
    REPLICASETS,
    ROUTES,
    Cluster,
    ClusterError,
    Kind,
    NotFound,
    Object,
    Rejected,
)

_KINDS = (*RELEASES, ANALYSIS_TEMPLATES, DEPLOYMENTS, REPLICASETS, *ROUTES)


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("analyze", help="what a release would measure now, or what is wrong with a template")
    parser.add_argument("name", help="of the release, or Kind/name; with --lint of an AnalysisTemplate, or its file")
    parser.add_argument("-n", "--namespace", help="default: the namespace of the kubeconfig's context")
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE", help="with --lint: an argument")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dry-run", action="store_true", help="ask Prometheus what each query returns now")
    what.add_argument("--lint", action="store_true", help="say what is wrong with an AnalysisTemplate")
    known = argparse.ArgumentParser(add_help=False)
    add_flags(known)
    for action in known._actions:
        if action.dest.startswith(("prometheus", "traefik")):
            parser._add_action(action)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tell; the exit code is 1 where something is wrong, or cannot be measured."""
    try:
        told, right = asyncio.run(_lint(args) if args.lint else _dry_run(args))
    except (ClusterError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join(told) + "\n")
    return 0 if right else 1


async def _lint(args: argparse.Namespace) -> tuple[list[str], bool]:
    given = dict(_argument(text) for text in args.arg)
    objects = _in_file(Path(args.name))
    if objects is None:
        async with connected(args.namespace) as (cluster, namespace):
            objects = [await cluster.get(ANALYSIS_TEMPLATES, namespace, args.name.rpartition("/")[2])]
    told = [
        f"{(obj.get('metadata') or {}).get('name', '')}: {line}"
        for obj in objects
        for line in templates.lint(obj.get("spec") or {}, given)
    ]
    return told or ["nothing is wrong with it"], not told


def _in_file(path: Path) -> list[Object] | None:
    """The templates in a file; None where that is no file."""
    if not path.is_file():
        return None
    import yaml

    try:
        found = list(yaml.safe_load_all(path.read_text("utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from None
    objects = [obj for obj in found if isinstance(obj, dict) and obj.get("kind") == ANALYSIS_TEMPLATES.name]
    if not objects:
        raise ValueError(f"{path}: there is no {ANALYSIS_TEMPLATES.name} in it")
    return objects


def _argument(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--arg {text!r}: write NAME=VALUE")
    return name, value


async def _dry_run(args: argparse.Namespace) -> tuple[list[str], bool]:
    from tidegate.adapters.clock import SystemClock
    from tidegate.adapters.prometheus import PrometheusSource

    if args.arg:
        raise ValueError("--arg: goes with --lint; a release has its arguments in spec.analysis.templateRefs")
    settings = replace(
        Settings(), **{name: said for name, said in vars(args).items() if name.startswith(("prometheus", "traefik"))}
    )
    if settings.wrong:
        raise ValueError(settings.wrong)
    async with connected(args.namespace) as (cluster, namespace):
        spec, arms = await _measured(cluster, namespace, args.name, settings)
    if spec.source is Source.Pods:
        raise Rejected(
            f"{args.name}: spec.analysis.source: Pods: the operator asks its pods, which nobody outside the cluster"
            " reaches; status.analysis has what it finds"
        )
    source = PrometheusSource(settings.prometheus, access=settings.access, clock=SystemClock())
    try:
        answers = dict(await source.fetch((*analysis.queries(spec, arms), *analysis.before(spec, arms))))
    finally:
        await source.close()
    told = [*report(spec, arms, answers), *warnings(spec, arms, answers, SystemClock().now())]
    return [line for line, _ in told], all(right for _, right in told)


async def _measured(cluster: Cluster, namespace: str, name: str, settings: Settings) -> tuple[AnalysisSpec, Arms]:
    """What a release measures, and the revisions that it compares; at rest there is stable alone, in both places."""
    async with _router(cluster, namespace, settings) as (cached, router):
        kind, obj = await _find(cached, namespace, name)
        release = await with_templates(cached, read_release(kind, obj))
        if release.spec is None or release.invalid:
            raise Rejected(f"{kind.name} {name}: {release.invalid}")
        deployment = await cached.get(DEPLOYMENTS, namespace, release.spec.target_ref.name)
        uid = deployment["metadata"]["uid"]
        owned = [rs for rs in await cached.list(REPLICASETS, namespace) if reading.owned_by(rs, uid)]
        known = tuple(map(reading.replicaset, owned))
        status = release.status
        if status.stable is None:
            raise Rejected(f"{kind.name} {name} has no stable revision yet: is the operator running?")
        service = (status.effective or {}).get("serviceRef")
        backends = Backends.of(namespace, str(service["name"]) if isinstance(service, dict) else "")
        routing = await router.read(backends, release.spec.traffic.names(), None)
        both = status.model_copy(update={"candidate": status.candidate or status.stable})
        obs = Observed(
            replace(release, status=both), replicasets=known, routes=routing.routes, router_series=routing.series
        )
    arms = looking.arms(obs)
    if arms is None:
        raise Rejected(f"{kind.name} {name}: a revision that it compares has no ReplicaSet any more")
    return release.spec.analysis, arms


@asynccontextmanager
async def _router(cluster: Cluster, namespace: str, settings: Settings) -> AsyncIterator[tuple[Cached, Any]]:
    """Routers, and a memory of the namespace for them to look things up in."""
    from tidegate.adapters.clock import SystemClock
    from tidegate.adapters.routers.traefik import Traefik
    from tidegate.app.wiring import routers

    store = Store(_KINDS)
    for kind in _KINDS:
        audit = store.audit(kind)
        try:
            async for page in cluster.pages(kind, namespace):
                audit.take(page)
        except NotFound:
            pass  # the kind is not installed
        audit.end()
    cached = Cached(cluster, store)
    traefik = Traefik(cached, settings.traefik_api)
    try:
        yield cached, routers(cached, traefik, SystemClock())
    finally:
        await traefik.close()


async def _find(cluster: Cluster, namespace: str, name: str) -> tuple[Kind, Object]:
    wanted, _, plain = name.rpartition("/")
    for kind in RELEASES:
        if not wanted or wanted.lower() in (kind.name.lower(), kind.plural):
            try:
                return kind, await cluster.get(kind, namespace, plain)
            except NotFound:
                continue
    raise NotFound(f"there is no release {name} in namespace {namespace}")


def report(spec: AnalysisSpec, arms: Arms, answers: dict[str, Answer]) -> Iterator[tuple[str, bool]]:
    """Line by line what is measured, and whether that is right."""
    for metric in spec.metrics:
        choice = ask.choose(spec, metric, arms, answers, patient=False)
        unit = (
            " (durations in ms)" if metric.preset is Preset.Latency and "milliseconds" in (choice.source or "") else ""
        )
        unit += ", native histograms" if sourcing.are_native(metric, arms, choice.source) else ""
        yield f"{metric.name}: {choice.source or 'no counters yet' if metric.preset else 'your own'}{unit}", True
        if choice.trouble:
            yield f"  {choice.trouble.reason}: {choice.trouble.message}", metric.optional
            continue
        for side in sourcing.sides(metric):
            told = ask.told(spec, metric, arms, side, choice.source, answers)
            if not told:
                yield f"  {side}: {sourcing.unroutable(arms)}", False
            for reply in told:
                yield from _answered(side, reply, optional=metric.optional)


def warnings(spec: AnalysisSpec, arms: Arms, answers: dict[str, Answer], now: datetime) -> Iterator[tuple[str, bool]]:
    """What a release that began now would tell of stable's pods. Nothing is wrong with it, so it is right."""
    for text in analysis.caveats(spec, arms, answers, now).values():
        yield f"! {text}", True


def _answered(side: Side, reply: Reply, *, optional: bool) -> Iterator[tuple[str, bool]]:
    question, answer, found = reply.question, reply.answer, answered.trouble(reply)
    yield f"  {side}: {question.text}", True
    if found or isinstance(answer, Missing):
        yield f"    {found.reason}: {found.message}" if found else "    no answer", False
    elif not answer:
        yield f"    no series: {question.remedy}", optional or question.reads is Reads.Of
    elif question.reads is Reads.Level:
        levels = [series.samples[-1][1] for series in answer]
        yield f"    {len(answer)} series, {sum(levels) / len(levels):g} on average now", True
    else:
        sums: dict[str, float] = {}
        for column, series in answered.columned(reply):
            sums[column] = sums.get(column, 0.0) + series.samples[-1][1]
        pods = len({series.labels.get("pod") or series.labels.get("instance", "") for series in answer})
        if question.reads is Reads.Buckets:
            requests = histogram.requests(histogram.from_columns(sums))
            yield f"    {len(answer)} series of {pods} pods, {requests:g} requests so far", True
        else:
            counted = f"{sums.get(Reads.To, sums.get(Reads.Of, 0.0)):g} so far"
            failed = f", {sums.get(Reads.Of, 0.0):g} of them bad" if question.reads is Reads.Requests else ""
            yield f"    {len(answer)} series of {pods} pods, {counted}{failed}", True

"""``tidegate plan``: what a release will be able to see with its traffic, step by step, before it starts."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

from tidegate.app.cli import releases
from tidegate.app.cli.manifests import Wrong

if TYPE_CHECKING:
    from tidegate.api.release import ReleaseSpec
    from tidegate.core.counters import Answer
    from tidegate.simulation.forecast import MetricForecast, Seen, StepForecast
    from tidegate.simulation.scenario import Scenario

SIZES = ("2x", "5x", "20x", "100%")
_SLOWER = ("1.5x", "2x", "4x")
_FEWER = ("0.9x", "0.8x", "0.5x")
_PODS = 'http_requests_total{{namespace="{namespace}",pod=~"{name}-.*"{more}}}'
_PATIENCE = 10.0


def register(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("plan", help="what a release can see with its traffic, before it starts")
    releases.describe(parser)
    parser.add_argument(
        "--see", action="append", default=[], metavar="SIZE", help="a regression to ask about: 2x, +0.5%%, 10%%"
    )
    parser.add_argument("--prometheus", metavar="URL", help="where traffic and base come from that are not given")
    parser.add_argument("--requests", metavar="PROMQL", help="requests a second; default: the pods' own, of a day")
    parser.add_argument("--errors", metavar="PROMQL", help="failed ones a second; default: likewise")
    parser.add_argument("-n", "--namespace", default="default", help="of the pods that Prometheus is asked about")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tell; the exit code is 1 where that cannot be."""
    return releases.tell(_answer, args)


def _answer(args: argparse.Namespace) -> str:
    from tidegate.simulation.forecast import forecast
    from tidegate.simulation.scenario import Size, as_read, measured, read

    kind, name, spec = releases.release(args.filename, args.name)
    fields = releases.said(args)
    if args.prometheus:
        fields = {**_asked(args, spec), **fields}
    scenario = as_read(spec.analysis, read(fields))
    measured(spec.analysis, scenario)
    for size in args.see:
        try:
            Size.of(size)
        except ValueError as error:
            raise Wrong(f"--see {size}: {error}") from None
    found = forecast(spec, scenario, *(tuple(args.see) or sizes for sizes in (SIZES, _SLOWER, _FEWER)))
    if args.output == "json":
        head = {"release": {"kind": kind, "name": name}, "scenario": scenario.wire(), "notes": _left_out(scenario)}
        return json.dumps({**head, "metrics": [_as_json(one) for one in found]}, indent=2) + "\n"
    lines = [
        f"{kind} {name}: {releases.steps(spec)}",
        f"with {scenario.traffic.rps:,.12g} requests/s, seen with 95 % if it begins with the step:",
        *(f"! {line}" for line in _left_out(scenario)),
    ]
    for one in found:
        lines += ["", *_metric(one)]
    return "\n".join(lines) + "\n"


def _left_out(scenario: Scenario) -> list[str]:
    """What the scenario says and the forecast does not reckon with."""
    found = []
    if scenario.pod_noise or scenario.pod_offset:
        found.append("pods differ (podNoise, podOffset): it takes longer than is told here, tidegate simulate says it")
    if scenario.traffic.daily:
        found.append("traffic swings over the day (traffic.daily): told of its mean, tidegate simulate goes through it")
    return found


def _metric(found: MetricForecast) -> list[str]:
    from tidegate.simulation.plots import minutes

    metric = found.metric
    quantile = metric.quantile or "p99"
    what = f"{metric.name}: " + (
        f"{quantile}, slower by" if metric.preset == "Latency" else f"usually {100 * found.usual:.4g} %, worse by"
    )
    sizes = [one.size for one in found.steps[0].seen] if found.steps else []
    rows = [["STEP", "WEIGHT", "BAKE", "REQUESTS", "LEAST SEEN", *sizes, "MINREQUESTS", "PROVEN"]]
    rows += [
        [
            f"{one.index}",
            f"{one.step.weight} %",
            minutes(one.step.bake.total_seconds()),
            f"{one.requests:,.0f}",
            f"{one.smallest:.3g}x" if one.smallest else "none",
            *map(_when, one.seen),
            "reached" if one.enough else "not reached",
            _proven(one),
        ]
        for one in found.steps
    ]
    return [what, *(f"  {line}" for line in releases.table(rows)), *(f"  ! {line}" for line in found.advice)]


def _when(seen: Seen) -> str:
    from tidegate.simulation.plots import minutes

    if not math.isfinite(seen.requests):
        return "within limits"
    return minutes(seen.seconds) if seen.within else f"no ({minutes(seen.seconds)})"


def _proven(step: StepForecast) -> str:
    from tidegate.simulation.plots import minutes

    if not math.isfinite(step.proven):
        return "never"
    return minutes(step.proven) if step.proven <= step.step.bake.total_seconds() else f"no ({minutes(step.proven)})"


def _as_json(found: MetricForecast) -> dict[str, Any]:
    def number(value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else value

    return {
        "name": found.metric.name,
        "usual": found.usual,
        "steps": [
            {
                "index": one.index,
                "weight": one.step.weight,
                "bakeSeconds": one.step.bake.total_seconds(),
                "requests": one.requests,
                "minRequestsReached": one.enough,
                "leastSeen": one.smallest,
                "provenSeconds": number(one.proven),
                "seen": [
                    {
                        "size": each.size,
                        "requests": number(each.requests),
                        "bound": number(each.bound),
                        "seconds": number(each.seconds),
                        "withinBake": each.within,
                    }
                    for each in one.seen
                ],
            }
            for one in found.steps
        ],
        "advice": list(found.advice),
    }


def _asked(args: argparse.Namespace, spec: ReleaseSpec) -> dict[str, Any]:
    """Traffic and base as Prometheus has them."""
    named = {"namespace": args.namespace, "name": spec.target_ref.name}
    requests = args.requests or f"sum(rate({_PODS.format(**named, more='')}[1d]))"
    errors = args.errors or " + ".join(
        f"(sum(rate({_PODS.format(**named, more=f',{label}=~{chr(34)}5..{chr(34)}')}[1d])) or vector(0))"
        for label in ("code", "status")
    )
    answers = asyncio.run(_fetch(args.prometheus, (requests, errors)))
    found = [_number(args.prometheus, text, answers[text]) for text in (requests, errors)]
    if found[0] <= 0:
        raise Wrong(
            f"--prometheus {args.prometheus}: {requests} is 0: nobody asks; give --traffic, or --requests PROMQL"
        )
    return {"traffic": found[0], "base": f"{100 * min(0.99, found[1] / found[0]):.6f}%"}


async def _fetch(url: str, queries: tuple[str, ...]) -> dict[str, Answer]:
    from tidegate.adapters.clock import SystemClock
    from tidegate.adapters.prometheus import PrometheusSource

    source = PrometheusSource(url, timeout=_PATIENCE, clock=SystemClock())
    try:
        return dict(await source.fetch(queries))
    finally:
        await source.close()


def _number(url: str, query: str, answer: Answer) -> float:
    from tidegate.core.counters import Missing

    if isinstance(answer, Missing):
        raise Wrong(f"--prometheus {url}: {query}: {answer.why}")
    if len(answer) != 1:
        what = "nothing" if not answer else f"{len(answer)} series"
        raise Wrong(
            f"--prometheus {url}: {query} answers {what}: give PromQL of one number with --requests and --errors, or"
            " --traffic and --base"
        )
    return answer[0].samples[-1][1]

"""A release from a manifest, and what it is to meet: what ``tidegate simulate`` and ``tidegate plan`` are given."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tidegate.api.release import ReleaseSpec
from tidegate.app.cli.manifests import Wrong, documents

_OPTIONS = {
    "traffic": "traffic",
    "base": "base",
    "latency": "latency",
    "pod_noise": "podNoise",
    "pods": "pods",
    "scrape": "scrape",
    "counters": "counters",
}
"""Of the commands, and the fields of a scenario that they stand for."""


def describe(parser: argparse.ArgumentParser) -> None:
    """The options that say what is released, and what traffic there is."""
    parser.add_argument(
        "-f", "--filename", required=True, metavar="FILE", help="manifest with the release; -: standard input"
    )
    parser.add_argument("--name", help="of the release, where there are several in the file")
    parser.add_argument("--scenario", metavar="FILE", help="YAML with the scenario; options below have the last word")
    parser.add_argument("--traffic", metavar="RPS", help="requests a second, of both revisions together")
    parser.add_argument("--base", metavar="SHARE", help="stable's error ratio, such as 1%% (the default)")
    parser.add_argument("--latency", metavar="MEDIAN", help="such as 80ms, where a histogram is exposed")
    parser.add_argument(
        "--ratio", action="append", default=[], metavar="NAME=SHARE", help="of a ratio of the release's"
    )
    parser.add_argument("--pod-noise", metavar="CV", help="how much each pod's error rate varies, such as 30%%")
    parser.add_argument("--pods", type=int, metavar="N", help="replicas of the Deployment (default 10)")
    parser.add_argument("--scrape", metavar="DURATION", help="how often Prometheus scrapes (default 15s)")
    parser.add_argument("--counters", choices=["Router", "Pods"], help="whose counters there are")


def tell(answer: Callable[[argparse.Namespace], str], args: argparse.Namespace) -> int:
    """Write the answer, or what is wrong; the exit code says which."""
    from tidegate.simulation.scenario import Wrong as NotSimulated

    try:
        sys.stdout.write(answer(args))
    except (Wrong, NotSimulated) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def release(name: str, wanted: str | None) -> tuple[str, str, ReleaseSpec]:
    """The kind, name and spec of the release in a manifest. Raises Wrong."""
    from tidegate.api.crd import RELEASES, mistyped
    from tidegate.engine.observe import read_release
    from tidegate.ports.cluster import RELEASES as KINDS

    models = {model.kind: model for model in RELEASES}
    objects = [one for one in documents(name) if isinstance(one, dict)]
    found = [one for one in objects if one.get("kind") in models]
    named = [one for one in found if wanted in (None, _name(one))]
    if len(named) != 1:
        there = ", ".join(map(_name, found)) or "none"
        kinds = ", ".join(models)
        way_out = "choose one with --name" if found else f"give a manifest with one of {kinds}"
        raise Wrong(f"{name}: releases in it: {there}; {way_out}")
    obj: dict[str, Any] = named[0]
    if wrong := mistyped(models[obj["kind"]], {key: value for key, value in obj.items() if key != "status"}):
        raise Wrong(f"{name}: {wrong}")
    if not _name(obj):
        raise Wrong(f"{name}: metadata.name is needed")
    obj = {"spec": obj.get("spec"), "kind": obj["kind"], "metadata": {**obj["metadata"], "namespace": "", "uid": ""}}
    read = read_release(next(kind for kind in KINDS if kind.name == obj["kind"]), obj)
    if read.invalid or read.spec is None:
        raise Wrong(f"{name}: {read.invalid}")
    return obj["kind"], read.name, _with_templates(name, read.spec, objects)


def _with_templates(name: str, spec: ReleaseSpec, objects: Sequence[Mapping[str, Any]]) -> ReleaseSpec:
    """With the metrics of its templates, which are in the same file: there is no cluster to ask."""
    from pydantic import ValidationError

    from tidegate.core import templates
    from tidegate.core.reading import mistakes
    from tidegate.ports.cluster import ANALYSIS_TEMPLATES

    there = {_name(one): one.get("spec") or {} for one in objects if one.get("kind") == ANALYSIS_TEMPLATES.name}
    lacking = next((one for one in templates.names(spec.analysis) if one not in there), None)
    if lacking is not None:
        raise Wrong(
            f"{name}: spec.analysis.templateRefs: {lacking!r}: there is no AnalysisTemplate of this name in the file:"
            " add it as another document"
        )
    try:
        analysis = templates.expanded(spec.analysis, there, "")
        return type(spec).model_validate({**dict(spec), "analysis": analysis})
    except templates.Wrong as error:
        raise Wrong(f"{name}: {error.what}") from None
    except ValidationError as error:
        raise Wrong(
            f"{name}: {mistakes((('spec', *e['loc']), e['input'], e['msg']) for e in error.errors())}"
        ) from None


def _name(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def said(args: argparse.Namespace) -> dict[str, Any]:
    """The scenario as it was written: in a file, by options, or both."""
    fields: dict[str, Any] = {}
    if args.scenario:
        found = documents(args.scenario)
        if len(found) != 1 or not isinstance(found[0], dict):
            raise Wrong(f"{args.scenario}: a scenario is one YAML object, such as traffic: 50")
        fields = found[0]
    for option, field in _OPTIONS.items():
        value = getattr(args, option, None)
        if value is not None:
            whole = fields.get(field)
            inner = {"traffic": "rps", "latency": "median"}.get(field)
            # An option changes the number, and leaves what else the file says of it.
            fields[field] = {**whole, inner: value} if isinstance(whole, dict) and inner else value
    if args.ratio:
        whole = fields.get("ratios") or {}
        if not isinstance(whole, dict):
            raise Wrong(f"{args.scenario}: ratios: {str(whole)[:64]!r} is to be shares by name, such as {{carts: 3%}}")
        fields["ratios"] = {**whole, **dict(map(_ratio, args.ratio))}
    return fields


def steps(spec: ReleaseSpec) -> str:
    """``5 % 15m → 10 % 15m``."""
    from tidegate.api.base import format_duration

    return " → ".join(f"{step.weight} % {format_duration(step.bake)}" for step in spec.plan())


def _ratio(text: str) -> tuple[str, str]:
    name, equals, share = text.partition("=")
    if not equals or not name:
        raise Wrong(f"--ratio {text}: write it as NAME=SHARE, such as conversion=3%")
    return name, share


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns; the first one is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

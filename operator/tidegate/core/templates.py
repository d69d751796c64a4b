"""Metrics of templates, taken in by a release: its own come first, then those of each template in order.

What comes out is an analysis like any other, without templates. Where it cannot be, the text says which field is wrong,
what it says, and the way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from tidegate.api.analysis import MOST_METRICS, AnalysisSpec, MetricSpec, Source, TemplateRef, not_by_pods
from tidegate.api.template import AnalysisTemplateSpec, TemplateArgument
from tidegate.core import reading

_ARGUMENT = re.compile(r"\{\{\s*args\.([^{}\s]+)\s*\}\}")
_GROWTH = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv|histogram_quantile)\s*\(")
"""What PromQL makes of counters that are no counter any more."""
_UNIT = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*_(seconds|milliseconds|ms|bytes)(?:_total|_sum|_count|_bucket)?\b")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`")
_WORD = re.compile(r"\{\{(.*?)\}\}")
_WORDS = ("revision", "pods", "namespace")
"""What stands for something in a query of a release."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Wrong(Exception):
    """Why a template cannot be taken in."""

    what: str


def names(spec: AnalysisSpec) -> tuple[str, ...]:
    """The templates that are taken in."""
    return tuple(ref.name for ref in spec.template_refs)


def expanded(spec: AnalysisSpec, found: Mapping[str, Json], namespace: str) -> AnalysisSpec:
    """The analysis with the metrics of its templates, of which ``found`` has the specs; Wrong where it cannot be."""
    if not spec.template_refs:
        return spec
    # Metrics that nobody wrote are the default, which templates stand in for.
    own = spec.metrics if "metrics" in spec.model_fields_set else ()
    whose = {metric.name: "spec.analysis.metrics" for metric in own}
    metrics = list(own)
    for number, ref in enumerate(spec.template_refs):
        field = f"spec.analysis.templateRefs[{number}]"
        if ref.name not in found:
            told = f"there is no AnalysisTemplate of this name in namespace {namespace}; create it, or leave it out"
            raise Wrong(f"{field}.name: {ref.name!r}: {told}")
        for metric in _metrics(ref, found[ref.name], field):
            if metric.name in whose:
                told = f"AnalysisTemplate {ref.name} has a metric {metric.name!r}, and so has {whose[metric.name]}"
                raise Wrong(f"{field}: {told}; rename one of them, or leave one out")
            if spec.source is Source.Pods and (why := not_by_pods(metric)):
                raise Wrong(f"{field}: AnalysisTemplate {ref.name}: metric {metric.name!r}: {why}")
            whose[metric.name] = f"AnalysisTemplate {ref.name}"
            metrics.append(metric)
    if len(metrics) > MOST_METRICS:
        told = f"{len(metrics)} metrics in all, and {MOST_METRICS} are the most; leave some out"
        raise Wrong(f"spec.analysis.templateRefs: {told}")
    if spec.min_requests and all(metric.gauge for metric in metrics):
        told = "gauges count no requests, so that minRequests would never be reached, and there are no other metrics"
        raise Wrong(f"spec.analysis.templateRefs: {told}; add one that does, or write minRequests: 0")
    return spec.model_copy(update={"metrics": tuple(metrics), "template_refs": ()})


def lint(said: object, given: Mapping[str, str]) -> list[str]:
    """What is wrong, or looks so, with a template's spec when these arguments are given to it."""
    try:
        spec = _read(said)
    except Wrong as wrong:
        return [wrong.what]
    assert isinstance(said, dict)
    parts: list[tuple[type[BaseModel], Json, str]] = [(AnalysisTemplateSpec, said, "spec")]
    parts += [(TemplateArgument, one, f"spec.args[{number}]") for number, one in enumerate(said.get("args") or ())]
    found = [
        f"{field}: there is no such field; remove it, or correct its name"
        for part in parts
        for field in _unknown(*part)
    ]
    known = {argument.name: argument.default for argument in spec.args}
    used = set(_used(list(spec.metrics)))
    found += [f"spec.args: {name} is used by no metric; remove it" for name in known if name not in used]
    found += [
        f"{name}={value}: the template has no such argument" for name, value in given.items() if name not in known
    ]
    values = {**{name: value for name, value in known.items() if value is not None}, **given}
    seen = set[str]()
    for number, raw in enumerate(spec.metrics):
        field = f"spec.metrics[{number}]"
        try:
            metric = _metric(raw, known, values, field)
        except Wrong as wrong:
            found.append(wrong.what)
            continue
        if metric is None:
            lacking = " ".join(f"--arg {name}=…" for name in sorted(set(_used(raw)) - set(values)))
            found.append(f"{field}: not looked at, for it needs arguments that have no default: give {lacking}")
            continue
        if metric.name in seen:
            found.append(f"{field}.name: {metric.name!r} is the name of another metric too; rename one of them")
        seen.add(metric.name)
        found += [f"{field}.{told}" for told in _doubts(metric)]
    return found


def _metrics(ref: TemplateRef, said: Json, field: str) -> Iterator[MetricSpec]:
    where = f"AnalysisTemplate {ref.name}"
    try:
        spec = _read(said)
    except Wrong as wrong:
        raise Wrong(f"{field}.name: {ref.name!r}: {where} is not right: {wrong.what}") from None
    known = {argument.name: argument.default for argument in spec.args}
    for name, value in ref.args.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            told = f"{where} has no such argument ({has}); correct the name, or remove it"
            raise Wrong(f"{field}.args.{name}: {value!r}: {told}")
    values = {**known, **ref.args}
    if lacking := [name for name, value in values.items() if value is None]:
        raise Wrong(f"{field}.args: {where} needs {', '.join(lacking)}, and has no default for it; give it")
    for number, raw in enumerate(spec.metrics):
        try:
            metric = _metric(
                raw, known, {name: value or "" for name, value in values.items()}, f"spec.metrics[{number}]"
            )
        except Wrong as wrong:
            raise Wrong(f"{field}: {where}: {wrong.what}") from None
        if metric:
            yield metric


def _read(said: object) -> AnalysisTemplateSpec:
    try:
        return AnalysisTemplateSpec.model_validate(said)
    except ValidationError as error:
        raise Wrong(_mistakes(error, "spec")) from None


def _metric(raw: Json, known: Mapping[str, object], values: Mapping[str, str], field: str) -> MetricSpec | None:
    """One metric with its arguments filled in; None where some are not given."""
    for name in _used(raw):
        if name not in known:
            raise Wrong(f"{field}: {{{{args.{name}}}}} is none of the template's arguments; declare it in spec.args")
        if name not in values:
            return None
    if unknown := next(_unknown(MetricSpec, raw, field), ""):
        raise Wrong(f"{unknown}: there is no such field; remove it, or correct its name")
    try:
        return MetricSpec.model_validate(_filled(raw, values))
    except ValidationError as error:
        raise Wrong(_mistakes(error, field)) from None


def _filled(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _ARGUMENT.sub(lambda match: values[match[1]], value)
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items()}
    return [_filled(inner, values) for inner in value] if isinstance(value, list) else value


def _used(value: Any) -> Iterator[str]:
    """The arguments that a value speaks of."""
    if isinstance(value, str):
        yield from _ARGUMENT.findall(value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _used(inner)


def _unknown(model: type[BaseModel], value: Json, where: str) -> Iterator[str]:
    """Fields that a model has not: nobody else says so of what the API server takes as it is."""
    fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    for name, inner in value.items():
        if name not in fields:
            yield f"{where}.{name}"
        elif isinstance(inner, dict):
            for part in (fields[name], *getattr(fields[name], "__args__", ())):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from _unknown(part, inner, f"{where}.{name}")


def _mistakes(error: ValidationError, where: str) -> str:
    found = error.errors()
    lacking = [".".join((where, *map(str, one["loc"]))) + " must be given" for one in found if one["type"] == "missing"]
    wrong = [((where, *one["loc"]), one["input"], one["msg"]) for one in found if one["type"] != "missing"]
    # Of a whole the value is not shown, and where it is would not be either.
    whole = f"{where}: " if any(not one["loc"] for one in found) else ""
    return "; ".join(filter(None, (*lacking, whole + reading.mistakes(wrong))))


def _doubts(metric: MetricSpec) -> Iterator[str]:
    """What PromQL of the user's looks wrong, though it may be right."""
    fields = ("gauge.query",) if metric.gauge else ("ratio.of", "ratio.to")
    for field, text in zip(fields, metric.texts, strict=False):
        for word in dict.fromkeys(_WORD.findall(text)):
            if word not in _WORDS:
                way = ", ".join(f"{{{{{known}}}}}" for known in _WORDS)
                yield f"{field}: {{{{{word}}}}} stands for nothing in a query of a release: use {way}, or an argument"
    if metric.ratio is None:
        return
    two = {"of": metric.ratio.of, "to": metric.ratio.to}
    for side, text in two.items():
        if growth := _GROWTH.search(_QUOTED.sub("", text)):
            way = "give the counter itself, what it grows by is reckoned here"
            yield f"ratio.{side}: {growth[1]}(…) is no counter: {way}"
    units = {side: set(_UNIT.findall(text)) for side, text in two.items()}
    if all(units.values()) and not units["of"] & units["to"]:
        of, to = (" and ".join(sorted(units[side])) for side in two)
        yield f"ratio.of: it is in {of}, and to in {to}: a share is of the same unit"

"""``AnalysisTemplate``: metrics that several releases share, with arguments."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from tidegate.api.analysis import ARGUMENT_NAME, MOST_METRICS
from tidegate.api.base import Model, Rules


class TemplateArgument(Model):
    """Something that a release fills in."""

    name: Annotated[str, Field(pattern=ARGUMENT_NAME, max_length=63)]
    """`{{args.NAME}}` stands for it."""
    default: Annotated[str | None, Field(max_length=256)] = None
    """What it is where a release does not say. Without a default every release must."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """What it is for."""


class AnalysisTemplateSpec(Model):
    """Metrics with arguments."""

    args: Annotated[tuple[TemplateArgument, ...], Field(max_length=16)] = ()
    """What releases fill in."""
    metrics: Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=MOST_METRICS)]
    """As `spec.analysis.metrics` of a release; in any text `{{args.NAME}}` stands for an argument. What cannot be right
    is said by `kubectl tidegate analyze --lint`, and by the releases that use it."""

    cel_rules: ClassVar[Rules] = (
        (
            "!has(self.args) || self.args.all(a, self.args.exists_one(b, b.name == a.name))",
            "args must have distinct names",
        ),
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if len({argument.name for argument in self.args}) != len(self.args):
            raise ValueError(self.cel_rules[0][1])
        return self


class AnalysisTemplate(Model):
    """Metrics that releases of its namespace take in by `spec.analysis.templateRefs`."""

    spec: AnalysisTemplateSpec
    """What is measured."""

    cel_rules: ClassVar[Rules] = ()
    kind: ClassVar[str] = "AnalysisTemplate"
    plural: ClassVar[str] = "analysistemplates"
    short_names: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[tuple[str, str, str], ...]] = (("Age", "date", ".metadata.creationTimestamp"),)

"""The references in docs name everything that the API has: fields, conditions, reasons, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from pydantic import BaseModel
from tests.demo.acts import SPEC, TWO_STEPS

from tidegate.api import analysis
from tidegate.api.bluegreen import BlueGreenSpec
from tidegate.api.canary import CanaryRelease, CanarySpec
from tidegate.api.conditions import ConditionType, Reason
from tidegate.api.flagstatus import FlagPhase
from tidegate.api.flagwords import FlagCondition, FlagReason
from tidegate.api.release import ReleaseSpec
from tidegate.api.releasestatus import Outcome, Phase, ReleaseStatus
from tidegate.api.rolling import RollingSpec
from tidegate.app.settings import HELP
from tidegate.engine.meters import Meters

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/canary.md").read_text()
GATES = (ROOT / "docs/gates.md").read_text()
README = (ROOT / "README.md").read_text()
FLAGS = (ROOT / "docs/flags.md").read_text()
FLAG_WORDS = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", " ".join(re.findall(r"`([^`\n]+)`", FLAGS))))
WORDS = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", " ".join(re.findall(r"`([^`\n]+)`", REFERENCE))))


def fields(model: type[BaseModel]) -> Iterator[str]:
    """Names on the wire, of the model and all below it."""
    for name, field in model.model_fields.items():
        yield field.alias or name
        for part in parts(field.annotation):
            yield from fields(part)


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from parts(part)


@pytest.mark.parametrize(
    ("spec", "page"), [(CanarySpec, "canary"), (BlueGreenSpec, "bluegreen"), (RollingSpec, "rolling")]
)
def test_every_field_of_the_spec(spec: type[ReleaseSpec], page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    assert set(fields(spec)) <= WORDS | set(re.findall(r"\w+", text + GATES))
    own = {field.alias or name for name, field in spec.model_fields.items() if name not in ReleaseSpec.model_fields}
    assert own <= set(re.findall(r"\w+", text))


def test_every_field_of_the_status() -> None:
    of_conditions = {"type", "status", "lastTransitionTime", "conditions"}
    assert set(fields(ReleaseStatus)) - of_conditions - internal() <= WORDS


def internal() -> set[str]:
    """Of the journal, which is the operator's alone."""
    return set(fields(ReleaseStatus.model_fields["journal"].annotation.__args__[0]))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "words", [Phase, Outcome, Reason, ConditionType, analysis.Verdict, analysis.Reason, analysis.Preset]
)
def test_every_word_of_the_api(words: Any) -> None:
    assert {str(word.value) for word in words} <= WORDS


def test_no_reason_that_does_not_exist() -> None:
    table = REFERENCE.partition("### Reasons and events")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {str(reason) for reason in Reason}


@pytest.mark.parametrize("words", [FlagPhase, FlagReason, FlagCondition])
def test_every_word_of_flags(words: Any) -> None:
    assert {str(word.value) for word in words} <= FLAG_WORDS | {"Ready", "Reconciling", "Stalled"}


def test_no_reason_of_flags_that_does_not_exist() -> None:
    table = FLAGS.partition("| reason | | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {str(reason) for reason in FlagReason}


def test_every_metric() -> None:
    exposed = generate_latest(Meters().registry).decode()
    assert set(re.findall(r"^# TYPE (tidegate_\w+)", exposed, re.MULTILINE)) - created(exposed) <= WORDS | FLAG_WORDS


def created(exposed: str) -> set[str]:
    return {name for name in re.findall(r"# TYPE (\w+)", exposed) if name.endswith("_created")}


def test_every_flag_in_the_readme() -> None:
    assert all(f"`--{name.replace('_', '-')}`" in README for name in HELP)


def test_links_lead_to_files_and_headings() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if target.startswith("http"):
                continue
            name, _, heading = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            assert file.exists(), f"{page.name}: {target}"
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE) if heading else []
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert not heading or heading in slugs, f"{page.name}: {target}"


def test_files_that_are_named_exist() -> None:
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "docs/decisions.md"):
        for name in re.findall(r"`((?:operator|tests|manifests|crds|docs)/[\w./-]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("spec", [SPEC, TWO_STEPS])
def test_the_demo_is_a_valid_release(spec: dict[str, Any]) -> None:
    assert CanaryRelease.model_validate({"spec": {"targetRef": {"name": "checkout"}, **spec}}).spec.plan()

"""What a FeatureFlag refuses, as the API server does, and what it takes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.rig.badflags import ACCEPTED, REFUSED

from tidegate.api.flag import FlagSpec
from tidegate.api.rolling import RollingSpec

Json = dict[str, Any]


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str) -> None:
    spec, told = REFUSED[what]
    with pytest.raises(ValidationError) as refused:
        FlagSpec.model_validate(spec)
    errors = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in refused.value.errors()]
    assert any(told in error for error in errors), errors


@pytest.mark.parametrize("what", ACCEPTED)
def test_accepted_and_written_as_it_was_read(what: str) -> None:
    spec = FlagSpec.model_validate(ACCEPTED[what])
    assert FlagSpec.model_validate(spec.wire()) == spec


def test_a_boolean_flag_has_its_variants_unsaid() -> None:
    spec = FlagSpec()
    assert [(variant.name, variant.value) for variant in spec.all_variants] == [("on", True), ("off", False)]
    assert (spec.off, spec.default) == ("off", "off")


def test_a_release_compares_no_variants() -> None:
    ratio = {"of": 'errors_total{v="{{variant}}"}', "to": "all_total"}
    analysis = {"metrics": [{"name": "errors", "ratio": ratio, "max": "5%"}]}
    with pytest.raises(ValidationError, match="is for flags"):
        RollingSpec.model_validate({"targetRef": {"name": "x"}, "analysis": analysis})

"""Range selectors as the analysis writes them are understood; other PromQL is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidegate.api.analysis import AnalysisSpec
from tidegate.core import analysis
from tidegate.core.arms import Arms
from tidegate.core.presets import Protocol
from tidegate.core.selector import Matcher, parse

ARMS = Arms.of_revisions("shop", ("6fcbd", "web-6fcbd-[a-z0-9]+"), ("7d9f5", "web-7d9f5-[a-z0-9]+")).asked_themselves()


def test_what_the_analysis_asks_is_understood() -> None:
    metrics = [{"name": "own", "ratio": {"of": "bad_total", "to": "all_total"}, "max": "5%"}]
    spec = AnalysisSpec.model_validate({"source": "Pods"})
    own = AnalysisSpec.model_validate({"source": "Pods", "metrics": metrics})
    both = replace(ARMS, protocols=(Protocol.HTTP, Protocol.GRPC))
    texts = [*analysis.queries(spec, ARMS), *analysis.queries(spec, both), *analysis.queries(own, ARMS)]
    assert len(texts) > 6
    for text in texts:
        found = parse(text)
        assert found, text
        assert found.window == 20
        stable, candidate = ({"namespace": "shop", "pod": f"web-{of}-abcde"} for of in ("6fcbd", "7d9f5"))
        assert found.fits(stable, "namespace", "pod") != found.fits(candidate, "namespace", "pod")
        assert not found.fits({**stable, "namespace": "else"}, "namespace", "pod")


def test_names_and_matchers() -> None:
    found = parse('{__name__=~"a_total|b_total", x="1", y!="2", z=~"3|4", w!~"5.*", q="say \\"hi\\""}[90s]')
    assert found
    assert found.names == {"a_total", "b_total"}
    assert found.window == 90
    assert found.matchers[-1] == Matcher("q", "=", 'say "hi"')
    fitting = {"x": "1", "z": "4", "q": 'say "hi"'}
    assert found.fits(fitting)
    for other in ({"x": "2"}, {"y": "2"}, {"z": "34"}, {"w": "55"}, {"q": ""}):
        assert not found.fits({**fitting, **other}), other


@pytest.mark.parametrize(
    "text",
    [
        "",
        "up",
        "a_total",
        'sum(a_total{x="1"}[20s])',
        'rate(a_total{x="1"}[20s])',
        'a_total{x="1"}[20s] offset 1m',
        "a_total{x=1}[20s]",
        '{x="1"}[20s]',
        '{__name__=~"a.*"}[20s]',
        '{__name__!="a"}[20s]',
        'a_total{x="1" y="2"}[20s]',
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert parse(text) is None

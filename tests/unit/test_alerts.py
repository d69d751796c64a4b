"""The rules of the chart, evaluated by a real Prometheus on what the operator really exposes."""

from __future__ import annotations

import copy
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from tests.rig.prometheus import Pod, Pods, Prometheus, eventually, exposing, running

from tidegate.api.analysis import AnalysisStatus, Reason, Verdict
from tidegate.api.releasestatus import Phase, ReleaseStatus, StepStatus
from tidegate.engine.meters import Meters

pytestmark = pytest.mark.realtime

RULES = yaml.safe_load((Path(__file__).parents[2] / "charts/tidegate/alerts.yaml").read_text())["groups"]
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
RELEASES = 50


class Exposed(Pod):
    """The operator's own metrics."""

    def __init__(self, name: str) -> None:
        super().__init__("tidegate-system", name)
        self.meters = Meters()

    def exposed(self) -> tuple[str, bytes]:
        """As it serves them."""
        return "text/plain; version=0.0.4", generate_latest(self.meters.registry)


def analysed(reason: Reason, verdict: Verdict = Verdict.Unknown) -> ReleaseStatus:
    seen = AnalysisStatus(verdict=verdict, reason=reason, message="", looked_at=NOW, journal="something")
    return ReleaseStatus(phase=Phase.WAITING, step=StepStatus(index=1, of=2, weight=25), analysis=seen)


def unanswered(meters: Meters) -> str:
    lines = generate_latest(meters.registry).decode().splitlines()
    return next(line for line in lines if line.startswith("tidegate_analyses_unanswered "))


def test_what_gets_no_answer_is_counted_until_it_has_one_or_is_over() -> None:
    meters = Meters()
    for number in range(RELEASES):
        meters.release("CanaryRelease", "shop", f"app-{number}", analysed(Reason.QueryFailed))
    assert unanswered(meters) == "tidegate_analyses_unanswered 50.0"
    meters.release("CanaryRelease", "shop", "app-0", analysed(Reason.NoSeries))
    meters.release("CanaryRelease", "shop", "app-1", analysed(Reason.NeedsRequests, Verdict.Inconclusive))
    meters.release("CanaryRelease", "shop", "app-2", ReleaseStatus(analysis=analysed(Reason.QueryFailed).analysis))
    meters.forget("CanaryRelease", "shop", "app-3")
    assert unanswered(meters) == "tidegate_analyses_unanswered 46.0"
    meters.leads_no_more()
    assert unanswered(meters) == "tidegate_analyses_unanswered 0.0"


@pytest.fixture
def rules() -> list[dict[str, object]]:
    """As shipped, but that a minute is not waited for."""
    quick = copy.deepcopy(RULES)
    for rule in quick[0]["rules"]:
        rule.pop("for", None)
    return list(quick)


@pytest.fixture
def pods() -> Iterator[Pods]:
    with exposing() as pods:
        yield pods


def test_fifty_releases_without_answers_are_one_alert(
    pods: Pods, rules: list[dict[str, object]], tmp_path: Path
) -> None:
    leads, stands_by = Exposed("tidegate-0"), Exposed("tidegate-1")
    pods.put(leads)
    pods.put(stands_by)
    for one in (leads, stands_by):
        one.meters.audit.set_to_current_time()
    leads.meters.leader.set(1)
    names = [f"app-{number}" for number in range(RELEASES)]

    def told(reason: Reason, verdict: Verdict = Verdict.Unknown) -> None:
        for name in names:
            leads.meters.release("CanaryRelease", "shop", name, analysed(reason, verdict))

    told(Reason.NeedsRequests, Verdict.Inconclusive)
    with running(
        Prometheus(tmp_path / "prometheus", pods.targets(), scraping={"honor_labels": True}, rules=rules)
    ) as prometheus:

        def firing() -> Counter[str]:
            with urllib.request.urlopen(f"{prometheus.url}/api/v1/alerts", timeout=5) as response:  # our own address
                alerts = json.load(response)["data"]["alerts"]
            return Counter(alert["labels"]["alertname"] for alert in alerts)

        eventually(lambda: prometheus.value("sum(tidegate_analyses)") == RELEASES, "it is scraped", 30)
        eventually(lambda: not firing(), "nothing is wrong", 30)
        told(Reason.QueryFailed)
        eventually(lambda: firing() == {"TidegateMetricsUnanswered": 1}, "one alert", 30)
        assert prometheus.value("sum(tidegate_analyses_unanswered)") == RELEASES
        told(Reason.NeedsRequests, Verdict.Inconclusive)
        eventually(lambda: not firing(), "it is over", 30)
        for name in names[:2]:
            leads.meters.release("CanaryRelease", "shop", name, ReleaseStatus(phase=Phase.BLOCKED))
        eventually(lambda: firing() == {"TidegateReleaseBlocked": 2}, "each that somebody must look at", 30)

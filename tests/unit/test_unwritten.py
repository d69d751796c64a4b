"""Looks that find nothing new are written every few seconds; all that anything is decided by is written at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidegate.api.analysis import AnalysisStatus, Source
from tidegate.api.conditions import Reason
from tidegate.api.releasestatus import Journal, ReleaseStatus, Stage
from tidegate.core.plan import Event, Plan, Seize
from tidegate.core.unwritten import EVERY, may_wait
from tidegate.engine.unwritten import Unwritten

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def status(after: float = 0, **changes: Any) -> ReleaseStatus:
    """A release that bakes, looked at so many seconds later."""
    told = {"verdict": "Inconclusive", "reason": "NeedsRequests", "looked_at": NOW + after * SECOND}
    analysis = AnalysisStatus.model_validate({**told, "message": f"{after} %", "journal": f"{after}", **changes})
    return ReleaseStatus(
        message=f"so far {after} %", analysis=analysis, journal=Journal(since=NOW, stage=Stage.BAKE, looked_step=1)
    )


def test_more_of_the_same_may_wait() -> None:
    assert may_wait(Source.Pods, status(), Plan(status(1, requests=70, share=25.1, step_requests=70)))
    assert may_wait(Source.Pods, status(), Plan(status(4.9)))
    assert not may_wait(Source.Pods, status(), Plan(status(EVERY.total_seconds())))
    assert not may_wait(Source.Prometheus, status(), Plan(status(1)))


@pytest.mark.parametrize(
    "changes", [{"verdict": "Fail", "reason": "LimitExceeded"}, {"reason": "NoTraffic"}, {"leans_to_failing": True}]
)
def test_a_verdict_may_not(changes: dict[str, Any]) -> None:
    assert not may_wait(Source.Pods, status(), Plan(status(1, **changes)))


def test_nor_may_anything_else_that_changed_or_is_to_be_done() -> None:
    seen = status(1)
    other = seen.model_copy(update={"journal": Journal(since=NOW, stage=Stage.REVERT, looked_step=1)})
    assert not may_wait(Source.Pods, status(), Plan(other))
    assert not may_wait(Source.Pods, status(), Plan(seen, actions=(Seize(),)))
    assert not may_wait(Source.Pods, status(), Plan(seen, urgent=(Seize(),)))
    assert not may_wait(Source.Pods, status(), Plan(seen, events=(Event("Normal", Reason.PROMOTING, ""),)))
    assert not may_wait(Source.Pods, ReleaseStatus(), Plan(seen))


def test_what_is_known_beyond_is_gone_when_somebody_else_has_written() -> None:
    kept, written, newest = Unwritten(), status(), status(2)
    assert kept.onto("uid", written) == written
    kept.keep("uid", written, newest)
    seen = kept.onto("uid", written)
    assert seen == written.model_copy(update={"analysis": newest.analysis})
    assert kept.below("uid", seen) == written
    others = status(1, journal="theirs")
    assert kept.onto("uid", others) == others
    assert kept.onto("uid", written) == written
    assert kept.below("uid", written) == written

"""What of a decision need not be written at once.

Where pods are asked themselves, a release is looked at each second. That a look found what the one before had found is
known to the operator; in the status it stands every few seconds. An operator that comes meanwhile goes on from what is
written, as after any gap: by the counters that stand there, of which nothing was counted since.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tidegate.api.analysis import Source
from tidegate.api.releasestatus import ReleaseStatus
from tidegate.core.plan import Plan

EVERY = timedelta(seconds=5)
"""How old what is written of an analysis may be, where nothing was decided since."""


def may_wait(source: Source, written: ReleaseStatus, plan: Plan) -> bool:
    """The plan has no news beside what the looks since the last write found, and those are of late.

    ``written`` is the status as it stands in the cluster. Prometheus has its samples, and is asked less often.
    """
    if source is not Source.Pods or plan.actions or plan.urgent or plan.events or plan.ended:
        return False
    before, after = written.analysis, plan.status.analysis
    if before is None or after is None or after.looked_at >= before.looked_at + EVERY:
        return False
    return _gist(written) == _gist(plan.status)


def _gist(status: ReleaseStatus) -> ReleaseStatus:
    """The status but for how far evidence has come, and what is told of that."""
    seen, traffic = status.analysis, status.traffic
    gist = (
        seen.model_copy(
            update={
                "message": "",
                "looked_at": datetime.min,
                "requests": 0,
                "share": None,
                "step_requests": 0,
                "metrics": tuple((metric.name, metric.verdict, metric.reason) for metric in seen.metrics),
                "journal": "",
            }
        )
        if seen
        else None
    )
    return status.model_copy(
        update={
            "message": "",
            "analysis": gist,
            "traffic": traffic.model_copy(update={"observed": None}) if traffic else None,
        }
    )

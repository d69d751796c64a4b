"""What the looks of a release found since its status was last written: kept in mind, and lost without harm."""

from __future__ import annotations

from tidegate.api.analysis import AnalysisStatus
from tidegate.api.releasestatus import ReleaseStatus


class Unwritten:
    """Analyses that are further than what is written of them, by the release's uid."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[AnalysisStatus, AnalysisStatus]] = {}

    def onto(self, uid: str, written: ReleaseStatus) -> ReleaseStatus:
        """A status as it was read, with what is known beyond it: unless somebody else has written meanwhile."""
        before, newest = self._kept.get(uid, (None, None))
        if before is None or before != written.analysis:
            self._kept.pop(uid, None)
            return written
        return written.model_copy(update={"analysis": newest})

    def below(self, uid: str, status: ReleaseStatus) -> ReleaseStatus:
        """The same status as it was read."""
        return status.model_copy(update={"analysis": self._kept[uid][0]}) if uid in self._kept else status

    def keep(self, uid: str, written: ReleaseStatus, status: ReleaseStatus) -> None:
        """This is how far the analysis is, and that is what stands of it."""
        if written.analysis and status.analysis:
            self._kept[uid] = written.analysis, status.analysis

"""A GitOps tool: what stands in Git is applied again and again, whatever others have made of it meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from tests.cluster.interface import Cluster, ClusterFailed
from tests.cluster.waiting import wait_until
from tests.rig.app import LOOKING, Json

EVERY = 2.0
"""Seconds from one round to the next: far more often than any real one, to meet every phase of a release."""
WAYS: Mapping[str, Sequence[str]] = {
    "apply": ("apply",),
    "server-side-apply": ("apply", "--server-side", "--force-conflicts", "--field-manager=flux"),
    "replace": ("replace",),
}
"""How such tools write: three-way merge, as owner of the fields (by force), or the bare manifest by PUT."""


class GitOps:
    """Runs in the background from ``with`` on, by one of the ``WAYS``."""

    def __init__(self, cluster: Cluster, way: str) -> None:
        self._cluster, self._command = cluster, WAYS[way]
        self._manifests: Sequence[Json] = ()
        self._due, self._stopped = threading.Event(), threading.Event()
        self._rounds = 0
        self.refused: list[str] = []
        """What the API server, or kubectl, said against a round."""
        self._thread = threading.Thread(target=self._work, name="gitops")

    def commit(self, *manifests: Json) -> None:
        """From now on this stands in Git; applied at once, and then again and again."""
        self._manifests = manifests
        self._due.set()

    def await_rounds(self, count: int) -> None:
        """Wait until everything has been applied so many times more."""
        until = self._rounds + count + 1  # the round under way may have begun before
        wait_until(
            "rounds of the GitOps tool",
            lambda: None if self._rounds >= until else f"{self._rounds} of {until}",
            (count + 1) * (EVERY + 10),
            pause=LOOKING,
        )

    def _work(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            self._due.clear()
            if self._manifests:
                self._apply(self._manifests)
                self._rounds += 1
            self._due.wait(max(0.0, began + EVERY - time.monotonic()))

    def _apply(self, manifests: Sequence[Json]) -> None:
        everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        try:
            self._cluster.kubectl(*self._command, "--filename=-", stdin=everything)
        except ClusterFailed as error:
            self.refused.append(str(error))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._due.set()
        self._thread.join()

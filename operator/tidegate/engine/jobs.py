"""Jobs of gates: begun, looked at and removed, and never in the way of anything else.

A release that goes back must not wait for a Job. What fails here is logged, and asked again with the next decision.
"""

from __future__ import annotations

import logging
from collections import defaultdict

from tidegate.core import jobs, reading
from tidegate.core.gate import RELEASE
from tidegate.core.jobs import GATE, JOB_NAME, JobRun
from tidegate.core.plan import StartJob
from tidegate.engine.scene import Scene
from tidegate.ports.cluster import JOBS, PODS, Cluster, ClusterError, Conflict, Object, Rejected

log = logging.getLogger("tidegate.jobs")


class Jobs:
    """Those of all releases."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._refused: dict[str, dict[str, str]] = defaultdict(dict)
        """By the release's uid and the Job's name: why the API server does not take it."""
        self._ended: dict[str, dict[str, JobRun]] = {}
        """By the release's uid and the Job's: what was read once, and changes no more."""

    async def read(self, scene: Scene) -> tuple[JobRun, ...] | None:
        """Those of a release; None where nobody knows."""
        uid = scene.release["metadata"]["uid"]
        try:
            found = await self._cluster.list(JOBS, scene.namespace, f"{RELEASE}={scene.name},{GATE}")
        except ClusterError as error:
            log.warning("Jobs cannot be looked at: %s", error, extra={"release": scene.name})
            return None
        before, ended, runs = self._ended.pop(uid, {}), dict[str, JobRun](), []
        for job in found:
            if not reading.owned_by(job, uid):
                continue
            job_uid = job["metadata"]["uid"]
            run = before.get(job_uid) or await self._one(scene, job)
            if run.ended:
                ended[job_uid] = run
            runs.append(run)
        if ended:
            self._ended[uid] = ended
        refused = [JobRun(name, ended=True, message=why) for name, why in self._refused.get(uid, {}).items()]
        return (*runs, *refused)

    async def _one(self, scene: Scene, job: Object) -> JobRun:
        """A Job; of one that has ended, with what its pods said."""
        run = jobs.read(job)
        if not run.ended:
            return run
        try:
            pods = await self._cluster.list(PODS, scene.namespace, f"{JOB_NAME}={run.name}")
        except ClusterError as error:
            log.warning("pods of Job %s cannot be looked at: %s", run.name, error, extra={"release": scene.name})
            return run
        return jobs.read(job, pods)

    async def start(self, action: StartJob, scene: Scene) -> None:
        """Create it, unless it is there already."""
        uid, body = scene.release["metadata"]["uid"], action.body
        if scene.service and reading.selects(scene.service, body["spec"]["template"]["metadata"]["labels"]):
            name = scene.service["metadata"]["name"]
            self._refused[uid][action.name] = (
                f"its template's labels are those that Service {name} selects: it would be sent requests; change them"
            )
            return
        owned = {**body, "metadata": {**body["metadata"], "ownerReferences": [scene.owner()]}}
        try:
            await self._cluster.create(JOBS, scene.namespace, owned)
        except Conflict:
            return
        except Rejected as error:
            self._refused[uid][action.name] = str(error)
        except ClusterError as error:
            log.warning("Job %s cannot be begun: %s", action.name, error, extra={"release": scene.name})

    async def remove(self, name: str, scene: Scene) -> None:
        """Delete it, and its pods with it."""
        uid = scene.release["metadata"]["uid"]
        refused = self._refused.get(uid, {})
        if refused.pop(name, None) is not None:
            if not refused:
                del self._refused[uid]
            return
        try:
            await self._cluster.delete(JOBS, scene.namespace, name)
        except ClusterError as error:
            log.warning("Job %s cannot be removed: %s", name, error, extra={"release": scene.name})

"""Jobs of gates: begun, looked at and removed, and never in the way of anything else.

A release that goes back must not wait for a Job. What fails here is logged, and asked again with the next decision.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import replace

from tidegate.core import jobs, reading
from tidegate.core.gate import RELEASE
from tidegate.core.jobs import GATE, JOB_NAME, JobRun, Unread
from tidegate.core.plan import StartJob
from tidegate.engine.scene import Scene
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import JOBS, PODS, Cluster, ClusterError, Conflict, NotFound, Object, Rejected

log = logging.getLogger("tidegate.jobs")


class Jobs:
    """Those of all releases."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster, self._clock = cluster, clock
        self._tried: dict[str, dict[str, JobRun]] = defaultdict(dict)
        """By the release's uid and the Job's name: what came of beginning it, until it is removed."""
        self._unread: dict[str, Unread] = {}
        """By the release's uid."""
        self._ended: dict[str, dict[str, JobRun]] = {}
        """By the release's uid and the Job's: what was read once, and changes no more."""

    async def read(self, scene: Scene) -> tuple[JobRun, ...] | Unread:
        """Those of a release, and those that were to be begun and are not there."""
        uid = scene.release["metadata"]["uid"]
        try:
            found = await self._cluster.list(JOBS, scene.namespace, f"{RELEASE}={scene.name},{GATE}")
        except ClusterError as error:
            log.warning("Jobs cannot be looked at: %s", error, extra={"release": scene.name})
            since = self._unread[uid].since if uid in self._unread else self._clock.now()
            self._unread[uid] = Unread(since, str(error))
            return self._unread[uid]
        self._unread.pop(uid, None)
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
        there = {run.name for run in runs}
        return (*runs, *(run for name, run in self._tried.get(uid, {}).items() if name not in there))

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
            why = f"its template's labels are those that Service {name} selects: it would be sent requests; change them"
            self._tried[uid][action.name] = JobRun(action.name, ended=True, message=why)
            return
        known = self._tried[uid].get(action.name)
        begun = JobRun(action.name, begun=False, created=known.created if known else self._clock.now())
        self._tried[uid][action.name] = begun
        owned = {**body, "metadata": {**body["metadata"], "ownerReferences": [scene.owner()]}}
        try:
            await self._cluster.create(JOBS, scene.namespace, owned)
        except Conflict:
            return
        except Rejected as error:
            self._tried[uid][action.name] = JobRun(action.name, ended=True, message=str(error))
        except ClusterError as error:
            log.warning("Job %s cannot be begun: %s", action.name, error, extra={"release": scene.name})
            self._tried[uid][action.name] = replace(begun, message=str(error))

    async def remove(self, name: str, scene: Scene) -> None:
        """Delete it, and its pods with it."""
        uid = scene.release["metadata"]["uid"]
        tried = self._tried.get(uid, {})
        known = tried.pop(name, None)
        if not tried:
            self._tried.pop(uid, None)
        if known and known.ended:
            return
        try:
            await self._cluster.delete(JOBS, scene.namespace, name)
        except NotFound:
            return
        except ClusterError as error:
            log.warning("Job %s cannot be removed: %s", name, error, extra={"release": scene.name})

"""The controller of Jobs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fakes.cluster import FakeCluster
from tests.fakes.controllers import Controller, owned, reference
from tests.fakes.kubelet import images
from tidegate.core.jobs import JOB_NAME
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import JOBS, PODS, Kind, Object


@dataclass(frozen=True)
class Work:
    """What the Job of an image does."""

    seconds: float = 2.0
    code: int = 0
    says: str = ""


class JobController(Controller):
    """A pod a Job, which ends by the ways of its image, or at its deadline."""

    name = "job-controller"

    def __init__(self, cluster: FakeCluster, clock: Clock, works: Mapping[str, Work]) -> None:
        super().__init__(cluster, clock)
        self._works = works

    def _told(self, kind: Kind, type_: str, obj: Object) -> None:
        if kind != JOBS or type_ != "ADDED":
            return
        meta, template = obj["metadata"], obj["spec"]["template"]
        body = {
            "metadata": {
                "generateName": f"{meta['name']}-",
                "labels": {**template["metadata"]["labels"], JOB_NAME: meta["name"]},
                "ownerReferences": [reference(JOBS, obj)],
            },
            "spec": template["spec"],
        }
        work = self._works.get(images(template)[0], Work())
        deadline = obj["spec"].get("activeDeadlineSeconds") or math.inf
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, self.cluster.create_as, self.name, PODS, meta["namespace"], body)
        loop.call_later(min(work.seconds, deadline) + 0.2, self._end, obj, work, work.seconds > deadline)

    def _end(self, job: Object, work: Work, late: bool) -> None:
        meta = job["metadata"]
        now = self.cluster.find(JOBS, meta["namespace"], meta["name"])
        if now is None or now["metadata"]["uid"] != meta["uid"]:
            return
        for pod in owned(self.cluster.all(PODS, meta["namespace"]), job):
            if late:
                self.cluster.delete_as(self.name, PODS, meta["namespace"], pod["metadata"]["name"])
                continue
            ended = {"terminated": {"exitCode": work.code, "message": work.says}}
            status = {
                "phase": "Failed" if work.code else "Succeeded",
                "containerStatuses": [{"name": "work", "state": ended}],
            }
            self.patch(PODS, pod, {"status": status}, "status")
        failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded" if late else "BackoffLimitExceeded"}
        condition = failed if work.code or late else {"type": "Complete", "status": "True"}
        self.patch(JOBS, now, {"status": {"conditions": [condition]}}, "status")

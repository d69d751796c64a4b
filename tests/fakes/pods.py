"""What pods answer when they are asked on their own address, each by the ways of its image; and what they count."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from yarl import URL

from tests.fakes.cluster import FakeCluster
from tests.fakes.kubelet import Version, Versions, address
from tests.fakes.metrics import FakeMetrics
from tidegate.core.asking import Call, Reply
from tidegate.ports.cluster import PODS, Object
from tidegate.ports.metrics import Exposition


class FakePods:
    """The Prober port, and the PodReader port. ``asked`` is how often each image was."""

    def __init__(self, cluster: FakeCluster, versions: Versions, metrics: FakeMetrics) -> None:
        self._cluster, self._versions, self._metrics = cluster, versions, metrics
        self.read_at: list[float] = []
        """When counters were read."""
        self.closed: set[str] = set()
        """Names of pods whose counters cannot be read; all by ``*``."""
        self.asked: Counter[str] = Counter()
        self.elsewhere: dict[str, tuple[float, Reply]] = {}
        """What other hosts answer, by URL, and after how many seconds."""
        self.heard: list[Call] = []
        """What they were asked."""
        self.database = "ok"
        """What all pods say of what they share."""
        self.ill: set[str] = set()
        """Names of pods that are not well, whatever their image."""

    async def ask(self, call: Call) -> Reply:
        """The pod's answer, after a moment; of one that hangs, none."""
        if call.url in self.elsewhere:
            self.heard.append(call)
            seconds, reply = self.elsewhere[call.url]
            await asyncio.sleep(min(seconds, call.timeout))
            return reply if seconds <= call.timeout else Reply(error=f"not within {call.timeout:g} s", late=True)
        pod = self._at(call.url)
        if pod is None:
            return Reply(error="No route to host")
        image = pod["spec"]["containers"][0]["image"]
        version = self._versions.get(image, Version())
        self.asked[image] += 1
        if version.hangs:
            await asyncio.sleep(call.timeout)
            return Reply(error=f"not within {call.timeout:g} s")
        await asyncio.sleep(0.01)
        cache = "ok" if version.deep and pod["metadata"]["name"] not in self.ill else "cold"
        body = {"db": self.database, "cache": cache}
        status = 200 if self.database == cache == "ok" else 503
        return Reply(status, json.dumps(body)) if version.knows_check else Reply(404, "not found")

    async def read(self, url: str) -> Exposition:
        """The counters of the pod; of one that hangs, none."""
        pod = self._at(url)
        if pod is None:
            return Exposition(error="No route to host")
        name = pod["metadata"]["name"]
        if self._versions.get(pod["spec"]["containers"][0]["image"], Version()).hangs:
            await asyncio.sleep(0.8)
            return Exposition(error="not within 0.8 s")
        await asyncio.sleep(0.01)
        if {"*", name} & self.closed:
            return Exposition(error="Connection refused")
        self.read_at.append(asyncio.get_running_loop().time())
        return Exposition(self._metrics.exposed(name))

    def _at(self, url: str) -> Object | None:
        host = URL(url).host
        return next((pod for pod in self._cluster.all(PODS) if address(pod) == host), None)

"""A history: what befalls a shop, deed after deed, as data that can be drawn at random, shrunk, printed and told again.

Each deed waits for its cue: the release enters a stage (or, without one, nothing), then so many seconds pass. At the
end all faults cease, what people left undone is put in order, and the world must come to rest where their last wishes
say; then another release must go well, as if nothing had ever been.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random

from tests.exhaustive.deeds import DEEDS, OF_PEOPLE, Course, Deed, History, ask
from tests.exhaustive.scenes import BAD, PROBE, SCENES, VERSIONS
from tests.fakes.kubelet import Version, leaving
from tests.fakes.line import Point
from tests.fakes.oracle import remains
from tests.sim.process import Process
from tests.sim.world import MANIFESTS, NAME, NAMESPACE, World, canary, deployment, service
from tidegate.api.bluegreen import APPROVED
from tidegate.api.conditions import Reason
from tidegate.api.gates import GateState
from tidegate.api.releasestatus import Phase
from tidegate.api.requests import RequestAction
from tidegate.core.jobs import JOB_NAME
from tidegate.engine.operator import WATCHED
from tidegate.ports.cluster import (
    DEPLOYMENTS,
    HTTPROUTES,
    PODS,
    SERVICES,
    TRAEFIK_SERVICES,
)

RESTS_WITHIN = 900.0
"""Seconds of virtual time, of which a watch that lost something may take 330 until the next audit."""
CUE_WITHIN = 40.0
ANSWERED_IN = 1.0
"""Seconds that people take to see that they are asked."""
BUSY = 4000
"""Requests a minute that are more than releases under way need: six in a row by two routers made 2,001. Without a pause
between them there would be 20,000."""
IDLE = len(WATCHED)
"""Requests in a minute at rest: those of an audit."""


@dataclass
class Telling(Course):
    """A history while it is told."""

    met: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Which deeds were done in which stage."""
    requests: dict[str, deque[float]] = field(default_factory=dict)
    healed: bool = False
    """People put in order what they find."""

    async def tell(self) -> None:
        """All of it. What is wrong is an AssertionError."""
        people = asyncio.create_task(self._answer())
        try:
            await self._tell()
        finally:
            people.cancel()

    async def _answer(self) -> None:
        """People approve what waits for them, and at the end have go on what was held."""
        while True:
            await asyncio.sleep(ANSWERED_IN)
            status = self.world.status
            if any(gate.name == APPROVED.name and gate.state is GateState.RUNNING for gate in status.gates):
                ask(self, RequestAction.APPROVE)
            elif self.healed and status.journal and status.journal.retreated:
                ask(self, RequestAction.RESUME)

    async def _tell(self) -> None:
        world = self.world
        world.meets.append(self._count)
        world.oracle.prompt = all(deed.what in OF_PEOPLE for deed in self.history.deeds)
        for deed in self.history.deeds:
            await self._cue(deed)
            if world.object is None:
                world.oracle.excuse("nobody holds the Deployment")
            self.met[world.stage.value, deed.what] += 1
            await DEEDS[deed.what](self, deed.arg)
            world.look_soon()
            await world.wait(0.001)
        await self._heal()
        await self._rests()
        self._as_wished()
        await self._quiet()
        await self._goes_on()

    async def _cue(self, deed: Deed) -> None:
        world, loop = self.world, asyncio.get_running_loop()
        ends = loop.time() + CUE_WITHIN
        if deed.stage:
            while world.stage.value != deed.stage and loop.time() < ends:
                await world.changes(min(1.0, ends - loop.time()))
        await world.wait(deed.after)

    def _count(self, process: Process, point: Point) -> None:
        if point.when == "before" and point.request:
            now = asyncio.get_running_loop().time()
            times = self.requests.setdefault(process.name, deque())
            times.append(now)
            while times[0] < now - 60:
                times.popleft()
            if len(times) > BUSY:
                self.world.oracle.note(f"{process.name} made {len(times)} requests within a minute")

    @property
    def image(self) -> str:
        """What the template asks for."""
        return str(self.world.target()["spec"]["template"]["spec"]["containers"][0]["image"])

    async def _heal(self) -> None:
        """Nothing fails any more, and people put in order what they had taken away."""
        world = self.world
        for process in world.processes:
            process.line.slow, process.watch.deaf, process.watch.twice, process.watch.mixed = 0.0, False, False, None
            process.watch.lag = world.lag
            del process.line.listeners[1:]
            process.line.thaw()
        if not world.processes and not world.restarting:
            world.start()
        world.metrics.outage, world.metrics.empty, world.metrics.nan = "", False, False
        world.metrics.rate = 200.0
        self.hear_router(well=True)
        world.router.recover()
        world.open_gate()
        if world.cluster.find(DEPLOYMENTS, NAMESPACE, NAME) is None:
            world.oracle.excuse("the Deployment was gone")
            world.create(DEPLOYMENTS, deployment("v1", self.history.replicas))
        elif world.target()["spec"].get("paused"):
            world.edit(DEPLOYMENTS, {"spec": {"paused": None}})
        if self.scene.judged and not world.target()["spec"]["replicas"]:
            # Of pods that there are none of nothing can be proven.
            world.scale(self.history.replicas)
        if (self.unmanaged or world.status.stable is None) and self.image in BAD:
            # Of a rollout that nobody held the end has to be seen.
            world.release("v1")
        if world.cluster.find(SERVICES, NAMESPACE, NAME) is None:
            world.create(SERVICES, service())
        if world.by and world.cluster.find(world.by, NAMESPACE, NAME) is None:
            world.lead(world.owners_route)
        if world.object is not None and "deletionTimestamp" not in world.object["metadata"]:
            scene = self.scene
            spec = scene.spec
            back = {"onFailure": "RevertAll"} if "onFailure" in spec else {}
            # What needs a router is refused of who has none, for as long as it stands; an Ingress needs to be told.
            keeps = scene.by in (HTTPROUTES, TRAEFIK_SERVICES) and scene.also is None
            if world.by and "stickiness" in spec:
                # It is refused of a rule that leads to others, too.
                world.lead(MANIFESTS[world.by]())
            loose = {} if keeps else {"stickiness": None}
            world.edit(world.kind, {"spec": {"paused": None, **loose, **spec, **back}})
            if self.paused:
                ask(self, RequestAction.RESUME)
        self.healed = True

    async def _rests(self) -> None:
        """A release that was deleted is gone; any other has come to its end."""
        world = self.world
        if self.lost:
            # Of what a watch lost the operator knows no sooner than at the next audit.
            await world.wait(330)
        await self._rested()
        if world.object is not None:
            return
        world.oracle.excuse("nobody holds the Deployment")
        assert not remains(world.cluster, NAMESPACE), world.describe()
        if self.image in BAD:
            world.release("v1")
        await world.wait(60)
        assert set(world.pods()) <= {self.image}, world.describe()
        world.create(world.kind, canary(**self.scene.spec))
        await self._rested()

    async def _rested(self) -> None:
        world = self.world

        def resting() -> bool:
            if world.object is None:
                return not world.traces()
            if "deletionTimestamp" in world.object["metadata"]:
                return False
            fresh = world.status.observed_generation == world.object["metadata"]["generation"]
            done = world.phase in (Phase.IDLE, Phase.ROLLED_BACK) and world.condition("Reconciling") == "False"
            return fresh and done and world.at_rest and self._template_seen()

        end = self.now() + RESTS_WITHIN
        while True:
            await world.until(resting, within=max(1.0, end - self.now()))
            # Rest is what lasts.
            await world.wait(6)
            if resting():
                return

    def _template_seen(self) -> bool:
        """The last word is about the template that stands there now."""
        status = self.world.status
        spoken = status.candidate or status.stable
        return spoken is not None and spoken.images == (self.image,)

    def _as_wished(self) -> None:
        """The end is the one that the last wishes have, however it was reached."""
        world, status = self.world, self.world.status
        wanted = world.target()["spec"]["replicas"]
        told = world.describe()
        assert not remains(world.cluster, NAMESPACE), told
        assert world.led() == world.owners_route.get("spec", {}), told
        if also := self.scene.also:
            (found,) = world.cluster.all(also, NAMESPACE)
            assert found["spec"] == MANIFESTS[also]()["spec"], told
        assert status.stable is not None, told
        assert world.target()["spec"]["progressDeadlineSeconds"] == 600, told
        stable = status.stable.images[0]
        pods = Counter(
            pod["spec"]["containers"][0]["image"]
            for pod in world.cluster.all(PODS, NAMESPACE, f"!{JOB_NAME}")
            if not leaving(pod)
        )
        assert pods == Counter({stable: wanted} if wanted else {}), told
        if world.phase == Phase.IDLE:
            assert stable == self.image, told
        else:
            # A restart is of the same image.
            assert status.candidate is not None, told
            assert status.candidate.hash != status.stable.hash, told
            # Deadlines shorter than from one audit to the next pass while a watch that lost something is believed,
            # and those of people who let a router be for longer.
            late = (self.lost or self.outwaited) and world.reason in (Reason.PROGRESS_DEADLINE, Reason.TRAFFIC_DEADLINE)
            assert self.image in BAD or self.aborted or late, f"a good version was reverted: {world.reason}\n{told}"

    async def _quiet(self) -> None:
        """At rest nothing is asked and nothing written, but for an audit now and then."""
        world = self.world
        requests, writes = world.requests(), len(world.cluster.writes)
        await world.wait(60)
        assert world.requests() - requests <= IDLE * len(world.processes), "it does not rest"
        ours = [w for w in world.cluster.writes[writes:] if w.client]
        assert not ours, f"at rest it wrote {ours[0].verb} {ours[0].kind.name} {ours[0].name}"

    async def _goes_on(self) -> None:
        """Another release goes as if nothing had been."""
        world = self.world
        if not world.target()["spec"]["replicas"]:
            world.scale(3)
            await world.wait(30)
        wanted = world.target()["spec"]["replicas"]
        world.release(PROBE)

        def serves() -> bool:
            stable = world.status.stable
            return stable is not None and stable.images == (PROBE,) and world.pods() == {PROBE: wanted}

        await world.until(serves, within=300)
        await world.until(lambda: world.phase == Phase.IDLE, within=30)
        assert world.outcome == "Promoted", world.describe()
        assert not remains(world.cluster, NAMESPACE), world.describe()


async def tell(history: History) -> Telling:
    """Tell it in a fresh world."""
    scene = SCENES[history.scene]
    world = await World.begin(
        spec=dict(scene.spec),
        kind=scene.kind,
        by=scene.by,
        also=scene.also,
        replicas=history.replicas,
        versions={**VERSIONS, PROBE: Version()},
    )
    telling = Telling(history, world, Random(history.seed))
    try:
        await telling.tell()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{world.describe()}\n{history!r}") from error
    finally:
        await world.stop()
    return telling

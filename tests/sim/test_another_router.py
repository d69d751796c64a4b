"""A router that Tidegate has never heard of: one class, and one line where the others are listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.fakes.kubelet import Version
from tests.fakes.oracle import remains
from tests.sim.world import QUICK, World
from tidegate.api.release import Step
from tidegate.api.traffic import Share
from tidegate.core.hold import RELEASING, Hold, holder, noted_share, noting, renoted
from tidegate.core.observed import Backends, Route
from tidegate.ports.cluster import Cluster, Kind, Object
from tidegate.ports.router import Names, Router, Routing

DIALS = Kind("apis/example.com/v1", "dials", "Dial")
DIAL: dict[str, Any] = {"metadata": {"name": "checkout"}, "spec": {"service": "checkout"}}


class DialRouter:
    """The smallest there can be: a Dial names a Service, and says how many percent go to its canary."""

    kinds = (DIALS.name,)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def read(
        self,
        backends: Backends,
        names: Names,
        propagation: timedelta | None,
        steps: Sequence[Step] = (),
    ) -> Routing:
        """As the port: it serves by what it says at once."""
        return Routing(tuple([_route(dial) for dial in await self._dials(backends)]))

    async def split(self, backends: Backends, names: Names, share: Share, hold: Hold) -> None:
        """As the port."""
        note = None if share.weight is None else hold.note(**noting(share))
        for dial in await self._dials(backends):
            await self._write(dial, note, None if share.weight is None else max(share.weight, 0))

    async def seize(self, backends: Backends, names: Names, hold: Hold) -> None:
        """As the port."""
        for dial in await self._dials(backends):
            if holder(dial):
                await self._write(dial, renoted(dial, hold), dial["spec"]["percent"])

    async def _dials(self, backends: Backends) -> list[Object]:
        found = await self._cluster.list(DIALS, backends.namespace)
        return [dial for dial in found if dial["spec"]["service"] == backends.service]

    async def _write(self, dial: Object, note: str | None, percent: int | None) -> None:
        version = dial["metadata"]["resourceVersion"]
        body = {
            "metadata": {"resourceVersion": version, "annotations": {RELEASING: note}},
            "spec": {"percent": percent},
        }
        await self._cluster.patch(DIALS, dial["metadata"]["namespace"], dial["metadata"]["name"], body)


def _route(dial: Object) -> Route:
    name = f"{DIALS.name}/{dial['metadata']['name']}"
    return Route(name=name, weight=noted_share(dial).weight, applied=True, hold=holder(dial))


async def begin(**versions: Version) -> World:
    """A checkout that is reached by a Dial alone."""
    router: type[Router] = DialRouter  # as the type checker sees it, too
    assert router
    world = World.empty(versions)
    world.by, world.more_routers = None, [DialRouter]
    world.oracle.laws.theirs[DIALS] = lambda dial: {"spec": {**dial["spec"], "percent": None}}
    world.create(DIALS, DIAL)
    await world.populate(QUICK)
    return world


def said(world: World) -> list[int]:
    """All that the Dial ever said, in order."""
    written = [w.after["spec"].get("percent") for w in world.cluster.writes if w.kind == DIALS and w.after]
    return [percent for at, percent in enumerate(written) if percent is not None and written[at - 1] != percent]


def at_rest(world: World) -> bool:
    """As its owner wrote it."""
    dial = world.cluster.find(DIALS, "shop", "checkout")
    return bool(dial and dial["spec"] == DIAL["spec"] and not dial["metadata"].get("annotations"))


async def test_a_promotion() -> None:
    world = await begin()
    world.release("v2")
    await world.until(world.baking(1))
    assert world.status.traffic
    assert world.status.traffic.router == "Dial/checkout"
    await world.ends("Promoted")
    assert said(world) == [0, *(step["weight"] for step in QUICK["steps"])]
    assert at_rest(world)
    assert not remains(world.cluster, "shop")


async def test_a_revert_and_the_operator_dies_on_the_way() -> None:
    world = await begin(v2=Version(fails_after=9.0))
    world.release("v2")
    await world.until(world.baking(1))
    world.kill(world.process)
    await world.ends("RolledBack")
    assert said(world)[-1] == 0
    assert at_rest(world)
    assert world.pods() == {"v1": 4}

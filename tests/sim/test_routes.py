"""What befalls routes, at rest and in mid-release: weights are where they should be, and everybody is answered."""

from __future__ import annotations

from tests.sim.world import World, route
from tidegate.ports.cluster import GRPCROUTES, HTTPROUTES


async def test_routes_of_both_kinds_move_together() -> None:
    world = await World.begin()
    world.create(GRPCROUTES, route())
    await world.wait(5)
    world.release("v2")
    await world.until(world.baking(1))
    for kind in (HTTPROUTES, GRPCROUTES):
        obj = world.cluster.find(kind, "shop", "checkout")
        assert obj
        assert [ref["weight"] for ref in obj["spec"]["rules"][0]["backendRefs"]] == [75, 25]
    assert world.status.traffic is not None
    assert world.status.traffic.router == "HTTPRoute/checkout, GRPCRoute/checkout"
    await world.ends("Promoted")
    assert world.status.effective is not None
    assert world.status.effective["traffic"] == {
        "propagation": "5s",
        "gateway": {
            "routes": [{"kind": "HTTPRoute", "name": "checkout"}, {"kind": "GRPCRoute", "name": "checkout"}],
        },
    }


async def test_a_grpcroute_alone_is_enough_and_may_be_named() -> None:
    world = await World.begin()
    world.create(GRPCROUTES, route("calls"))
    world.respec(traffic={"gateway": {"routes": [{"kind": "GRPCRoute", "name": "calls"}]}})
    await world.wait(5)
    world.delete(HTTPROUTES)
    world.release("v2")
    await world.ends("Promoted")
    assert world.pods_created() == {"v1": 4, "v2": 4}

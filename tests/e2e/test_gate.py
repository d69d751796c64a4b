"""The admission policies on a real API server: every branch of their CEL, and the way out of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.gate import CASES, deployments, routes, services
from tests.gate.case import Json
from tests.gate.server import Server, furnished, without_bindings
from tidegate.core.gate import DEADLINE_WISH, HELD_DEADLINE, RELEASE
from tidegate.core.hold import RELEASING
from tidegate.core.reading import HASH

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(gated: Cluster) -> Iterator[Server]:
    """The table's objects."""
    with furnished(gated) as ready:
        yield ready


@pytest.mark.parametrize("case", CASES)
def test_what_admission_makes_of_a_write(server: Server, case: str) -> None:
    assert server.wrong(case) is None


def test_an_older_version_of_the_api_is_no_way_around(server: Server) -> None:
    assert server.wrong_by_an_older_version() is None


def test_a_router_writes_the_status_of_a_route_in_mid_release(server: Server) -> None:
    assert server.wrong_of_a_status() is None


def test_kubectl_replace_keeps_a_deployment_under_management(server: Server) -> None:
    manifest = deployments.deployment(None, image="none:2")
    managed = deployments.deployment(deployments.MANAGED)
    server.create({**managed, "metadata": {**managed["metadata"], "name": "replaced"}})
    server.kubectl("replace", "--filename=-", stdin=json.dumps({**manifest, "metadata": {"name": "replaced"}}))
    left = server.get("deployment", "replaced")
    assert left["metadata"]["annotations"] == deployments.RELEASED
    assert left["spec"]["template"]["spec"]["containers"][0]["image"] == "none:2"


def test_what_tidegate_writes_makes_it_no_owner(server: Server) -> None:
    assert server.wrong_of_ownership() is None


def test_the_way_out_of_a_deployment_is_open(server: Server) -> None:
    noted = {**deployments.MANAGED, DEADLINE_WISH: "60"}
    held = deployments.deployment(noted, HELD_DEADLINE)
    server.create({**held, "metadata": {**held["metadata"], "name": "out"}})
    server.kubectl("annotate", "deployment/out", f"{RELEASE}-", f"{DEADLINE_WISH}-")
    server.kubectl("patch", "deployment/out", '--patch={"spec":{"progressDeadlineSeconds":600}}')
    left = server.get("deployment", "out")
    assert left["spec"]["progressDeadlineSeconds"] == 600
    assert not set(left["metadata"]["annotations"]) & {RELEASE, DEADLINE_WISH}


def test_the_way_out_of_a_service_and_a_route_is_open_once_the_binding_is_gone(gated: Cluster, server: Server) -> None:
    route = routes.route([routes.plain(routes.SPLIT)], routes.HELD)
    for pinned in (services.service(services.NARROW, services.HELD), route):
        server.create({**pinned, "metadata": {**pinned["metadata"], "name": "out"}})
    with without_bindings(gated, "tidegate-services", "tidegate-routes"):
        for kind in ("service", "httproute"):
            wait_until(f"the note of the {kind} may be removed", partial(_noted, server, kind), 10)
        server.kubectl("patch", "service/out", f'--patch={{"spec":{{"selector":{{"{HASH}":null}}}}}}')
        left = server.get("service", "out")
        assert left["spec"]["selector"] == services.WIDE
        server.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=json.dumps(_at_rest()))
        assert "checkout-canary" not in server.kubectl("get", "httproute/out", "--output=json")


def _at_rest() -> Json:
    route = routes.route([routes.plain(routes.REST)], None)
    return {**route, "metadata": {"name": "out"}}


def _noted(server: Server, kind: str) -> str | None:
    server.kubectl("annotate", f"{kind}/out", f"{RELEASING}-")
    left = server.get(kind, "out")
    return "it stays" if RELEASING in left["metadata"].get("annotations", {}) else None

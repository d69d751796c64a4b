"""Flags on the cluster: kubectl writes them, the operator grows them, gateway pods serve them, and SDKs as they are
shipped read them; through the loss of a pod, and of the API server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.interface import Cluster
from tests.cluster.local import LocalCluster
from tests.cluster.operator_image import Image
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import Figure
from tests.flags.clients import CLIENTS, Client
from tests.flags.listening import Where
from tests.rig.app import App
from tests.rig.environments import Unavailable
from tests.rig.gateway import CLIENT, HERE, NAME, SERVER, SET, FlagGateway, FlagOnCluster, gateway
from tests.rig.load import Load
from tests.rig.operator import NAMESPACE, Operator
from tests.rig.outage import frozen
from tidegate.flags.ofrep import PATH

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
PAGES, LINES = 1000, 100
AT_ONCE = 5.0
"""Seconds in which all have seen a kill switch, on a machine that is cluster and a thousand pages at once."""
AWAY = float(os.environ.get("TIDEGATE_AWAY", "20"))
"""Seconds that the API server is away."""
RATE = 1000
"""Evaluations a second."""
BETA: Json = {"name": "beta", "when": {"attribute": "plan", "equals": "beta"}, "serve": "on"}
ASKED = json.dumps({"context": {"targetingKey": "ann", "plan": "beta"}})
STEPS: list[Json] = [
    {"percentage": 10, "bake": "8s"},
    {"percentage": 50, "bake": "8s"},
    {"percentage": 100},
]
GUARDED: Json = {
    "steps": STEPS,
    "analysis": {
        "interval": "2s",
        "warmup": "0s",
        "minRequests": 50,
        "metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}],
    },
}


@pytest.fixture(scope="module")
def served(cluster: Cluster, operator: Operator, image: Image) -> Iterator[FlagGateway]:
    """The gateway, as two pods."""
    with gateway(cluster, image) as running:
        assert len(running.pods()) == 2
        yield running


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    """A namespace for flags."""
    name = f"flags-{os.getpid()}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def load_of(served: FlagGateway, key: str, folder: Path) -> Load:
    """Evaluations of a flag over OFREP, one by one."""
    url = f"{served.url}{PATH}/{key}"
    return Load(served.cluster, "flags", folder, rate=RATE, url=url, post=ASKED, token=SERVER)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda one: f"{one.environment.name}-{one.name}")
async def test_an_sdk_reads_flags_and_sees_a_kill_switch(
    client: Client, served: FlagGateway, space: str, figure: Figure
) -> None:
    key = f"beta-{client.environment.name}-{client.name}"
    flag = FlagOnCluster(served.cluster, space, key, {"rules": [BETA], "clientSide": True})
    flag.apply()
    served.await_variant(key, "on", targetingKey="ann", plan="beta")
    token = CLIENT if client.name == "ofrep-web" else SERVER
    where = {"url": served.url, "host": served.address, "grpc": 8015, "set": SET, "token": token}
    try:
        asked = await client.start(where, served.cluster.enter())
    except Unavailable as error:
        pytest.skip(f"{client.environment.name} cannot be had: {error}")
    try:
        ann, ben = ({"targetingKey": who, "plan": plan} for who, plan in (("ann", "beta"), ("ben", "free")))
        assert (await asked.evaluate("Boolean", key, ann))["value"] is True
        assert (await asked.evaluate("Boolean", key, ben))["value"] is False
        assert (await asked.evaluate("Boolean", key, ann))["value"] is True
        flag.apply(enabled=False)
        began = time.monotonic()
        async with asyncio.timeout(AT_ONCE):
            while (found := await asked.evaluate("Boolean", key, ann))["value"]:  # noqa: ASYNC110 - it is asked, nobody tells
                await asyncio.sleep(0.01)
        figure(f"{client.environment.name} {client.name}: off after", f"{time.monotonic() - began:.2f} s")
        assert (found["variant"], found["error"]) == ("off", None)
    finally:
        await asked.stop()


def test_a_kill_switch_reaches_everybody(served: FlagGateway, space: str, figure: Figure) -> None:
    flag = FlagOnCluster(served.cluster, space, "switch", {"defaultVariant": "on", "clientSide": True})
    flag.apply()
    served.await_variant("switch", "on")
    where = json.dumps(vars(Where(served.address, 80, 8015, SET, SERVER, "switch")))
    ask = ["-m", "tests.flags.listening", where, f"--pages={PAGES}", f"--lines={LINES}"]
    command = [*served.cluster.enter(), sys.executable, *ask]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listeners:
        try:
            assert listeners.stdout
            assert listeners.stdout.readline() == "listening\n"
            began = time.time()
            flag.apply(enabled=False)
            ends = json.loads(listeners.stdout.readline())
        finally:
            listeners.kill()
    last = {sort: max(seen) - began for sort, seen in ends.items()}
    assert (len(ends["pages"]), len(ends["lines"])) == (PAGES, LINES)
    figure("kubectl apply to the last that saw it", {sort: f"{seconds:.2f} s" for sort, seconds in last.items()})
    assert max(last.values()) < AT_ONCE


def test_nobody_misses_a_pod_that_goes(served: FlagGateway, space: str, tmp_path: Path) -> None:
    FlagOnCluster(served.cluster, space, "steady", {"rules": [BETA]}).apply()
    served.await_variant("steady", "on", targetingKey="ann", plan="beta")
    gone = served.pods()[0]["metadata"]["name"]
    with load_of(served, "steady", tmp_path) as load:
        served.cluster.kubectl("delete", "pod", gone, HERE, "--timeout=90s")
        served.cluster.kubectl("rollout", "status", f"deployment/{NAME}", HERE, "--timeout=90s")
        served.cluster.kubectl("rollout", "restart", f"deployment/{NAME}", HERE)
        served.cluster.kubectl("rollout", "status", f"deployment/{NAME}", HERE, "--timeout=120s")
        gone = served.pods()[0]["metadata"]["name"]
        served.cluster.kubectl("delete", "pod", gone, HERE, "--grace-period=0", "--force")
        served.cluster.kubectl("rollout", "status", f"deployment/{NAME}", HERE, "--timeout=90s")
        result = load.stop()
    assert result.failed() == {}
    assert result.total > 10 * RATE


def test_the_api_server_may_be_away(served: FlagGateway, space: str, tmp_path: Path, figure: Figure) -> None:
    cluster = served.cluster
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the API server of this cluster is out of reach")
    flag = FlagOnCluster(cluster, space, "lasting", {"rules": [BETA]})
    flag.apply()
    served.await_variant("lasting", "on", targetingKey="ann", plan="beta")
    with load_of(served, "lasting", tmp_path) as load:
        with frozen(cluster):
            end = time.monotonic() + AWAY
            wait_until("it was away", lambda: None if time.monotonic() > end else "it is", AWAY + 5, pause=1)
        flag.apply(enabled=False)
        began = time.monotonic()
        served.await_variant("lasting", "off", 60, targetingKey="ann", plan="beta")
        figure(f"after {AWAY:.0f} s away, a change is served within", f"{time.monotonic() - began:.1f} s")
        flag.await_phase("Killed")
        result = load.stop()
    assert result.failed() == {}
    assert result.total > AWAY * RATE / 2


@pytest.fixture(scope="module")
def flagged(served: FlagGateway) -> Iterator[App]:
    """An application that reads a flag by OpenFeature for each request."""
    app = App(served.cluster, f"flagged-{os.getpid()}", replicas=2)
    try:
        yield app
    finally:
        app.delete()


def ship(app: App, served: FlagGateway, key: str, **env: str) -> None:
    """The application, with a flag to read."""
    where = f"http://{NAME}.{NAMESPACE}"
    deployment = app.deployment("v1", FLAG=key, FLAGS_URL=where, FLAGS_TOKEN=SERVER, **env)
    here = f"--namespace={app.namespace}"
    if not app.cluster.kubectl("get", "namespace", app.namespace, "--ignore-not-found", "--output=name"):
        app.cluster.kubectl("create", "namespace", app.namespace)
        app.apply(app.service(), app.route())
    app.apply(deployment)
    app.cluster.kubectl("rollout", "status", f"deployment/{app.name}", here, "--timeout=120s")
    app.await_answers()


def test_a_good_flag_grows_by_itself(served: FlagGateway, flagged: App, tmp_path: Path) -> None:
    flag = FlagOnCluster(served.cluster, flagged.namespace, "good", {"rollout": GUARDED})
    ship(flagged, served, "good")
    with Load(flagged.cluster, flagged.host, tmp_path, rate=200) as load:
        flag.apply()
        flag.await_phase("RollingOut", 20)
        status = flag.await_phase("Serving", 300)
        served.await_variant("good", "on", targetingKey="anybody")
        result = load.stop()
    assert status["rollout"]["milli"] == 100_000
    assert result.failed() == {}
    assert result.of("v1+on") > 0
    table = served.cluster.kubectl("get", "featureflag", "good", f"--namespace={flagged.namespace}")
    columns = ["NAME", "KEY", "ENABLED", "SERVING", "ROLLOUT", "VERDICT", "STALE", "AGE"]
    assert table.splitlines()[0].split() == columns


def test_a_bad_flag_is_turned_off_at_once(served: FlagGateway, flagged: App, tmp_path: Path, figure: Figure) -> None:
    flag = FlagOnCluster(served.cluster, flagged.namespace, "bad", {"rollout": GUARDED})
    ship(flagged, served, "bad", ON_PER_SECOND="1")
    with Load(flagged.cluster, flagged.host, tmp_path, rate=200) as load:
        flag.apply()
        status = flag.await_phase("Breached", 60)
        served.await_variant("bad", "off", targetingKey="anybody")
        result = load.stop()
    assert status["override"]["reason"] == "AnalysisFailed"
    assert result.failed(but="v1+on") == {}
    (breached,) = (one for one in status["conditions"] if one["type"] == "Breached")
    told = datetime.fromisoformat(breached["lastTransitionTime"]).timestamp()
    last = result.last_sent("v1+on")
    assert last
    figure("breach to the last request that it was on for", f"{last - told:.2f} s")
    assert last - told < AT_ONCE
    assert "rollout" in served.cluster.get("featureflag", "bad", flagged.namespace)["spec"]

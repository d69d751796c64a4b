"""The gate by webhook: a certificate that the API server knows, whoever restarts, and answers over TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from tests.fakes.cluster import FakeCluster
from tests.gate import CASES

from tidegate.adapters.certificate import self_signed
from tidegate.adapters.clock import SystemClock
from tidegate.app import webhook as served
from tidegate.app.webhook import Webhook
from tidegate.engine.bundle import KEPT, Bundle, with_ours
from tidegate.engine.gate import WEBHOOK, needed
from tidegate.engine.meters import Meters
from tidegate.ports.cluster import WEBHOOKS

pytestmark = pytest.mark.realtime

Json = dict[str, Any]
TIDEGATE = "system:serviceaccount:tidegate-system:tidegate"
SERVICE = "tidegate-webhook.tidegate-system.svc"


def configuration(url: str = "") -> Json:
    """The webhooks, of the Service or of an address."""
    ((_, packed),) = needed(WEBHOOK)
    found = copy.deepcopy(packed)
    for hook in found["webhooks"] if url else ():
        hook["clientConfig"] = {"url": url}
    return found


def bundles(cluster: FakeCluster) -> list[str]:
    """What each webhook's caller would trust."""
    found = cluster.find(WEBHOOKS, "", "tidegate")
    assert found
    return [base64.b64decode(hook["clientConfig"].get("caBundle", "")).decode() for hook in found["webhooks"]]


async def test_a_certificate_is_added_to_every_webhook_once_and_others_stay() -> None:
    cluster = FakeCluster(SystemClock(), latency=0)
    cluster.create_as("admin", WEBHOOKS, "", configuration())
    bundle, mine, others = Bundle(cluster), self_signed(["a"]).public, self_signed(["a"]).public
    assert await bundle.hosts() == {SERVICE}
    for certificate in (others, mine, mine):
        assert await bundle.ensure(certificate)
    assert len(bundles(cluster)) == 6
    assert set(bundles(cluster)) == {others + mine}
    assert cluster.requests["patch", WEBHOOKS.plural] == 2, "what stands is not written again"


async def test_without_a_configuration_there_is_no_place_for_it() -> None:
    bundle = Bundle(FakeCluster(SystemClock(), latency=0))
    assert await bundle.hosts() == frozenset()
    assert not await bundle.ensure("x")


def test_the_oldest_certificates_are_pushed_out() -> None:
    made = [self_signed(["a"]).public for _ in range(KEPT + 2)]
    bundle = ""
    for certificate in made:
        bundle = with_ours(bundle, certificate)
    assert base64.b64decode(bundle).decode() == "".join(made[2:])


def test_a_bundle_of_something_else_is_written_anew() -> None:
    mine = self_signed(["a"]).public
    assert base64.b64decode(with_ours(base64.b64encode(b"\n").decode(), mine)).decode() == mine


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and waits of a moment."""
    monkeypatch.setattr(served, "LOOK", 0.02)
    monkeypatch.setattr(served, "SETTLE", 0.1)


@contextlib.asynccontextmanager
async def running(cluster: FakeCluster, port: int) -> AsyncIterator[Webhook]:
    """A webhook that looks at its configuration."""
    hook = Webhook(Bundle(cluster), TIDEGATE, Meters(), SystemClock())
    task = asyncio.create_task(hook.run(f"127.0.0.1:{port}"))
    try:
        yield hook
    finally:
        task.cancel()
        await hook.stop()


async def until(so: Callable[[], bool]) -> None:
    """Wait, not for ever."""
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110 - it is another's state that is waited for
            await asyncio.sleep(0.02)


async def asked(port: int, bundle: str, body: bytes = b"{}") -> tuple[int, str]:
    """What the API server would be answered: it trusts the bundle and nothing else."""
    context = ssl.create_default_context(cadata=bundle)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"https://127.0.0.1:{port}/clamp", data=body, ssl=context) as answer,
    ):
        return answer.status, await answer.text()


def birth() -> bytes:
    """A question about a new revision."""
    request = {
        "uid": "u1",
        "kind": {"kind": "ReplicaSet"},
        "operation": "CREATE",
        "userInfo": {"username": "alice"},
        "object": CASES["birth: a new revision"].write,
        "oldObject": None,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


async def test_it_answers_by_a_certificate_that_stands_in_the_configuration() -> None:
    cluster, port = FakeCluster(SystemClock(), latency=0), free_port()
    async with running(cluster, port) as hook:
        await asyncio.sleep(0.15)
        assert not hook.ready(), "there is no configuration yet"
        cluster.create_as("admin", WEBHOOKS, "", configuration(f"https://127.0.0.1:{port}/clamp"))
        await until(hook.ready)
        status, text = await asked(port, bundles(cluster)[0], birth())
        assert status == 200
        response = json.loads(text)["response"]
        assert response["uid"] == "u1"
        assert {"op": "replace", "path": "/spec/replicas", "value": 0} in json.loads(
            base64.b64decode(response["patch"])
        )
        for broken in (b"", b"{}", b"[1]", b'{"request": {"operation": "CREATE"}}'):
            assert (await asked(port, bundles(cluster)[0], broken))[0] == 400


async def test_a_certificate_that_was_taken_away_comes_back() -> None:
    """Somebody applies the manifest again, which has none."""
    cluster, port = FakeCluster(SystemClock(), latency=0), free_port()
    cluster.create_as("admin", WEBHOOKS, "", configuration(f"https://127.0.0.1:{port}/clamp"))
    async with running(cluster, port) as hook:
        await until(hook.ready)
        cluster.delete_as("admin", WEBHOOKS, "", "tidegate")
        cluster.create_as("admin", WEBHOOKS, "", configuration(f"https://127.0.0.1:{port}/clamp"))
        await until(lambda: all(bundles(cluster)))
        assert (await asked(port, bundles(cluster)[0], birth()))[0] == 200


async def test_called_by_another_name_it_takes_another_certificate() -> None:
    cluster, port = FakeCluster(SystemClock(), latency=0), free_port()
    cluster.create_as("admin", WEBHOOKS, "", configuration())
    async with running(cluster, port) as hook:
        await until(hook.ready)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await asked(port, bundles(cluster)[0])
        cluster.patch_as("admin", WEBHOOKS, "", "tidegate", configuration(f"https://127.0.0.1:{port}/clamp"))
        await until(lambda: not hook.ready())
        await until(hook.ready)
        assert (await asked(port, bundles(cluster)[0]))[0] == 400


async def test_replicas_and_their_restarts_are_all_known() -> None:
    cluster, ports = FakeCluster(SystemClock(), latency=0.005), [free_port() for _ in range(3)]
    cluster.create_as("admin", WEBHOOKS, "", configuration(f"https://127.0.0.1:{ports[0]}/clamp"))
    async with running(cluster, ports[0]) as one, running(cluster, ports[1]) as two:
        await until(lambda: one.ready() and two.ready())
        async with running(cluster, ports[2]) as restarted:
            await until(restarted.ready)
            await until(lambda: bundles(cluster)[0].count("BEGIN CERTIFICATE") == 3)
            for port in ports:
                assert (await asked(port, bundles(cluster)[0]))[0] == 400

"""The gate by webhook, in a cluster without the policies: the operator beside it is asked by the API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import yaml

from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.gate.api import Api
from tests.gate.server import Server, namespace
from tests.rig.operator import ROOT, Operator, install

ADDRESS = "127.0.0.1:18443"
"""Of the operator, for the API server of the same network."""
BIRTH = "birth: a new revision"


@contextmanager
def gated_by_webhook(cluster: Cluster, operator: Operator) -> Iterator[None]:
    """The policies are away, and the operator is the gate."""
    operator.stop()
    cluster.kubectl("delete", "--ignore-not-found", "--filename", str(ROOT / "manifests/admission"))
    try:
        with Api(cluster) as api, namespace(cluster) as name:
            server = Server(cluster, api, name)
            wait_until("no policy holds any more", lambda: None if server.wrong(BIRTH) else "it is held", 30)
            cluster.kubectl("apply", "--server-side", "--filename", str(ROOT / "manifests/webhook/rbac.yaml"))
            cluster.kubectl("apply", "--server-side", "--filename=-", stdin=_configuration())
            operator.arguments = ("--gate", "webhook", "--webhook-listen", ADDRESS)
            operator.start()
            wait_until("the webhook holds", partial(server.wrong, BIRTH), 30)
        yield
    finally:
        operator.stop()
        operator.arguments = ()
        cluster.kubectl("delete", "--ignore-not-found", "mutatingwebhookconfiguration", "tidegate")
        cluster.kubectl("delete", "--ignore-not-found", "--filename", str(ROOT / "manifests/webhook/rbac.yaml"))
        install(cluster)
        operator.start()


def _configuration() -> str:
    """As it is installed, but for where the operator is."""
    (configuration,) = yaml.safe_load_all((ROOT / "manifests/webhook/webhook.yaml").read_text())
    for webhook in configuration["webhooks"]:
        webhook["clientConfig"] = {"url": f"https://{ADDRESS}/clamp"}
    return json.dumps(configuration)

"""A route keeps all that its owner wrote: in mid-release but for the weights, and at the end in every byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.waiting import wait_until
from tests.e2e.conftest import FAST
from tests.rig.app import App
from tests.rig.load import Load

pytestmark = pytest.mark.e2e


def test_filters_matches_rules_and_other_services_stay(app: App, folder: Path) -> None:
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-team", "value": "shop"}]}}
    other = app.service()
    other["metadata"]["name"] = "legacy"
    other["spec"]["selector"] = {"app": "legacy"}
    rich = app.route()
    rich["spec"]["rules"] = [
        {
            "name": "admin",
            "matches": [{"path": {"type": "PathPrefix", "value": "/admin"}}],
            "backendRefs": [{"name": "legacy", "port": 80}],
        },
        {
            "name": "split",
            "matches": [{"path": {"type": "PathPrefix", "value": "/split"}}],
            "backendRefs": [{"name": "checkout", "port": 80, "weight": 9}, {"name": "legacy", "port": 80, "weight": 1}],
        },
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "filters": [header],
            "backendRefs": [{"name": "checkout", "port": 80}],
        },
    ]
    app.apply(other, rich, app.release(**FAST))
    app.await_phase("Idle", 20)
    before = app.cluster.get("httproute", app.name, "-n", app.namespace)["spec"]
    with Load(app.cluster, app.host, folder) as load:
        app.ship("v2")

        def at_25() -> str | None:
            spec = app.cluster.get("httproute", app.name, "-n", app.namespace)["spec"]
            refs = [[(r["name"], r.get("weight", 1)) for r in rule["backendRefs"]] for rule in spec["rules"]]
            wanted = [
                [("legacy", 1)],
                [("checkout-stable", 675), ("checkout-canary", 225), ("legacy", 100)],
                [("checkout-stable", 75), ("checkout-canary", 25)],
            ]
            if refs != wanted:
                return str(refs)
            assert [rule.get("matches") for rule in spec["rules"]] == [rule.get("matches") for rule in before["rules"]]
            assert spec["rules"][2]["filters"] == [header]
            return None

        wait_until("weights of 25 %", at_25, 30)
        app.await_phase("Idle", 60, outcome="Promoted")
        result = load.stop()
    assert result.failed() == {}
    assert app.cluster.get("httproute", app.name, "-n", app.namespace)["spec"] == before

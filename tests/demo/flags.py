"""Act 5: an application reads a feature flag for each request, and the flag does harm once enough people have it."""

from __future__ import annotations

import time
from typing import Any

import yaml

from tests.cluster.interface import ClusterFailed
from tests.cluster.local import LocalCluster
from tests.demo.claims import Switched
from tests.demo.scene import NAMESPACE, PATIENCE, PAUSE, RATE, Scene
from tests.rig.app import App
from tests.rig.gateway import FlagOnCluster, beside
from tests.rig.load import Load

Json = dict[str, Any]

KEY = "new-checkout"
COPES = 5
"""Answers a second that the code behind the flag is good for, in each pod: more than 1 % of the requests take, and much
less than 10 %."""
SPEC: Json = {
    "owner": "team-checkout",
    "rollout": {
        "steps": [{"percentage": 1, "bake": "10s"}, {"percentage": 10, "bake": "1m"}, {"percentage": 100}],
        "minExposures": 0,
        "analysis": {
            "interval": "2s",
            "warmup": "0s",
            "minRequests": 10,
            "metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}],
        },
    },
}
AFTERWARDS = 3.0
"""Seconds that are watched when all is over."""


def missing(scene: Scene) -> str:
    """Why this act cannot be played; nothing where it can."""
    if isinstance(scene.cluster, LocalCluster):
        return ""
    return "pods of this cluster have no way to a process beside it; docs/flag-gateway.md installs it as pods"


def play(scene: Scene) -> Switched | None:
    """The flag grows to 1 %, to 10 %, and is turned off."""
    scene.act(f"Act 5: a feature flag, {KEY}, that the code behind it is not up to")
    cluster = scene.cluster
    if reason := missing(scene):
        scene.say(f"skipped: {reason}")
        return None
    if not isinstance(cluster, LocalCluster):
        raise TypeError("what is missing was not said")
    app = App(cluster, NAMESPACE, "storefront", replicas=2)
    flag = FlagOnCluster(cluster, NAMESPACE, KEY, SPEC)
    with beside(cluster, scene.folder) as url:
        scene.say(f"the storefront asks the flag gateway for each request, by OpenFeature; {RATE} requests/s")
        env = {"FLAG": KEY, "FLAGS_URL": url, "ON_PER_SECOND": str(COPES)}
        app.apply(app.deployment("v1", **env), app.service(), app.route())
        cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{app.name}", "--timeout=120s")
        app.await_answers()
        with Load(cluster, app.host, scene.folder, rate=RATE, timeout=PATIENCE) as load:
            scene.say(yaml.safe_dump({"kind": "FeatureFlag", "metadata": {"name": KEY}, "spec": SPEC}, sort_keys=False))
            flag.apply(flagSet=NAMESPACE)
            percentages = _followed(scene, flag, load)
            time.sleep(AFTERWARDS)
            return Switched(tuple(percentages), flag.status(), load.stop())


def _followed(scene: Scene, flag: FlagOnCluster, load: Load) -> list[float]:
    """How far it was seen to be, in turn, until it is off."""
    seen: list[float] = []
    told = ""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status = flag.status()
        percentage = (status.get("rollout") or {}).get("milli", 0) / 1000
        if percentage and percentage not in seen:
            seen.append(percentage)
        verdict = (status.get("analysis") or {}).get("verdict", "")
        said = f"{status.get('phase')}: {status.get('serving')}" + (f", verdict {verdict}" if verdict else "")
        if said != told:
            told = said
            scene.say(f"{_counts(load)} | {said}: {status.get('message')}")
        if status.get("phase") == "Breached":
            return seen
        time.sleep(PAUSE)
    raise ClusterFailed(f"flag {KEY} was not turned off; seen last: {told}")


def _counts(load: Load) -> str:
    counts = load.counts()
    on = sum(count for key, count in counts.items() if key.startswith("v1+on "))
    failed = sum(count for key, count in counts.items() if not key.endswith(" 200"))
    return f"{counts.total():,} served, {on:,} with the flag on, {failed:,} failed"

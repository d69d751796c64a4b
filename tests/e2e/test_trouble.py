"""The fast path: what the kubelet says of a candidate's pods reverts it, with no metric asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.app import App
from tests.rig.load import Load

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("env", "image", "reason", "seconds"),
    [
        ({"EXIT_AT_START": "1"}, None, "CrashLoop", 45),
        ({}, "localhost/there-is-no-such-image:v9", "ImageError", 45),
        ({"NOT_READY": "1"}, None, "NotReady", 60),
    ],
)
def test_a_candidate_that_cannot_run_is_reverted(
    managed: App, folder: Path, env: dict[str, str], image: str | None, reason: str, seconds: int
) -> None:
    app, pods = managed, managed.pods()
    manifest = app.deployment("bad", **env)
    if image:
        manifest["spec"]["template"]["spec"]["containers"][0]["image"] = image
    with Load(app.cluster, app.host, folder, rate=100) as load:
        app.apply(manifest)
        status = app.await_phase("RolledBack", seconds, outcome="RolledBack")
        result = load.stop()
    assert status["lastRelease"]["reason"] == reason, status["message"]
    assert result.failed() == {}
    assert result.of("bad") == 0
    assert app.pods() == pods

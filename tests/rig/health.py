"""What Argo CD, Flux and kstatus make of an object: their own code, by the checks under manifests/health."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import artifacts
from tidegate.ports.cluster import FEATURE_FLAGS, RELEASES

CHECKS = Path(__file__).parents[2] / "manifests/health"
KEY = "resource.customizations.health.tidegate.dev_CanaryRelease"
Json = dict[str, Any]


@dataclass(frozen=True)
class Health:
    """An object in their words."""

    argo: str
    flux: str
    kstatus: str
    message: str
    """As Argo CD shows it."""


def argo_script() -> str:
    """The Lua as people put it into argocd-cm."""
    return str(yaml.safe_load((CHECKS / "argocd-cm.yaml").read_text())["data"][KEY])


def flux_check() -> Json:
    """The entries of healthCheckExprs, which are the same for each kind."""
    checks = yaml.safe_load((CHECKS / "flux.yaml").read_text())["spec"]["healthCheckExprs"]
    (check,) = {json.dumps({**check, "kind": "CanaryRelease"}, sort_keys=True) for check in checks}
    assert {check["kind"] for check in checks} == {kind.name for kind in (*RELEASES, FEATURE_FLAGS)}
    said: Json = json.loads(check)
    return said


def judged(objects: Iterable[Json], folder: Path, *, script: str = "") -> list[Health]:
    """What they make of each. An error of a check counts as what it said: ``error: …``."""
    lua, check = folder / "argocd.lua", folder / "flux.json"
    lua.write_text(script or argo_script())
    check.write_text(json.dumps(flux_check()))
    done = subprocess.run(
        [str(artifacts.health()), "-lua", str(lua), "-flux", str(check)],
        input="\n".join(json.dumps(obj) for obj in objects),
        capture_output=True,
        text=True,
        check=True,
    )
    return [_health(json.loads(line)) for line in done.stdout.splitlines()]


def _health(told: Json) -> Health:
    argo, flux, kstatus = (
        said["status"] or f"error: {said['error']}" for said in (told["argo"], told["flux"], told["kstatus"])
    )
    return Health(argo, flux, kstatus, told["argo"].get("message", ""))

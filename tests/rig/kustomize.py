"""What kustomize makes of the manifests, in an overlay beside them as users have."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import artifacts

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]


def kustomized(folder: Path, *components: str) -> dict[str, Json]:
    """The objects of an installation with these components of ``manifests``, by Kind/name."""
    for name in ("manifests", "crds"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "mine").mkdir()
    kustomization = {"resources": ["../manifests"], "components": [f"../manifests/{name}" for name in components]}
    (folder / "mine/kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    command = [str(artifacts.kubectl()), "kustomize", str(folder / "mine")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return by_name(yaml.safe_load_all(done.stdout))


def by_name(objects: Iterable[Any]) -> dict[str, Json]:
    """Objects by Kind/name."""
    return {f"{found['kind']}/{found['metadata']['name']}": found for found in objects if found}

"""Copies of the manifests, for those who take nothing from outside of a folder of their own.

The chart's: its templates add names and labels to them. The operator's package has the gate, to know it again in a
cluster. ``python -m tests.generate`` (``make generate``) writes them, ``make verify``
compares.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tidegate.api.base import GROUP
from tidegate.api.crd import KINDS

ROOT = Path(__file__).parents[1]
FILES = ROOT / "charts/tidegate/files"
ADMISSION = ROOT / "manifests/admission"
PACKED = ROOT / "operator/tidegate/engine/gate.json"
ARGO = ROOT / "manifests/health/argocd-cm.yaml"
HEADER = "# Generated from {} by `make generate`. Do not edit.\n"


def copies() -> dict[Path, str]:
    """The files that are copies, with what they should say."""
    sources = {
        FILES / "rbac.yaml": ROOT / "manifests/rbac.yaml",
        **{FILES / "webhook" / name: ROOT / "manifests/webhook" / name for name in ("rbac.yaml", "webhook.yaml")},
        **{FILES / "crds" / source.name: source for source in (ROOT / "crds").glob("tidegate.dev_*.yaml")},
        **{FILES / "admission" / source.name: source for source in ADMISSION.glob("*.yaml")},
    }
    texts = {
        copy: HEADER.format(source.relative_to(ROOT)) + source.read_text(encoding="utf-8")
        for copy, source in sources.items()
    }
    return {**texts, PACKED: packed(), ARGO: argo()}


def argo() -> str:
    """The check of health for Argo CD's ConfigMap, which wants it once for each kind."""
    lua = ARGO.with_name("argocd.lua").read_text(encoding="utf-8")
    block = "".join(f"    {line}".rstrip() + "\n" for line in lua.splitlines())
    kinds = "".join(f"  resource.customizations.health.{GROUP}_{kind.kind}: |\n{block}" for kind in KINDS)
    return (
        "# Generated from manifests/health/argocd.lua by `make generate`. Do not edit.\n"
        "# Argo CD: health of releases and flags, for its ConfigMap argocd-cm.\n"
        "#     kubectl -n argocd patch configmap argocd-cm --patch-file manifests/health/argocd-cm.yaml\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\ndata:\n" + kinds
    )


def packed() -> str:
    """The objects of the gate, as JSON: the operator has no parser of YAML of its own.

    Without the policy on its own writes nothing is unsafe, so that is none of them.
    """
    sources = [file for file in sorted(ADMISSION.glob("*.yaml")) if file.stem != "ownership"]
    sources.append(ROOT / "manifests/webhook/webhook.yaml")
    objects = [obj for file in sources for obj in yaml.safe_load_all(file.read_text()) if obj]
    return json.dumps(objects, indent=1) + "\n"


def stale() -> list[Path]:
    """Copies that are missing, say something else, or are of nothing."""
    wanted = copies()
    there = {path for path in (*FILES.rglob("*"), PACKED, ARGO) if path.is_file()}
    differ = {path for path in wanted.keys() & there if path.read_text(encoding="utf-8") != wanted[path]}
    return sorted({*differ, *(wanted.keys() ^ there)})


def main() -> None:
    """Write what is stale."""
    wanted = copies()
    for path in stale():
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    main()

"""The flag gateway's component: settings that exist, ports that it listens on, and rights to read flags and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tidegate.app.flag_settings import FlagSettings
from tidegate.ports.cluster import FEATURE_FLAGS

FOLDER = Path(__file__).parents[2] / "manifests/flags"
Json = dict[str, Any]


def found(kind: str) -> Json:
    """The one object of a kind."""
    files = ("gateway.yaml", "rbac.yaml")
    every = [one for file in files for one in yaml.safe_load_all((FOLDER / file).read_text()) if one["kind"] == kind]
    (only,) = every
    return dict(only)


def test_the_component_has_every_file() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert set(listed) == {file.name for file in FOLDER.iterdir()} - {"kustomization.yaml"}


def test_the_gateway_may_see_flags_and_no_more() -> None:
    (rule,) = found("ClusterRole")["rules"]
    assert rule == {"apiGroups": ["tidegate.dev"], "resources": [FEATURE_FLAGS.plural], "verbs": ["list", "watch"]}
    assert found("ClusterRoleBinding")["subjects"][0]["name"] == found("ServiceAccount")["metadata"]["name"]


def test_its_pod_has_settings_that_exist_ports_that_it_listens_on_and_no_privilege() -> None:
    spec = found("Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    known = {f"TIDEGATE_FLAGS_{name.upper()}" for name in FlagSettings.__dataclass_fields__}
    assert {variable["name"] for variable in container["env"]} <= known
    defaults = FlagSettings()
    ports = [
        int(listen.rpartition(":")[2]) for listen in (defaults.listen, defaults.sync_listen, defaults.probe_listen)
    ]
    assert [exposed["containerPort"] for exposed in container["ports"]] == ports
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert mounted == {values["TIDEGATE_FLAGS_TOKENS"], values["TIDEGATE_FLAGS_SNAPSHOT"]}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    stopping = container["lifecycle"]["preStop"]["sleep"]["seconds"] + defaults.drain
    assert spec["terminationGracePeriodSeconds"] > stopping + 10


def test_settings_say_what_cannot_be_right() -> None:
    assert "--tokens FOLDER is needed" in FlagSettings().wrong
    assert "give one of them" in FlagSettings(open=True, tokens="/x").wrong
    assert FlagSettings(open=True).wrong == FlagSettings(tokens="/x").wrong == ""

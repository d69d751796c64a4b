"""The Helm chart installs what the manifests do, and what can be set is what its schema says."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import artifacts
from tests.cluster.interface import ClusterUnavailable
from tests.rig.kustomize import by_name, kustomized

from tidegate import __version__
from tidegate.app.cli import let_go
from tidegate.app.settings import Settings
from tidegate.core.standing import judge
from tidegate.engine.gate import FORMS, WEBHOOK, needed
from tidegate.ports.cluster import ENDPOINT_SLICES, RELEASES

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/tidegate"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# What Helm and this chart add to objects: who made them, of which release they are.
HELM_S = re.compile(r"helm\.sh/|app\.kubernetes\.io/(instance|version|managed-by|part-of)$")

Json = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm; compiled where it never was."""
    try:
        return artifacts.helm()
    except ClusterUnavailable as reason:
        pytest.skip(f"no Helm here: {reason}")


def template(helm: Path, *options: str, name: str = "tidegate", namespace: str = "tidegate-system") -> str:
    """What an installation would apply."""
    command = [str(helm), "template", name, str(CHART), "--namespace", namespace, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return done.stdout


def rendered(helm: Path, *options: str, **where: str) -> dict[str, Json]:
    """The objects of an installation by Kind/name."""
    return by_name(yaml.safe_load_all(template(helm, *options, **where)))


def hooks(objects: dict[str, Json]) -> dict[str, Json]:
    """Those that exist only while Helm does something."""
    return {
        name: found for name, found in objects.items() if "helm.sh/hook" in found["metadata"].get("annotations", {})
    }


def plain(value: Any) -> Any:
    """Without what only Helm or only kustomize adds."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, str):
        # kustomize writes folded text anew, with more line ends; they mean nothing in an expression.
        return re.sub(r"\s+", " ", value)
    if not isinstance(value, dict):
        return value
    less = {key: plain(part) for key, part in value.items() if not HELM_S.match(key)}
    return {key: part for key, part in less.items() if not (key in {"labels", "annotations"} and part == {})}


@pytest.mark.parametrize(
    ("values", "components"),
    [((), ()), (("gate=webhook",), ("webhook",)), (("flags.enabled=true",), ("flags",))],
    ids=["policy", "webhook", "flags"],
)
def test_the_chart_installs_what_the_manifests_do(
    helm: Path, tmp_path: Path, values: tuple[str, ...], components: tuple[str, ...]
) -> None:
    manifests = {name: plain(found) for name, found in kustomized(tmp_path, *components).items()}
    # The namespace of a Helm release is Helm's to make: `helm install --create-namespace`.
    del manifests["Namespace/tidegate-system"]
    objects = rendered(helm, *(f"--set={value}" for value in values))
    chart = {name: plain(found) for name, found in objects.items() if name not in hooks(objects)}
    assert sorted(chart) == sorted(manifests)
    for name, found in chart.items():
        # The name is the one label of the manifests that the chart's own objects have as well.
        found["metadata"].get("labels", {}).pop("app.kubernetes.io/name", None)
        assert plain(found) == manifests[name], name


def test_alerts_are_a_rule_of_the_chart_where_they_are_wanted(helm: Path) -> None:
    assert not [name for name in rendered(helm) if name.startswith("PrometheusRule/")]
    rule = rendered(helm, "--set=metrics.alerts.enabled=true", "--set=metrics.alerts.labels.release=kps")[
        "PrometheusRule/tidegate"
    ]
    assert rule["metadata"]["labels"]["release"] == "kps"
    assert rule["spec"] == yaml.safe_load((CHART / "alerts.yaml").read_text())


def test_an_installation_of_another_name_elsewhere_is_exempted_and_bound_by_its_own_account(helm: Path) -> None:
    objects = rendered(helm, name="gate", namespace="delivery")
    user = "system:serviceaccount:delivery:gate-tidegate"
    policies = {name: found for name, found in objects.items() if name.startswith("MutatingAdmissionPolicy/")}
    assert policies
    for name, policy in policies.items():
        conditions = [condition["expression"] for condition in policy["spec"]["matchConditions"]]
        assert f"request.userInfo.username {'==' if name.endswith('-ownership') else '!='} '{user}'" in conditions
    account = {"kind": "ServiceAccount", "name": "gate-tidegate", "namespace": "delivery"}
    bound = [found for name, found in objects.items() if "Binding/" in name and "subjects" in found]
    assert {found["metadata"]["name"] for found in bound if found["subjects"] == [account]} == {
        "gate-tidegate",
        "gate-tidegate-cluster",
    }
    pod = objects["Deployment/gate-tidegate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["name"]
    assert "tidegate-system" not in json.dumps(objects)


def test_a_webhook_of_another_name_elsewhere_asks_its_own_service_and_is_the_gate_that_its_operator_needs(
    helm: Path,
) -> None:
    objects = rendered(helm, "--set=gate=webhook", name="gate", namespace="delivery")
    assert not [name for name in objects if name.startswith("MutatingAdmissionPolicy")]
    configuration = objects["MutatingWebhookConfiguration/tidegate"]
    ((_, packed),) = needed(WEBHOOK)
    user = "system:serviceaccount:delivery:gate-tidegate"
    assert judge(configuration, packed, user) is None
    assert {hook["clientConfig"]["service"]["name"] for hook in configuration["webhooks"]} == {"gate-tidegate-webhook"}
    assert {hook["clientConfig"]["service"]["namespace"] for hook in configuration["webhooks"]} == {"delivery"}
    (ownership,) = (hook for hook in configuration["webhooks"] if hook["name"].startswith("ownership."))
    assert ownership["matchConditions"][0]["expression"] == f"request.userInfo.username == '{user}'"
    service, pods = objects["Service/gate-tidegate-webhook"], objects["Deployment/gate-tidegate"]["spec"]["template"]
    assert service["metadata"]["namespace"] == "delivery"
    assert service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
    binding = objects["ClusterRoleBinding/gate-tidegate-webhook"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "gate-tidegate", "namespace": "delivery"}]
    assert "tidegate-system" not in json.dumps(objects)


def test_who_watches_one_namespace_may_do_nothing_in_others(helm: Path) -> None:
    every, one = rendered(helm), rendered(helm, "--set=watchNamespace=shop,traefik.api=edge/traefik:8080")
    assert "ClusterRole/tidegate" not in one
    assert "ClusterRoleBinding/tidegate" not in one
    assert one["ClusterRole/tidegate-cluster"] == every["ClusterRole/tidegate-cluster"]
    assert one["Role/tidegate"] == every["Role/tidegate"], "the Lease is where the operator is"
    for name, where, rules in (
        ("tidegate-watch", "shop", every["ClusterRole/tidegate"]["rules"]),
        (
            "tidegate-traefik",
            "edge",
            [{"apiGroups": ["discovery.k8s.io"], "resources": [ENDPOINT_SLICES.plural], "verbs": ["list"]}],
        ),
    ):
        role, binding = one[f"Role/{name}"], one[f"RoleBinding/{name}"]
        assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == where
        assert role["rules"] == rules
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        assert binding["subjects"] == every["ClusterRoleBinding/tidegate"]["subjects"]
    assert "Role/tidegate-traefik" not in rendered(helm, "--set=watchNamespace=shop")
    release = one["ClusterRole/tidegate-let-go"]["rules"], one["Role/tidegate-let-go"]["rules"]
    assert [*release[0], *release[1]] == every["ClusterRole/tidegate-let-go"]["rules"]
    assert one["Role/tidegate-let-go"]["metadata"]["namespace"] == "shop"


def test_a_flag_gateway_of_one_namespace_has_rights_in_no_other(helm: Path) -> None:
    objects = rendered(helm, "--set=flags.enabled=true,watchNamespace=shop")
    assert not {"ClusterRole/tidegate-flags", "ClusterRoleBinding/tidegate-flags"} & objects.keys()
    role, binding = objects["Role/tidegate-flags"], objects["RoleBinding/tidegate-flags"]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "shop"
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tidegate-flags"}
    assert binding["subjects"][0]["namespace"] == "tidegate-system"


def test_what_prometheus_asks_for_is_mounted_and_no_secret_is_in_the_manifest(helm: Path, tmp_path: Path) -> None:
    values = {
        "url": "https://mimir.example/prometheus",
        "headers": {"X-Scope-OrgID": "shop", "X-Other": "a: b"},
        "caConfigMap": "authorities",
        "basicAuthSecret": "login",
        "headersSecret": "keys",
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"prometheus": values}))
    for gate in FORMS:
        objects = rendered(helm, f"--values={tmp_path / 'values.yaml'}", f"--set=gate={gate}")
        pod = objects["Deployment/tidegate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        given = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        settings = {name.removeprefix("TIDEGATE_").lower(): value for name, value in given.items()}
        known = Settings(**{key: value for key, value in settings.items() if key.startswith("prometheus")})
        assert known.access.headers == values["headers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
        for file, source in (
            (str(Path(known.prometheus_ca).parent), {"configMap": {"name": "authorities"}}),
            (known.prometheus_basic_auth, {"secret": {"secretName": "login"}}),
            (known.prometheus_headers_from, {"secret": {"secretName": "keys"}}),
        ):
            assert volumes[mounts[file]] == source
        assert ("/tmp" in mounts) == (gate == "webhook")  # a path in the pod
    token = rendered(helm, "--set=prometheus.tokenFile=/var/run/secrets/kubernetes.io/serviceaccount/token")
    env = token["Deployment/tidegate"]["spec"]["template"]["spec"]["containers"][0]["env"]
    path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert {"name": "TIDEGATE_PROMETHEUS_TOKEN", "value": path} in env


def test_an_account_that_exists_is_exempted_and_not_made(helm: Path) -> None:
    objects = rendered(helm, "--set=serviceAccount.create=false,serviceAccount.name=mine")
    assert "ServiceAccount/tidegate" not in objects
    assert "system:serviceaccount:tidegate-system:mine" in json.dumps(
        objects["MutatingAdmissionPolicy/tidegate-routes"]
    )
    assert objects["ClusterRoleBinding/tidegate"]["subjects"][0]["name"] == "mine"


def test_uninstalling_keeps_the_definitions_and_with_them_every_release(helm: Path) -> None:
    def crds(*options: str) -> list[Json]:
        return [
            found for name, found in rendered(helm, *options).items() if name.startswith("CustomResourceDefinition/")
        ]

    assert crds()
    assert all(crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for crd in crds())
    assert all("annotations" not in crd["metadata"] for crd in crds("--set=crds.keep=false"))
    assert crds("--set=crds.install=false") == []


def test_before_anything_is_removed_a_job_lets_every_release_go(helm: Path) -> None:
    objects = rendered(helm, "--set=letGo.timeout=90s,watchNamespace=shop", name="gate")
    found = hooks(objects)
    name = "gate-tidegate-let-go"
    assert sorted(found) == [
        f"{kind}/{name}"
        for kind in ("ClusterRole", "ClusterRoleBinding", "Job", "Role", "RoleBinding", "ServiceAccount")
    ]
    for hook in found.values():
        notes = hook["metadata"]["annotations"]
        assert notes["helm.sh/hook"] == "pre-delete"
        assert notes["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    pod = found[f"Job/{name}"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    operator = objects["Deployment/gate-tidegate"]["spec"]["template"]["spec"]
    assert container["image"] == operator["containers"][0]["image"]
    assert container["securityContext"] == operator["containers"][0]["securityContext"]
    assert pod["securityContext"] == operator["securityContext"]
    args = argparse.ArgumentParser()
    let_go.register(args.add_subparsers())
    said = args.parse_args(container["args"])
    assert (said.all, said.timeout, said.namespace) == (True, timedelta(seconds=90), "shop")
    assert not hooks(rendered(helm, "--set=letGo.onUninstall=false"))


@pytest.mark.parametrize("gate", sorted(FORMS))
def test_the_job_may_do_what_it_does_and_no_more(helm: Path, gate: str) -> None:
    found, (kind, holder) = hooks(rendered(helm, f"--set=gate={gate}")), FORMS[gate].holder
    assert found["ClusterRole/tidegate-let-go"]["rules"] == [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": [kind.plural],
            "resourceNames": [holder],
            "verbs": ["patch"],
        },
        {"apiGroups": ["tidegate.dev"], "resources": [kind.plural for kind in RELEASES], "verbs": ["list"]},
    ]
    assert found["ClusterRoleBinding/tidegate-let-go"]["subjects"] == [
        {"kind": "ServiceAccount", "name": "tidegate-let-go", "namespace": "tidegate-system"}
    ]


def test_all_that_can_be_set_is_in_the_values_and_described() -> None:
    for name, known in SCHEMA["properties"].items():
        assert known["description"], name
        if name != "global":
            assert name in VALUES
        # What a container's resources may be is Kubernetes' to describe.
        for inner, more in known.get("properties", {}).items() if name != "resources" else ():
            assert more["description"], f"{name}.{inner}"
            assert inner in VALUES[name], f"{name}.{inner}"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("replicas=two", "'/replicas': got string, want integer"),
        ("replicaCount=2", "additional properties 'replicaCount' not allowed"),
        ("image.tga=v1", "at '/image': additional properties 'tga' not allowed"),
        ("prometheus.url=prometheus:9090", "'/prometheus/url': 'prometheus:9090' does not match pattern"),
        ("traefik.api=traefik:8088", "'/traefik/api': 'traefik:8088' does not match pattern"),
        ("gate=webhooks", "'/gate': value must be one of 'policy', 'webhook'"),
        ("log.level=loud", "'/log/level': value must be one of"),
        ("resources.limits.memory=lots", "'/resources/limits/memory': 'lots' does not match pattern"),
        ("flags.corsOrigins={shop.example.com}", "'/flags/corsOrigins/0': 'shop.example.com' does not match pattern"),
        ("letGo.timeout=240", "'/letGo/timeout': got number, want string"),
        ("serviceAccount.create=false", "serviceAccount.name: name the account that exists"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_by_name(helm: Path, wrong: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        template(helm, f"--set={wrong}")


def test_values_reach_the_operator_s_pod(helm: Path, tmp_path: Path) -> None:
    values: Json = {
        "replicas": 0,
        "image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "prometheus": {"url": "https://metrics.example/prometheus"},
        "traefik": {"api": "edge/traefik:8080"},
        "watchNamespace": "shop",
        "log": {"format": "text", "level": "debug"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
        "podAnnotations": {"team": "platform"},
        "podLabels": {"tier": "control"},
        "priorityClassName": "system-cluster-critical",
        "resources": {"limits": {"memory": "1Gi"}},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "control", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
        ],
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    spec = rendered(helm, f"--values={file}")["Deployment/tidegate"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert spec["replicas"] == 0
    assert container["image"] == f"ghcr.io/tidegate/tidegate@sha256:{'0' * 64}"
    assert container["imagePullPolicy"] == "Always"
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert environment.items() >= {
        ("TIDEGATE_PROMETHEUS", "https://metrics.example/prometheus"),
        ("TIDEGATE_TRAEFIK_API", "edge/traefik:8080"),
        ("TIDEGATE_NAMESPACE", "shop"),
        ("TIDEGATE_LOG_FORMAT", "text"),
        ("TIDEGATE_LOG_LEVEL", "debug"),
        ("HTTPS_PROXY", "http://proxy.example:3128"),
    }
    assert spec["template"]["metadata"]["annotations"]["team"] == "platform"
    assert spec["template"]["metadata"]["labels"]["tier"] == "control"
    for name in (
        *("imagePullSecrets", "priorityClassName", "nodeSelector", "tolerations", "affinity"),
        "topologySpreadConstraints",
    ):
        assert pod[name] == values[name], name


def test_the_chart_is_of_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert VALUES["image"]["tag"] == ""

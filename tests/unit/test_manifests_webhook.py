"""The gate by webhook is installed by the component of its own, and asks of the operator what the policies would do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.rig.kustomize import kustomized

from tidegate.app.settings import Settings
from tidegate.core.clamp import MANAGER
from tidegate.core.gate import CEILING, DEADLINE_WISH, FLOOR, HELD_DEADLINE, RELEASE
from tidegate.core.hold import RELEASING
from tidegate.core.observed import Backends
from tidegate.core.reading import DESIRED, HASH, REVISION
from tidegate.engine.gate import WEBHOOK

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
Json = dict[str, Any]


def documents(file: str) -> list[Json]:
    """Objects of a manifest."""
    return [found for found in yaml.safe_load_all((MANIFESTS / file).read_text()) if found]


def hooks() -> dict[str, Json]:
    """The webhooks by the name of the policy that does the same."""
    (configuration,) = documents("webhook/webhook.yaml")
    assert (configuration["kind"], configuration["metadata"]["name"]) == (WEBHOOK.kinds[0].name, WEBHOOK.holder[1])
    return {hook["name"].partition(".")[0]: hook for hook in configuration["webhooks"]}


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """What an overlay with the component installs, by Kind/name."""
    return kustomized(tmp_path_factory.mktemp("overlay"), "webhook")


def test_every_policy_has_a_webhook() -> None:
    assert sorted(hooks()) == sorted(file.stem for file in (MANIFESTS / "admission").glob("*.yaml"))


@pytest.mark.parametrize("name", sorted(hooks()))
def test_a_webhook_is_asked_of_what_the_policy_is(name: str) -> None:
    hook, policy = hooks()[name], documents(f"admission/{name}.yaml")[0]["spec"]
    assert hook["rules"] == policy["matchConstraints"]["resourceRules"]
    assert hook["failurePolicy"] == policy["failurePolicy"]
    assert hook["reinvocationPolicy"] == policy["reinvocationPolicy"]
    assert hook["matchConditions"][0] == policy["matchConditions"][0], "who is exempt, or meant"
    assert hook["sideEffects"] == "None"


def test_webhooks_know_annotations_labels_and_numbers_by_the_names_of_the_code() -> None:
    backends = Backends.of("shop", "checkout")
    ours = {f"endsWith('{name.removeprefix('checkout')}')" for name in (backends.stable, backends.canary)}
    known_of = {
        "replicasets": {RELEASE, REVISION, FLOOR, CEILING, DESIRED},
        "routes": {RELEASING},
        "traefikservices": {RELEASING, *ours},
        "services": {RELEASING, HASH},
        "deployments": {RELEASE, REVISION, DEADLINE_WISH, str(HELD_DEADLINE)},
        "ownership": {f"== '{MANAGER}'"},
    }
    assert known_of.keys() == hooks().keys()
    for name, known in known_of.items():
        said = " ".join(condition["expression"] for condition in hooks()[name]["matchConditions"])
        assert all(word in said for word in known), name


def test_the_component_takes_the_place_of_the_policies(overlay: dict[str, Json]) -> None:
    kinds = {name.partition("/")[0] for name in overlay}
    assert not kinds & {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"}
    assert "MutatingWebhookConfiguration/tidegate" in overlay


def test_the_operator_serves_where_the_api_server_asks(overlay: dict[str, Json]) -> None:
    service, spec = overlay["Service/tidegate-webhook"], overlay["Deployment/tidegate"]["spec"]["template"]
    for hook in overlay["MutatingWebhookConfiguration/tidegate"]["webhooks"]:
        client = hook["clientConfig"]["service"]
        assert (client["namespace"], client["name"]) == ("tidegate-system", "tidegate-webhook")
        assert client.get("port", 443) == service["spec"]["ports"][0]["port"]
        assert client["path"] == "/clamp"
    (container,) = spec["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports[service["spec"]["ports"][0]["targetPort"]]) == Settings().webhook_listen.rpartition(":")[2]
    assert {"name": "TIDEGATE_GATE", "value": "webhook"} in container["env"]
    assert service["spec"]["selector"].items() <= spec["metadata"]["labels"].items()


def test_the_operator_may_write_its_certificate_and_no_other_configuration(overlay: dict[str, Json]) -> None:
    role, binding = overlay["ClusterRole/tidegate-webhook"], overlay["ClusterRoleBinding/tidegate-webhook"]
    assert binding["roleRef"]["name"] == "tidegate-webhook"
    assert binding["subjects"] == overlay["ClusterRoleBinding/tidegate"]["subjects"]
    writes = [rule for rule in role["rules"] if set(rule["verbs"]) - {"list", "watch"}]
    assert writes == [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": [WEBHOOK.kinds[0].plural],
            "resourceNames": [WEBHOOK.holder[1]],
            "verbs": ["patch"],
        }
    ]
    assert not any("*" in [*rule["resources"], *rule["verbs"]] for rule in role["rules"])

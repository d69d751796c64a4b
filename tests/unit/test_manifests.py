"""The manifests agree with the code that relies on them, and with themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from tidegate.adapters.kubernetes import WRITE
from tidegate.app.settings import Settings
from tidegate.core.gate import CEILING, DEADLINE_WISH, FLOOR, HELD_DEADLINE, RELEASE
from tidegate.core.hold import RELEASING
from tidegate.core.observed import Backends
from tidegate.core.wishes import ASKED
from tidegate.engine.gate import needed
from tidegate.engine.observe import SPECS
from tidegate.engine.operator import SUBJECTS, WATCHED
from tidegate.ports.cluster import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    EVENTS,
    GATEWAY_CLASSES,
    GATEWAYS,
    INGRESS_CLASSES,
    INGRESSES,
    JOBS,
    PODS,
    RELEASES,
    REPLICASETS,
    ROUTES,
    SERVICES,
    Kind,
)

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
FILES = sorted(MANIFESTS.rglob("*.yaml"))
WRITES = {
    DEPLOYMENTS: {"patch"},
    REPLICASETS: {"patch"},
    SERVICES: {"create", "patch", "delete"},
    **{kind: {"patch"} for kind in ROUTES if kind != INGRESSES},
    INGRESSES: {"create", "patch", "delete"},
    EVENTS: {"create"},
    JOBS: {"create", "delete"},
    **{kind: {"patch"} for kind in RELEASES},
}
"""What the interpreter of actions and the recorder of events write."""
OWNERSHIP = "tidegate-ownership"
"""The policy on the operator's own writes: without it nothing is unsafe."""
READS = {
    PODS: {"list"},
    JOBS: {"list"},
    ENDPOINT_SLICES: {"list"},
    GATEWAYS: {"get"},
    GATEWAY_CLASSES: {"get"},
    INGRESS_CLASSES: {"get"},
}
"""What is read and not watched."""

Json = dict[str, Any]


def objects(*files: Path) -> Iterator[Json]:
    """All objects of some files."""
    for file in files:
        yield from (found for found in yaml.safe_load_all(file.read_text()) if found)


def installed(kind: str) -> dict[str, Json]:
    """The objects of a kind that an installation has, by name."""
    files = [file for file in FILES if not {"samples", "health", "webhook", "flags"} & set(file.parts)]
    return {found["metadata"]["name"]: found for found in objects(*files) if found["kind"] == kind}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(MANIFESTS)))
def test_every_document_is_an_object(file: Path) -> None:
    for found in objects(file):
        assert found["apiVersion"]
        assert found["kind"] in {"Kustomization", "Component"} or found["metadata"]["name"]


@pytest.mark.parametrize("folder", ["manifests", "crds"])
def test_the_kustomization_has_every_file(folder: str) -> None:
    base = ROOT / folder
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    there = {str(file.relative_to(base)) for file in base.rglob("*.yaml")} - {"kustomization.yaml"}
    beside = ("samples/", "health/", "webhook/", "flags/")
    assert set(listed) - {"../crds"} == {name for name in there if not name.startswith(beside)}


def test_policies_and_bindings_have_the_names_that_the_operator_looks_for() -> None:
    policies, bindings = installed("MutatingAdmissionPolicy"), installed("MutatingAdmissionPolicyBinding")
    assert set(policies) == set(bindings) == {OWNERSHIP, *(obj["metadata"]["name"] for _, obj in needed())}
    for name, binding in bindings.items():
        assert binding["spec"] == {"policyName": name}
    for name, policy in policies.items():
        assert policy["spec"]["failurePolicy"] == ("Ignore" if name == OWNERSHIP else "Fail")


def test_policies_exempt_the_operator_s_account_and_nobody_else() -> None:
    (account,) = installed("ServiceAccount").values()
    user = f"system:serviceaccount:{account['metadata']['namespace']}:{account['metadata']['name']}"
    (deployment,) = installed("Deployment").values()
    assert deployment["metadata"]["namespace"] == account["metadata"]["namespace"]
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    for name, policy in installed("MutatingAdmissionPolicy").items():
        conditions = [condition["expression"] for condition in policy["spec"]["matchConditions"]]
        assert f"request.userInfo.username {'==' if name == OWNERSHIP else '!='} '{user}'" in conditions
        assert sum("userInfo" in condition for condition in conditions) == 1


@pytest.mark.parametrize(
    ("file", "known"),
    [
        ("replicasets.yaml", {RELEASE, FLOOR, CEILING}),
        ("routes.yaml", {RELEASING, ASKED}),
        ("traefikservices.yaml", {RELEASING, ASKED}),
        ("services.yaml", {RELEASING}),
        ("deployments.yaml", {RELEASE, DEADLINE_WISH}),
    ],
)
def test_policies_know_the_annotations_by_the_names_of_the_code(file: str, known: set[str]) -> None:
    policy = next(objects(MANIFESTS / "admission" / file))
    said = set(re.findall(r"tidegate\.dev(?:/|~1)[a-z-]+", yaml.safe_dump(policy["spec"])))
    assert {name.replace("~1", "/") for name in said} == known


@pytest.mark.parametrize("file", ["routes.yaml", "traefikservices.yaml"])
def test_the_routes_policies_know_the_services_of_a_release_by_their_names(file: str) -> None:
    policy = next(objects(MANIFESTS / "admission" / file))
    said = set(re.findall(r"endsWith\('([^']+)'\)", yaml.safe_dump(policy["spec"], width=10_000).replace("''", "'")))
    ours = Backends.of("shop", "checkout")
    assert {f"checkout{suffix}" for suffix in said} == {ours.stable, ours.canary}


def test_the_ownership_policy_knows_what_is_written_and_by_which_name() -> None:
    spec = next(objects(MANIFESTS / "admission/ownership.yaml"))["spec"]
    rules = spec["matchConstraints"]["resourceRules"]
    told = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    kinds = (kind for kind in (DEPLOYMENTS, SERVICES, *ROUTES) if kind != INGRESSES)
    borrowed = {(kind.api_version.rpartition("/")[0], kind.plural) for kind in kinds}
    assert told == borrowed
    (manager,) = parse_qs(WRITE)["fieldManager"]
    assert f"orValue('') == '{manager}'" in spec["variables"][0]["expression"]


def test_the_deployments_policy_knows_the_deadline_of_a_release() -> None:
    policy = next(objects(MANIFESTS / "admission/deployments.yaml"))
    assert set(re.findall(r"\d{5,}", yaml.safe_dump(policy["spec"]))) == {str(HELD_DEADLINE)}


def granted() -> dict[tuple[str, str], set[str]]:
    """Verbs by API group and resource."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in (rule for role in installed("ClusterRole").values() for rule in role["rules"]):
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_the_operator_may_do_what_it_does_and_no_more() -> None:
    def key(kind: Kind) -> tuple[str, str]:
        return kind.api_version.rpartition("/")[0], kind.plural

    used: dict[tuple[str, str], set[str]] = {}
    for kind, verbs in (*WRITES.items(), *READS.items(), *((kind, {"list", "watch"}) for kind in WATCHED)):
        used.setdefault(key(kind), set()).update(verbs)
    for kind in SUBJECTS:
        used[kind.api_version.rpartition("/")[0], f"{kind.plural}/status"] = {"patch"}
    assert granted() == used


LEASE_NAME = "tidegate"


def test_the_operator_may_do_nothing_unbounded_and_reads_no_secret() -> None:
    for (group, resource), verbs in granted().items():
        assert "*" not in {group, resource, *verbs}
        assert resource not in {"secrets", "configmaps"}
        assert not verbs & {"escalate", "bind", "impersonate", "deletecollection"}
    (local,) = installed("Role").values()
    assert {resource for rule in local["rules"] for resource in rule["resources"]} == {"leases"}
    assert [rule.get("resourceNames") for rule in local["rules"] if rule["verbs"] != ["create"]] == [[LEASE_NAME]]
    bindings, (account,) = installed("ClusterRoleBinding"), installed("ServiceAccount").values()
    assert bindings.keys() == installed("ClusterRole").keys()
    for name, binding in bindings.items():
        assert binding["roleRef"]["name"] == name
        assert binding["subjects"] == [
            {
                "kind": "ServiceAccount",
                "name": account["metadata"]["name"],
                "namespace": account["metadata"]["namespace"],
            }
        ]


def test_what_is_granted_apart_is_what_no_namespace_bounds() -> None:
    """Whoever watches one namespace only binds the other role there, and this one as it is."""
    kinds = {kind.plural: kind for kind in (*WATCHED, *READS)}
    role = installed("ClusterRole")["tidegate-cluster"]
    apart = {kinds[resource] for rule in role["rules"] for resource in rule["resources"]}
    assert apart == {kind for kind in kinds.values() if not kind.namespaced} | {GATEWAYS}


def test_the_operator_s_pod_has_settings_that_exist_and_no_privilege() -> None:
    (deployment,) = installed("Deployment").values()
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert {variable["name"] for variable in container["env"]} <= {
        f"TIDEGATE_{name.upper()}" for name in Settings.__dataclass_fields__
    }
    port = Settings().listen.rpartition(":")[2]
    assert [str(exposed["containerPort"]) for exposed in container["ports"]] == [port]
    assert deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == port
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (lease,) = (variable["value"] for variable in container["env"] if variable["name"] == "TIDEGATE_LEASE")
    assert lease == f"{deployment['metadata']['namespace']}/{LEASE_NAME}", "two operators at once have to agree"


@pytest.mark.parametrize("file", sorted((MANIFESTS / "samples").glob("*.yaml")), ids=lambda file: file.name)
def test_samples_are_releases_that_make_sense(file: Path) -> None:
    kinds = {kind.name: spec for kind, spec in SPECS.items()}
    releases = [found for found in objects(file) if found["kind"] in kinds]
    assert releases
    for release in releases:
        assert kinds[release["kind"]].model_validate(release["spec"]).target_ref.name == "checkout"

"""What is kept of an object, and that it is enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.memory import StrictStore

from tidegate.core import reading
from tidegate.engine.keep import slim
from tidegate.ports.cluster import DEPLOYMENTS, REPLICASETS, SERVICES

Json = dict[str, Any]

META: Json = {
    "name": "web-5d8f",
    "namespace": "shop",
    "uid": "u1",
    "resourceVersion": "7",
    "generation": 3,
    "labels": {"app": "web", "pod-template-hash": "5d8f"},
    "managedFields": [{"manager": "kubectl"}],
    "annotations": {
        "deployment.kubernetes.io/revision": "4",
        "deployment.kubernetes.io/desired-replicas": "2",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "tidegate.dev/release": "web",
        "tidegate.dev/floor": "100%",
    },
    "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "d1", "controller": True}],
}
TEMPLATE: Json = {
    "metadata": {"labels": {"app": "web"}, "annotations": {"secret": "no"}},
    "spec": {
        "containers": [
            {
                "name": "app",
                "image": "web:v1",
                "env": [{"name": "A", "value": "b"}],
                "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
                "lifecycle": {"preStop": {"sleep": {"seconds": 90}}},
            }
        ],
        "terminationGracePeriodSeconds": 60,
        "volumes": [],
    },
}
REPLICASET: Json = {
    "metadata": META,
    "spec": {"replicas": 2, "template": TEMPLATE},
    "status": {"replicas": 2, "readyReplicas": 1, "fullyLabeledReplicas": 2},
}
DEPLOYMENT: Json = {
    "metadata": META,
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "paused": True,
        "progressDeadlineSeconds": 30,
        "minReadySeconds": 2,
        "revisionHistoryLimit": 10,
        "template": TEMPLATE,
    },
    "status": {
        "observedGeneration": 3,
        "unavailableReplicas": 1,
        "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": ""}],
    },
}


def test_what_is_kept_reads_as_the_whole_does() -> None:
    digest = reading.digest(TEMPLATE)
    assert reading.deployment(slim(DEPLOYMENTS, DEPLOYMENT)) == replace(reading.deployment(DEPLOYMENT), template=digest)
    assert reading.replicaset(slim(REPLICASETS, REPLICASET)) == replace(reading.replicaset(REPLICASET), template=digest)
    assert reading.owned_by(slim(REPLICASETS, REPLICASET), "d1")


def test_of_the_many_only_what_is_read_is_kept() -> None:
    kept = slim(REPLICASETS, REPLICASET)
    assert kept["spec"]["template"].pop("digest") == reading.digest(TEMPLATE)
    assert kept["spec"]["template"] == {"spec": {"containers": [{"name": "app", "image": "web:v1"}]}}
    assert kept["metadata"]["labels"] == {"pod-template-hash": "5d8f"}
    assert set(kept["metadata"]["annotations"]) == {
        "deployment.kubernetes.io/revision",
        "deployment.kubernetes.io/desired-replicas",
        "tidegate.dev/release",
        "tidegate.dev/floor",
    }


def test_of_others_all_is_kept_but_what_only_other_tools_read() -> None:
    kept = slim(SERVICES, {"metadata": META, "spec": {"ports": []}})
    assert set(META["annotations"]) - set(kept["metadata"]["annotations"]) == {
        "kubectl.kubernetes.io/last-applied-configuration"
    }
    assert "managedFields" not in kept["metadata"]
    assert kept["spec"] == {"ports": []}
    assert "managedFields" in META, "what was given is left as it was"


def test_simulations_refuse_to_read_what_is_not_kept() -> None:
    store = StrictStore([REPLICASETS])
    store.put(REPLICASETS, REPLICASET)
    found = store.get(REPLICASETS, ("shop", "web-5d8f"))
    assert found
    assert found["status"].get("readyReplicas") == 1
    with pytest.raises(AssertionError, match=r"ReplicaSet\.status\.availableReplicas is not kept"):
        found["status"].get("availableReplicas", 0)
    with pytest.raises(AssertionError, match=r"ReplicaSet\.spec\.template\.spec\.containers\[\]\.env"):
        _ = found["spec"]["template"]["spec"]["containers"][0]["env"]


def test_a_template_is_told_by_its_digest() -> None:
    """That of a ReplicaSet is its Deployment's and a hash; all else counts, kept or not."""
    hashed = {**TEMPLATE, "metadata": {**TEMPLATE["metadata"], "labels": {"app": "web", "pod-template-hash": "5d8f"}}}
    assert reading.digest(hashed) == reading.digest(TEMPLATE)
    assert reading.digest({**TEMPLATE, "spec": {**TEMPLATE["spec"], "volumes": [{}]}}) != reading.digest(TEMPLATE)

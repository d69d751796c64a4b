"""Flags that cannot be right are refused by the API server, by name, with the way out; what can be is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.interface import Cluster, ClusterFailed
from tests.rig.badflags import ACCEPTED, CHANGED, REFUSED
from tidegate.api.base import API_VERSION

pytestmark = pytest.mark.e2e
Json = dict[str, Any]


def _apply(cluster: Cluster, name: str, spec: Json, *options: str) -> None:
    flag = {
        "apiVersion": API_VERSION,
        "kind": "FeatureFlag",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }
    cluster.kubectl("apply", "--filename=-", *options, stdin=json.dumps(flag))


@pytest.mark.parametrize("what", REFUSED)
def test_refused(cluster: Cluster, operator: object, what: str) -> None:
    spec, told = REFUSED[what]
    with pytest.raises(ClusterFailed) as refused:
        _apply(cluster, "refused", spec, "--dry-run=server")
    assert told in str(refused.value)


@pytest.mark.parametrize("what", ACCEPTED)
def test_accepted(cluster: Cluster, operator: object, what: str) -> None:
    _apply(cluster, "accepted", ACCEPTED[what], "--dry-run=server")


@pytest.mark.parametrize("what", CHANGED)
def test_what_buckets_go_by_cannot_change(cluster: Cluster, operator: object, what: str) -> None:
    before, after, told = CHANGED[what]
    _apply(cluster, "changed", before)
    try:
        with pytest.raises(ClusterFailed) as refused:
            _apply(cluster, "changed", after)
        assert told in str(refused.value)
    finally:
        cluster.kubectl("-n", "default", "delete", "featureflag", "changed")


def test_a_value_is_kept_as_it_was_given(cluster: Cluster, operator: object) -> None:
    values: dict[str, Any] = {"a": {"deep": [1, {"x": "", "y": 2.5}]}, "b": {}}
    variants = [{"name": name, "value": value} for name, value in values.items()]
    _apply(cluster, "kept", {"type": "Object", "variants": variants, "offVariant": "b"})
    try:
        stored = cluster.get("featureflag", "kept", "default")
        assert stored["spec"]["variants"] == variants
    finally:
        cluster.kubectl("-n", "default", "delete", "featureflag", "kept")

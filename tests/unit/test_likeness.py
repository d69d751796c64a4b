"""What the two Services of a release have from the user's."""

from __future__ import annotations

import pytest

from tidegate.core import likeness


@pytest.mark.parametrize(
    "key",
    ["traefik.ingress.kubernetes.io/service.serversscheme", "service.kubernetes.io/topology-mode", "acme.example/x"],
)
def test_what_says_how_to_talk_to_it_is_copied(key: str) -> None:
    assert likeness.notes({"metadata": {"annotations": {key: "x"}}}) == {key: "x"}


@pytest.mark.parametrize(
    "key",
    [
        "kubectl.kubernetes.io/last-applied-configuration",
        "tidegate.dev/releasing",
        "meta.helm.sh/release-name",
        "helm.sh/resource-policy",
        "argocd.argoproj.io/tracking-id",
        "kustomize.toolkit.fluxcd.io/prune",
        "cloud.google.com/neg-status",
        "external-dns.alpha.kubernetes.io/hostname",
        "prometheus.io/scrape",
    ],
)
def test_records_of_others_and_what_makes_it_known_are_not(key: str) -> None:
    assert likeness.notes({"metadata": {"annotations": {key: "x"}}}) == {}


def test_ports_are_the_same_but_for_what_the_api_server_assigns() -> None:
    port = {"name": "grpc", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"}
    theirs = {"metadata": {}, "spec": {"ports": [{**port, "nodePort": 30080}], "type": "NodePort"}}
    assert likeness.spec(theirs) == {"ports": [port]}
    assert likeness.ports(theirs) == likeness.ports({"spec": {"ports": [port]}})

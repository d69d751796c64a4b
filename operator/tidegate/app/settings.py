"""Settings of the operator: flags, each with an environment variable of the same name (TIDEGATE_…)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from tidegate.app.options import add_options, settings_of


@dataclass(frozen=True)
class Settings:
    """What can be set. A field's name is its flag and its variable."""

    prometheus: str = "http://prometheus.monitoring:9090"
    traefik_api: str = ""
    namespace: str = ""
    lease: str = ""
    kubeconfig: str = ""
    listen: str = "0.0.0.0:8080"
    gate: str = "policy"
    webhook_listen: str = "0.0.0.0:8443"
    log_format: str = "json"
    log_level: str = "info"

    @classmethod
    def of(cls, args: argparse.Namespace) -> Settings:
        """From parsed arguments."""
        return settings_of(args, cls)


HELP = {
    "prometheus": "URL of Prometheus",
    "traefik_api": "Traefik's API as NAMESPACE/SERVICE:PORT: every replica is then asked which weights it serves by",
    "namespace": "watch this namespace only; default: all",
    "lease": "NAMESPACE/NAME of the Lease by which replicas elect the one that works; unset: there is one replica",
    "kubeconfig": "default: the Pod's ServiceAccount, else $KUBECONFIG or ~/.kube/config",
    "listen": "address of /healthz, /readyz and /metrics",
    "gate": "what holds a release: policy (the API server by itself, from Kubernetes 1.36 on) or webhook (we do)",
    "webhook_listen": "where the API server is answered, with --gate webhook",
    "log_format": "json or text",
    "log_level": "debug, info, warning or error",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag a setting."""
    add_options(parser, Settings, HELP, "TIDEGATE_")

"""Settings of the operator: flags, each with an environment variable of the same name (TIDEGATE_…)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tidegate.adapters.access import Access, headers
from tidegate.app.options import add_options, settings_of

_OURS = {"query", "time", "timeout"}
"""Parameters of a query that are worked out."""


@dataclass(frozen=True)
class Settings:
    """What can be set. A field's name is its flag and its variable."""

    prometheus: str = "http://prometheus.monitoring:9090"
    prometheus_ca: str = ""
    prometheus_basic_auth: str = ""
    prometheus_token: str = ""
    prometheus_headers: str = ""
    prometheus_headers_from: str = ""
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

    @property
    def wrong(self) -> str:
        """What cannot be right, or nothing."""
        address = urlsplit(self.prometheus)
        if address.scheme not in {"http", "https"} or not address.hostname:
            return f"--prometheus: {self.prometheus.rpartition('@')[2]!r} is no URL of http or https"
        if address.username is not None or address.password is not None:
            return "--prometheus has credentials in it, which others see: give --prometheus-basic-auth FOLDER"
        if ours := sorted(_OURS & dict(parse_qsl(address.query, keep_blank_values=True)).keys()):
            return f"--prometheus asks for {ours[0]}, which is asked for with each query: leave it out"
        if self.prometheus_basic_auth and self.prometheus_token:
            return "--prometheus-basic-auth and --prometheus-token: give one of them"
        if self.prometheus_ca and not Path(self.prometheus_ca).is_file():
            return f"--prometheus-ca: {self.prometheus_ca!r}: there is no such file"
        try:
            headers(self.prometheus_headers)
        except ValueError as error:
            return f"--prometheus-headers: {error}"
        return ""

    @property
    def access(self) -> Access:
        """How Prometheus lets us in."""
        return Access(
            headers=headers(self.prometheus_headers),
            headers_from=self.prometheus_headers_from,
            basic_auth=self.prometheus_basic_auth,
            token=self.prometheus_token,
            ca=self.prometheus_ca,
        )


HELP = {
    "prometheus": "URL of Prometheus; what follows a ? goes with each query, such as ?extra_label=cluster=eu-1",
    "prometheus_ca": "file with the authorities of its certificate; default: the system's",
    "prometheus_basic_auth": "folder with files username and password, such as a mounted Secret",
    "prometheus_token": "file with a bearer token, read at each query",
    "prometheus_headers": "headers for it as Name: value, one a line, such as X-Scope-OrgID: shop",
    "prometheus_headers_from": "folder, each of whose files is a header by its name, such as a mounted Secret",
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

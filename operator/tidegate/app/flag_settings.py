"""Settings of the flag gateway: flags, each with an environment variable of the same name (TIDEGATE_FLAGS_…)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from tidegate.app.options import add_options, settings_of


@dataclass(frozen=True)
class FlagSettings:
    """What can be set. A field's name is its flag and, behind TIDEGATE_FLAGS_, its variable."""

    listen: str = "0.0.0.0:8080"
    sync_listen: str = "0.0.0.0:8015"
    probe_listen: str = "0.0.0.0:9090"
    tokens: str = ""
    open: bool = False
    namespace: str = ""
    kubeconfig: str = ""
    snapshot: str = ""
    snapshot_bytes: int = 30 * 1024 * 1024
    cors_origins: str = ""
    rate: float = 2000.0
    proxies: str = ""
    connections: int = 10_000
    request_bytes: int = 32 * 1024 * 1024
    streams: int = 5_000
    drain: float = 5.0
    log_format: str = "json"
    log_level: str = "info"

    @classmethod
    def of(cls, args: argparse.Namespace) -> FlagSettings:
        """From parsed arguments."""
        return settings_of(args, cls)

    @property
    def wrong(self) -> str:
        """What cannot be right, or nothing."""
        if self.open and self.tokens:
            return "--open and --tokens: give one of them; with --open whoever asks sees everything"
        if not self.open and not self.tokens:
            return (
                "--tokens FOLDER is needed: files SET.server and SET.client (or --open, where all may see everything)"
            )
        return ""


HELP = {
    "listen": "address of OFREP, its events, and flagd's documents",
    "sync_listen": "address of flagd.sync.v1 over gRPC; empty: none",
    "probe_listen": "address of /healthz, /readyz and /metrics",
    "tokens": "folder of a mounted Secret: files SET.server and SET.client, a token a line",
    "open": "no tokens: whoever asks sees everything",
    "namespace": "FeatureFlags of this namespace only; default: all",
    "kubeconfig": "default: the Pod's ServiceAccount, else $KUBECONFIG or ~/.kube/config",
    "snapshot": "folder for the last known good flags, to begin with while the API server is away",
    "snapshot_bytes": "bytes of these, at most; while they are written there are twice as many",
    "cors_origins": "origins whose pages may ask: https://shop.example.com,https://*.example.org",
    "rate": "requests a second for each token and address, twice that at once; 0: any number",
    "proxies": "networks of proxies that tell by X-Forwarded-For who asks: 10.0.0.0/8,…",
    "connections": "open connections, at most",
    "request_bytes": "bytes of requests that are not answered, of all connections, at most; 2 KiB of each are free",
    "streams": "listeners to events, and over gRPC, at most, each",
    "drain": "seconds after SIGTERM in which connections end by themselves, before they are closed",
    "log_format": "json or text",
    "log_level": "debug, info, warning or error",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag a setting."""
    add_options(parser, FlagSettings, HELP, "TIDEGATE_FLAGS_")

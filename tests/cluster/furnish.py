"""Furnish a cluster that runs: definitions, router, metrics, and the namespace of the demo."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.cluster import artifacts, network, places
from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until

PATIENCE = 90.0
WAITS = (
    ("deployment/traefik", "traefik", "condition=Available"),
    ("deployment/prometheus", "monitoring", "condition=Available"),
    ("gateway/tidegate", "tidegate-demo", "condition=Programmed"),
)


def manifests() -> Path:
    """The folder of what is applied to every cluster."""
    return places.SOURCES / "manifests"


def digest() -> str:
    """A name for all that a cluster is furnished with: another one, and `up` furnishes again."""
    content = hashlib.sha256()
    for file in [*sorted(manifests().glob("*.yaml")), *artifacts.definitions()]:
        content.update(file.read_bytes())
    for archive in artifacts.image_archives():
        content.update(archive.name.encode())
    return content.hexdigest()


def furnish(cluster: Cluster) -> None:
    """Apply everything, and wait until it serves."""
    apply = ("apply", "--server-side", "--force-conflicts")
    cluster.kubectl(*apply, *(f"--filename={file}" for file in artifacts.definitions()))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={PATIENCE:g}s")
    cluster.kubectl(*apply, f"--filename={manifests()}")
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(_wait, cluster, *what) for what in WAITS]:
            done.result()
    for url in (f"{cluster.prometheus_url}/-/ready", f"{cluster.gateway_url}/", f"{cluster.router_api_url}/ping"):
        wait_until(f"an answer from {url}", partial(_unanswered, cluster, url), PATIENCE)


def _wait(cluster: Cluster, what: str, namespace: str, condition: str) -> None:
    cluster.kubectl("wait", what, f"--namespace={namespace}", f"--for={condition}", f"--timeout={PATIENCE:g}s")


def _unanswered(cluster: Cluster, url: str) -> str | None:
    """What is wrong with an address; None if something answers there, be it that it knows no such page."""

    def ask() -> str | None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return None
        except urllib.error.HTTPError as answer:
            return None if answer.code == 404 else str(answer)
        except OSError as error:
            return str(error)

    return network.call_in(cluster.network, ask)

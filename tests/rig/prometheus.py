"""A real Prometheus on the loopback interface, without a cluster, and pods for it to scrape."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cluster import artifacts
from tests.cluster.interface import ClusterUnavailable
from tests.rig import protobuf
from tests.rig.protobuf import Native

EVERY = 0.5
"""Seconds between scrapes."""
_STARTS_WITHIN = 60.0


@dataclass
class Pod:
    """Something that is scraped."""

    namespace: str
    name: str
    native: dict[str, Native] = field(default_factory=dict)
    """Native histograms, by name and labels: with these it answers as clients of Prometheus do that have them."""
    counters: dict[str, float] = field(default_factory=dict)
    """As they are exposed, by name and labels: ``http_requests_total{code="200"}``."""
    away: bool = False
    """It does not answer."""
    slow: float = 0.0
    """Seconds until it does."""
    scraped: int = 0
    """How often it has answered."""

    def add(self, **counts: float) -> None:
        """Requests, by the status that they were answered with: ``c200=5``."""
        for code, count in counts.items():
            key = f'http_requests_total{{code="{code[1:]}"}}'
            self.counters[key] = self.counters.get(key, 0) + count

    def exposed(self) -> tuple[str, bytes]:
        """In a format of Prometheus, and what that is called."""
        if self.native:
            return protobuf.CONTENT_TYPE, protobuf.exposition(self.native, self.counters)
        text = "".join(f"{name} {value:g}\n" for name, value in sorted(self.counters.items()))
        return "text/plain; version=0.0.4", text.encode()


class _Server(ThreadingHTTPServer):
    """Of which who has had enough of it may go."""

    def handle_error(self, *_: object) -> None:
        """Nothing is said of connections that are broken off."""


class Pods:
    """All pods of a test, on one port: each has a path of its own."""

    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pod = outer._pods[self.path.partition("?")[0]]
                time.sleep(pod.slow)
                kind, body = ("text/plain", b"") if pod.away else pod.exposed()
                with suppress(OSError):
                    self.send_response(503 if pod.away else 200)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    pod.scraped += not pod.away

            def log_message(self, *_: object) -> None:
                pass

        self._http = _Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def pod(self, namespace: str, name: str) -> Pod:
        """One more; Prometheus is to be started after that."""
        pod = Pod(namespace, name)
        self.put(pod)
        return pod

    def put(self, pod: Pod) -> None:
        """The same, of one that is there."""
        self._pods[f"/{pod.namespace}/{pod.name}"] = pod

    def targets(self) -> list[dict[str, object]]:
        """For the configuration, as discovery in Kubernetes labels them."""
        return [
            {
                "targets": [self.address],
                "labels": {"__metrics_path__": path, "namespace": pod.namespace, "pod": pod.name},
            }
            for path, pod in self._pods.items()
        ]

    def close(self) -> None:
        """Nothing is served any more."""
        self._http.shutdown()
        self._http.server_close()


class Prometheus:
    """One process of it. It may be stopped and started again, with what it has stored."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Mapping[str, object]],
        web: Mapping[str, object] | None = None,
        scraping: Mapping[str, object] | None = None,
        rules: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """``rules``: groups of alerting rules, evaluated as often as pods are scraped."""
        folder.mkdir(parents=True)
        self._folder, self._scheme, self._process = (
            folder,
            "https" if web and "tls_server_config" in web else "http",
            None,
        )
        self._port = _free_port()
        often = f"{EVERY * 1000:.0f}ms"
        config = {
            "global": {"scrape_interval": often, "scrape_timeout": often, "evaluation_interval": often},
            "scrape_configs": [{"job_name": "pods", "static_configs": list(targets), **(scraping or {})}],
            "rule_files": [str(folder / "rules.yml")],
        }
        (folder / "rules.yml").write_text(json.dumps({"groups": list(rules)}))
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._options = [
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        ]
        if web:
            (folder / "web.yml").write_text(json.dumps(web))
            self._options.append(f"--web.config.file={folder / 'web.yml'}")

    _process: subprocess.Popen[bytes] | None

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Until it answers at all, if only that it lets nobody in."""
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen([str(artifacts.prometheus()), *self._options], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + _STARTS_WITHIN
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"Prometheus did not start: {(self._folder / 'log').read_text()[-1000:]}")

    def _answers(self) -> bool:
        if self._scheme == "https":
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return True
            return False
        try:
            urllib.request.urlopen(f"{self.url}/-/ready", timeout=1)  # our own address
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Gone until it is started again."""
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def value(self, query: str) -> float | None:
        """What it answers to a query of one number now."""
        address = f"{self.url}/api/v1/query?query={quote(query)}"
        with urllib.request.urlopen(address, timeout=5) as response:  # our own address
            found = json.load(response)["data"]["result"]
        return float(found[0]["value"][1]) if found else None


@contextmanager
def exposing() -> Iterator[Pods]:
    """Pods for a test, which is skipped where there is no Prometheus to scrape them."""
    try:
        artifacts.prometheus()
    except ClusterUnavailable as reason:
        pytest.skip(f"no Prometheus here: {reason}")
    pods = Pods()
    try:
        yield pods
    finally:
        pods.close()


@contextmanager
def running(prometheus: Prometheus) -> Iterator[Prometheus]:
    """Started, and stopped in the end."""
    prometheus.start()
    try:
        yield prometheus
    finally:
        prometheus.stop()


class InTurn:
    """One address with several servers behind it, each asked in its turn, as a Service with no affinity may do."""

    def __init__(self, urls: Sequence[str]) -> None:
        asked = 0
        self.answered: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                nonlocal asked
                url = urls[asked % len(urls)]
                asked += 1
                outer.answered.append(url)
                with urllib.request.urlopen(f"{url}{self.path}", timeout=5) as response:  # our own
                    body = response.read()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._http = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Nothing is served any more."""
        self._http.shutdown()
        self._http.server_close()


def eventually(holds: Callable[[], bool], what: str, within: float = 20.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

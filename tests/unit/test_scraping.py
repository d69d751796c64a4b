"""Where pods expose their counters is found as Prometheus finds it, and leads nowhere but to the pod."""

from __future__ import annotations

from typing import Any

import pytest
from yarl import URL

from tidegate.core.scraping import exposed


def pod(notes: dict[str, str] | None = None, *ports: dict[str, Any], ip: str = "10.1.2.3") -> dict[str, Any]:
    """A v1 Pod."""
    return {
        "metadata": {"name": "a", "annotations": {f"prometheus.io/{key}": said for key, said in (notes or {}).items()}},
        "spec": {"containers": [{"name": "app", "ports": list(ports)}]},
        "status": {"podIP": ip},
    }


HTTP, METRICS = {"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9100}


@pytest.mark.parametrize(
    ("found", "url"),
    [
        (pod({"port": "9090"}, HTTP, METRICS), "http://10.1.2.3:9090/metrics"),
        (pod({"port": "9090", "path": "/a/b", "scheme": "https"}), "https://10.1.2.3:9090/a/b"),
        (pod({"path": "stats"}, HTTP), "http://10.1.2.3:8080/stats"),
        (pod(None, HTTP, METRICS), "http://10.1.2.3:9100/metrics"),
        (pod(None, HTTP, {"name": "http-metrics", "containerPort": 9101}), "http://10.1.2.3:9101/metrics"),
        (pod(None, {"name": "dns", "containerPort": 53, "protocol": "UDP"}, HTTP), "http://10.1.2.3:8080/metrics"),
        (pod(None, HTTP, ip="fd00::7"), "http://[fd00::7]:8080/metrics"),
    ],
)
def test_annotations_then_names_then_the_first_port(found: dict[str, Any], url: str) -> None:
    assert exposed(found).url == url


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (pod(), "no container port is declared"),
        (pod({"port": "http"}, HTTP), "prometheus.io/port: 'http': write the number"),
        (pod({"port": "0"}, HTTP), "prometheus.io/port: '0'"),
        (pod({"port": "70000"}, HTTP), "prometheus.io/port: '70000'"),
        (pod({"port": "0080801234"}, HTTP), "prometheus.io/port: '0080801234'"),
        (pod({"path": "/" + "a" * 200_000}, HTTP), "prometheus.io/path: '/aaaaaaaaaaaaaaa'…: write no more than 256"),
        (pod({"port": ""}, HTTP), "prometheus.io/port: ''"),
        (pod({"scheme": "ftp"}, HTTP), "prometheus.io/scheme: 'ftp': write http or https"),
        (pod(None, HTTP, ip=""), "no address yet"),
        (pod(None, HTTP, ip="127.0.0.1"), "loopback"),
        (pod(None, HTTP, ip="169.254.169.254"), "a metadata service"),
    ],
)
def test_what_is_wrong_is_told(found: dict[str, Any], told: str) -> None:
    assert exposed(found).url == ""
    assert told in exposed(found).why


@pytest.mark.parametrize("path", ["@evil.test/", "//evil.test/", "/@evil.test", "\\evil.test", "/a\r\nHost: evil"])
def test_no_path_leads_elsewhere(path: str) -> None:
    url = URL(exposed(pod({"path": path}, HTTP)).url)
    assert (url.host, url.port) == ("10.1.2.3", 8080)
    assert "\n" not in url.raw_path_qs

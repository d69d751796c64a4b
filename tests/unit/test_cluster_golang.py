"""Go programs are compiled with a Go that is new enough, once for each version of their sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.cluster import artifacts, golang, places


@pytest.mark.parametrize(
    ("text", "version"),
    [("module m\n\ngo 1.26.0\n", (1, 26, 0)), ("module m\ngo 1.22\n\ntoolchain go1.26.1\n", (1, 22))],
)
def test_the_version_that_a_module_asks_for(text: str, version: golang.Version) -> None:
    assert golang.required_version(text) == version


def test_a_module_without_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="go VERSION"):
        golang.required_version("module m\n")


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("go version go1.26.8 linux/amd64\n", (1, 26, 8)),
        ("go version go1.27rc1 linux/arm64\n", (1, 27)),
        ("go: not found", None),
    ],
)
def test_the_version_that_is_installed(output: str, version: golang.Version | None) -> None:
    assert golang.installed_version(output) == version


def test_another_source_or_flag_is_another_binary(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module m\ngo 1.26.0\n")
    (tmp_path / "main.go").write_text("package main\n")
    key = golang.source_key(tmp_path, ["-tags", "a"])
    assert golang.source_key(tmp_path, ["-tags", "a"]) == key
    assert golang.source_key(tmp_path, ["-tags", "b"]) != key
    (tmp_path / "main.go").write_text("package main // changed\n")
    assert golang.source_key(tmp_path, ["-tags", "a"]) != key


def test_kubernetes_and_its_staging_modules_are_of_one_version() -> None:
    text = (places.SOURCES / "kubernetes/go.mod").read_text()
    minor = artifacts.kubernetes_version(text).removeprefix("1.")
    replaced = re.findall(r"^\s*k8s\.io/(\S+) => k8s\.io/(\S+) v0\.(\S+)$", text, re.MULTILINE)
    assert len(replaced) > 30
    assert all(name == target and version == minor for name, target, version in replaced)


def test_helm_speaks_to_a_cluster_of_its_own_version() -> None:
    """And shares most of what is compiled for it."""
    version = artifacts.kubernetes_version((places.SOURCES / "kubernetes/go.mod").read_text()).removeprefix("1.")
    client = re.search(r"k8s\.io/client-go v0\.(\S+)", (places.SOURCES / "helm/go.mod").read_text())
    assert client is not None
    assert client[1] == version

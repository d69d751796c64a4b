"""The provider is the one asked for, or the first that works; what is missing is named in one line."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from tests.cluster import kind, local, machine, network, provider
from tests.cluster.interface import ClusterUnavailable


@pytest.mark.parametrize(
    ("asked", "linux", "root", "docker", "chosen"),
    [
        (None, True, True, True, "local"),
        (None, True, False, True, "kind"),
        ("kind", True, True, False, "kind"),
        ("local", False, False, True, "local"),
    ],
)
def test_choice(asked: str | None, linux: bool, root: bool, docker: bool, chosen: str) -> None:
    assert provider.choose(asked=asked, linux=linux, root=root, docker=docker) == chosen


@pytest.mark.parametrize(
    ("asked", "linux", "remedy"), [("minikube", True, "local, kind"), (None, True, "sudo"), (None, False, "Linux VM")]
)
def test_no_choice_names_the_remedy(asked: str | None, linux: bool, remedy: str) -> None:
    with pytest.raises(ClusterUnavailable, match=remedy) as raised:
        provider.choose(asked=asked, linux=linux, root=False, docker=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "Dev", "a/b", "-a", "a" * 31, "a b", ".."])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 30"):
        local.LocalCluster(name)


def test_clusters_share_no_folder_and_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, two = local.LocalCluster("one"), local.LocalCluster("two")
    assert one.state.is_relative_to(tmp_path)
    assert one.state != two.state
    assert one.network != two.network
    socket = local.LocalCluster("a" * 30).nodes()[0].socket
    assert len(bytes(socket) + b".ttrpc") < 108


def test_missing_commands_become_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command, path: None if command == "runc" else command)
    monkeypatch.setattr(machine, "network_plugins", lambda: None)
    assert machine.missing_packages() == ["containernetworking-plugins", "runc"]


def test_what_cannot_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing_packages", lambda: ["runc"])
    monkeypatch.setattr(shutil, "which", lambda command: None)
    with pytest.raises(ClusterUnavailable, match="runc missing: install the like of `apt-get install runc`"):
        machine.prepare()


def test_further_nodes_have_names_and_addresses_of_their_own() -> None:
    first = network.namespace("some")
    assert network.namespace("some", 2) == network.namespace_of(first, 2)
    assert len({network.node_address(n) for n in (1, 2, 3)} | {network.pod_subnet(n) for n in (1, 2, 3)}) == 6


def test_kind_gets_the_ports_of_the_first_node() -> None:
    configuration = kind.configuration(nodes=2)
    first, second = configuration["nodes"]
    assert [mapping["hostPort"] for mapping in first["extraPortMappings"]] == [8000, 8088, 30090]
    assert first["labels"] == {"tidegate.test/router": "true"}
    assert second == {"role": "worker"}


@pytest.fixture
def fake_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A kind that writes down how it was called, and knows one cluster."""
    calls = tmp_path / "calls"
    command = tmp_path / "bin/kind"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n[ "$1 $2" = "get clusters" ] && echo tidegate-here\nexit 0\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return calls


def test_kind_takes_images_as_archives(fake_kind: Path) -> None:
    kind.KindCluster("here").load_image(Path("/images/demo.tar"))
    assert fake_kind.read_text() == "load image-archive /images/demo.tar --name tidegate-here\n"


def test_kind_runs_when_it_is_there_and_furnished(fake_kind: Path) -> None:
    here, there = kind.KindCluster("here"), kind.KindCluster("there")
    assert not here.running()
    for cluster in (here, there):
        cluster.state.mkdir(parents=True)
        (cluster.state / "furnished").touch()
    assert here.running()
    assert not there.running()
    assert here.gateway_url == "http://127.0.0.1:8000"
    assert here.enter() == []


def test_kind_is_removed_with_its_state(fake_kind: Path) -> None:
    here = kind.KindCluster("here")
    here.state.mkdir(parents=True)
    here.kubeconfig.write_text(json.dumps({}))
    here.down()
    assert "delete cluster --name=tidegate-here" in fake_kind.read_text()
    assert not here.state.exists()


def test_kind_is_of_our_version_though_pytest_has_loaded_the_plugin_before(fake_kind: Path) -> None:
    kind.KindCluster("here")._driver()
    assert sys.modules["pytest_kind.cluster"].KIND_VERSION == kind.KIND_VERSION

"""Images made without an engine are what a container runtime expects, and the same every time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.cluster.images import docker_archive


def read(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def layer(archive: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(read(archive, "layer.tar"))) as tar:
        return {entry.name: entry for entry in tar.getmembers()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "bin").mkdir(parents=True)
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o755)
    (root / "bin/alias").symlink_to("tool")
    (root / "bin/again").hardlink_to(root / "bin/tool")
    (root / "empty").mkdir(mode=0o700)
    return root


def make(tmp_path: Path, tree: Path, name: str = "image.tar") -> Path:
    return docker_archive(
        ["localhost/some:latest", "localhost/some:v1"],
        {"/opt/app": tree, "/tool": tree / "bin/tool"},
        out=tmp_path / name,
        entrypoint=["/tool", "serve"],
        env={"B": "2", "A": "1"},
        user="65532",
        folders={"/tmp": 0o1777},
    )


def test_the_manifest_names_the_image_and_the_config_its_layer(tmp_path: Path, tree: Path) -> None:
    archive = make(tmp_path, tree)
    [manifest] = json.loads(read(archive, "manifest.json"))
    config = read(archive, manifest["Config"])
    described = json.loads(config)
    assert manifest["RepoTags"] == ["localhost/some:latest", "localhost/some:v1"]
    assert manifest["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"
    digest = hashlib.sha256(read(archive, "layer.tar")).hexdigest()
    assert described["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert described["config"] == {
        "Entrypoint": ["/tool", "serve"],
        "Env": ["A=1", "B=2"],
        "User": "65532",
        "WorkingDir": "/",
    }


def test_trees_keep_modes_and_links(tmp_path: Path, tree: Path) -> None:
    entries = layer(make(tmp_path, tree))
    assert entries["opt/app/bin/tool"].mode == 0o755
    assert entries["opt/app/bin/alias"].linkname == "tool"
    assert entries["opt/app/bin/again"].isreg()
    assert entries["opt/app/bin/again"].size == len("#!/bin/sh\n")
    assert entries["opt/app/empty"].isdir()
    assert entries["opt/app/empty"].mode == 0o700
    assert entries["tmp"].mode == 0o1777
    assert entries["tool"].isreg()


def test_folders_come_before_what_they_hold(tmp_path: Path, tree: Path) -> None:
    names = list(layer(make(tmp_path, tree)))
    for number, name in enumerate(names):
        parent = str(Path(name).parent)
        assert parent == "." or parent in names[:number]
    assert len(names) == len(set(names))


def test_the_same_files_give_the_same_image(tmp_path: Path, tree: Path) -> None:
    first = make(tmp_path, tree, "first.tar").read_bytes()
    (tree / "bin/tool").touch()
    assert make(tmp_path, tree, "second.tar").read_bytes() == first


def test_a_name_without_a_tag_is_refused(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(ValueError, match="localhost:5000/some"):
        docker_archive(["localhost:5000/some"], {"/a": tree}, out=tmp_path / "x.tar", entrypoint=["/a"])

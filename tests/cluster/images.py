"""Make container images without a container engine.

An image is little: a tar for each layer, a JSON that names their hashes, and a manifest. That is the
docker-archive format, which both `ctr images import` and `kind load image-archive` read.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def docker_archive(
    names: Sequence[str],
    files: Mapping[str, Path],
    *,
    out: Path,
    entrypoint: Sequence[str],
    env: Mapping[str, str] | None = None,
    user: str = "",
    workdir: str = "/",
    folders: Mapping[str, int] | None = None,
    below: Sequence[Path] = (),
) -> Path:
    """Write an image under all of `names` (repository:tag) to `out`, and return `out`.

    `files` says what lies where: the path in the image, and the file, symbolic link or folder tree that goes
    there. Modes and links are kept, owners are root and times are zero, so that the same files give the same
    image. `folders` adds empty ones, with their mode ("/tmp": 0o1777). `below` are layers that were made before
    (by `layer`), lowest first, under the one of `files`. Nothing is held in memory.
    """
    for name in names:
        if ":" not in name.rpartition("/")[2]:
            raise ValueError(f"an image name needs a tag: {name}")
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_suffix(".new")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        layers = [*below, layer(files, out=Path(folder) / "top.tar", folders=folders)]
        diff_ids = [_digest(path) for path in layers]
        config = json.dumps(
            {
                "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": {
                    "Entrypoint": list(entrypoint),
                    "Env": [f"{key}={value}" for key, value in sorted((env or {}).items())],
                    "User": user,
                    "WorkingDir": workdir,
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]},
            }
        ).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        places = [*(f"below-{number}.tar" for number in range(len(below))), "layer.tar"]
        manifest = json.dumps([{"Config": config_name, "RepoTags": list(names), "Layers": places}])
        with tarfile.open(fresh, "w") as archive:
            _add_bytes(archive, "manifest.json", manifest.encode())
            _add_bytes(archive, config_name, config)
            for place, path in zip(places, layers, strict=True):
                entry = tarfile.TarInfo(place)
                entry.size = path.stat().st_size
                with path.open("rb") as content:
                    archive.addfile(entry, content)
    fresh.rename(out)
    return out


def layer(files: Mapping[str, Path], *, out: Path, folders: Mapping[str, int] | None = None) -> Path:
    """Write a layer by itself to `out`, for images that have it in common, and return `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_suffix(".new")
    made: set[PurePosixPath] = {PurePosixPath(".")}
    with tarfile.open(fresh, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for place, mode in sorted((folders or {}).items()):
            _add_folder(tar, _relative(place), made, mode)
        for place, source in sorted(files.items()):
            for inside, path in _walk(source):
                name = _relative(place) / inside
                _add_folder(tar, name.parent, made)
                if path.is_dir() and not path.is_symlink():
                    _add_folder(tar, name, made, path.stat().st_mode & 0o7777)
                else:
                    _add_file(tar, str(name), path)
    fresh.rename(out)
    return out


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _relative(place: str) -> PurePosixPath:
    return PurePosixPath(place.strip("/"))


def _walk(source: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    yield PurePosixPath(), source
    if source.is_dir() and not source.is_symlink():
        for path in sorted(source.iterdir()):
            for inside, deeper in _walk(path):
                yield path.name / inside, deeper


def _add_folder(tar: tarfile.TarFile, folder: PurePosixPath, made: set[PurePosixPath], mode: int = 0o755) -> None:
    if folder in made:
        return
    _add_folder(tar, folder.parent, made)
    entry = tarfile.TarInfo(f"{folder}/")
    entry.type = tarfile.DIRTYPE
    entry.mode = mode
    tar.addfile(entry)
    made.add(folder)


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    entry = tar.gettarinfo(path, name)
    # gettarinfo links a file that it has seen before to the first one; the layer keeps them apart.
    if entry.type == tarfile.LNKTYPE:
        entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", path.stat().st_size
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    if entry.isreg():
        with path.open("rb") as content:
            tar.addfile(entry, content)
    else:
        tar.addfile(entry)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))

"""The image that Docker makes and the one that the local cluster is given are the same to whoever runs them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest
import yaml
from tests.cluster import operator_image

DOCKERFILE = (operator_image.ROOT / "operator/Dockerfile").read_text()
SITE = f"/{operator_image.SITE}"


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile, without comments and with long lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(str.strip, text.splitlines()):
        name, _, rest = line.partition(" ")
        yield name, rest.strip()


def stages() -> list[list[tuple[str, str]]]:
    """Its instructions, a list for each FROM."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def last(name: str) -> str:
    """The argument of an instruction of the last stage, which has it once."""
    (rest,) = [rest for found, rest in stages()[-1] if found == name]
    return rest


def copied() -> dict[str, str]:
    """What is taken from the checkout, and where it goes."""
    build, _ = stages()
    return dict(shlex.split(rest) for name, rest in build if name == "COPY")


def test_they_have_the_same_user_entry_point_and_environment() -> None:
    assert last("USER") == operator_image.USER
    assert f"useradd --uid {operator_image.USER} --gid {operator_image.USER} " in last("RUN")
    assert json.loads(last("ENTRYPOINT")) == operator_image.ENTRYPOINT
    assert dict(pair.split("=", 1) for pair in shlex.split(last("ENV"))) == operator_image.ENVIRONMENT


def test_they_have_the_same_files() -> None:
    root = operator_image.ROOT
    assert {str(root / source) for source in copied()} == {str(operator_image.LOCK), str(operator_image.PACKAGE)}
    assert copied()[str(operator_image.PACKAGE.relative_to(root))] == f"{SITE}/{operator_image.PACKAGE.name}"
    assert last("COPY") == f"--from=build {SITE} {SITE}"


def test_dependencies_are_wheels_of_known_hashes_of_the_one_lock_file() -> None:
    build, _ = stages()
    (pip,) = [rest for name, rest in build if name == "RUN" and rest.startswith("pip ")]
    options = shlex.split(pip)
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(options)
    assert options[options.index("--requirement") + 1] == copied()["operator/requirements.lock"] + "requirements.lock"
    assert options[options.index("--target") + 1] == SITE


def test_the_python_is_one_that_the_package_takes() -> None:
    (version,) = [rest.partition("=")[2] for name, rest in instructions() if name == "ARG"]
    assert tuple(map(int, version.partition("-")[0].split("."))) >= operator_image.OLDEST
    assert all(stage[0][1].startswith("python:${PYTHON}") for stage in stages())


@pytest.mark.parametrize("source", sorted(copied()))
def test_the_context_has_what_is_copied(source: str) -> None:
    lines = [
        line
        for line in (operator_image.ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    verdict = ""
    for line in lines:  # the last line that matches holds
        if fnmatch(source, line.removeprefix("!")):
            verdict = line
    assert verdict == f"!{source}"


def test_the_pod_runs_as_the_image_s_user() -> None:
    files = yaml.safe_load_all((operator_image.ROOT / "manifests/operator.yaml").read_text())
    (deployment,) = [found for found in files if found["kind"] == "Deployment"]
    context = deployment["spec"]["template"]["spec"]["securityContext"]
    assert str(context["runAsUser"]) == operator_image.USER

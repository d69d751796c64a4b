"""The command line: python -m tests.cluster up|down|status|build|prepare|run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from tests.cluster import artifacts, machine, places
from tests.cluster.interface import Cluster, ClusterFailed, ClusterUnavailable
from tests.cluster.local import LocalCluster
from tests.cluster.provider import cluster

DEFAULT = "dev"
MOST = 4
"""Clusters that tests use at a time, each with some 2 GiB: more wait for the one longest file of tests."""
CORES = 2
"""For each of them: two that share two cores are no quicker than one."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 2 where the machine cannot have a cluster."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ClusterUnavailable as reason:
        sys.stderr.write(f"no cluster here: {reason}\n")
        return 2
    except ClusterFailed as reason:
        sys.stderr.write(f"cluster: {reason}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--name", default=os.environ.get("TIDEGATE_CLUSTER", DEFAULT), help="which cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="bring it up, or see that it is").add_argument("--nodes", type=int)
    commands.add_parser("down", help="remove it and every trace of it")
    commands.add_parser("status", help="say what there is")
    commands.add_parser("build", help="compile and fetch what clusters are made from")
    commands.add_parser("prepare", help="build what tests need, print how many clusters they may have")
    run = commands.add_parser("run", help="run a command in its network")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.command == "build":
        artifacts.build()
        return 0
    if options.command == "prepare":
        print(_prepared(options.name))
        return 0
    chosen = cluster(options.name)
    match options.command:
        case "up":
            _as_root(chosen)
            chosen.up(options.nodes)
            _print(chosen)
        case "down":
            _as_root(chosen)
            chosen.down()
        case "status":
            _print(chosen)
            return 0 if chosen.running() else 1
        case "run":
            _replace_by(chosen, options.words)
    return 0


def _prepared(name: str) -> int:
    """How many clusters stand side by side here, with all that they are made from; 0: no more than one."""
    try:
        if not isinstance(cluster(name), LocalCluster):
            return 0
        artifacts.build()
    except ClusterUnavailable:
        return 0  # the tests skip themselves, and say why
    alone = (os.cpu_count() or 1) // CORES
    return min(MOST, alone) if alone > 1 else 0


def _print(chosen: Cluster) -> None:
    links = {
        "gateway": chosen.gateway_url,
        "prometheus": chosen.prometheus_url,
        "router API": chosen.router_api_url,
    }
    for key, value in {"name": chosen.name, **chosen.describe(), **links}.items():
        print(f"{key + ':':<12}{value}")


def _as_root(chosen: Cluster) -> None:
    """Go on as root where it takes that; what is compiled and fetched stays the user's own."""
    if not isinstance(chosen, LocalCluster) or machine.privileged():
        return
    artifacts.build()
    places.state().mkdir(parents=True, exist_ok=True)
    homes = [f"XDG_CACHE_HOME={places.cache().parent}", f"XDG_STATE_HOME={places.state().parent.parent}"]
    again = [sys.executable, "-m", "tests.cluster", *sys.argv[1:]]
    name = f"TIDEGATE_CLUSTER={chosen.name}"
    os.execvp("sudo", ["sudo", "env", *homes, name, f"PATH={os.environ['PATH']}", *again])


def _replace_by(chosen: Cluster, words: Sequence[str]) -> None:
    """Become the command, in the cluster's network."""
    command = [word for number, word in enumerate(words) if (number, word) != (0, "--")]
    if not command:
        raise ClusterFailed("run needs a command")
    if not chosen.running():
        raise ClusterFailed(f"{chosen.name} is not up: `python -m tests.cluster --name {chosen.name} up`")
    environment = chosen.environment()
    whole = [*chosen.enter(), *command]
    try:
        os.execvpe(whole[0], whole, environment)
    except FileNotFoundError:
        raise ClusterFailed(f"there is no command {whole[0]}") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

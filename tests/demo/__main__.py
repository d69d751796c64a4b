"""``python -m tests.demo``: the cluster up, the story, its claims, the cluster down (KEEP=1 leaves it).

Exit codes: 0 every claim held, 1 one did not, 2 the machine cannot have a cluster, 130 interrupted.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import artifacts, machine, places
from tests.cluster.interface import Cluster, ClusterFailed, ClusterUnavailable
from tests.cluster.local import LocalCluster
from tests.cluster.provider import cluster as cluster_of
from tests.demo import story, view
from tests.demo.claims import PromiseBroken, busy, check
from tests.demo.gitops import GitFailed
from tests.demo.view import View

NAME = "demo"


def main() -> int:
    """Run the demo; its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cluster = cluster_of(NAME)
        _as_root(cluster)
        with view.opened() as shown:
            return _on(cluster, shown)
    except ClusterUnavailable as reason:
        sys.stderr.write(f"demo: no cluster here: {reason}\n")
        return 2
    except (ClusterFailed, GitFailed, PromiseBroken) as reason:
        sys.stderr.write(f"demo: {reason}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        return 130


def _on(cluster: Cluster, shown: View) -> int:
    began = time.monotonic()
    try:
        cluster.up()
        ready = time.monotonic()
        with _folder(shown) as folder:
            record = story.play(cluster, shown, folder)
            claims = check(record)
            ended = time.monotonic()
            shown.act("What was promised")
            shown.claims(claims)
            held = sum(claim.held for claim in claims)
            acts = {"3": record.restored, "5": record.switched}
            skipped = "".join(f", act {number} skipped" for number, played in acts.items() if not played)
            times = f"set up in {ready - began:.0f} s, shown in {ended - ready:.0f} s"
            shown.say(f"{held} of {len(claims)} claims held{skipped}; {times}")
            if note := busy(record.load):
                shown.say(note)
            if held < len(claims):
                raise PromiseBroken(f"{len(claims) - held} of {len(claims)} claims did not hold")
        return 0
    finally:
        shown.settle()
        _leave(cluster, shown)


@contextmanager
def _folder(shown: View) -> Iterator[Path]:
    """A folder for logs, which stays where they are needed."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-demo-"))
    try:
        yield folder
    except (ClusterFailed, GitFailed, PromiseBroken):
        shown.settle()
        shown.say(f"the operator's log and the load's answers are in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _leave(cluster: Cluster, shown: View) -> None:
    """The cluster goes, whatever happened and however often somebody presses Ctrl-C meanwhile."""
    if os.environ.get("KEEP") == "1":
        shown.say(
            f"KEEP=1: the cluster runs on, without the operator. TIDEGATE_CLUSTER={NAME} make run starts it again,"
            f" TIDEGATE_CLUSTER={NAME} tests/cluster/run kubectl get canary -A looks, make cluster-down NAME={NAME}"
            " removes it all."
        )
        return
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    cluster.down()


def _as_root(cluster: Cluster) -> None:
    """Go on as root where the cluster takes that; what is compiled and fetched stays the user's own."""
    if not isinstance(cluster, LocalCluster) or machine.privileged():
        return
    artifacts.build()
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "CI", "KEEP", "TERM"}}
    homes = {"XDG_CACHE_HOME": places.cache().parent, "XDG_STATE_HOME": places.state().parent.parent}
    settings = [f"{key}={value}" for key, value in {**kept, **homes}.items()]
    os.execvp("sudo", ["sudo", "env", *settings, sys.executable, "-m", "tests.demo"])


if __name__ == "__main__":
    sys.exit(main())

"""``make bench``: the figures that Tidegate promises, measured on the cluster $TIDEGATE_CLUSTER (default: bench)."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.bars import Row, table
from tests.bench.kinds import Kinds
from tests.bench.looks import Looks
from tests.bench.requests import ENOUGH, failed, until
from tests.bench.scale import Scale
from tests.cluster.fixture import enter_network
from tests.cluster.interface import Cluster
from tests.cluster.provider import cluster as cluster_of
from tests.cluster.waiting import wait_until
from tests.rig.app import App
from tests.rig.load import Load
from tests.rig.operator import running
from tidegate.ports.cluster import DEPLOYMENTS

QUICK: dict[str, Any] = {"drain": "1s", "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 50}}
BAKES = (8, 8, 8)
STEPS = [{"weight": weight, "bake": f"{bake}s"} for weight, bake in zip((25, 50, 100), BAKES, strict=True)]
BY_PODS: dict[str, Any] = {"drain": "1s", "analysis": {"source": "Pods", "warmup": "0s", "minRequests": 50}}
MEASURES = (
    "adoption",
    "promotion",
    "revert",
    "pods",
    "setback",
    "crash",
    "switch",
    "rolling",
    "routers",
    "looks",
    "scale",
)


@dataclass(frozen=True)
class Promoted:
    """A promotion."""

    took: float
    """Seconds, bakes and drain among them."""
    failed: int
    requests: int
    recreated: int
    """Pods of the new version beyond those that serve in the end."""
    written: set[str]
    """Fields of the Deployment's spec that were ever seen otherwise than before."""


class Bench:
    """One cluster, one operator, an application for each measurement."""

    def __init__(self, cluster: Cluster, folder: Path, rate: int) -> None:
        self._cluster, self._folder, self._rate, self._count = cluster, folder, rate, 0

    def app(self, **spec: object) -> App:
        """An application under management."""
        self._count += 1
        app = App(self._cluster, f"bench-{os.getpid()}-{self._count}")
        app.create()
        if spec:
            app.apply(app.release(**spec))
            app.await_phase("Idle", 30)
        return app

    def load(self, app: App) -> Load:
        """The load of the bench on an application."""
        return Load(self._cluster, app.host, self._folder, rate=self._rate)

    def adoption(self) -> list[Row]:
        """Taking a running Deployment under management."""
        app = self.app()
        pods, began = app.pods(), time.time()
        with self.load(app) as load:
            app.apply(app.release(**QUICK, steps=STEPS))
            app.await_phase("Idle", 30)
            until(load, ENOUGH)
            result = load.stop()
        born = len(set(app.pods()) - set(pods))
        app.delete()
        return [
            Row("adoption: requests failed", 0, failed(result, began), more=f"of {result.total}"),
            Row("adoption: pods re-created", 0, born),
        ]

    def promotion(self, times: int) -> list[Row]:
        """A good version, to its end."""
        told = [self._promoted() for _ in range(times)]
        took = [one.took - sum(BAKES) - 1 for one in told]
        others = sorted({field for one in told for field in one.written} - {"template", "progressDeadlineSeconds"})
        beyond = "promotion: beyond the bakes and the drain"
        return [
            Row(
                "promotion: requests failed",
                0,
                sum(one.failed for one in told),
                more=f"of {sum(one.requests for one in told)}",
            ),
            Row("promotion: pods re-created", 0, sum(one.recreated for one in told)),
            Row(f"{beyond}, median", 5, statistics.median(took), "s", f"of {times} (worst {max(took):.2f} s)"),
            Row(
                "fields of the Deployment's spec written, progressDeadlineSeconds aside",
                0,
                len(others),
                more=", ".join(others),
            ),
        ]

    def _promoted(self) -> Promoted:
        app, seen, written = self.app(**QUICK, steps=STEPS), dict[str, str](), set[str]()
        before = _spec(app)
        with self.load(app) as load:
            app.ship("v2")
            began = time.time()

            def promoted() -> str | None:
                seen.update(app.pods())
                now = _spec(app)
                written.update(key for key in {*before, *now} if before.get(key) != now.get(key))
                return None if app.status().get("lastRelease") else "no release has ended"

            wait_until("the good version is promoted", promoted, 120, pause=0.5)
            took = _time(app.status()["lastRelease"]["finishedAt"]) - began
            until(load, ENOUGH)
            result = load.stop()
        stable = app.status()["stable"]["hash"]
        born = sum(1 for name in seen.values() if stable in name)
        app.delete()
        return Promoted(took, failed(result, began), result.total, born - app.replicas, written)

    def revert(self, times: int) -> list[Row]:
        """A version with 50 % errors at weight 25."""
        took, lost, total = self._reverted(QUICK, times)
        errors = "50 % errors at weight 25: first bad answer → last request"
        return [
            Row("revert: requests failed, the bad version's aside", 0, lost, more=f"of {total}"),
            Row(f"{errors}, median", 3, statistics.median(took), "s", f"of {times}"),
            Row(f"{errors}, worst", 5, max(took), "s", f"of {times}"),
        ]

    def pods(self, times: int) -> list[Row]:
        """The same where the pods are asked themselves."""
        took, lost, total = self._reverted(BY_PODS, times)
        errors = "50 % errors at weight 25, source: Pods: first bad answer → last request"
        worst = f"of {times} (worst {max(took):.2f} s)"
        return [
            Row("revert by pods: requests failed, the bad version's aside", 0, lost, more=f"of {total}"),
            Row(f"{errors}, median", 1.5, statistics.median(took), "s", worst),
        ]

    def _reverted(self, spec: dict[str, Any], times: int) -> tuple[list[float], int, int]:
        """Seconds of each from the first bad answer to the last request, answers that were lost, and of how many."""
        took, lost, total = list[float](), 0, 0
        for _ in range(times):
            app = self.app(**spec, steps=[{"weight": 25, "bake": "60s"}])
            with self.load(app) as load:
                began = time.time()
                app.ship("bad", ERROR_RATE="0.5")
                app.await_phase("RolledBack", 90)
                if times == 1:
                    until(load, ENOUGH)
                result = load.stop()
            took.append(max(result.last["bad 200"], result.last["bad 500"]) - result.first["bad 500"])
            sys.stderr.write(f"  reverted after {took[-1]:.2f} s, {result.of('bad')} answers of the bad version\n")
            lost, total = lost + failed(result, began, but="bad"), total + result.total
            app.delete()
        return took, lost, total

    def setback(self, times: int) -> list[Row]:
        """The template set back to stable's at weight 50."""
        took, lost, total = list[float](), 0, 0
        for _ in range(times):
            app = self.app(**QUICK, steps=[{"weight": 50, "bake": "2m"}])
            with self.load(app) as load:
                began = time.time()
                app.ship("v2")
                app.await_weight(50)
                written = asyncio.run(_set_back(app))
                app.await_phase("Idle", 30, outcome="Aborted")
                until(load, ENOUGH // times)
                result = load.stop()
            took.append(result.last["v2 200"] - written)
            sys.stderr.write(f"  last answer of the new version {took[-1]:.3f} s after the write\n")
            lost, total = lost + failed(result, began), total + result.total
            app.delete()
        return [
            Row("template set back at weight 50: requests failed", 0, lost, more=f"of {total}"),
            Row(
                "template set back at weight 50: write → last answer of the new version, median",
                0.5,
                statistics.median(took),
                "s",
                f"of {times}, worst {max(took):.2f} s",
            ),
        ]

    def crash(self) -> list[Row]:
        """A version that exits at its start."""
        app = self.app(**QUICK, steps=STEPS)
        app.ship("bad", EXIT_AT_START="1")
        reported = list[float]()

        def reverted() -> str | None:
            if not reported and _crash_loops(app):
                reported.append(time.time())
            return None if app.status().get("phase") == "RolledBack" else str(app.status().get("message"))

        wait_until("the crashing version is reverted", reverted, 120)
        took = _time(app.status()["lastRelease"]["finishedAt"]) - reported[0] if reported else 0.0
        app.delete()
        return [Row("crash loop: kubelet's report → reverted", 5, max(0.0, took), "s")]


async def _set_back(app: App) -> float:
    """What `kubectl rollout undo` writes, by a client that is connected already; when it was sent."""
    from tidegate.adapters.kubernetes import KubeCluster, connect  # the client reads KUBECONFIG as it is imported

    cluster = KubeCluster(await connect())
    try:
        await cluster.get(DEPLOYMENTS, app.namespace, app.name)
        sent = time.time()
        template = app.deployment(app.version)["spec"]["template"]
        await cluster.patch(DEPLOYMENTS, app.namespace, app.name, {"spec": {"template": template}})
        return sent
    finally:
        await cluster.close()


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _spec(app: App) -> dict[str, Any]:
    """Of its Deployment."""
    return dict(app.cluster.get("deployment", app.name, app.namespace)["spec"])


def _crash_loops(app: App) -> bool:
    """The kubelet has said by now that a container crashes again and again."""
    pods = app.cluster.items("pods", app.namespace)
    states = [state for pod in pods for state in pod["status"].get("containerStatuses", ())]
    return any(
        state["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff" or state["restartCount"] >= 2
        for state in states
    )


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 where a bar was missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"{', '.join(MEASURES)}; default: all")
    parser.add_argument("--rate", type=int, default=1000, help="requests per second")
    parser.add_argument("--promotions", type=int, default=5, help="how often a good version is released")
    parser.add_argument("--times", type=int, default=10, help="how often the bad version is released")
    parser.add_argument("--setbacks", type=int, default=5, help="how often the template is set back")
    parser.add_argument("--releases", type=int, default=500, help="of scale, at rest, and of looks, all judged")
    parser.add_argument("--strangers", type=int, default=5000, help="of scale: Deployments without a release")
    parser.add_argument("--looks", type=float, default=120, help="of looks: seconds that are watched")
    parser.add_argument("--idle", type=float, default=360, help="of scale: seconds of rest that are watched")
    options = parser.parse_args(arguments)
    measured, rows = set(options.only or MEASURES), list[Row]()
    if "looks" in measured:
        # Without a cluster, which would have its share of the machine.
        sys.stderr.write("looks …\n")
        with tempfile.TemporaryDirectory() as folder:
            rows += Looks(Path(folder), releases=options.releases, seconds=options.looks).rows()
    return _print(rows + _on_cluster(measured - {"looks"}, options))


def _on_cluster(measured: set[str], options: argparse.Namespace) -> list[Row]:
    if not measured:
        return []
    cluster = cluster_of(os.environ.get("TIDEGATE_CLUSTER", "bench"))
    started = not cluster.running()
    cluster.up()
    rows: list[Row] = []
    try:
        enter_network(cluster)
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        if measured != {"scale"}:
            with tempfile.TemporaryDirectory() as folder, running(cluster, Path(folder)):
                bench = Bench(cluster, Path(folder), options.rate)
                kinds = Kinds(cluster, Path(folder), options.rate)
                measures: dict[str, Callable[[], list[Row]]] = {
                    "adoption": bench.adoption,
                    "promotion": lambda: bench.promotion(options.promotions),
                    "revert": lambda: bench.revert(options.times),
                    "pods": lambda: bench.pods(options.times),
                    "setback": lambda: bench.setback(options.setbacks),
                    "crash": bench.crash,
                    "switch": kinds.switch,
                    "rolling": kinds.rolling,
                    "routers": kinds.routers,
                }
                for name, measure in measures.items():
                    if name in measured:
                        sys.stderr.write(f"{name} …\n")
                        rows += measure()
        if "scale" in measured:
            # The last: thousands of strangers stay, and their controllers have a lot to do for a while.
            sys.stderr.write("scale …\n")
            sizes = {"releases": options.releases, "strangers": options.strangers, "idle": options.idle}
            with tempfile.TemporaryDirectory() as folder:
                rows += Scale(cluster, Path(folder), **sizes).rows()
    finally:
        if started and os.environ.get("KEEP") != "1":
            cluster.down()
    return rows


def _print(rows: Sequence[Row]) -> int:
    print(table(rows))
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Hundreds of releases at rest, and thousands of Deployments that are nobody's: memory, restart, requests."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path

from tests.bench.bars import Row
from tests.cluster.interface import Cluster
from tests.cluster.waiting import wait_until
from tests.rig.fleet import Fleet
from tests.rig.operator import Operator, install
from tests.rig.wire import Wire, tally


class Scale:
    """One cluster, and an operator for each measurement, each request of which goes over a counting wire."""

    def __init__(self, cluster: Cluster, folder: Path, *, releases: int, strangers: int, idle: float) -> None:
        self._cluster, self._folder = cluster, folder
        self._releases, self._strangers, self._idle = releases, strangers, idle

    def rows(self) -> list[Row]:
        """Releases in one namespace, in many, and among strangers."""
        install(self._cluster)
        found = self._of("one namespace", Fleet(self._cluster, "one", self._releases))
        found += self._of("50 namespaces", Fleet(self._cluster, "many", self._releases, 50))
        if self._strangers:
            found += self._among_strangers()
        return found

    def _of(self, where: str, fleet: Fleet) -> list[Row]:
        fleet.create()
        with self._operator() as operator:
            fleet.settle(900)
            operator.await_calm()
        found = self._restarted(f"{self._releases} releases at rest, {where}", idle=self._idle)
        with self._operator():
            fleet.delete()
        return found

    def _among_strangers(self) -> list[Row]:
        fleet = Fleet(self._cluster, "few", 20)
        fleet.create()
        with self._operator() as operator:
            fleet.settle(300)
            operator.await_calm()
        strangers = Fleet(self._cluster, "strange", self._strangers, 20)
        strangers.strangers()
        found = self._restarted(f"20 releases among {self._strangers} Deployments of others", idle=30)
        with self._operator():
            fleet.delete()
        return found

    def _operator(self) -> Operator:
        return Operator(self._cluster, self._folder)

    def _restarted(self, what: str, idle: float) -> list[Row]:
        """An operator that finds all at rest."""
        wires: list[Wire] = []

        def through(kubeconfig: Path) -> Path:
            wires.append(Wire(kubeconfig, self._folder / f"wire-{time.monotonic_ns()}").__enter__())
            return wires[0].kubeconfig

        operator = Operator(self._cluster, self._folder, through=through)
        operator.log.write_text("")
        try:
            with operator:
                count = self._visited(operator)
                took = time.time() - _listed(operator)
                work = operator.worked()
                # Kopf's own lists may come after ours.
                wait_until("its watches stand", wires[0].unwatched, 60)
                settled = time.monotonic()
                time.sleep(idle)
                resident, working = operator.resident(), operator.worked()
                asked = [request for request in wires[0].requests if request.at > settled and not request.watch]
                writes = [request for request in wires[0].requests if request.writes]
        finally:
            for wire in wires:
                wire.__exit__(None, None, None)
        sys.stderr.write(f"  {what}: idle requests: {tally(asked) or 'none'}; writes: {tally(writes) or 'none'}\n")
        lists = sum(1 for request in asked if request.method == "GET")
        rows = [
            Row(f"{what}: lists taken → all {count} visited", 2, took, "s", f"({work:.1f} s of CPU since start)"),
            Row(f"{what}: writes of a restart", 0, len(writes)),
            Row(
                f"{what}: requests in {idle / 60:.1f} min idle, watches and lists aside",
                0,
                len(asked) - lists,
                more=f"({lists} of lists, {100 * (working - work) / idle:.1f} % of a core)",
            ),
            Row(f"{what}: memory", 120, resident / 1e6, "MB"),
        ]
        for row in rows:
            sys.stderr.write(f"  {row.what}: {row.measured}\n")
        return rows

    def _visited(self, operator: Operator) -> int:
        """Wait until each release was reconciled once."""
        count = 0

        def unvisited() -> str | None:
            nonlocal count
            listed = _line(operator, "watching")
            if listed is None:
                return "the lists are not taken"
            count = int(listed["msg"].split()[1])
            done = operator.counted("tidegate_reconcile_duration_seconds_count")
            return None if done >= count else f"{done:.0f} of {count}"

        wait_until("all are visited", unvisited, 120, pause=0.1)
        return count


def _line(operator: Operator, word: str) -> dict[str, str] | None:
    for line in operator.log.read_text().splitlines():
        if line.startswith("{") and (said := json.loads(line))["msg"].startswith(word):
            return dict(said)
    return None


def _listed(operator: Operator) -> float:
    line = _line(operator, "watching")
    assert line is not None
    return datetime.fromisoformat(line["ts"]).timestamp()

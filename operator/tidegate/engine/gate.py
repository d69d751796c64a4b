"""Whether the gate stands: the admission policies that keep the bounds, and us exempt from them."""

from __future__ import annotations

import contextlib
import json

from tidegate.api.base import GROUP
from tidegate.api.conditions import Reason
from tidegate.core.observed import Problem
from tidegate.ports.cluster import POLICIES, POLICY_BINDINGS, Cluster, Kind, NotFound

NAMES = ("tidegate-replicasets", "tidegate-routes", "tidegate-services", "tidegate-deployments")
"""Policies and their bindings, of the same names (manifests/admission)."""
LET_GO = f"{GROUP}/let-go"
"""On the policy that holds pods: everything is to be let go. It goes with the policy, so a new installation is free."""
HOLDER = NAMES[0]
"""That policy."""


class GateCheck:
    """Asks what stands. Read from the watches, so it costs nothing to ask each time."""

    def __init__(self, cluster: Cluster, identity: str) -> None:
        self._cluster, self._identity = cluster, identity
        self._let_go = False

    async def let_go(self) -> bool:
        """Whether everything is to be let go. Where the policy is gone, what it said last holds."""
        with contextlib.suppress(NotFound):
            found = await self._cluster.get(POLICIES, "", HOLDER)
            self._let_go = LET_GO in (found["metadata"].get("annotations") or {})
        return self._let_go

    async def problems(self) -> tuple[Problem, ...]:
        """What keeps the gate from holding; nothing where it holds."""
        for name in NAMES:
            for kind in (POLICIES, POLICY_BINDINGS):
                problem = await self._one(kind, name)
                if problem:
                    return (problem,)
        return ()

    async def _one(self, kind: Kind, name: str) -> Problem | None:
        try:
            found = await self._cluster.get(kind, "", name)
        except NotFound:
            return Problem(
                Reason.GATE_MISSING,
                f"{kind.name} {name} is missing, so nothing would hold a new revision; apply manifests/admission",
            )
        if kind is POLICIES and self._identity not in json.dumps(found["spec"].get("matchConditions", [])):
            return Problem(
                Reason.GATE_MISSING,
                f"{kind.name} {name} does not exempt {self._identity}, as whom the operator runs;"
                " run it as the ServiceAccount that the policy names",
            )
        return None

"""``tidegate abort NAME`` and its like, also as ``kubectl tidegate abort NAME``: ask something of a running release.

All that it does is to write the request annotation, as anyone with kubectl can, and to wait for the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import json
import sys
import uuid
from typing import Any

from tidegate.api.requests import RequestAction
from tidegate.app.cli.connected import connected
from tidegate.core.asked import REQUEST
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import FEATURE_FLAGS, RELEASES, Cluster, ClusterError, Kind, NotFound, Object, Rejected

VERBS = {
    "promote": (RequestAction.PROMOTE, "go straight to the last step, without bakes"),
    "pause": (RequestAction.PAUSE, "hold a release where it is"),
    "resume": (RequestAction.RESUME, "let a paused release go on"),
    "abort": (RequestAction.ABORT, "take a release back to stable"),
    "retry": (RequestAction.RETRY, "release a reverted revision again"),
    "skip-step": (RequestAction.SKIP_STEP, "end the bake of the step that a release is at"),
    "approve": (RequestAction.APPROVE, "say yes to the manual gates that a release waits for"),
}
PATIENCE = 15.0
"""Seconds to wait for the operator's answer."""


def register(commands: Any) -> None:
    """Add the commands."""
    for verb, (action, what) in VERBS.items():
        parser = commands.add_parser(verb, help=what)
        parser.add_argument("name", help="of the release, or Kind/name: of a flag featureflag/NAME")
        parser.add_argument("-n", "--namespace", help="default: the namespace of the kubeconfig's context")
        if action is RequestAction.APPROVE:
            parser.add_argument("--gate", default="", help="the one to approve; default: all that wait")
        parser.set_defaults(run=run, action=action)


def run(args: argparse.Namespace) -> int:
    """Ask, and tell the answer; the exit code is 1 where it is no."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from tidegate.adapters.clock import SystemClock

    try:
        async with connected(args.namespace) as (cluster, namespace):
            gate = getattr(args, "gate", "")
            told = await ask(cluster, SystemClock(), namespace, args.name, args.action, by=getpass.getuser(), gate=gate)
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{args.name}: {told['action']}: {told['outcome']} {told.get('message', '')}".rstrip() + "\n")
    return 0 if told["outcome"] == "Done" else 1


async def ask(
    cluster: Cluster, clock: Clock, namespace: str, name: str, action: RequestAction, *, by: str, gate: str = ""
) -> dict[str, Any]:
    """Write the request and wait for its answer. Raises ClusterError; no answer in time is an answer of ours."""
    kind, release = await _find(cluster, namespace, name)
    name = release["metadata"]["name"]
    request = {"id": str(uuid.uuid4()), "action": action.value, "hash": _hash(kind, release), "by": by}
    if gate:
        request["gate"] = gate
    note = {"metadata": {"annotations": {REQUEST: json.dumps(request)}}}
    await cluster.patch(kind, namespace, name, note)
    deadline = clock.monotonic() + PATIENCE
    while clock.monotonic() < deadline:
        release = await cluster.get(kind, namespace, name)
        last: dict[str, Any] = release.get("status", {}).get("lastRequest", {})
        if last.get("id") == request["id"]:
            return last
        await clock.sleep(0.2)
    waited = f"no answer within {PATIENCE:.0f} s: is the operator running? The request stands and is answered later"
    return {"action": action.value, "outcome": "Unanswered", "message": waited}


def _hash(kind: Kind, obj: Object) -> str:
    """What a request must name: it is meant for nothing else."""
    status = obj.get("status", {})
    if kind == FEATURE_FLAGS:
        return str(status.get("rollout", {}).get("digest", ""))
    return str(status.get("candidate", {}).get("hash", ""))


async def _find(cluster: Cluster, namespace: str, name: str) -> tuple[Kind, Object]:
    """The release of this name, of whatever kind; or what is of the kind that is named before it, as kubectl does. A
    flag always has its kind before it: releases are what a bare name has always been of."""
    wanted, _, plain = name.rpartition("/")
    found = []
    for kind in (*RELEASES, FEATURE_FLAGS) if wanted else RELEASES:
        if not wanted or wanted.lower() in (kind.name.lower(), kind.plural):
            with contextlib.suppress(NotFound):
                found.append((kind, await cluster.get(kind, namespace, plain)))
    if not found:
        what = "" if wanted else "release "
        raise NotFound(f"there is no {what}{name} in namespace {namespace}")
    if len(found) > 1:
        kinds = " or ".join(f"{kind.name}/{plain}" for kind, _ in found)
        raise Rejected(f"several releases are named {plain}: name one as {kinds}")
    return found[0]

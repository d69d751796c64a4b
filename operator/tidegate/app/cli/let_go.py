"""``tidegate let-go --all``, before Tidegate is uninstalled: every release goes back to stable and is let go.

The release objects stay. What is asked stands on the object of the gate that holds the pods, which goes when Tidegate
does: an installation that comes later takes the releases up again. ``tidegate take-up`` withdraws it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from tidegate.api.base import format_duration, parse_duration
from tidegate.api.releasestatus import Phase
from tidegate.engine.act import FINALIZER
from tidegate.engine.gate import FORMS, LET_GO, Form
from tidegate.ports.clock import Clock
from tidegate.ports.cluster import RELEASES, Cluster, ClusterError, Kind, NotFound, Object, Rejected, Unavailable

LOOKING = 0.5
"""Seconds between two looks."""
Tell = Callable[[str], object]


def register(commands: Any) -> None:
    """Add the commands."""
    parser = commands.add_parser("let-go", help="let every release go, before Tidegate is uninstalled")
    parser.add_argument("--all", action="store_true", required=True, help="all releases: there is no way to let go one")
    parser.add_argument("--timeout", type=parse_duration, default=timedelta(minutes=4), help="such as 4m")
    parser.add_argument("-n", "--namespace", default="", help="the operator watches this one only; default: all")
    parser.set_defaults(run=run, command=_let_go)
    parser = commands.add_parser("take-up", help="have releases managed again that were let go")
    parser.set_defaults(run=run, command=_take_up)


def run(args: argparse.Namespace) -> int:
    """Connect and carry out; the exit code is 1 where something remains."""
    return asyncio.run(_run(args))


async def _run(args: argparse.Namespace) -> int:
    from tidegate.adapters.clock import SystemClock
    from tidegate.adapters.kubernetes import KubeCluster, connect

    cluster = KubeCluster(await connect())
    command: Callable[..., Awaitable[int]] = args.command
    try:
        return await command(cluster, SystemClock(), args, lambda line: sys.stdout.write(f"{line}\n"))
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        await cluster.close()


async def _let_go(cluster: Cluster, clock: Clock, args: argparse.Namespace, tell: Tell) -> int:
    return await let_go(cluster, clock, tell, patience=args.timeout, namespace=args.namespace)


async def _take_up(cluster: Cluster, _: Clock, __: argparse.Namespace, tell: Tell) -> int:
    await mark(cluster, asked=False)
    tell("releases are managed again")
    return 0


async def mark(cluster: Cluster, *, asked: bool) -> None:
    """Ask the operator to let go, or no longer, on each gate that stands. NotFound where there is none."""
    body = {"metadata": {"annotations": {LET_GO: "all" if asked else None}}}
    errors: list[ClusterError] = []
    for form in FORMS.values():
        try:
            await cluster.patch(*_named(form), body)
        except (NotFound, Rejected) as error:
            errors.append(error)
    if len(errors) == len(FORMS):
        # An account may have rights to one form only: of the other it is not told whether it is there.
        raise next((error for error in errors if isinstance(error, NotFound)), errors[0])


def _named(form: Form) -> tuple[Kind, str, str]:
    kind, name = form.holder
    return kind, "", name


async def let_go(cluster: Cluster, clock: Clock, tell: Tell, *, patience: timedelta, namespace: str = "") -> int:
    """Ask, and wait until everything is let go; the exit code."""
    try:
        await mark(cluster, asked=True)
    except NotFound:
        return await _nobody_to_ask(cluster, tell, namespace)
    deadline = clock.monotonic() + patience.total_seconds()
    told: dict[str, str] = {}
    while left := await _left(cluster, namespace):
        for name, state in left.items():
            if told.get(name) != state:
                tell(f"{name}: {state}")
        if clock.monotonic() >= deadline:
            tell(f"Not let go within {format_duration(patience)}:")
            return _give_up(left, tell)
        told = left
        await clock.sleep(LOOKING)
    tell("All releases are let go; their objects stay.")
    return 0


async def _nobody_to_ask(cluster: Cluster, tell: Tell, namespace: str) -> int:
    held = {_name(release): _state(release) for release in await _releases(cluster, namespace) if _held(release)}
    if not held:
        tell("Nothing is held.")
        return 0
    gates = " nor ".join(f"{kind.name} {name}" for kind, _, name in map(_named, FORMS.values()))
    tell(f"Neither {gates} is there to ask by. Install the gate again, or delete these releases:")
    return _give_up(held, tell)


def _give_up(left: Mapping[str, str], tell: Tell) -> int:
    for name, state in left.items():
        tell(f"    {name}: {state}")
    tell("Nothing is lost: what was asked stands, and a second try waits again. `tidegate take-up` withdraws it.")
    return 1


async def _left(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Releases that are not let go, each with what the operator says of it."""
    try:
        releases = await _releases(cluster, namespace)
    except Unavailable as error:
        return {"the API server": str(error)}
    return {_name(release): _state(release) for release in releases if _held(release) or not _free(release)}


async def _releases(cluster: Cluster, namespace: str) -> list[Object]:
    found: list[Object] = []
    for kind in RELEASES:
        with contextlib.suppress(NotFound):
            found.extend(await cluster.list(kind, namespace))
    return found


def _name(release: Object) -> str:
    return f"{release['metadata']['namespace']}/{release['metadata']['name']}"


def _held(release: Object) -> bool:
    return FINALIZER in (release["metadata"].get("finalizers") or ())


def _free(release: Object) -> bool:
    """The operator has said so: one that it has not looked at yet may be taken up in this moment."""
    status: Object = release.get("status", {})
    return status.get("phase") == Phase.LET_GO.value


def _state(release: Object) -> str:
    status = release.get("status", {})
    return f"{status['phase']}: {status.get('message', '')}" if status else "the operator has not seen it"

"""Istio: nobody can be asked what it serves by, but its metrics tell which Service a request was sent on to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.adapters.routers.serving import Serving
from tidegate.core import presets
from tidegate.core.counters import RouterSeries
from tidegate.core.observed import Backends

Json = dict[str, Any]


class Istio:
    """One of its controllers, and who counts what that splits."""

    def __init__(self, controller: str, reporters: str) -> None:
        self.controller, self._reporters = controller, reporters

    async def serving(self, route: Json) -> Serving | None:  # noqa: ARG002  # the data plane is asked nothing
        """See ``DataPlane``."""
        return None

    def series(self, routes: Sequence[Json], backends: Backends) -> RouterSeries:  # noqa: ARG002  # by Service alone
        """Named after the Service that was chosen."""
        return presets.of_istio(backends.namespace, backends.stable, backends.canary, self._reporters)


def planes() -> list[Istio]:
    """Its gateways; and its mesh, where a waypoint or the client's own sidecar chooses.

    What a gateway sends on through a waypoint both of them count: of a gateway's routes only its own word is taken.
    """
    return [Istio("istio.io/gateway-controller", "source"), Istio("istio.io/mesh-controller", "source|waypoint")]

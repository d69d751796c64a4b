"""Envoy Gateway: its metrics do not tell the backends of a rule apart.

All backends of a rule are one cluster, ``httproute/NAMESPACE/NAME/rule/N``, and Envoy counts requests by cluster: so
there is one count for both revisions (envoyproxy/gateway issues 6742 and 7008; separate ones only where a backend has
a filter). The pods, or the proxies beside them, have to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.adapters.routers.serving import Serving
from tidegate.core.counters import Uncounted
from tidegate.core.observed import Backends

Json = dict[str, Any]


class EnvoyGateway:
    """Known for what it does not count."""

    controller = "gateway.envoyproxy.io/gatewayclass-controller"

    async def serving(self, route: Json) -> Serving | None:  # noqa: ARG002  # the data plane is asked nothing
        """See ``DataPlane``."""
        return None

    def series(self, routes: Sequence[Json], backends: Backends) -> Uncounted:  # noqa: ARG002  # of none of them
        """None of them."""
        return Uncounted("Envoy Gateway counts the requests of all backends of a rule together")

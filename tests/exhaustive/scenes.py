"""Where histories take place: kinds of releases, what leads to the Service, and the versions that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubelet import Version
from tidegate.api.releasestatus import Stage
from tidegate.ports.cluster import (
    BLUE_GREEN_RELEASES,
    CANARY_RELEASES,
    HTTPROUTES,
    INGRESSES,
    ROLLING_RELEASES,
    TRAEFIK_SERVICES,
    Kind,
)

VERSIONS: Mapping[str, Version] = {
    "v1": Version(),
    "v2": Version(starts_in=0.5),
    "v3": Version(starts_in=4.0),
    "erroneous": Version(errors=0.5),
    "crashing": Version(crashes=True),
    "unready": Version(never_ready=True),
    "missing": Version(image_missing=True),
    "tiring": Version(fails_after=6.0),
}
GOOD = ("v1", "v2", "v3")
BAD = tuple(sorted(set(VERSIONS) - set(GOOD)))
PROBE = "another"
"""The version that is released last of all."""

QUIET: dict[str, Any] = {
    "steps": [{"weight": 25, "bake": "4s"}, {"weight": 60, "bake": "2s"}],
    "drain": "1s",
    "progressDeadline": "60s",
    "analysis": {"metrics": []},
}
MARKED: dict[str, Any] = {"match": [{"headers": {"x-canary": "always"}}], "bake": "3s"}
GATED: dict[str, Any] = {
    **QUIET,
    "health": {"checks": [{"name": "deep", "http": {"path": "/", "port": 80}, "interval": "1s"}]},
    "gates": [
        {"name": at.lower(), "at": at, "job": {"template": {"spec": {"containers": [{"name": "t", "image": "gate"}]}}}}
        for at in ("BeforeStart", "BeforeStep", "BeforePromotion", "AfterPromotion")
    ],
}
MEASURED: dict[str, Any] = {
    **QUIET,
    "steps": [{"weight": 25, "bake": "20s"}, {"weight": 100, "bake": "6s"}],
    "analysis": {"interval": "2s", "warmup": "0s", "minRequests": 10},
}
SWITCH: dict[str, Any] = {
    "watch": "4s",
    "keep": "3s",
    "drain": "1s",
    "progressDeadline": "60s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}
BATCHES: dict[str, Any] = {
    "batch": "30%",
    "onFailure": "RevertAll",
    "bake": "2s",
    "drain": "1s",
    "progressDeadline": "60s",
    "traffic": {"propagation": "1s"},
    "analysis": {"metrics": []},
}
JUDGED: dict[str, Any] = {key: GATED[key] for key in ("health", "gates")}
PREVIEW: dict[str, Any] = {"preview": {"service": "checkout-preview"}, "switch": {"approval": "Manual"}}
WINDOW: dict[str, Any] = {"rollback": {"window": 2}}
BY_PODS: dict[str, Any] = {
    **QUIET,
    "steps": [{"weight": 25, "bake": "4s"}, {"weight": 50, "bake": "2s"}],
    "traffic": {"podShare": {}, "propagation": "1s"},
}


NOT_WIDENED = frozenset({Stage.WIDEN.value})
"""Where the Service leads to both revisions all the time."""


@dataclass(frozen=True)
class Scene:
    """What kind of release it is, and what leads to the Service, if anything does."""

    spec: Mapping[str, Any]
    kind: Kind = CANARY_RELEASES
    by: Kind | None = HTTPROUTES
    also: Kind | None = None
    """Leads there, too."""
    skips: frozenset[str] = frozenset()
    """Stages that its releases do not come to."""

    @property
    def judged(self) -> bool:
        """By its metrics."""
        return bool(self.spec["analysis"].get("metrics", True))

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that they do."""
        return tuple(stage.value for stage in Stage if stage.value not in self.skips)


SCENES: Mapping[str, Scene] = {
    "quiet": Scene(QUIET),
    "measured": Scene(MEASURED),
    "gated": Scene(GATED),
    "dark": Scene({**QUIET, "steps": [MARKED, *QUIET["steps"]]}),
    "sticky": Scene({**QUIET, "stickiness": {"cookie": "stay"}}),
    "nginx": Scene(QUIET, by=INGRESSES),
    "nginx-dark": Scene({**QUIET, "steps": [MARKED, *QUIET["steps"]]}, by=INGRESSES),
    "list": Scene(QUIET, by=TRAEFIK_SERVICES),
    "list-sticky": Scene({**QUIET, "stickiness": {"cookie": "stay"}}, by=TRAEFIK_SERVICES),
    "by-pods": Scene(BY_PODS, by=None, skips=NOT_WIDENED),
    "several": Scene(QUIET, also=INGRESSES),
    "window": Scene({**QUIET, **WINDOW}),
    "switch": Scene(SWITCH, BLUE_GREEN_RELEASES),
    "switch-judged": Scene({**SWITCH, "watch": "30s", "analysis": MEASURED["analysis"]}, BLUE_GREEN_RELEASES),
    "switch-service": Scene(SWITCH, BLUE_GREEN_RELEASES, by=None),
    "switch-nginx": Scene(SWITCH, BLUE_GREEN_RELEASES, by=INGRESSES),
    "switch-list": Scene(SWITCH, BLUE_GREEN_RELEASES, by=TRAEFIK_SERVICES),
    "switch-preview": Scene({**SWITCH, **PREVIEW}, BLUE_GREEN_RELEASES),
    "switch-gated": Scene({**SWITCH, **JUDGED}, BLUE_GREEN_RELEASES),
    "switch-several": Scene(SWITCH, BLUE_GREEN_RELEASES, also=INGRESSES),
    "switch-window": Scene({**SWITCH, **WINDOW}, BLUE_GREEN_RELEASES),
    "batches": Scene(BATCHES, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
    "batches-routed": Scene(BATCHES, ROLLING_RELEASES, skips=NOT_WIDENED),
    "batches-gated": Scene({**BATCHES, **JUDGED}, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
    "batches-one-back": Scene({**BATCHES, "onFailure": "RevertBatch"}, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
    "batches-window": Scene({**BATCHES, **WINDOW}, ROLLING_RELEASES, by=None, skips=NOT_WIDENED),
}

SHORTEST = 60.0
"""Seconds: the deadline of a stage, in all scenes."""

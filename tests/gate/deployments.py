"""Deployments under management: they keep what makes them so, and the deadline of a release."""

from __future__ import annotations

from tests.gate.case import ABSENT, Case, Json, Only, notes
from tidegate.core.gate import DEADLINE_WISH, HELD_DEADLINE, RELEASE
from tidegate.core.reading import REVISION

RELEASED = {RELEASE: "checkout"}
REVISED = {REVISION: "3"}
MANAGED = {**RELEASED, **REVISED}


def deployment(annotations: Json | None, deadline: int | None = 600, image: str = "none:1") -> Json:
    """One of no pods. It is paused, so that no controller makes revisions of it."""
    labels = {"app": "checkout"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {} if annotations is None else {"annotations": annotations},
        "spec": {
            "replicas": 0,
            "paused": True,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}},
            **({} if deadline is None else {"progressDeadlineSeconds": deadline}),
        },
    }


def _then(annotations: Json | None, deadline: int = 600, image: str = "none:1") -> Json:
    return {
        "metadata": {"annotations": ABSENT if annotations is None else Only(annotations)},
        "spec": {
            "progressDeadlineSeconds": deadline,
            "template": {"spec": {"containers": [{"image": image}]}},
        },
    }


def _deadline(seconds: int | None) -> Json:
    return {"spec": {"progressDeadlineSeconds": seconds}}


CASES = {
    # The annotation.
    "replaced from a manifest": Case(
        deployment(MANAGED), deployment(None, image="none:2"), _then(RELEASED, image="none:2"), whole=True
    ),
    "replaced from a manifest with annotations": Case(
        deployment(MANAGED), deployment({"team": "shop"}), _then({**RELEASED, "team": "shop"}), whole=True
    ),
    "replaced from an export": Case(deployment(MANAGED), deployment(REVISED), _then(MANAGED), whole=True),
    "replaced from one of another release": Case(
        deployment(MANAGED), deployment({RELEASE: "other"}), _then(RELEASED), whole=True
    ),
    "replaced before it has a revision": Case(deployment(RELEASED), deployment(None), _then(RELEASED), whole=True),
    "all annotations removed": Case(deployment(MANAGED), {"metadata": {"annotations": None}}, _then(RELEASED)),
    "as it was two revisions ago": Case(
        deployment(MANAGED), notes(**{RELEASE: None, REVISION: "1"}), _then({**RELEASED, REVISION: "1"})
    ),
    "let go": Case(deployment(MANAGED), notes(**{RELEASE: None}), _then(REVISED)),
    "given to another release": Case(
        deployment(MANAGED), notes(**{RELEASE: "other"}), _then({**REVISED, RELEASE: "other"})
    ),
    "a new template": Case(
        deployment(MANAGED),
        {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "none:2"}]}}}},
        _then(MANAGED, image="none:2"),
    ),
    "not managed, replaced": Case(
        deployment({DEADLINE_WISH: "60", **REVISED}), deployment(None), _then(None), whole=True
    ),
    # The deadline.
    "at rest, another deadline": Case(deployment(MANAGED), _deadline(60), _then(MANAGED, 60)),
    "in mid-release, another deadline": Case(
        deployment(MANAGED, HELD_DEADLINE), _deadline(60), _then({**MANAGED, DEADLINE_WISH: "60"}, HELD_DEADLINE)
    ),
    "in mid-release, the default": Case(
        deployment(MANAGED, HELD_DEADLINE), _deadline(None), _then({**MANAGED, DEADLINE_WISH: "600"}, HELD_DEADLINE)
    ),
    "in mid-release, replaced": Case(
        deployment(MANAGED, HELD_DEADLINE),
        deployment(None, 90, "none:2"),
        _then({**RELEASED, DEADLINE_WISH: "90"}, HELD_DEADLINE, "none:2"),
        whole=True,
    ),
    "a newer wish": Case(
        deployment({**MANAGED, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        deployment(None, None),
        _then({**RELEASED, DEADLINE_WISH: "600"}, HELD_DEADLINE),
        whole=True,
    ),
    "no newer wish": Case(
        deployment({**MANAGED, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        deployment(None, HELD_DEADLINE),
        _then({**RELEASED, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        whole=True,
    ),
    "in mid-release, another edit": Case(
        deployment({**MANAGED, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        notes(team="shop"),
        _then({**MANAGED, DEADLINE_WISH: "60", "team": "shop"}, HELD_DEADLINE),
    ),
    "in mid-release, let go": Case(
        deployment({**MANAGED, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        notes(**{RELEASE: None, DEADLINE_WISH: None}),
        _then(REVISED, HELD_DEADLINE),
    ),
    "in mid-release, let go with a deadline": Case(
        deployment(MANAGED, HELD_DEADLINE),
        {**notes(**{RELEASE: None}), **_deadline(60)},
        _then({**REVISED, DEADLINE_WISH: "60"}, HELD_DEADLINE),
    ),
    "let go, another deadline": Case(deployment(REVISED, HELD_DEADLINE), _deadline(60), _then(REVISED, 60)),
    "by Tidegate": Case(
        deployment({**MANAGED, DEADLINE_WISH: "60"}, HELD_DEADLINE),
        {"metadata": {"annotations": None}, **_deadline(60)},
        _then(None, 60),
        by_tidegate=True,
    ),
}

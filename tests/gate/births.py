"""ReplicaSets as they are created."""

from __future__ import annotations

from tests.gate.case import ABSENT, Case, Json
from tests.gate.sizes import replicaset
from tidegate.core.gate import CEILING, RELEASE
from tidegate.core.reading import REVISION

HELD: Json = {"spec": {"replicas": 0}, "metadata": {"annotations": {CEILING: "0"}}}
FREE: Json = {"spec": {"replicas": 3}}
UNNOTED: Json = {**FREE, "metadata": {"annotations": ABSENT}}


def _newborn(
    *,
    release: str | None = "checkout",
    revision: str | None = "2",
    owner: str | None = "Deployment",
    replicas: int | None = 3,
) -> Json:
    """By default the second revision of a managed Deployment, of 3 pods."""
    noted = {key: value for key, value in ((RELEASE, release), (REVISION, revision)) if value is not None}
    body = replicaset(noted or None, replicas)
    if owner:
        uid = "2b4a9a4e-6d5c-4b5e-9d1f-0c6f1d8a7e55"
        reference = {"apiVersion": "apps/v1", "kind": owner, "name": "checkout", "uid": uid, "controller": True}
        body["metadata"]["ownerReferences"] = [reference]
    return body


CASES = {
    "a new revision": Case(None, _newborn(), HELD),
    "an empty name": Case(None, _newborn(release=""), HELD),
    "no revision known": Case(None, _newborn(revision=None), HELD),
    "no size asked": Case(None, _newborn(replicas=None), HELD),
    "none asked": Case(None, _newborn(replicas=0), HELD),
    "the tenth": Case(None, _newborn(revision="10"), HELD),
    "the first revision": Case(None, _newborn(revision="1"), FREE),
    "not managed": Case(None, _newborn(release=None), FREE),
    "not managed, nothing noted": Case(None, _newborn(release=None, revision=None), UNNOTED),
    "nobody's": Case(None, _newborn(owner=None), FREE),
    "of something else": Case(None, _newborn(owner="Rollout"), FREE),
    "by Tidegate": Case(None, _newborn(), FREE, by_tidegate=True),
}

"""What each single write must keep to, whoever makes it: which fields are Tidegate's, which pods are stable's.

The other half of the oracle (tests/fakes/oracle.py), which judges where requests go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fakes.cluster import TIDEGATE, FakeCluster, Write, copied
from tests.fakes.deployments import without_hash
from tidegate.api.base import GROUP
from tidegate.api.conditions import ConditionType
from tidegate.api.releasestatus import Outcome, Phase, ReleaseStatus, Stage
from tidegate.core import dark
from tidegate.core.forward import FORWARD
from tidegate.core.gate import FLOOR, RELEASE
from tidegate.core.hold import RELEASING
from tidegate.core.reading import DESIRED, HASH
from tidegate.engine.act import FINALIZER
from tidegate.ports.cluster import (
    DEPLOYMENTS,
    EVENTS,
    FEATURE_FLAGS,
    INGRESSES,
    JOBS,
    LEASES,
    RELEASES,
    REPLICASETS,
    ROLLING_RELEASES,
    ROUTES,
    SERVICES,
    TRAEFIK_SERVICES,
    Kind,
    Object,
)

BACK = frozenset({Stage.REVERT, Stage.DRAIN, Stage.RETIRE, Stage.FLAG})
PROMOTE = frozenset({Stage.WIDEN, Stage.NARROW, Stage.RETURN, Stage.LIFT})
ONWARDS = frozenset({Stage.LIFT, Stage.CLEAN})
"""Stages from which there is no way back to stable: its pods may be going."""
RESTING = frozenset({Phase.IDLE, Phase.LET_GO})


class Laws:
    """Told of each write. ``note`` takes what must not be; ``excused`` says that pods are somebody else's doing."""

    def __init__(
        self,
        cluster: FakeCluster,
        note: Callable[[str], None],
        status: Callable[[], ReleaseStatus | None],
        excused: Callable[[], bool],
    ) -> None:
        self._cluster, self._note, self._status, self._excused = cluster, note, status, excused
        self._wrote: set[tuple[int, Kind, str]] = set()
        """What the leader of a term has written to."""
        self._last: tuple[object, ReleaseStatus] = (None, ReleaseStatus())
        self.theirs = dict(_THEIRS)
        """What of an object of each kind is not Tidegate's."""

    def judge(self, write: Write) -> None:
        """Is this write right?"""
        if write.who == TIDEGATE and write.client:
            self._rights(write)
            self._fence(write)
            if write.kind in RELEASES and write.after and write.after.get("status"):
                self._told(write.before or {}, write.after)
        if write.kind == REPLICASETS and write.before and write.after:
            self._size(write, write.before, write.after)

    def _rights(self, write: Write) -> None:
        """Tidegate changes the fields that are its own, and nothing else."""
        if write.kind in (EVENTS, LEASES):
            return
        if write.before is None or write.after is None:
            obj = write.after or write.before or {}
            if write.kind not in (SERVICES, INGRESSES, JOBS) or not _ours(obj):
                if write.kind in RELEASES and write.verb == "delete":
                    return  # its last finalizer went
                self._note(f"Tidegate is not to {write.verb} {write.kind.name} {write.name}")
            return
        if write.kind not in self.theirs:
            self._note(f"Tidegate is not to write to {write.kind.name} {write.name}")
            return
        if _ours(write.before):
            return
        before, after = (self.theirs[write.kind](obj) for obj in (write.before, write.after))
        if write.kind == DEPLOYMENTS and (self._wished(after) or self._set_back(after)):
            before["spec"]["template"] = after["spec"]["template"]
        status = self._status()
        if write.kind == DEPLOYMENTS and status and status.journal and status.journal.braked:
            before["spec"]["paused"] = after["spec"].get("paused")
            before["spec"] = {key: value for key, value in before["spec"].items() if value is not None}
        if before != after:
            self._note(f"Tidegate wrote more of {write.kind.name} {write.name} than it may")

    def _fence(self, write: Write) -> None:
        """Once a leader has written to something, none that led before it writes to that again.

        (Events are news, not state.)
        """
        if write.kind in (EVENTS, LEASES):
            return
        terms = [
            (spec.get("leaseTransitions", 0), spec["holderIdentity"])
            for spec in (lease.get("spec", {}) for lease in self._cluster.all(LEASES))
            if spec.get("holderIdentity")
        ]
        if not terms:
            return
        term, holder = terms[0]
        if write.client == holder:
            self._wrote.add((term, write.kind, write.name))
        elif (term, write.kind, write.name) in self._wrote:
            self._note(f"{write.client} was to {write.verb} {write.kind.name} {write.name} no more: {holder} had begun")

    def _wished(self, deployment: Object) -> bool:
        """The template has the images that a release wishes for."""
        releases = _releases(self._cluster, deployment["metadata"]["namespace"])
        wishes = [release["spec"].get("images") or {} for release in releases]
        images = {c["name"]: c["image"] for c in deployment["spec"]["template"]["spec"]["containers"]}
        return any(wish and wish.items() <= images.items() for wish in wishes)

    def _set_back(self, deployment: Object) -> bool:
        """The template is stable's again, as letting go makes it, and the end of the gate."""
        namespace, template = deployment["metadata"]["namespace"], deployment["spec"]["template"]
        stable = {r.get("status", {}).get("stable", {}).get("hash") for r in _releases(self._cluster, namespace)}
        sets = [rs for rs in self._cluster.all(REPLICASETS, namespace) if rs["metadata"]["labels"][HASH] in stable]
        return any(without_hash(rs["spec"]["template"]) == template for rs in sets)

    def _size(self, write: Write, before: Object, after: Object) -> None:
        """Stable is never made smaller than its Deployment asks for: no pod of it is ever made a second time."""
        status = self._status()
        if status is None or status.stable is None or after["metadata"]["labels"][HASH] != status.stable.hash:
            return
        if self._excused() or (status.journal and status.journal.stage in ONWARDS):
            return
        notes = after["metadata"].get("annotations") or {}
        if self._cluster.all(ROLLING_RELEASES) and _under_way(status):
            return  # that is how it goes: what serves meanwhile is judged by how many do
        if FLOOR not in notes and self._let_go(status):
            return  # nobody's any more: a new template is rolled out as it would be without us
        desired = int(notes.get(DESIRED, 0))
        least = min(before["spec"]["replicas"], desired)
        if after["spec"]["replicas"] < least:
            self._note(
                f"{write.who} made stable {write.name} smaller than it may be: {before['spec']['replicas']} to"
                f" {after['spec']['replicas']} of {desired}"
            )

    def _stands(self, status: ReleaseStatus) -> bool:
        """All pods of stable stand, and are ready."""
        hash_ = status.stable.hash if status.stable else ""
        sets = self._cluster.all(REPLICASETS, "", f"{HASH}={hash_}")
        whole = [rs["spec"]["replicas"] <= rs.get("status", {}).get("readyReplicas", 0) for rs in sets]
        return bool(whole) and all(whole)

    def _let_go(self, status: ReleaseStatus) -> bool:
        """The release is being deleted, and no candidate is left of it."""
        releases = _releases(self._cluster)
        return any("deletionTimestamp" in release["metadata"] for release in releases) and not _under_way(status)

    def _told(self, before: Object, after: Object) -> None:
        """A status that a reader can make sense of, and a way that a release can go."""
        if before.get("status") == after.get("status"):
            return
        known, old = self._last
        if known is not before.get("status"):
            old = ReleaseStatus.model_validate(before.get("status") or {})
        new = ReleaseStatus.model_validate(after["status"])
        self._last = (after["status"], new)
        if not new.conditions:
            return
        self._way(old, new)
        said = {condition.type: condition.status for condition in new.conditions}
        generation = after["metadata"]["generation"]
        wrong = [
            (set(said) != set(ConditionType), f"conditions {sorted(said)}"),
            (
                (said.get("Ready") == "True") != (new.phase in (Phase.IDLE, Phase.LET_GO)),
                f"Ready is {said.get('Ready')}",
            ),
            (said.get("Stalled") == said.get("Ready") == "True", "Stalled and Ready"),
            (not new.message, "nothing is said"),
            (new.observed_generation > generation, f"generation {new.observed_generation} of {generation}"),
            (new.observed_generation < old.observed_generation, "an older generation is observed"),
            (
                _under_way(new) and new.phase in (Phase.IDLE, Phase.ROLLED_BACK),
                f"phase {new.phase} in {new.journal and new.journal.stage}",
            ),
            (
                bool(new.journal) and new.journal is not None and new.journal.stage in BACK and _outcome(new) is None,
                "it goes back and does not know as what",
            ),
        ]
        for is_wrong, what in wrong:
            if is_wrong:
                self._note(f"a status that must not be: {what} in phase {new.phase}")

    def _way(self, old: ReleaseStatus, new: ReleaseStatus) -> None:
        if not _under_way(old) or not _under_way(new) or old.journal is None or new.journal is None:
            return
        came, goes = old.journal.stage, new.journal.stage
        forwards = came in BACK and goes in FORWARD | PROMOTE
        too_late = came in ONWARDS and _outcome(old) in (None, Outcome.PROMOTED) and goes in BACK | FORWARD
        too_late = too_late and not (came is Stage.LIFT and goes is Stage.REVERT and self._stands(new))
        if forwards or too_late:
            self._note(f"no release goes from {came} to {goes}")
        if _outcome(old) not in (None, _outcome(new)):
            self._note(f"a release that was to end as {_outcome(old)} is to end as {_outcome(new)}")


def _releases(cluster: FakeCluster, namespace: str = "") -> list[Object]:
    """Of every kind."""
    return [release for kind in RELEASES for release in cluster.all(kind, namespace)]


def _under_way(status: ReleaseStatus) -> bool:
    return status.journal is not None and status.journal.stage is not Stage.REST


def _outcome(status: ReleaseStatus) -> Outcome | None:
    return status.journal.outcome if status.journal else None


def _ours(obj: Object) -> bool:
    return RELEASE in (obj["metadata"].get("labels") or {})


def _bare(obj: Object) -> Object:
    """An object without what the API server writes, and without our annotations."""
    bare = copied({key: value for key, value in obj.items() if key != "status"})
    meta = bare["metadata"]
    notes = {key: value for key, value in (meta.pop("annotations", None) or {}).items() if not key.startswith(GROUP)}
    if notes:
        meta["annotations"] = notes
    for changing in ("resourceVersion", "generation"):
        meta.pop(changing, None)
    return bare


def _deployment(obj: Object) -> Object:
    bare = _bare(obj)
    bare["spec"].pop("progressDeadlineSeconds", None)
    return bare


def _replicaset(obj: Object) -> Object:
    bare = _bare(obj)
    bare["spec"].pop("replicas", None)
    return bare


def _service(obj: Object) -> Object:
    bare = _bare(obj)
    (bare["spec"].get("selector") or {}).pop(HASH, None)
    return bare


def _route(obj: Object) -> Object:
    bare = _bare(obj)
    if "rules" in bare["spec"]:
        bare["spec"]["rules"] = [rule for rule in bare["spec"]["rules"] if not dark.is_dark(rule)]
    for rule in bare["spec"].get("rules", ()):
        rule.pop("backendRefs", None)
    return bare


def _traefik_service(obj: Object) -> Object:
    bare, note = _bare(obj), (obj["metadata"].get("annotations") or {}).get(RELEASING, "")
    (bare["spec"].get("weighted") or {}).pop("services", None)
    if '"stay":' in note:
        bare["spec"].get("weighted", {}).pop("sticky", None)
    return bare


def _release(obj: Object) -> Object:
    bare = _bare(obj)
    meta = bare["metadata"]
    meta["finalizers"] = [name for name in meta.get("finalizers") or () if name != FINALIZER]
    return bare


_THEIRS: Mapping[Kind, Callable[[Object], Object]] = {
    DEPLOYMENTS: _deployment,
    REPLICASETS: _replicaset,
    SERVICES: _service,
    **dict.fromkeys(RELEASES, _release),
    FEATURE_FLAGS: _bare,
    **dict.fromkeys(ROUTES, _route),
    TRAEFIK_SERVICES: _traefik_service,
}

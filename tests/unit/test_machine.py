"""The machine, question by question: what is observed and the stage in, the decision out."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.api.analysis import AnalysisStatus
from tidegate.api.canary import CanarySpec
from tidegate.api.conditions import Reason
from tidegate.api.gates import GateState, GateStatus
from tidegate.api.releasestatus import (
    Journal,
    Outcome,
    Phase,
    ReleaseRecord,
    ReleaseStatus,
    RevisionStatus,
    Stage,
    StepStatus,
    TrafficStatus,
)
from tidegate.api.traffic import Share
from tidegate.core import analysis
from tidegate.core.forward import FORWARD
from tidegate.core.gate import FREE, HELD, HELD_DEADLINE, SERVING, Bounds, exactly
from tidegate.core.hold import Hold
from tidegate.core.looking import arms, pods_of
from tidegate.core.machine import decide
from tidegate.core.observed import INTRODUCED, Deployment, Observed, Pod, Problem, Release, ReplicaSet, Route, Service
from tidegate.core.plan import (
    Bound,
    DeleteServices,
    EnsureServices,
    Manage,
    Plan,
    RestoreTemplate,
    Select,
    SetDeadline,
    SetFinalizer,
    Split,
)

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
OLD, NEW = "1111", "2222"
HOLD = Hold("CanaryRelease/checkout")
SPEC: dict[str, Any] = {
    "targetRef": {"name": "checkout"},
    "steps": [{"weight": 25, "bake": "60s"}, {"weight": 100, "bake": "60s"}],
    "analysis": {"metrics": []},
}


def revision(hash_: str, number: int) -> RevisionStatus:
    """As the status has it."""
    return RevisionStatus(revision=number, hash=hash_)


def status(stage: Stage, **changes: Any) -> ReleaseStatus:
    """A release under way, at its first step."""
    journal = {"stage": stage, "since": NOW, "target_uid": "d", "started_at": NOW}
    known = ReleaseStatus(
        stable=revision(OLD, 1),
        candidate=revision(NEW, 2),
        step=StepStatus(index=1, of=2, weight=25),
        journal=Journal(**{**journal, **changes.pop("journal", {})}),
    )
    return known.model_copy(update=changes)


def rest(**changes: Any) -> ReleaseStatus:
    """Nothing is under way; the old revision serves."""
    known = ReleaseStatus(stable=revision(OLD, 1), journal=Journal(since=NOW, target_uid="d"))
    return known.model_copy(update=changes)


def observed(known: ReleaseStatus, *, route: int | None = None, **changes: Any) -> Observed:
    """All is as it should be: 4 old pods, the new revision held, everything ready."""
    spec = CanarySpec.model_validate({**SPEC, **changes.pop("spec", {})})
    release = Release("shop", "checkout", "r", 1, spec, known, finalizer=True, **changes.pop("release", {}))
    resting = known.journal is not None and known.journal.stage is Stage.REST
    deadline = {"deadline": 600} if resting else {"deadline": HELD_DEADLINE, "deadline_note": "600"}
    deployment = Deployment(
        "checkout", "d", 4, settled=True, revision=2, managed_by="CanaryRelease/checkout", **deadline
    )
    obs = Observed(
        release=release,
        deployment=replace(deployment, **changes.pop("deployment", {})),
        replicasets=(
            ReplicaSet(
                "checkout-1",
                OLD,
                1,
                replicas=4,
                current=4,
                ready=4,
                bounds=SERVING,
                managed_by="CanaryRelease/checkout",
            ),
            replace(
                ReplicaSet("checkout-2", NEW, 2, bounds=HELD, managed_by="CanaryRelease/checkout"),
                **changes.pop("candidate", {}),
            ),
        ),
        service=Service("checkout", None) if resting else Service("checkout", OLD, frozenset("abcd"), hold=HOLD),
        stable_service=None if resting else Service("checkout-stable", OLD, frozenset("abcd")),
        canary_service=None if resting else Service("checkout-canary", NEW, frozenset()),
        routes=(Route("HTTPRoute/checkout", route, applied=True, servers=None),),
    )
    return replace(obs, **changes)


def stage(plan: Plan) -> Stage:
    """Where the machine will be."""
    assert plan.status.journal
    return plan.status.journal.stage


def at_rest_with_the_old_template(**changes: Any) -> Observed:
    """Nothing to do."""
    return observed(rest(), deployment={"revision": 1, "deadline": 600, **changes.pop("deployment", {})}, **changes)


class TestAtRest:
    """Nothing is under way."""

    def test_nothing_is_done(self) -> None:
        plan = decide(at_rest_with_the_old_template(), NOW)
        assert (plan.actions, plan.urgent, plan.events, plan.wake) == ((), (), (), None)
        assert plan.status.phase is Phase.IDLE
        again = decide(replace(at_rest_with_the_old_template(), release=replace(_release(plan.status))), NOW)
        assert again.status == plan.status, "no second status write"

    def test_bounds_that_somebody_changed_are_put_right(self) -> None:
        obs = at_rest_with_the_old_template(candidate={"bounds": FREE})
        assert decide(obs, NOW).actions == (Bound("checkout-2", HELD, 0),)

    @pytest.mark.parametrize(("route", "size"), [(25, None), (0, 0), (None, 0)])
    def test_pods_of_another_revision_go_after_their_traffic(self, route: int | None, size: int | None) -> None:
        there = {"replicas": 1, "current": 1, "ready": 1, "bounds": exactly(25)}
        plan = decide(at_rest_with_the_old_template(candidate=there, route=route), NOW)
        assert Bound("checkout-2", HELD, size) in plan.actions

    def test_a_new_template_begins_a_release_the_same_instant(self) -> None:
        plan = decide(observed(rest(), deployment={"deadline": 600}), NOW)
        assert stage(plan) is Stage.PREPARE
        assert SetDeadline(HELD_DEADLINE, "600") in plan.actions
        assert [event.reason for event in plan.events] == [Reason.RELEASE_STARTED]

    def test_a_revision_that_was_rolled_back_is_not_begun_again(self) -> None:
        last = ReleaseRecord(
            revision=2, hash=NEW, outcome=Outcome.ROLLED_BACK, reason="CrashLoop", started_at=NOW, finished_at=NOW
        )
        plan = decide(observed(rest(candidate=revision(NEW, 2), last_release=last)), NOW)
        assert (stage(plan), plan.status.phase) == (Stage.REST, Phase.ROLLED_BACK)

    @pytest.mark.parametrize(
        ("changes", "phase", "reason"),
        [
            ({"deployment": {"strategy": "Recreate"}}, Phase.INVALID, Reason.STRATEGY_RECREATE),
            ({"problems": (Problem(Reason.GATE_MISSING, "apply it"),)}, Phase.BLOCKED, Reason.GATE_MISSING),
            ({"release": {"invalid": "spec.steps: no"}}, Phase.INVALID, Reason.INVALID_SPEC),
            ({"deployment": {"paused": True}}, Phase.WAITING, Reason.TARGET_PAUSED),
            ({"spec": {"paused": True}}, Phase.WAITING, Reason.PAUSED),
            ({"deployment": {"settled": False}}, Phase.WAITING, Reason.WAITING_FOR_ROLLOUT),
        ],
    )
    def test_what_keeps_a_release_from_starting(self, changes: dict[str, Any], phase: Phase, reason: Reason) -> None:
        plan = decide(observed(rest(), **changes), NOW)
        assert (stage(plan), plan.status.phase) == (Stage.REST, phase)
        assert plan.status.conditions[0].reason == reason
        assert not plan.events

    def test_adoption_is_one_annotation_and_bounds(self) -> None:
        obs = observed(
            ReleaseStatus(),
            deployment={"managed_by": "", "revision": 2},
            candidate={"replicas": 4, "current": 4, "ready": 4, "bounds": FREE},
        )
        old, new = obs.replicasets
        obs = replace(obs, replicasets=(replace(old, replicas=0, current=0, ready=0, bounds=FREE), new))
        obs = replace(obs, release=replace(obs.release, finalizer=False))
        plan = decide(obs, NOW)
        assert plan.actions == (
            SetFinalizer(present=True),
            Manage("CanaryRelease/checkout"),
            Bound("checkout-1", HELD, 0),
            Bound("checkout-2", SERVING, None),
        )
        assert plan.status.phase is Phase.PROGRESSING, "it is not Ready before its bounds stand"
        assert [event.reason for event in plan.events] == [Reason.ADOPTED]

    def test_a_deployment_in_mid_rollout_is_not_adopted(self) -> None:
        obs = observed(ReleaseStatus(), deployment={"managed_by": ""}, candidate={"current": 1})
        obs = replace(obs, replicasets=tuple(replace(rs, bounds=FREE) for rs in obs.replicasets))
        plan = decide(obs, NOW)
        assert (plan.actions, plan.status.phase) == ((), Phase.WAITING)

    def test_bounds_do_not_hold_up_a_rollout_that_is_nobodys(self) -> None:
        obs = observed(ReleaseStatus(), deployment={"managed_by": ""}, candidate={"current": 1})
        plan = decide(obs, NOW)
        assert plan.actions == (Bound("checkout-1", FREE, None), Bound("checkout-2", FREE, None))
        assert plan.status.phase is Phase.WAITING


def _release(known: ReleaseStatus) -> Release:
    return Release("shop", "checkout", "r", 1, CanarySpec.model_validate(SPEC), known, finalizer=True)


class TestForward:
    """Each stage is done when its result is seen, and not before."""

    def test_stable_carries_the_traffic_by_its_own_service_once_the_router_knows_its_endpoints(self) -> None:
        service = Service("checkout-stable", OLD, frozenset("abcd"), frozenset({"10.0.0.1"}))
        for known, moved in ((frozenset[str](), False), (frozenset({"10.0.0.1"}), True)):
            route = Route("HTTPRoute/checkout", INTRODUCED, True, servers={"checkout-stable": known})
            plan = decide(observed(status(Stage.PREPARE), stable_service=service, routes=(route,)), NOW)
            assert (Split(Share(0)) in plan.actions) is moved

    def test_the_route_is_touched_only_when_stable_has_all_endpoints(self) -> None:
        for endpoints, split in ((frozenset(), False), (frozenset("abc"), False), (frozenset("abcd"), True)):
            service = Service("checkout-stable", OLD, endpoints)
            plan = decide(observed(status(Stage.PREPARE), stable_service=service), NOW)
            assert (Split(Share(INTRODUCED)) in plan.actions) is split

    def test_the_services_come_first(self) -> None:
        obs = observed(status(Stage.PREPARE), stable_service=None, canary_service=None)
        plan = decide(replace(obs, service=Service("checkout", None, frozenset("abcd"))), NOW)
        assert plan.actions == (EnsureServices(OLD, NEW), Select(OLD))

    def test_pods_come_when_the_route_is_applied(self) -> None:
        lagging = (Route("HTTPRoute/checkout", 0, applied=False, waiting="not yet"),)
        assert stage(decide(observed(status(Stage.PREPARE), routes=lagging), NOW)) is Stage.PREPARE
        known = status(Stage.PREPARE, journal={"settled_at": NOW - timedelta(seconds=9)})
        plan = decide(observed(known, route=0), NOW)
        assert stage(plan) is Stage.SCALE
        assert plan.actions == (Bound("checkout-2", exactly(25), 1),)

    @pytest.mark.parametrize(
        ("ready", "endpoints", "goes_on"), [(0, "", False), (1, "", False), (0, "e", False), (1, "e", True)]
    )
    def test_weight_comes_when_pods_are_ready_and_endpoints(self, ready: int, endpoints: str, goes_on: bool) -> None:
        candidate = {"replicas": 1, "current": 1, "ready": ready, "bounds": exactly(25)}
        known = status(Stage.SCALE, journal={"settled_at": NOW - timedelta(seconds=9)})
        canary = Service("checkout-canary", NEW, frozenset(endpoints))
        plan = decide(observed(known, route=0, candidate=candidate, canary_service=canary), NOW)
        assert (stage(plan) is Stage.SHIFT) is goes_on
        assert (Split(Share(25)) in plan.actions) is goes_on

    def test_the_bake_begins_when_the_weight_is_applied(self) -> None:
        obs = observed(status(Stage.SHIFT), route=25, canary_service=Service("checkout-canary", NEW, frozenset("e")))
        waiting = replace(obs, routes=(Route("HTTPRoute/checkout", 25, applied=False),))
        assert stage(decide(waiting, NOW)) is Stage.SHIFT
        plan = decide(obs, NOW)
        assert stage(plan) is Stage.BAKE
        assert plan.status.step
        assert plan.status.step.until == NOW + timedelta(seconds=60)

    @pytest.mark.parametrize(("index", "after"), [(1, Stage.SCALE), (2, Stage.NARROW)])
    def test_after_the_last_bake_comes_the_promotion(self, index: int, after: Stage) -> None:
        weight = (25, 100)[index - 1]
        step = StepStatus(index=index, of=2, weight=weight, started_at=NOW, until=NOW + timedelta(seconds=60))
        known = status(Stage.BAKE, step=step, traffic=TrafficStatus(router="", weight=weight))
        canary = Service("checkout-canary", NEW, frozenset("e"))
        obs = observed(known, route=weight, canary_service=canary)
        assert stage(decide(obs, NOW + timedelta(seconds=59))) is Stage.BAKE
        plan = decide(obs, NOW + timedelta(seconds=60))
        assert stage(plan) in (after, Stage.WIDEN)
        assert not any(isinstance(action, Split) for action in plan.actions)

    def test_a_weight_that_somebody_changed_is_put_right(self) -> None:
        step = StepStatus(index=1, of=2, weight=25, started_at=NOW, until=NOW + timedelta(seconds=60))
        canary = Service("checkout-canary", NEW, frozenset("e"))
        plan = decide(observed(status(Stage.BAKE, step=step), route=None, canary_service=canary), NOW)
        assert Split(Share(25)) in plan.actions


class TestBackward:
    """What turns a release back, from wherever it is."""

    @pytest.mark.parametrize("at", sorted(set(Stage) - {Stage.REST, Stage.CLEAN}))
    @pytest.mark.parametrize("another", [False, True])
    def test_a_target_that_is_gone_is_cleaned_up_after_and_another_of_its_name_left_alone(
        self, at: Stage, another: bool
    ) -> None:
        step = StepStatus(index=1, of=2, weight=25, started_at=NOW, until=NOW + timedelta(seconds=60))
        known = status(at, step=step, journal={"served": True})
        obs = observed(known, route=25, deployment={"uid": "another"})
        plan = decide(obs if another else replace(obs, deployment=None, replicasets=()), NOW)
        assert stage(plan) is Stage.CLEAN
        assert plan.status.journal
        assert (plan.status.journal.outcome, plan.status.journal.reason) == (Outcome.ABORTED, "TargetNotFound")
        assert not any(isinstance(action, Bound) for action in plan.actions)

    @pytest.mark.parametrize("at", sorted(FORWARD))
    @pytest.mark.parametrize(
        ("changes", "outcome", "reason"),
        [
            ({"release": {"deleting": True}}, Outcome.ABORTED, "ReleaseDeleted"),
            ({"deployment": {"revision": 1}}, Outcome.ABORTED, "TemplateRestored"),
            (
                {"pods": (Pod("p", NEW, ready=False, trouble=Reason.CRASH_LOOP, message="exit 1"),)},
                Outcome.ROLLED_BACK,
                "CrashLoop",
            ),
        ],
    )
    def test_it_turns_back(self, at: Stage, changes: dict[str, Any], outcome: Outcome, reason: str) -> None:
        step = StepStatus(index=1, of=2, weight=25, started_at=NOW, until=NOW + timedelta(seconds=60))
        known = status(at, step=step, journal={"served": True})
        plan = decide(observed(known, route=25, spec={"paused": True}, **changes), NOW)
        assert stage(plan) is Stage.REVERT
        assert plan.urgent == (Split(Share(0)),), "traffic waits for nothing, not even for the status"
        assert plan.status.journal
        assert (plan.status.journal.outcome, plan.status.journal.reason) == (outcome, reason)

    def test_pods_wait_for_the_router_and_for_the_drain(self) -> None:
        applied = Route("HTTPRoute/checkout", 0, applied=True)
        known = status(Stage.REVERT, journal={"outcome": Outcome.ROLLED_BACK, "reason": "CrashLoop", "served": True})
        candidate = {"replicas": 1, "current": 1, "bounds": exactly(25)}
        obs = observed(known, candidate=candidate, routes=(replace(applied, applied=False),))
        assert stage(decide(obs, NOW)) is Stage.REVERT
        plan = decide(replace(obs, routes=(applied,)), NOW)
        assert (stage(plan), plan.actions) == (Stage.DRAIN, ())
        obs = replace(obs, routes=(applied,), release=_release(plan.status))
        assert decide(obs, NOW + timedelta(seconds=29)).actions == ()
        later = decide(obs, NOW + timedelta(seconds=30))
        assert stage(later) is Stage.RETIRE
        assert Bound("checkout-2", HELD, 0) in later.actions

    def test_the_first_reason_stands(self) -> None:
        known = status(Stage.REVERT, journal={"outcome": Outcome.ROLLED_BACK, "reason": "CrashLoop", "message": "x"})
        plan = decide(observed(known, route=25, deployment={"revision": 1}), NOW)
        assert plan.status.journal
        assert plan.status.journal.reason == "CrashLoop"
        assert not plan.events

    def test_the_end_of_a_revert_is_told_once(self) -> None:
        journal = {"outcome": Outcome.ROLLED_BACK, "reason": "CrashLoop", "message": "exit 1"}
        obs = observed(status(Stage.CLEAN, journal=journal), deployment={"deadline": 600, "deadline_note": ""})
        plan = decide(replace(obs, stable_service=None, canary_service=None, service=Service("checkout", None)), NOW)
        assert stage(plan) is Stage.REST
        assert plan.ended == plan.status.last_release
        assert plan.ended
        assert (plan.ended.outcome, plan.ended.reason) == (Outcome.ROLLED_BACK, "CrashLoop")
        assert [event.reason for event in plan.events] == [Reason.ROLLED_BACK]

    def test_cleaning_takes_back_all_three(self) -> None:
        journal = {"outcome": Outcome.ROLLED_BACK, "reason": "CrashLoop"}
        obs = replace(observed(status(Stage.CLEAN, journal=journal)), made=("checkout-stable",))
        plan = decide(obs, NOW)
        assert set(plan.actions) == {Select(None, held=False), DeleteServices(), SetDeadline(600)}


class TestLettingGo:
    """The release object is being deleted, nothing is under way."""

    def test_the_annotation_goes_first_then_the_bounds_then_the_finalizer(self) -> None:
        obs = observed(rest(), release={"deleting": True}, deployment={"revision": 1})
        assert decide(obs, NOW).actions == (Manage(None),)
        obs = observed(rest(), release={"deleting": True}, deployment={"managed_by": ""})
        assert decide(obs, NOW).actions == (Bound("checkout-1", FREE, None), Bound("checkout-2", FREE, None))
        free = tuple(replace(rs, managed_by="", bounds=FREE) for rs in obs.replicasets)
        assert decide(replace(obs, replicasets=free), NOW).actions == (SetFinalizer(present=False),)

    def test_what_was_not_promoted_is_not_rolled_out_by_letting_go(self) -> None:
        obs = observed(rest(), release={"deleting": True})
        assert decide(obs, NOW).actions == (RestoreTemplate("checkout-1"),)

    def test_what_another_release_manages_is_left_alone(self) -> None:
        obs = observed(rest(), release={"deleting": True}, deployment={"managed_by": "another"})
        theirs = tuple(replace(rs, managed_by="another") for rs in obs.replicasets)
        assert decide(replace(obs, replicasets=theirs), NOW).actions == (SetFinalizer(present=False),)

    def test_a_target_that_is_gone_lets_go_at_once(self) -> None:
        obs = replace(observed(rest(), release={"deleting": True}), deployment=None, replicasets=())
        assert decide(obs, NOW).actions == (SetFinalizer(present=False),)


@given(
    at=st.sampled_from(list(Stage)),
    route=st.sampled_from([None, 0, 25, 100, -1]),
    applied=st.booleans(),
    deleting=st.booleans(),
    gone=st.booleans(),
    hashes=st.tuples(*[st.sampled_from([None, OLD, NEW])] * 3),
    outcome=st.sampled_from([None, Outcome.ROLLED_BACK, Outcome.SUPERSEDED]),
    revision_=st.sampled_from([1, 2, 3]),
)
def test_whatever_is_seen_the_decision_is_one_and_the_same(
    at: Stage,
    route: int | None,
    applied: bool,
    deleting: bool,
    gone: bool,
    hashes: tuple[str | None, ...],
    outcome: Outcome | None,
    revision_: int,
) -> None:
    """It never fails, twice asked is once answered, and no pod of the candidate goes while it has traffic."""
    journal = {"outcome": outcome, "reason": "CrashLoop" if outcome else ""}
    known = status(at, journal=journal) if at is not Stage.REST else rest()
    user, stable, canary = hashes
    obs = observed(
        known,
        release={"deleting": deleting},
        deployment={"revision": revision_},
        candidate={"replicas": 1, "current": 1, "ready": 1, "bounds": exactly(25)},
        routes=(Route("HTTPRoute/checkout", route, applied=applied),),
        service=Service("checkout", user, frozenset("abcd")),
        stable_service=Service("checkout-stable", stable, frozenset("abcd")) if stable else None,
        canary_service=Service("checkout-canary", canary, frozenset("e")) if canary else None,
    )
    if gone:
        obs = replace(obs, deployment=None, replicasets=())
    plan = decide(obs, NOW)
    assert plan == decide(obs, NOW)
    took_pods = Bound("checkout-2", HELD, 0) in plan.actions
    assert not (took_pods and route), "pods go after traffic"
    assert ReleaseStatus.model_validate(plan.status.wire()) == plan.status, "the journal survives a restart"


@pytest.mark.parametrize(
    ("bounds", "asked", "desired", "granted"),
    [
        (HELD, 7, 10, 0),
        (SERVING, 0, 10, 10),
        (SERVING, 12, 10, 12),
        (exactly(25), 0, 9, 3),
        (exactly(25), 9, 9, 3),
        (exactly(1), 0, 1, 1),
        (exactly(100), 3, 0, 0),
        (FREE, 7, 10, 7),
        (Bounds("2", "5"), 9, 10, 5),
        (Bounds("2", "5"), 0, 10, 2),
        (Bounds("5", "2"), 3, 10, 5),
    ],
)
def test_the_gate_grants(bounds: Bounds, asked: int, desired: int, granted: int) -> None:
    assert bounds.size(asked, desired) == granted


@pytest.mark.parametrize("by_service", [True, False])
@pytest.mark.parametrize("requests", [0, 500])
def test_that_callers_may_hold_their_connections_is_said_where_none_come(*, by_service: bool, requests: int) -> None:
    seen = AnalysisStatus(
        verdict="Inconclusive", reason="NeedsRequests", leans_to_failing=True, step_requests=requests, looked_at=NOW
    )
    known = status(
        Stage.BAKE,
        journal={"looked_step": 1},
        analysis=seen,
        traffic=TrafficStatus(router="", weight=25, applied=True),
        step=StepStatus(index=1, of=2, weight=25, started_at=NOW, until=NOW),
    )
    obs = observed(
        known,
        route=25,
        candidate={"bounds": exactly(25), "replicas": 1, "current": 1, "ready": 1},
        service=Service("checkout", None if by_service else OLD, frozenset("abcd"), hold=HOLD),
        canary_service=Service("checkout-canary", NEW, frozenset("e")),
        by_service=by_service,
    )
    message = decide(obs, NOW).status.message
    assert "held, evidence leans to failing" in message
    assert ("go over with their next connection" in message) == (by_service and not requests)


def test_a_weight_without_a_pod_behind_it_goes_back_and_the_evidence_stays() -> None:
    seen = AnalysisStatus(verdict="Inconclusive", reason="NeedsRequests", looked_at=NOW, message="so far")
    known = status(
        Stage.BAKE,
        journal={"served": True},
        analysis=seen,
        traffic=TrafficStatus(router="HTTPRoute/checkout", weight=25, applied=True),
        step=StepStatus(index=1, of=2, weight=25, started_at=NOW, until=NOW + timedelta(minutes=1)),
    )
    sized = {"bounds": exactly(25), "replicas": 1, "current": 1}
    plan = decide(observed(known, route=25, candidate=sized), NOW)
    assert plan.urgent == (Split(Share(0)),)
    assert stage(plan) is Stage.SCALE
    assert [event.reason for event in plan.events] == [Reason.SCALING]
    back = observed(plan.status, route=0, candidate={**sized, "ready": 1})
    pod = Service("checkout-canary", NEW, frozenset("e"))
    plan = decide(
        replace(
            back,
            canary_service=pod,
            routes=(Route("HTTPRoute/checkout", 0, True, servers={"checkout-canary": frozenset()}),),
        ),
        NOW,
    )
    assert stage(plan) is Stage.SHIFT
    assert plan.actions == (Split(Share(25)),)
    assert plan.status.analysis == seen


def test_nobody_is_read_over_and_over_for_answers_that_are_on_their_way() -> None:
    """Of hundreds that wait each is told of by who asked: to read them for that would hold up the answers."""
    spec = {"analysis": {"interval": "30s", "metrics": [{"name": "errors", "preset": "ErrorRatio", "max": "5%"}]}}
    known = status(
        Stage.BAKE,
        journal={"looked_step": 1},
        traffic=TrafficStatus(router="HTTPRoute/checkout", weight=25, applied=True),
        step=StepStatus(index=1, of=2, weight=25, started_at=NOW, until=NOW + timedelta(minutes=10)),
    )
    obs = observed(
        known,
        spec=spec,
        route=25,
        candidate={"bounds": exactly(25), "replicas": 1, "current": 1, "ready": 1},
        canary_service=Service("checkout-canary", NEW, frozenset("e")),
    )
    rules, sides = CanarySpec.model_validate({**SPEC, **spec}).analysis, arms(obs)
    assert sides
    begun = known.model_copy(update={"analysis": analysis.begin(rules, sides, NOW, 20, 2)})
    late = NOW + timedelta(minutes=2)
    plan = decide(replace(obs, release=replace(obs.release, status=begun)), late)
    assert plan.watched
    assert plan.wake
    assert plan.wake >= NOW + timedelta(minutes=9)


@pytest.mark.parametrize(
    "way", [{"manual": {}}, {"http": {"url": "http://tests.shop/smoke"}}], ids=lambda way: next(iter(way))
)
def test_hundreds_that_wait_for_people_are_looked_at_in_their_turn(way: dict[str, Any]) -> None:
    settled = {"settled_at": NOW - timedelta(minutes=1)}
    known = status(Stage.SCALE, journal=settled, gates=(GateStatus(name="ok"),))
    ready = {"bounds": exactly(25), "replicas": 1, "current": 1, "ready": 1}
    service = Service("checkout-canary", NEW, frozenset("e"))
    route = Route("HTTPRoute/checkout", 0, True, servers={"checkout-canary": frozenset()})
    gates = {"gates": [{"name": "ok", "at": "BeforeTraffic", **way}]}
    obs = observed(known, spec=gates, candidate=ready, canary_service=service, routes=(route,))
    plan = decide(obs, NOW)
    assert plan.status.gates[0].state is GateState.RUNNING
    person = "manual" in way
    assert (plan.watched, plan.wake) == (person, None if person else NOW + timedelta(seconds=1))


def test_at_rest_a_change_of_scale_flaps_no_condition() -> None:
    known = decide(at_rest_with_the_old_template(), NOW).status
    obs = observed(known, deployment={"settled": False, "replicas": 8, "revision": 1, "deadline": 600})
    plan = decide(obs, NOW + timedelta(seconds=1))
    assert plan == Plan(status=known)


@pytest.mark.parametrize(
    ("replicaset", "pod", "its"),
    [
        ("web-7d9f5", "web-7d9f5-abcde", True),
        ("web-7d9f5", "web-7d9f6-abcde", False),
        ("shop.web-7d9f5", "shop.web-7d9f5-abcde", True),
        ("shop.web-7d9f5", "shop-web-7d9f5-abcde", False),
        (f"{'a' * 47}-7d9f5c6b8d", f"{'a' * 47}-7d9f5c6b8dabcde", True),
        (f"{'a' * 52}-7d9f5c6b8d", f"{'a' * 52}-7d9f5abcde", True),
        (f"{'a' * 52}-7d9f5c6b8d", f"{'a' * 52}-6fcbdabcde", False),
        # Next to nothing is left of the hash: stable's pods may be called the same.
        (f"{'a' * 54}-7d9f5c6b8d", f"{'a' * 54}-7d9abcde", False),
        (f"{'a' * 57}-7d9f5c6b8d", f"{'a' * 57}-abcde", False),
        (f"{'a' * 60}-7d9f5c6b8d", f"{'a' * 58}abcde", False),
    ],
)
def test_pods_are_known_by_their_names_even_by_those_that_are_cut(replicaset: str, pod: str, its: bool) -> None:
    assert (re.fullmatch(pods_of(replicaset), pod) is not None) is its

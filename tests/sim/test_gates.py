"""Gates: a release stops where somebody must say yes, goes on when all have, and goes back when one does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fakes.jobs import Work
from tests.fakes.kubelet import Version
from tests.sim.world import NAMESPACE, QUICK, World
from tidegate.api.releasestatus import Stage
from tidegate.core.asked import REQUEST
from tidegate.core.asking import Reply
from tidegate.core.forward import KUBE_PROXY
from tidegate.ports.cluster import (
    BLUE_GREEN_RELEASES,
    CANARY_RELEASES,
    ENDPOINT_SLICES,
    HTTPROUTES,
    JOBS,
    PODS,
    ROLLING_RELEASES,
    Rejected,
    Unavailable,
)

KINDS = {"canary": CANARY_RELEASES, "bluegreen": BLUE_GREEN_RELEASES, "rolling": ROLLING_RELEASES}
SPECS: dict[str, dict[str, Any]] = {
    "canary": QUICK,
    "bluegreen": {"watch": "4s", "keep": "4s", "drain": "1s", "analysis": {"metrics": []}},
    "rolling": {"batch": "50%", "bake": "3s", "drain": "1s", "analysis": {"metrics": []}},
}
STEPS = {"canary": 2, "bluegreen": 3, "rolling": 2}
"""Of each kind: seconds, judged by the kubelet alone."""
OF_KINDS = pytest.mark.parametrize("kind", KINDS)
POINTS = ["BeforeStart", "BeforeTraffic", "BeforeStep", "BeforePromotion"]
STAGE = {
    "BeforeStart": Stage.PREPARE,
    "BeforeTraffic": Stage.SCALE,
    "BeforeStep": Stage.SCALE,
    "BeforePromotion": Stage.BAKE,
}
"""Where the release stands at a point."""
SHARE = {"BeforeStart": 0, "BeforeTraffic": 0, "BeforeStep": 0, "BeforePromotion": 1}
"""The greatest share that the candidate has had by then."""


def job(at: str, name: str = "smoke", **more: Any) -> dict[str, Any]:
    """A gate that runs the Job of an image of its name."""
    return {
        "name": name,
        "at": at,
        "job": {"template": {"spec": {"containers": [{"name": "t", "image": name}]}}},
        **more,
    }


def manual(at: str, name: str = "cab", **more: Any) -> dict[str, Any]:
    """A gate that somebody must approve."""
    return {"name": name, "at": at, "manual": {}, **more}


WINDOW = "http://change-window.ops/open"


def http(at: str, name: str = "window", url: str = WINDOW, **more: Any) -> dict[str, Any]:
    """A gate that asks another host."""
    return {"name": name, "at": at, "http": {"url": url, "headers": {"X-Team": "shop"}}, **more}


def gated(*gates: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A release of seconds with gates."""
    return {**QUICK, "gates": list(gates), **more}


def answered(world: World, id_: str) -> Any:
    """That a request was."""
    return lambda: bool(world.status.last_request and world.status.last_request.id == id_)


async def begin(kind: str, *gates: dict[str, Any], **more: Any) -> World:
    """A release of a kind with gates."""
    by = None if kind == "rolling" else HTTPROUTES
    return await World.begin(spec={**SPECS[kind], "gates": list(gates)}, kind=KINDS[kind], by=by, **more)


def ask(world: World, action: str, id_: str = "1", **more: str) -> None:
    """As kubectl annotate would."""
    candidate = world.status.candidate
    text = json.dumps({"id": id_, "action": action, "hash": candidate.hash if candidate else "", "by": "ada", **more})
    world.edit(world.kind, {"metadata": {"annotations": {REQUEST: text}}})


def stands(world: World, point: str) -> Any:
    """That the release stands at a point."""
    return lambda: bool(world.status.journal and world.status.journal.gate == point)


@OF_KINDS
@pytest.mark.parametrize("point", POINTS)
async def test_a_job_that_succeeds_lets_the_release_through(kind: str, point: str) -> None:
    world = await begin(kind, job(point))
    world.works["smoke"] = Work(seconds=30, says="12 of 12 passed\n")
    world.release("v2")
    await world.until(stands(world, point))
    await world.wait(20)
    assert (world.stage, world.why(), world.phase) == (STAGE[point], "GateWaiting", "Progressing")
    assert world.oracle.most.get("v2", 0) == SHARE[point]
    assert (world.gate("smoke").state, world.gate("smoke").attempts) == ("Running", 1)
    await world.ends("Promoted")
    seen = world.gate("smoke")
    assert (seen.state, seen.message) == ("Passed", "12 of 12 passed")
    assert seen.by.startswith("job/checkout-smoke-")
    assert world.jobs_created()["smoke"] == (STEPS[kind] if point == "BeforeStep" else 1)
    assert "GatePassed" in world.events()


@OF_KINDS
@pytest.mark.parametrize("point", POINTS)
async def test_a_job_that_fails_turns_the_release_back(kind: str, point: str) -> None:
    world = await begin(kind, job(point))
    world.works["smoke"] = Work(code=3, says="checkout: 500\n")
    world.release("v2")
    await world.ends("RolledBack")
    assert world.reason == "GateFailed"
    told = f"gate smoke ({point}) failed: container work exited with code 3: checkout: 500"
    assert told in world.status.message
    assert world.gate("smoke").state == "Failed"
    assert world.oracle.most.get("v2", 0) == SHARE[point]
    assert world.jobs_created()["smoke"] == 1
    assert world.pods() == {"v1": 4}
    if point == "BeforeStart":
        assert not world.pods_created()["v2"], "nothing was started"


@OF_KINDS
async def test_a_job_is_asked_when_every_node_leads_to_the_candidate(kind: str) -> None:
    """kube-proxy is not asked, and hears of endpoints when Tidegate does."""
    world = await begin(kind, job("BeforeTraffic"))
    world.release("v2")
    await world.until(lambda: bool(world.jobs()))
    writes = world.cluster.writes
    (began,) = [write.at for write in writes if write.kind == JOBS and write.verb == "create"]
    slices = [write for write in writes if write.kind == ENDPOINT_SLICES and write.name.startswith("checkout-canary")]
    assert began - slices[-1].at >= KUBE_PROXY.total_seconds()
    await world.ends("Promoted")


async def test_a_job_that_takes_too_long_times_out_and_is_tried_again() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic", timeout="20s", retries=2)))
    world.works["smoke"] = Work(seconds=100)
    world.release("v2")
    began = world.clock.monotonic()
    await world.ends("RolledBack")
    assert world.clock.monotonic() - began > 3 * 20 + 5 + 10, "pauses grow between attempts"
    assert (world.gate("smoke").state, world.gate("smoke").attempts) == ("TimedOut", 3)
    assert "gate smoke (BeforeTraffic) timed out: DeadlineExceeded" in world.status.message
    assert world.jobs_created()["smoke"] == 3
    assert len(world.jobs()) == 1, "the last stays for whoever wants to read its log"


async def test_a_retry_that_succeeds_is_enough() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic", retries=1)))
    world.works["smoke"] = Work(code=1)
    world.release("v2")
    await world.until(lambda: world.gate("smoke").state == "Pending" and world.gate("smoke").attempts == 1)
    assert "attempt 1 of 2" in world.gate("smoke").message
    world.works["smoke"] = Work()
    await world.ends("Promoted")
    assert world.gate("smoke").attempts == 2


async def test_a_job_is_told_whom_it_judges() -> None:
    gate = job("BeforeStep")
    gate["job"]["template"]["spec"]["containers"][0] |= {
        "env": [{"name": "URL", "value": "http://$(TIDEGATE_SERVICE)"}]
    }
    world = await World.begin(spec=gated(gate))
    world.release("v2")
    await world.until(lambda: len(world.jobs()) > 0)
    (found,) = world.cluster.all(JOBS, NAMESPACE)
    spec = found["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    env = {one["name"]: one["value"] for one in container["env"]}
    status = world.status
    assert status.stable
    assert status.candidate
    assert env["TIDEGATE_CANDIDATE_HASH"] == status.candidate.hash
    assert env["TIDEGATE_STABLE_HASH"] == status.stable.hash
    assert env["TIDEGATE_CANARY_SERVICE"] == "checkout-canary"
    assert (env["TIDEGATE_STEP"], env["TIDEGATE_WEIGHT"], env["TIDEGATE_AT"]) == ("1", "25", "BeforeStep")
    assert [one["name"] for one in container["env"]][-1] == "URL", "what is made of ours comes after it"
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 300)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    (owner,) = found["metadata"]["ownerReferences"]
    assert world.object
    assert owner["uid"] == world.object["metadata"]["uid"]


async def test_a_dark_launch_waits_for_what_is_asked_before_traffic() -> None:
    """Those with the header are users, too."""
    dark = {"match": [{"headers": {"x-canary": "always"}}], "bake": "4s"}
    world = await World.begin(spec=gated(manual("BeforeTraffic"), steps=[dark, *QUICK["steps"]]))
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    assert (world.stage, world.step, len(world.rules())) == (Stage.SCALE, 1, 1)
    ask(world, "Approve")
    await world.until(world.baking(1))
    assert len(world.rules()) == 2
    await world.ends("Promoted")
    assert world.events().count("GateWaiting") == 1, "nobody is asked again before the first weight"


@OF_KINDS
@pytest.mark.parametrize("point", POINTS)
async def test_somebody_must_approve(kind: str, point: str) -> None:
    world = await begin(kind, manual(point))
    world.release("v2")
    await world.until(stands(world, point))
    requests = world.requests()
    await world.wait(120)
    assert (world.stage, world.phase, world.why()) == (STAGE[point], "Waiting", "GateWaiting")
    assert "kubectl tidegate approve checkout --gate cab" in world.status.message
    assert world.requests() - requests < 120 * 10
    assert world.events().count("GateWaiting") == 1
    steps = STEPS[kind] if point == "BeforeStep" else 1
    for step in range(steps):
        await world.until(stands(world, point))
        ask(world, "Approve", id_=str(step), gate="cab")
        await world.until(answered(world, str(step)))
    await world.ends("Promoted")
    assert world.status.last_request
    assert world.status.last_request.outcome == "Done"
    assert (world.gate("cab").state, world.gate("cab").by) == ("Passed", "ada")
    assert world.gate("cab").message == "approved by ada"


@OF_KINDS
@pytest.mark.parametrize("gate", [job, manual, http])
@pytest.mark.parametrize("point", POINTS)
async def test_no_gate_holds_an_abort_of_any_kind(kind: str, gate: Any, point: str) -> None:
    world = await begin(kind, gate(point, "smoke"))
    world.works["smoke"] = Work(seconds=250)
    world.pods_answer.elsewhere[WINDOW] = (250, Reply(200))
    world.release("v2")
    await world.until(stands(world, point))
    await world.wait(2)
    ask(world, "Abort")
    await world.until(lambda: not stands(world, point)(), within=1.5)
    await world.ends("Aborted")
    assert world.gate("smoke").state == "Withdrawn"
    assert world.pods() == {"v1": 4}


@OF_KINDS
async def test_what_is_asked_after_the_promotion_of_any_kind_changes_nothing(kind: str) -> None:
    world = await begin(kind, job("AfterPromotion"))
    world.works["smoke"] = Work(code=1, says="slow")
    world.release("v2")
    await world.ends("Promoted")
    await world.until(lambda: world.gate("smoke").state == "Failed", within=60)
    assert (world.phase, world.why(), world.pods()) == ("Idle", "GateFailed", {"v2": 4})


async def test_what_cannot_be_approved_is_refused() -> None:
    world = await World.begin(spec=gated(manual("BeforePromotion"), job("BeforePromotion")))
    world.release("v2")
    await world.until(world.baking(1))
    for id_, gate, told in [
        ("1", "", "no gate waits for approval"),
        ("2", "cab", "gate cab does not wait for approval"),
        ("3", "smoke", "there is no manual gate smoke; there is cab"),
    ]:
        ask(world, "approve", id_, gate=gate)
        await world.until(lambda id_=id_: bool(world.status.last_request and world.status.last_request.id == id_))  # type: ignore[misc]
        assert world.status.last_request
        assert (world.status.last_request.outcome, world.status.last_request.message) == ("Refused", told)
    await world.until(stands(world, "BeforePromotion"))
    ask(world, "Approve", "4")
    await world.ends("Promoted")


async def test_nobody_approves_in_time() -> None:
    world = await World.begin(spec=gated(manual("BeforeTraffic", timeout="1m")))
    world.release("v2")
    await world.wait(50)
    assert world.phase == "Waiting"
    await world.ends("RolledBack")
    assert "gate cab (BeforeTraffic) timed out: nobody approved in time" in world.status.message


async def test_promote_passes_what_waits_for_a_person_and_nothing_else() -> None:
    world = await World.begin(spec=gated(manual("BeforeTraffic"), job("BeforePromotion")))
    world.works["smoke"] = Work(code=1)
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    ask(world, "Promote")
    await world.ends("RolledBack")
    assert world.gate("cab").state == "Passed"
    assert world.reason == "GateFailed"


async def test_the_wait_at_a_gate_is_no_part_of_the_deadline() -> None:
    world = await World.begin(spec=gated(manual("BeforeStep"), progressDeadline="30s"))
    world.release("v2")
    for step in (1, 2):
        await world.until(stands(world, "BeforeStep"))
        await world.wait(60)
        ask(world, "Approve", id_=str(step))
        await world.until(lambda: not stands(world, "BeforeStep")())
    await world.ends("Promoted")


async def test_gates_of_a_point_are_asked_side_by_side() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic"), job("BeforeTraffic", "load"), manual("BeforeTraffic")))
    world.works["smoke"], world.works["load"] = Work(seconds=20), Work(seconds=40)
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    began = world.clock.monotonic()
    ask(world, "Approve")
    await world.until(lambda: not stands(world, "BeforeTraffic")())
    assert 40 < world.clock.monotonic() - began < 43
    await world.ends("Promoted")


async def test_nothing_is_asked_while_the_release_is_paused() -> None:
    world = await World.begin(spec=gated(job("BeforePromotion")))
    world.release("v2")
    await world.until(world.baking(2))
    world.respec(paused=True)
    await world.wait(100)
    assert not world.jobs_created()
    world.respec(paused=None)
    await world.ends("Promoted")


async def test_a_release_is_paused_at_the_point_of_a_gate() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic")))
    world.release("v2")
    await world.until(lambda: world.stage is Stage.PREPARE)
    ask(world, "Pause")
    await world.until(stands(world, "BeforeTraffic"))
    await world.wait(60)
    assert (world.phase, world.gate("smoke").state, world.stage) == ("Waiting", "Pending", Stage.SCALE)
    assert "gate smoke: is not asked: held by a request" in world.status.message
    ask(world, "Resume", "2")
    await world.ends("Promoted")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        *((job, what) for what in ("abort", "supersede", "restore", "delete", "sicken")),
        (manual, "abort"),
        (http, "abort"),
    ],
)
@pytest.mark.parametrize("point", POINTS)
async def test_no_gate_holds_what_goes_back(kind: Any, what: str, point: str) -> None:
    versions = {"v2": Version()}
    world = await World.begin(spec=gated(kind(point, "smoke")), versions=versions)
    world.works["smoke"] = Work(seconds=250)
    world.pods_answer.elsewhere[WINDOW] = (250, Reply(200))
    world.release("v2")
    await world.until(stands(world, point))
    await world.wait(5)
    began = world.clock.monotonic()
    match what:
        case "abort":
            ask(world, "Abort")
        case "supersede":
            world.respec(gates=None)
            world.release("v3")
        case "restore":
            world.release("v1")
        case "delete":
            world.delete(CANARY_RELEASES)
        case "sicken" if point == "BeforeStart":
            return  # there is no pod yet
        case "sicken":
            pod = next(p for p in world.cluster.all(PODS, NAMESPACE) if p["spec"]["containers"][0]["image"] == "v2")
            crash = {"name": "app", "restartCount": 3, "state": {}, "lastState": {"terminated": {"exitCode": 1}}}
            world.cluster.patch_as(
                "kubelet",
                PODS,
                NAMESPACE,
                pod["metadata"]["name"],
                {"status": {"containerStatuses": [crash]}},
                subresource="status",
            )
    await world.until(lambda: world.object is None or not stands(world, point)(), within=1.5)
    if what == "delete":
        await world.until(lambda: world.object is None, within=60)
    else:
        await world.ends({"supersede": "Promoted", "sicken": "RolledBack"}.get(what, "Aborted"))
    await world.wait(5)
    assert not world.jobs(), "what nobody waits for any more is gone"
    assert world.clock.monotonic() - began < 60
    if what not in ("delete", "supersede"):
        assert world.gate("smoke").state == "Withdrawn"


async def test_a_revision_that_is_tried_again_is_asked_again() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic")))
    world.works["smoke"] = Work(code=1)
    world.release("v2")
    await world.ends("RolledBack")
    world.works["smoke"] = Work()
    ask(world, "Retry")
    await world.ends("Promoted")
    assert world.jobs_created()["smoke"] == 2
    assert len(world.jobs()) == 1, "the old one has gone with the new release"


async def test_after_promotion_nothing_is_reverted_and_all_is_told() -> None:
    world = await World.begin(spec=gated(job("AfterPromotion"), job("AfterPromotion", "report")))
    world.works["smoke"] = Work(seconds=20, code=1, says="slow")
    world.release("v2")
    await world.ends("Promoted")
    assert (world.phase, world.condition("Ready"), world.gate("smoke").state) == ("Idle", "True", "Running")
    await world.until(lambda: world.gate("smoke").state == "Failed", within=60)
    assert (world.phase, world.condition("Ready"), world.why()) == ("Idle", "True", "GateFailed")
    assert "gate smoke: container work exited with code 1: slow" in world.status.message
    assert world.gate("report").state == "Passed"
    await world.wait(1)
    assert world.events().count("GateFailed") == 1
    requests = world.requests()
    await world.wait(250)
    assert world.requests() - requests < 40, "at rest nobody asks"
    assert world.pods() == {"v2": 4}
    world.works["smoke"] = Work()
    world.release("v3")
    await world.ends("Promoted")
    await world.until(lambda: world.gate("smoke").state == "Passed", within=60)
    assert world.why() == "Idle"


async def test_a_release_that_was_reverted_asks_nothing_after() -> None:
    world = await World.begin(spec=gated(job("AfterPromotion"), job("BeforeTraffic", "load")))
    world.works["load"] = Work(code=1)
    world.release("v2")
    await world.ends("RolledBack")
    await world.wait(100)
    assert world.jobs_created() == {"load": 1}
    assert world.gate("smoke").state == "Pending"


async def test_a_job_that_would_be_sent_requests_is_not_begun() -> None:
    gate = job("BeforeStart")
    gate["job"]["template"]["metadata"] = {"labels": {"app": "checkout"}}
    world = await World.begin(spec=gated(gate))
    world.release("v2")
    await world.ends("RolledBack")
    assert "its template's labels are those that Service checkout selects" in world.status.message
    assert not world.jobs_created()


async def test_what_the_api_server_says_of_a_job_is_told() -> None:
    world = await World.begin(spec=gated(job("BeforeStart")))

    def refuse(process: Any, point: Any) -> None:
        if point.verb == "create" and point.what.startswith("Job") and point.when == "before":
            raise Rejected("exceeded quota: pods=0")

    world.meets.append(refuse)
    world.release("v2")
    await world.ends("RolledBack")
    assert "gate smoke (BeforeStart) failed: exceeded quota: pods=0" in world.status.message


def breaks(world: World, verb: str, error: Exception) -> None:
    """From now on this verb fails for Jobs."""

    def refuse(process: Any, point: Any) -> None:
        if point.verb == verb and point.what.startswith("Job") and point.when == "before":
            raise error

    world.meets.append(refuse)


@pytest.mark.parametrize(
    ("verb", "told"),
    [("create", "cannot be begun: etcdserver: leader changed"), ("list", "cannot be read: etcdserver: leader changed")],
)
async def test_a_job_that_cannot_be_is_waited_for_no_longer_than_one_that_is(verb: str, told: str) -> None:
    """And it is said meanwhile what it waits for."""
    world = await World.begin(spec=gated(job("BeforeTraffic", timeout="20s")))
    breaks(world, verb, Unavailable("etcdserver: leader changed"))
    world.works["smoke"] = Work(seconds=250)
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    began = world.clock.monotonic()
    await world.until(lambda: told in world.status.message, within=10)
    await world.until(lambda: not stands(world, "BeforeTraffic")(), within=70)
    assert world.clock.monotonic() - began > 20 + 20
    await world.ends("RolledBack")
    assert (world.reason, world.gate("smoke").state) == ("GateFailed", "TimedOut")
    assert told in world.status.message


async def test_a_job_that_can_be_begun_at_last_has_all_its_time() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic", timeout="1m")))
    breaks(world, "create", Unavailable("etcdserver: leader changed"))
    world.works["smoke"] = Work(seconds=50)
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    await world.wait(40)
    world.meets.clear()
    await world.ends("Promoted")
    assert (world.gate("smoke").state, world.gate("smoke").attempts) == ("Passed", 1)


async def test_jobs_that_nobody_may_look_at_hold_up_no_revert() -> None:
    world = await World.begin(spec=gated(job("BeforePromotion")))
    world.release("v2")
    world.works["smoke"] = Work(seconds=250)
    await world.until(stands(world, "BeforePromotion"))

    def refuse(process: Any, point: Any) -> None:
        if "Job" in point.what and point.when == "before":
            raise Rejected("jobs.batch is forbidden")

    world.meets.append(refuse)
    await world.wait(30)
    assert world.gate("smoke").state == "Running", "what is not known is not no"
    ask(world, "Abort")
    await world.until(lambda: bool(world.status.journal and world.status.journal.outcome), within=1)
    await world.ends("Aborted")
    world.meets.clear()


async def test_gates_that_come_and_go_in_mid_release() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic")))
    world.works["smoke"] = Work(seconds=250)
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    world.respec(gates=[manual("BeforePromotion")])
    await world.until(stands(world, "BeforePromotion"))
    assert not world.jobs()
    world.respec(gates=[job("BeforePromotion", "cab")])
    await world.ends("Promoted")
    assert world.jobs_created() == {"smoke": 1, "cab": 1}


async def test_back_within_the_window_skips_gates() -> None:
    world = await World.begin(spec=gated(job("BeforeTraffic"), rollback={"window": 2}))
    world.release("v2")
    await world.ends("Promoted")
    world.release("v3")
    await world.ends("Promoted")
    before = world.jobs_created()["smoke"]
    world.release("v2")
    await world.ends("Promoted")
    assert world.jobs_created()["smoke"] == before


@pytest.mark.parametrize("point", POINTS)
async def test_the_operator_dies_again_and_again_while_a_job_runs(point: str) -> None:
    world = await World.begin(spec=gated(job(point)))
    world.works["smoke"] = Work(seconds=10)
    world.release("v2")
    for _ in range(3):
        await world.until(stands(world, point))
        world.kill(world.process)
        await world.wait(1.7)
    await world.ends("Promoted")
    assert world.jobs_created()["smoke"] == (2 if point == "BeforeStep" else 1)


async def test_the_operator_dies_as_the_release_goes_back() -> None:
    """At each write of it in turn: the Job goes all the same, and is told as withdrawn."""
    for number in range(4):
        world = await World.begin(spec=gated(job("BeforeTraffic")))
        world.works["smoke"] = Work(seconds=250)
        world.release("v2")
        await world.until(stands(world, "BeforeTraffic"))
        await world.wait(2)
        ask(world, "Abort")
        writes = iter(range(100))

        def die(process: Any, point: Any, writes: Any = writes, number: int = number, world: World = world) -> None:
            if point.write and point.when == "before" and "Event" not in point.what and next(writes) == number:
                world.kill(process)

        world.meets.append(die)
        await world.ends("Aborted")
        assert world.restarts == 1
        assert not world.jobs()
        assert world.gate("smoke").state == "Withdrawn"


@OF_KINDS
@pytest.mark.parametrize("point", POINTS)
async def test_an_answer_as_expected_lets_the_release_through(kind: str, point: str) -> None:
    world = await begin(kind, http(point))
    world.pods_answer.elsewhere[WINDOW] = (30, Reply(200, "open\n"))
    world.release("v2")
    await world.until(stands(world, point))
    await world.wait(20)
    assert (world.stage, world.why(), world.phase) == (STAGE[point], "GateWaiting", "Progressing")
    assert world.oracle.most.get("v2", 0) == SHARE[point]
    await world.ends("Promoted")
    seen = world.gate("window")
    assert (seen.state, seen.by, seen.message) == ("Passed", "http", "answered 200 open")
    heard = world.pods_answer.heard
    assert len(heard) == (STEPS[kind] if point == "BeforeStep" else 1)
    assert heard[0].headers["Tidegate-Release"] == "shop/checkout"
    assert heard[0].headers["X-Team"] == "shop"
    assert (heard[0].timeout, heard[0].anywhere) == (300, False)


@pytest.mark.parametrize(
    ("reply", "state", "told"),
    [
        ((1, Reply(423, "frozen")), "Failed", "failed: answered 423 frozen, expected status 200"),
        ((100, Reply(200)), "TimedOut", "timed out: gave no answer: not within 20 s"),
    ],
)
async def test_another_answer_or_none_turns_the_release_back(reply: tuple[float, Reply], state: str, told: str) -> None:
    world = await World.begin(spec=gated(http("BeforeStart", timeout="20s", retries=1)))
    world.pods_answer.elsewhere[WINDOW] = reply
    world.release("v2")
    await world.ends("RolledBack")
    assert f"gate window (BeforeStart) {told}" in world.status.message
    assert (world.gate("window").state, world.gate("window").attempts) == (state, 2)
    keys = [call.headers["Idempotency-Key"] for call in world.pods_answer.heard]
    assert len(set(keys)) == len(keys) == 2, "another attempt is another question"


async def test_requests_that_hang_leave_the_others_of_the_release_a_turn_or_an_end() -> None:
    """More than may be under way at once: who waits says so, and is not waited for beyond its own time."""
    names = [f"slow{number}" for number in range(5)]
    world = await World.begin(spec=gated(*(http("BeforeStart", name, timeout="40s") for name in names)))
    world.pods_answer.elsewhere[WINDOW] = (250, Reply(200))
    world.release("v2")
    await world.until(stands(world, "BeforeStart"))
    await world.wait(10)
    assert len(world.pods_answer.heard) == 4
    assert world.gate("slow4").message.startswith(f"GET {WINDOW} waits for its turn")
    await world.ends("RolledBack", within=90)


async def test_what_was_asked_before_the_operator_died_is_asked_again_however_long_ago() -> None:
    world = await World.begin(spec=gated(http("BeforeTraffic", timeout="20s")))
    world.pods_answer.elsewhere[WINDOW] = (10, Reply(200))
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    await world.stop()
    await world.wait(3600)
    world.start()
    await world.ends("Promoted")
    assert (world.gate("window").state, world.gate("window").attempts) == ("Passed", 1)


async def test_a_gate_speaks_for_its_own_release_only() -> None:
    """Its headers say of whom it is asked, and those of the spec cannot say otherwise."""
    forged = {"tidegate-release": "bank/ledger", "IDEMPOTENCY-KEY": "1", "X-Team": "shop"}
    gate = http("BeforeStart")
    world = await World.begin(spec=gated({**gate, "http": {**gate["http"], "headers": forged}}))
    world.pods_answer.elsewhere[WINDOW] = (1, Reply(200))
    world.release("v2")
    await world.ends("Promoted")
    (heard,) = world.pods_answer.heard
    found = {name.lower(): value for name, value in heard.headers.items()}
    assert len(found) == len(heard.headers), "no header twice"
    assert (found["tidegate-release"], found["x-team"]) == ("shop/checkout", "shop")
    assert found["idempotency-key"].startswith("checkout-window-")


async def test_who_takes_over_asks_the_same_again_by_the_same_key() -> None:
    world = await World.begin(spec=gated(http("BeforeTraffic")))
    world.pods_answer.elsewhere[WINDOW] = (10, Reply(200))
    world.release("v2")
    await world.until(stands(world, "BeforeTraffic"))
    await world.wait(5)
    world.kill(world.process)
    await world.ends("Promoted")
    keys = [call.headers["Idempotency-Key"] for call in world.pods_answer.heard]
    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_after_promotion_somebody_is_told() -> None:
    world = await World.begin(spec=gated(http("AfterPromotion")))
    world.pods_answer.elsewhere[WINDOW] = (1, Reply(500, "no"))
    world.release("v2")
    await world.ends("Promoted")
    await world.until(lambda: world.gate("window").state == "Failed", within=30)
    assert (world.phase, world.why()) == ("Idle", "GateFailed")
    assert len(world.pods_answer.heard) == 1

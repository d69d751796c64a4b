"""A rollout, decision by decision: it grows by its steps, holds where it must, and goes back to nothing but off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.rig.flaglife import MONDAY, STEPS, Life, counted

from tidegate.api.flagstatus import FlagPhase
from tidegate.api.requests import RequestAction
from tidegate.core.counters import Answer, Missing, Series
from tidegate.core.flags.check import read
from tidegate.core.flags.draft import Flag
from tidegate.core.flags.effective import Declared
from tidegate.core.flags.telemetry import Role

Json = dict[str, Any]
ERRORS: Json = {"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%"}
GUARD: Json = {"metrics": [ERRORS], "warmup": "0s", "interval": "1m"}


def life(*steps: Json, **rollout: Any) -> Life:
    return Life({"rollout": {"steps": list(steps) or STEPS, **rollout}})


def app(errors_in: float, errors_out: float = 0.01, rate: float = 50.0) -> Any:
    """Counters of an application, scraped every 15 s: requests by variant and status."""

    def answers(queries: frozenset[str], now: datetime) -> Mapping[str, Answer]:
        found: dict[str, Answer] = {}
        for query in queries:
            share = errors_in if 'feature_flag_variant=~"on"' in query else errors_out
            times = [MONDAY.timestamp() + 15 * n for n in range(int((now - MONDAY).total_seconds() / 15) + 1)][-17:]
            found[query] = tuple(
                Series(
                    {"pod": "app-1", "code": code},
                    tuple((at, float(int((at - MONDAY.timestamp()) * rate * part))) for at in times),
                )
                for code, part in (("200", 1 - share), ("500", share))
            )
        return found

    return answers


def test_it_grows_by_its_steps_until_everybody_is_in() -> None:
    flag = life().passes(minutes=30)
    assert (flag.milli, flag.rollout.step, flag.rollout.of) == (1000, 1, 3)
    assert flag.status
    assert (flag.status.serving, flag.status.percentage) == ("on 1 %", "1%")
    assert (flag.status.phase, flag.condition("Reconciling"), flag.condition("Ready")) == (
        FlagPhase.ROLLING_OUT,
        "True",
        "False",
    )
    assert flag.passes(hours=1).milli == 10_000
    assert flag.passes(hours=4).milli == 100_000
    assert (flag.status.phase, flag.status.serving, flag.condition("Ready")) == (FlagPhase.SERVING, "on", "True")
    assert flag.events == ["RolloutStarted", *["StepStarted"] * 3, "RolledOut"]


def test_a_flag_without_a_rollout_is_at_rest() -> None:
    flag = Life({})
    flag.decide()
    assert flag.status
    assert (flag.status.key, flag.status.flag_set, flag.status.serving) == ("new-checkout", "shop", "off")
    assert flag.condition("Ready") == flag.condition("Compiled") == "True"


def test_it_waits_for_its_start_and_its_windows() -> None:
    office = {"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "09:00", "to": "16:00", "timeZone": "Europe/Berlin"}
    start = "2026-01-09T14:30:00Z"  # a Friday, half past three in Berlin
    flag = life(*STEPS, schedule={"startAt": start, "windows": [office]})
    assert flag.until(datetime(2026, 1, 9, 14, 29, tzinfo=UTC)).milli == 0
    assert flag.status
    assert flag.status.phase is FlagPhase.WAITING
    assert flag.until(datetime(2026, 1, 9, 14, 31, tzinfo=UTC)).milli == 1000
    assert flag.until(datetime(2026, 1, 12, 7, 59, tzinfo=UTC)).milli == 1000, "over the weekend nothing grows"
    assert flag.until(datetime(2026, 1, 12, 8, 1, tzinfo=UTC)).milli == 10_000


def test_a_start_is_told_by_the_clock_that_it_was_written_by() -> None:
    flag = life(*STEPS, schedule={"startAt": "2026-11-02T09:00:00+01:00"})
    flag.decide()
    assert flag.status
    assert flag.status.message.endswith("waits until 2026-11-02 09:00:00 +0100")


def test_a_step_waits_for_somebody() -> None:
    flag = life({"percentage": 5}, {"percentage": 50, "approval": "Manual"}).passes(hours=3)
    assert flag.milli == 5000
    assert flag.status
    assert "kubectl tidegate approve featureflag/new-checkout" in flag.status.message
    assert flag.ask(RequestAction.APPROVE) == "Done"
    assert flag.milli == 50_000
    assert flag.ask(RequestAction.APPROVE) == "no step waits for an approval"


def test_the_kill_switch_goes_before_everything_and_a_bake_begins_anew_after_it() -> None:
    flag = life().passes(minutes=50).writes(enabled=False)
    assert (flag.milli, flag.condition("Killed"), flag.condition("Ready")) == (0, "True", "True")
    assert flag.later(days=30).milli == 0
    assert flag.ask(RequestAction.PROMOTE) == "spec.enabled is false"
    assert flag.writes(enabled=True).milli == 1000, "a person's word: as before"
    assert flag.passes(minutes=50).milli == 1000
    assert flag.passes(minutes=20).milli == 10_000


def test_another_rollout_begins_anew_and_other_steps_do_not() -> None:
    flag = life().passes(hours=2)
    assert flag.milli == 10_000
    edited = flag.writes(rollout={"steps": [{"percentage": 2, "bake": "1h"}, {"percentage": 20, "bake": "1h"}]})
    assert (edited.milli, edited.rollout.of) == (10_000, 2), "nobody is thrown out"
    assert flag.passes(hours=4).milli == 20_000
    flag.writes(rollout={"by": "accountId", "steps": STEPS})
    assert flag.milli == 1000


def test_steps_that_are_taken_back_throw_nobody_out() -> None:
    flag = life().passes(hours=2).writes(rollout={"steps": [{"percentage": 2}]})
    flag.passes(days=1)
    assert (flag.milli, flag.condition("Ready")) == (10_000, "True")


def test_a_breach_is_off_at_once_and_latched_by_the_rollout() -> None:
    flag = life(*STEPS, analysis=GUARD, minExposures=0)
    flag.metrics = app(errors_in=0.4)
    flag.passes(minutes=6)
    assert flag.milli == 0
    assert flag.status
    assert flag.status.override
    assert (flag.status.phase, flag.condition("Breached"), flag.condition("Stalled")) == (
        FlagPhase.BREACHED,
        "True",
        "True",
    )
    assert "vs 1 % control" in flag.status.message
    assert flag.spec["rollout"]["steps"] == STEPS
    assert flag.later(days=3).milli == 0
    assert flag.writes(rollout={"steps": STEPS[:2]}).milli == 0, "other steps are the same rollout"
    assert flag.writes(rollout={"steps": STEPS, "split": {"on": 1}}).milli == 1000, "another one begins anew"


def test_a_healthy_one_goes_on_with_evidence_and_enough_exposures() -> None:
    flag = life(*STEPS, analysis=GUARD)
    flag.metrics = app(errors_in=0.01)
    flag.counts = lambda _: counted(900, 90_000, 0.01)
    assert flag.passes(hours=3).milli == 1000
    assert flag.status
    assert "900 in and 90000 out" in flag.status.message
    flag.counts = lambda now: counted(9000, 900_000, flag.rollout.milli / 100_000)
    assert flag.passes(minutes=2).milli == 10_000


def test_no_data_holds_and_then_does_as_the_spec_says() -> None:
    flag = life(*STEPS, analysis={**GUARD, "onUnknown": {"deadline": "15m", "then": "Revert"}}, minExposures=0)
    flag.passes(minutes=10)
    assert flag.milli == 1000
    assert flag.status
    assert flag.status.phase is FlagPhase.WAITING
    flag.passes(minutes=10)
    assert (flag.milli, flag.condition("Breached")) == (0, "True")
    held = life(*STEPS, analysis=GUARD, minExposures=0).passes(hours=5)
    assert held.milli == 1000


def test_who_is_not_counted_holds() -> None:
    flag = life(*STEPS, analysis=GUARD)
    flag.metrics = app(errors_in=0.01)
    flag.passes(hours=5)
    assert flag.milli == 1000
    assert flag.status
    assert "is the flag gateway scraped?" in flag.status.message


def test_arms_of_other_sizes_than_their_shares_hold() -> None:
    flag = life({"percentage": 50, "bake": "1h"}, {"percentage": 100}, analysis=GUARD)
    flag.metrics = app(errors_in=0.01)
    flag.counts = lambda _: counted(30_000, 50_000, 0.5)
    flag.passes(hours=5)
    assert (flag.milli, flag.condition("SampleRatioMismatch")) == (50_000, "True")
    flag.counts = lambda _: counted(50_200, 50_000, 0.5)
    flag.passes(minutes=2)
    assert (flag.milli, flag.condition("SampleRatioMismatch")) == (100_000, "False")


@pytest.mark.parametrize(
    ("action", "ends"),
    [
        (RequestAction.RESUME, 100_000),
        (RequestAction.SKIP_STEP, 100_000),
        (RequestAction.PROMOTE, 100_000),
        (RequestAction.ABORT, 0),
    ],
)
def test_a_metric_that_pauses_holds_growth_until_somebody_decides(action: RequestAction, ends: int) -> None:
    pausing = {**GUARD, "metrics": [{**ERRORS, "onFail": "Pause"}]}
    flag = life({"percentage": 50, "bake": "1h"}, {"percentage": 100}, analysis=pausing, minExposures=0)
    flag.metrics = app(errors_in=0.05)
    flag.passes(hours=5)
    assert (flag.milli, flag.condition("Stalled")) == (50_000, "True")
    assert flag.status
    assert flag.status.phase is FlagPhase.WAITING
    assert "errors beyond limits: resume, skip the step, promote or abort" in flag.status.message
    assert flag.events.count("AnalysisPaused") == 1
    flag.metrics = app(errors_in=0.01)
    assert flag.ask(action) == "Done"
    assert flag.passes(minutes=5).milli == ends


def test_people_are_asked_in_turn() -> None:
    flag = life().passes(minutes=10)
    assert flag.ask(RequestAction.PAUSE) == "Done"
    assert flag.passes(days=2).milli == 1000
    assert flag.ask(RequestAction.RESUME) == "Done"
    assert flag.milli == 10_000
    assert flag.ask(RequestAction.SKIP_STEP) == "Done"
    assert flag.milli == 100_000
    assert "Done" in flag.ask(RequestAction.ABORT)
    assert (flag.milli, flag.condition("Breached")) == (0, "True")
    assert "ask for a retry" in flag.ask(RequestAction.PROMOTE)
    assert flag.ask(RequestAction.RETRY) == "Done"
    assert flag.milli == 1000
    assert flag.ask(RequestAction.PROMOTE) == "Done"
    assert flag.milli == 100_000


def test_a_request_for_another_rollout_is_refused() -> None:
    flag = life().passes(minutes=10)
    flag.request = '{"id": "1", "action": "Abort", "hash": "other"}'
    flag.decide()
    assert flag.status
    assert flag.status.last_request
    assert "it names other" in flag.status.last_request.message
    assert flag.milli == 1000


def test_a_spec_that_cannot_be_served_grows_nothing_and_hurts_nobody() -> None:
    flag = life().passes(minutes=10).writes(prerequisites=[{"flag": "nowhere", "variants": ["on"]}])
    assert flag.milli == 1000, "the last that was right is served"
    assert (flag.condition("Compiled"), flag.condition("Stalled")) == ("False", "True")
    assert flag.passes(days=1).milli == 1000
    assert flag.writes(enabled=False).milli == 0
    assert flag.writes(enabled=True, prerequisites=[]).passes(hours=2).milli == 10_000
    zone = flag.writes(rollout={"steps": STEPS, "schedule": {"windows": [{"timeZone": "Mars/North"}]}})
    assert "'Mars/North' is no time zone" in zone.decide().status.message


def test_the_older_of_two_with_one_key_is_served() -> None:
    other = Flag(Declared("first", "shop", {"key": "new-checkout"}, created="2025"), "u0")
    flag = Life({"rollout": {"steps": STEPS}}, peers=[other]).passes(days=1)
    assert (flag.rollout.milli, flag.condition("KeyConflict")) == (0, "True")
    assert flag.status
    assert "FeatureFlag shop/first" in flag.status.message
    flag.peers = ()
    flag.decide()
    assert (flag.rollout.milli, flag.condition("KeyConflict")) == (1000, "False")


@pytest.mark.parametrize(
    ("purpose", "days"), [("Release", 14), ("Migration", 7), ("Operational", 90), ("Permission", None)]
)
def test_a_flag_that_has_had_its_day_is_stale_and_its_owner_reminded(purpose: str, days: int | None) -> None:
    flag = Life({"purpose": purpose, "owner": "team-checkout", "rollout": {"steps": [{"percentage": 100}]}})
    flag.decide()
    flag.later(days=days or 300, minutes=-1)
    assert flag.condition("Stale") == "False"
    if days is None:
        return
    flag.later(minutes=1)
    assert flag.condition("Stale") == "True"
    for _ in range(15):
        flag.later(days=1)
    assert flag.events.count("Stale") == 3


def test_a_rollout_that_waits_is_no_debt() -> None:
    flag = life({"percentage": 1}, {"percentage": 100, "approval": "Manual"}).passes(hours=1).later(days=60)
    assert flag.condition("Stale") == "False"


def test_unused_only_where_evaluations_are_counted() -> None:
    flag = Life({})
    flag.decide()
    assert flag.later(days=40).condition("Unused") == "Unknown"
    flag.counts = lambda _: counted(0, 10, 0)
    assert flag.later(hours=3).condition("Unused") == "False"
    flag.counts = lambda _: counted(0, 0, 0)
    assert flag.passes(days=29).condition("Unused") == "False"
    assert flag.passes(days=2).condition("Unused") == "True"


def test_what_nobody_saw_is_not_unused() -> None:
    flag = Life({"defaultVariant": "on"})
    flag.counts = lambda _: counted(10, 0, 0)
    flag.passes(hours=5)
    flag.counts = lambda _: dict.fromkeys(Role, Missing("Prometheus is away"))
    flag.later(days=40)
    flag.counts = lambda _: counted(0, 0, 0)
    assert flag.passes(days=29).condition("Unused") == "Unknown"
    flag.counts = lambda _: dict.fromkeys(Role, Missing("one answer is lost"))
    flag.passes(minutes=70)
    flag.counts = lambda _: counted(0, 0, 0)
    assert flag.passes(days=2).condition("Unused") == "True"


def test_statuses_at_rest_are_not_written_again() -> None:
    flag = Life({"rollout": {"steps": [{"percentage": 100}]}})
    flag.decide()
    before = flag.status
    flag.now += timedelta(minutes=5)
    flag.decide()
    assert flag.status == before


def test_a_missing_answer_is_not_zero() -> None:
    flag = Life({})
    flag.counts = lambda _: dict.fromkeys(counted(0, 0, 0), Missing("down"))
    flag.decide()
    assert flag.later(days=60).condition("Unused") == "Unknown"


def proven(*steps: Json) -> Life:
    flag = life(*steps, analysis={**GUARD, "advance": "Proven"}, minExposures=0)
    flag.metrics = app(errors_in=0.001, errors_out=0.05, rate=2000)
    return flag


def test_each_step_is_proven_by_its_own_evidence() -> None:
    flag = proven(*({"percentage": share, "bake": "2d"} for share in (1, 10, 50)), {"percentage": 100})
    begun = []
    for share in (1000, 10_000, 50_000, 100_000):
        while flag.decide() and flag.milli < share:
            assert flag.wake
            flag.now = max(flag.wake, flag.now + timedelta(milliseconds=1))
        assert flag.milli == share, "one step at a time"
        begun.append(flag.now)
    assert all(later - sooner > timedelta(seconds=30) for sooner, later in pairwise(begun))
    assert begun[-1] < MONDAY + timedelta(hours=1), "early, all the same"


def test_a_step_that_is_proven_early_waits_for_somebody_all_the_same() -> None:
    flag = proven({"percentage": 10, "bake": "2d"}, {"percentage": 50, "approval": "Manual", "bake": "1h"})
    flag.passes(hours=1)
    assert (flag.milli, flag.condition("Ready"), flag.rollout.approved) == (10_000, "False", None)
    assert flag.status
    assert "approve" in flag.status.message
    assert flag.ask(RequestAction.APPROVE) == "Done"
    assert flag.milli == 50_000


def test_a_step_that_is_proven_early_is_not_too_thin_while_it_waits() -> None:
    flag = proven({"percentage": 10, "bake": "10h"}, {"percentage": 50, "approval": "Manual", "bake": "1h"})
    many = {"minRequests": 100_000_000, "onInconclusive": {"then": "Revert"}}
    flag.spec["rollout"]["analysis"] = {**GUARD, "advance": "Proven", **many}
    flag.passes(hours=2)
    assert (flag.milli, flag.rollout.extensions) == (10_000, 0)
    assert flag.status
    assert "approve" in flag.status.message


def test_what_is_approved_is_a_share() -> None:
    sunday = {"windows": [{"days": ["Sun"]}]}
    flag = life({"percentage": 5}, {"percentage": 20, "approval": "Manual"}).passes(hours=1)
    flag.writes(rollout={**flag.spec["rollout"], "schedule": sunday})
    assert flag.ask(RequestAction.APPROVE) == "Done"
    assert flag.milli == 5000
    flag.writes(rollout={"steps": [{"percentage": 5}, {"percentage": 100, "approval": "Manual"}]})
    assert flag.passes(days=7).milli == 5000, "nobody approved of everybody"


def late(at: timedelta) -> Any:
    """An application that is as good as before until then, and fails for who is in from then on."""

    def answers(queries: frozenset[str], now: datetime) -> Mapping[str, Answer]:
        def count(when: float, share: float) -> float:
            passed, good = when - MONDAY.timestamp(), at.total_seconds()
            return 50 * (0.01 * min(passed, good) + share * max(0.0, passed - good))

        found: dict[str, Answer] = {}
        for query in queries:
            share = 0.3 if '~"on"' in query else 0.01
            times = [MONDAY.timestamp() + 15 * n for n in range(int((now - MONDAY).total_seconds() / 15) + 1)][-17:]
            bad = tuple((when, float(int(count(when, share)))) for when in times)
            good = tuple((when, float(int(50 * (when - MONDAY.timestamp()) - count(when, share)))) for when in times)
            found[query] = tuple(Series({"pod": "a", "code": code}, one) for code, one in (("200", good), ("500", bad)))
        return found

    return answers


@pytest.mark.parametrize("bake", ["2m", "6h"])
def test_a_step_that_waits_for_somebody_is_watched_like_one_that_bakes(bake: str) -> None:
    flag = life(
        {"percentage": 5, "bake": bake}, {"percentage": 100, "approval": "Manual"}, analysis=GUARD, minExposures=0
    )
    flag.metrics = late(timedelta(hours=3))
    assert flag.passes(hours=3).milli == 5000
    assert flag.passes(minutes=5).milli == 0
    assert flag.condition("Breached") == "True"


def test_no_data_and_thin_evidence_do_not_turn_off_a_rollout_that_has_ended() -> None:
    policy = {"onUnknown": {"then": "Revert"}, "onInconclusive": {"then": "Revert"}}
    flag = life({"percentage": 50, "bake": "1h"}, analysis={**GUARD, **policy}, minExposures=0)
    flag.metrics = late(timedelta(days=9))
    assert flag.passes(hours=3).condition("Ready") == "True"
    flag.metrics = lambda queries, _: dict.fromkeys(queries, Missing("down"))
    assert (flag.passes(hours=3).milli, flag.condition("Ready")) == (50_000, "True")
    flag.metrics = late(timedelta(hours=7))
    assert flag.passes(hours=4).milli == 0, "a breach turns it off as ever"


def test_a_bake_may_be_made_longer_and_shorter() -> None:
    flag = life({"percentage": 5, "bake": "1h"}, {"percentage": 100}).passes(minutes=30)
    flag.writes(rollout={"steps": [{"percentage": 5, "bake": "7d"}, {"percentage": 100}]})
    assert flag.passes(days=6).milli == 5000
    flag.writes(rollout={"steps": [{"percentage": 5, "bake": "2h"}, {"percentage": 100}]})
    assert flag.milli == 100_000


def test_a_bake_finer_than_statuses_are_is_not_written_again() -> None:
    flag = life({"percentage": 1, "bake": "0.3333333h"}, {"percentage": 100}).passes(seconds=1)
    before = flag.status
    assert flag.later(seconds=1).status == before


def test_what_was_seen_before_nobody_was_at_work_ends_no_bake() -> None:
    steps = ({"percentage": 10, "bake": "4h"}, {"percentage": 100})
    flag = life(*steps, analysis=GUARD, minExposures=0)
    flag.metrics, flag.counts = app(errors_in=0.01), lambda _: counted(9000, 81_000, 0.1)
    assert flag.passes(hours=1).milli == 10_000
    flag.metrics = lambda *_: None  # the answer takes its time
    assert flag.later(hours=4).milli == 10_000
    flag.metrics = app(errors_in=0.3)
    assert flag.passes(minutes=10).milli == 0
    assert "AnalysisFailed" in flag.events


def test_people_that_were_counted_before_nobody_was_at_work_end_no_bake() -> None:
    steps = ({"percentage": 10, "bake": "4h"}, {"percentage": 100})
    flag = life(*steps, analysis=GUARD, minExposures=0)
    flag.metrics, flag.counts = app(errors_in=0.01), lambda _: counted(9000, 81_000, 0.1)
    assert flag.passes(hours=1).milli == 10_000
    flag.counted = False
    assert flag.later(hours=4).milli == 10_000
    flag.counted, flag.counts = True, lambda _: counted(9000, 181_000, 0.1)
    assert flag.passes(minutes=10).milli == 10_000
    assert flag.condition("SampleRatioMismatch") == "True"


def test_what_rules_serve_is_not_what_the_rollout_serves() -> None:
    flag = Life(
        {
            "type": "String",
            "variants": [{"name": name, "value": name} for name in ("blue", "red", "green")],
            "offVariant": "red",
            "defaultVariant": "blue",
            "rollout": {"serve": "green", "steps": [{"percentage": 5, "bake": "1h"}], "analysis": GUARD},
        }
    )
    flag.metrics = app(errors_in=0.01)
    at = MONDAY.timestamp()
    served = tuple(Series({"variant": name}, ((at, count),)) for name, count in (("blue", 5e3), ("red", 5e3)))
    flag.counts = lambda _: {**counted(0, 0, 0.05), Role.GATEWAYS: served, Role.USERS: ()}
    flag.passes(hours=3)
    assert flag.status
    assert "there are 0 in and 5000 out" in flag.status.message


def payments(**spec: Any) -> Flag:
    return Flag(Declared("pay", "shop", {"defaultVariant": "on", **spec}, None, "2025"), "u2")


def test_nobody_is_in_while_a_prerequisite_is_off_and_the_bake_begins_anew_afterwards() -> None:
    flag = Life({"prerequisites": [{"flag": "pay", "variants": ["on"]}], "rollout": {"steps": STEPS}})
    flag.peers = [payments()]
    assert flag.passes(minutes=50).milli == 1000
    flag.peers = [payments(enabled=False)]
    flag.passes(days=20)
    assert flag.status
    assert (flag.rollout.milli, flag.status.phase, flag.status.serving) == (1000, FlagPhase.WAITING, "off")
    assert (flag.condition("Ready"), flag.condition("Stale")) == ("False", "False")
    assert "prerequisite pay serves off to everybody" in flag.status.message
    assert "prerequisite pay" in flag.ask(RequestAction.PROMOTE)
    flag.peers = [payments()]
    assert flag.passes(minutes=50).milli == 1000
    assert flag.passes(minutes=20).milli == 10_000


def test_nobody_is_in_while_a_prerequisite_is_gone_and_no_bake_passes() -> None:
    flag = Life({"prerequisites": [{"flag": "pay", "variants": ["on"]}], "rollout": {"steps": STEPS}})
    flag.peers = [payments()]
    assert flag.passes(minutes=50).milli == 1000
    flag.peers = []
    flag.passes(days=2)
    assert flag.status
    assert (flag.status.phase, flag.status.serving) == (FlagPhase.INVALID, "off")
    assert "until then it is off for everybody" in flag.status.message
    flag.peers = [payments()]
    assert flag.passes(minutes=50).rollout.milli == 1000
    assert flag.passes(minutes=20).rollout.milli == 10_000


def test_what_keeps_a_flag_off_is_told_once_though_its_spec_is_wrong_too() -> None:
    nowhere = {"steps": STEPS, "schedule": {"windows": [{"timeZone": "Mars/North"}]}}
    flag = Life({"prerequisites": [{"flag": "pay", "variants": ["on"]}], "rollout": nowhere})
    flag.peers = [payments(enabled=False)]
    flag.decide()
    told = len(flag.events)
    flag.later(minutes=5).later(minutes=5)
    assert flag.events[told:] == []


def test_a_rollout_that_cannot_grow_is_served_all_the_same_and_promoted_by_nobody() -> None:
    nowhere = {"schedule": {"windows": [{"timeZone": "Mars/North"}]}}
    flag = life({"percentage": 5, "bake": "1h"}, {"percentage": 100}).passes(minutes=1)
    flag.writes(owner="ada", rollout={**flag.spec["rollout"], **nowhere})
    assert flag.status
    assert "until then the rollout does not grow" in flag.status.message
    assert json.loads(flag.status.accepted)["owner"] == "ada"
    assert "the spec is to be mended first" in flag.ask(RequestAction.PROMOTE)
    flag.writes(rollout={"steps": [{"percentage": 5, "bake": "1h"}, {"percentage": 100, "approval": "Manual"}]})
    assert flag.passes(days=2).milli == 5000


def test_who_evaluates_uncounted_may_do_so_all_the_time() -> None:
    at = MONDAY.timestamp()
    streams = (Series({}, ((at, 2.0),)),)
    bulk = (Series({"variant": "off", "mode": "bulk"}, ((at, 9.0),)),)
    in_process, browsers, servers = Life({}), Life({"clientSide": True}), Life({})
    in_process.counts = lambda _: {**counted(0, 0, 0), Role.UNSEEN: streams}
    browsers.counts = servers.counts = lambda _: {**counted(0, 0, 0), Role.GATEWAYS: bulk}
    for flag in (in_process, browsers, servers):
        flag.passes(days=31)
    assert [flag.condition("Unused") for flag in (in_process, browsers, servers)] == ["Unknown", "Unknown", "True"]


def test_none_are_not_the_same_as_nobody_counts() -> None:
    flag = life(*STEPS, analysis=GUARD)
    flag.metrics = app(errors_in=0.01)
    flag.counts = lambda _: counted(0, 0, 0)
    flag.passes(hours=2)
    assert flag.status
    assert "there are 0 in and 0 out" in flag.status.message


def test_a_flag_that_is_killed_has_no_arms_to_be_of_other_sizes() -> None:
    flag = life({"percentage": 50, "bake": "1h"}, {"percentage": 100}, analysis=GUARD)
    flag.metrics, flag.counts = app(errors_in=0.01), lambda _: counted(9000, 1000, 0.5)
    assert flag.passes(minutes=10).condition("SampleRatioMismatch") == "True"
    assert flag.writes(enabled=False).condition("SampleRatioMismatch") == "False"


def test_stale_says_who_is_served_something_else() -> None:
    rule = {"name": "free", "when": {"attribute": "plan", "equals": "free"}, "serve": "off"}
    flag = Life({"rules": [rule], "rollout": {"steps": [{"percentage": 100}]}}).passes(days=15)
    assert flag.status
    stale = next(one for one in flag.status.conditions if one.type == "Stale")
    assert stale.message.startswith("on for everybody, but for its rules, since")


def test_a_spec_that_would_not_fit_twice_is_told() -> None:
    flag = Life({"description": "x", "variants": [{"name": "on", "value": True}], "offVariant": "on"})
    flag.decide()
    large = [{"name": f"v{number}", "value": "x" * 9000} for number in range(32)]
    flag.writes(type="String", variants=large, offVariant="v0")
    assert flag.status
    assert "bytes as JSON, of at most 262144" in flag.status.message
    assert len(flag.status.accepted) < 1000


@pytest.mark.parametrize(
    "steps",
    [STEPS[1:], [{"percentage": 0.5, "bake": "1ms"}, *STEPS[1:]]],
    ids=["its step is gone", "a lower one of no time"],
)
def test_steps_that_speak_no_more_of_the_share_end_no_bake_without_its_evidence(steps: list[Json]) -> None:
    flag = life(*STEPS, analysis={**GUARD, "onUnknown": {"deadline": "10h"}}, minExposures=0).passes(minutes=50)
    flag.writes(rollout={**flag.spec["rollout"], "steps": steps}).passes(hours=1)
    assert flag.milli == 1000
    assert flag.status
    assert "no answer from the metrics" in flag.status.message


def test_steps_of_other_numbers_make_no_evidence_of_what_was_not_looked_at() -> None:
    flag = life(*STEPS, analysis={**GUARD, "advance": "Proven"}, minExposures=0)
    flag.metrics = app(errors_in=0.01, rate=500.0)
    while flag.milli < 10_000:
        flag.passes(seconds=30)
    flag.now += timedelta(seconds=5)
    flag.writes(rollout={**flag.spec["rollout"], "steps": STEPS[1:]})
    assert flag.milli == 10_000, "nobody has looked since it grew"


@pytest.mark.parametrize(
    "never",
    [
        {"removal": {"after": "9999999d"}},
        {"rollout": {"schedule": {"startAt": "9999-12-31T00:00:00Z", "windows": [{}]}}},
    ],
    ids=["removal", "start"],
)
def test_who_writes_never_as_a_time_is_guarded_all_the_same(never: Json) -> None:
    flag = life(*STEPS, analysis=GUARD, minExposures=0)
    flag.metrics = app(errors_in=0.01)
    flag.passes(minutes=59)
    flag.writes(**{**never, "rollout": {**flag.spec["rollout"], **never.get("rollout", {})}}).passes(hours=2)
    assert flag.milli == 1000
    flag.metrics = app(errors_in=0.4)
    assert flag.passes(minutes=10).milli == 0


def test_metrics_are_looked_at_in_a_bake_or_somebody_is_asked() -> None:
    def problem(*steps: Json, **analysis: Any) -> str:
        found = read({"rollout": {"steps": steps, "analysis": {**GUARD, **analysis}}})
        return "; ".join(map(str, found)) if isinstance(found, tuple) else ""

    bare, rest = {"percentage": 50}, {"percentage": 100}
    assert "needs a bake" in problem(bare, rest)
    assert "got none at 50 %" in problem({**bare, "bake": "0s"}, rest)
    assert "needs a bake" in problem(bare), "a last one, too"
    assert not problem({**bare, "bake": "1m"}, rest)
    assert not problem(bare, {**rest, "approval": "Manual"})
    assert not problem(bare, rest, metrics=[])
    assert not problem({"percentage": 0}, rest)


def test_a_pause_does_not_stop_the_time_of_metrics_that_give_no_answer() -> None:
    flag = life(*STEPS, analysis={**GUARD, "onUnknown": {"deadline": "15m", "then": "Revert"}}, minExposures=0)
    assert flag.passes(minutes=5).ask(RequestAction.PAUSE) == "Done"
    assert flag.passes(minutes=5).milli == 1000
    assert flag.passes(minutes=10).milli == 0
    held = life(*STEPS, analysis={**GUARD, "onUnknown": {"deadline": "15m"}}, minExposures=0).passes(minutes=5)
    held.ask(RequestAction.PAUSE)
    assert (held.passes(minutes=30).milli, held.condition("Stalled")) == (1000, "True")
    assert held.events.count("HoldExpired") == 1
    well = life(*STEPS, analysis={**GUARD, "onUnknown": {"deadline": "15m", "then": "Revert"}}, minExposures=0)
    well.metrics = app(errors_in=0.01)
    well.passes(minutes=5).ask(RequestAction.PAUSE)
    assert well.passes(hours=3).milli == 1000


@pytest.mark.parametrize("then", ["Hold", "Revert"])
@pytest.mark.parametrize("why", ["TooFewExposures", "SampleRatioMismatch"])
def test_what_is_lacking_has_a_deadline(why: str, then: str) -> None:
    steps = ({"percentage": 50, "bake": "1h"}, {"percentage": 100})
    flag = life(*steps, analysis={**GUARD, "onUnknown": {"deadline": "30m", "then": then}})
    flag.metrics = app(errors_in=0.01)
    flag.counts = lambda _: counted(*((10, 10) if why == "TooFewExposures" else (30_000, 50_000)), 0.5)
    flag.passes(minutes=80)
    assert flag.status
    assert (flag.milli, flag.condition("Stalled")) == (50_000, "False")
    assert next(one.reason for one in flag.status.conditions if one.type == "Ready") == why
    flag.passes(minutes=30)
    assert (flag.milli, flag.condition("Stalled")) == (50_000 if then == "Hold" else 0, "True")
    assert flag.events.count("HoldExpired") == 1
    if then == "Hold":
        flag.counts = lambda _: counted(50_200, 50_000, 0.5)
        assert (flag.passes(minutes=2).milli, flag.condition("Stalled")) == (100_000, "False")


def test_skipping_is_refused_where_nothing_bakes_and_says_why() -> None:
    flag = life({"percentage": 5, "bake": "1h"}, {"percentage": 50, "approval": "Manual"}).passes(hours=2)
    assert "waits for somebody" in flag.ask(RequestAction.SKIP_STEP)
    flag.ask(RequestAction.APPROVE)
    assert flag.ask(RequestAction.SKIP_STEP) == "no step bakes: the last one has passed"
    ahead = life(*STEPS, schedule={"startAt": "2027-01-01T00:00:00Z"}).passes(hours=1)
    assert "waits until 2027-01-01" in ahead.ask(RequestAction.SKIP_STEP)
    assert life({"percentage": 100}).passes(hours=1).ask(RequestAction.SKIP_STEP) == "no step bakes: everybody is in"


def test_a_verdict_goes_with_its_analysis_and_a_flag_is_enabled_unless_it_is_said_not_to_be() -> None:
    flag = life(*STEPS, analysis=GUARD, minExposures=0)
    flag.metrics = app(errors_in=0.01)
    flag.passes(minutes=10)
    assert flag.status
    assert (flag.status.analysis is not None, flag.status.enabled) == (True, True)
    flag.writes(rollout={"steps": STEPS})
    assert flag.status.analysis is None
    assert flag.passes(hours=1).milli == 10_000
    assert flag.writes(enabled=False).status.enabled is False  # type: ignore[union-attr]  # it was decided

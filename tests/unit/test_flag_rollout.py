"""A rollout, decision by decision: it grows by its steps, holds where it must, and goes back to nothing but off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.rig.flaglife import MONDAY, STEPS, Life, counted

from tidegate.api.flag import FlagPhase
from tidegate.api.release import RequestAction
from tidegate.core.counters import Answer, Missing, Series
from tidegate.core.flags.draft import Flag
from tidegate.core.flags.effective import Declared

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
    assert flag.later(days=29).condition("Unused") == "False"
    assert flag.later(days=2).condition("Unused") == "True"


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

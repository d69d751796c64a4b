"""What gateways and applications count of flags, and what is made of it."""

from __future__ import annotations

import random

from tests.rig.flaglife import MONDAY, counted

from tidegate.api.analysis import AnalysisSpec, MetricSpec, RatioSpec
from tidegate.core import analysis
from tidegate.core.arms import Arms
from tidegate.core.counters import Missing
from tidegate.core.flags import telemetry
from tidegate.core.flags.effective import Declared
from tidegate.core.flags.telemetry import Role, Users


def test_what_is_asked_is_known_again() -> None:
    asked = telemetry.queries(Declared("new", "shop", {"flagSet": "web"}), MONDAY, MONDAY, split=True)
    assert set(telemetry.by_role(dict.fromkeys(asked, ()))) == set(Role)
    assert 'sum by (variant, mode) (increase(tidegate_flag_evaluations_total{flag_set="web",flag="new"}[60s]))' in asked


def test_who_is_not_counted_was_not_served_zero_times() -> None:
    assert telemetry.evaluations({}) is None
    assert telemetry.evaluations({**counted(1, 2, 0.5), Role.WATCHED: ()}) is None
    assert telemetry.evaluations({**counted(1, 2, 0.5), Role.HOOKS: Missing("down")}) is None
    assert telemetry.evaluations(counted(1, 2, 0.5)) == {"on": 1, "off": 2}


def test_gateways_that_have_another_share_do_not_count() -> None:
    assert telemetry.users(counted(10, 90, 0.1), 20_000) is None
    assert telemetry.users(counted(10, 90, 0.1, gateways=2), 10_000) == Users(20, 180, 2)


def test_chance_is_no_mismatch_and_a_missing_arm_is_one() -> None:
    rng, alarms = random.Random(1), 0
    for _ in range(300):
        inside = sum(rng.random() < 0.1 for _ in range(1000))
        alarms += telemetry.chance(Users(inside, 1000 - inside, 1), 10_000) < telemetry.UNLIKELY
    assert alarms <= 3
    assert telemetry.chance(Users(700, 10_000, 1), 10_000) < telemetry.UNLIKELY
    assert telemetry.chance(Users(0, 0, 1), 10_000) == 1


def test_people_who_asked_several_gateways_are_no_more_evidence() -> None:
    alone, each = Users(930, 9070, 1), Users(9300, 90_700, 10)
    assert telemetry.chance(each, 10_000) > 0.5 * telemetry.chance(alone, 10_000)


def test_bare_counters_are_told_apart_by_their_labels_and_promql_by_its_words() -> None:
    ratio = RatioSpec(of='bad_total{v=~"{{variant}}",f="{{flag}}"}', to='all_total{v=~"{{variant}}"}')
    spec = AnalysisSpec(
        metrics=(
            MetricSpec(name="errors", ratio=RatioSpec(of="errors_total", to="requests_total"), max_increase=0.5),
            MetricSpec(name="own", ratio=ratio, max_increase=0.5),
        )
    )
    asked = analysis.queries(spec, Arms.of_variants("shop", "new", ("off",), ("a.b", "c")))
    labels = 'namespace="shop",feature_flag_key="new",feature_flag_variant=~"a[.]b|c"'
    assert f'{{__name__=~"errors_total|requests_total",{labels}}}[60s]' in asked
    assert 'bad_total{v=~"off",f="new"}' in asked
    assert 'all_total{v=~"a[.]b|c"}' in asked

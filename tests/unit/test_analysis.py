"""The analysis end to end, on synthetic counters: a small world of pods that are scraped, and of looks at them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tidegate.api.analysis import AnalysisSpec, AnalysisStatus, MetricStatus, Reason, Verdict
from tidegate.core import analysis, questions
from tidegate.core.analysis import Arms
from tidegate.core.counters import Answer, Missing, Partly, RouterSeries, Series
from tidegate.core.metric import plan
from tidegate.core.presets import Protocol

START = datetime(2026, 5, 1, tzinfo=UTC)
ARMS = Arms.of_revisions("shop", ("6fcbd", "checkout-6fcbd-[a-z0-9]+"), ("7d9f5", "checkout-7d9f5-[a-z0-9]+"))
ROUTER = RouterSeries("router_requests_total", "code", "router_seconds_bucket", "service", "stable", "candidate")
EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
ERRORS_ONLY = [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%", "max": "5%"}]
LATENCY_ONLY = [{"name": "latency", "preset": "Latency", "maxIncrease": "30%", "max": "1s"}]


class Arm:
    """The pods of one arm, and what their counters showed at each scrape. ``status`` is how they tell good and bad."""

    status = ("code", "200", "500")

    def __init__(self, name: str, pods: int, rps: float, errors: float, latency: float) -> None:
        self.name, self.pods, self.rps, self.errors, self.latency = name, pods, rps, errors, latency
        self.noise = 0.0
        """The coefficient of variation of a pod's error rate from scrape to scrape."""
        self.lasting: tuple[float, ...] = ()
        """By what each pod's error rate differs for good."""
        self.served = 0.0
        """What each counter began with."""
        self.late = 0.0
        """Seconds after the other arm at which this one is scraped."""
        self.counters: dict[tuple[str, str, str], float] = {}
        self.samples: dict[tuple[str, str, str], list[tuple[float, float]]] = {}

    def serve(self, seconds: float, rng: np.random.Generator) -> None:
        for pod in range(self.pods):
            requests = int(rng.poisson(self.rps * seconds / self.pods))
            factor = rng.gamma(1 / self.noise**2, self.noise**2) if self.noise else 1.0
            factor *= self.lasting[pod] if self.lasting else 1.0
            failed = int(rng.binomial(requests, min(1.0, self.errors * factor)))
            durations = np.sort(rng.lognormal(0, 0.8, requests) * self.latency)
            label, good, bad = self.status
            self._add(pod, label, good, requests - failed)
            if failed:
                self._add(pod, label, bad, failed)
            for edge in EDGES:
                le = "+Inf" if math.isinf(edge) else str(edge)
                self._add(pod, "le", le, int(np.searchsorted(durations, edge, side="right")))

    def _add(self, pod: int, label: str, value: str, count: int) -> None:
        key = (f"{self.name}-{pod}", label, value)
        self.counters[key] = self.counters.get(key, self.served) + count

    def scrape(self, at: float) -> None:
        for key, value in self.counters.items():
            self.samples.setdefault(key, []).append((at, value))

    def answer(self, label: str, now: float, window: float) -> Answer:
        found = []
        for (pod, kind, value), samples in self.samples.items():
            inside = tuple(sample for sample in samples[-int(window / 0.5) :] if now - window < sample[0] <= now - 0.05)
            if kind == label and inside:
                found.append(Series({"pod": pod, kind: value}, inside))
        return tuple(found)


class World:
    """Two arms under load since a minute before the release, one release's analysis, and a Prometheus."""

    def __init__(
        self,
        stable: Arm,
        candidate: Arm,
        spec: AnalysisSpec,
        *,
        scrape: float = 2.0,
        arms: Arms = ARMS,
        seed: int = 1,
        before: float = 60.0,
    ) -> None:
        self.stable, self.candidate, self.spec, self.arms, self.scrape_every = stable, candidate, spec, arms, scrape
        self.rng = np.random.default_rng(seed)
        self.scraped = START.timestamp() - before + 0.7
        self.down: Callable[[str], Answer | None] = lambda _: None
        self.step_changed = False
        self._until(START, (stable,))
        self.status = analysis.begin(spec, arms, START, planned_looks=100, steps=5)
        self.looks = 0

    def _until(self, now: datetime, arms: tuple[Arm, ...]) -> None:
        while self.scraped + self.scrape_every <= now.timestamp():
            self.scraped += self.scrape_every
            for arm in arms:
                arm.serve(self.scrape_every, self.rng)
                arm.scrape(self.scraped + arm.late)

    def answers(self, now: datetime) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for query in analysis.queries(self.spec, self.arms, self.status):
            if query.startswith("sum by (__name__"):
                found[query] = ()  # no native histograms
                continue
            window = float(query[query.rindex("[") + 1 : -2]) if query.endswith("s]") else 0.0
            arm = self.candidate if "7d9f5" in query or "candidate" in query else self.stable
            down = self.down(query)
            found[query] = (
                arm.answer("le" if "bucket" in query else arm.status[0], now.timestamp(), window)
                if down is None
                else down
            )
        return found

    def look(self) -> AnalysisStatus:
        now = analysis.next_look(self.spec, self.status)
        self._until(now, (self.stable, self.candidate))
        stored = AnalysisStatus.model_validate(json.loads(json.dumps(self.status.wire())))
        changed, self.step_changed = self.step_changed, False
        self.answered = self.answers(now)
        self.status = analysis.look(self.spec, stored, self.arms, self.answered, now, step_changed=changed)
        self.looks += 1
        return self.status

    def look_until(self, verdict: Verdict, most: int) -> AnalysisStatus:
        while self.looks < most and self.look().verdict is not verdict:
            pass
        return self.status

    @property
    def seconds(self) -> float:
        return (self.status.looked_at - START).total_seconds()


def spec(**fields: object) -> AnalysisSpec:
    return AnalysisSpec.model_validate({"interval": "2s", "warmup": "0s", "metrics": ERRORS_ONLY} | fields)


def arm(name: str, rps: float, errors: float = 0.0, latency: float = 0.02, pods: int = 2) -> Arm:
    return Arm(name, pods, rps, errors, latency)


def metric(status: AnalysisStatus, name: str) -> MetricStatus:
    return next(metric for metric in status.metrics if metric.name == name)


@pytest.mark.parametrize(("interval", "scrape"), [("15s", 30.0), ("5s", 30.0), ("1s", 15.0), ("15s", 15.0)])
def test_arms_that_are_never_scraped_between_the_same_two_looks_are_compared(interval: str, scrape: float) -> None:
    late = arm("candidate", 50, errors=0.04, pods=1)
    late.late = scrape / 2
    compared = spec(interval=interval, metrics=[{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%"}])
    world = World(arm("stable", 50, errors=0.005, pods=1), late, compared, scrape=scrape)
    assert world.look_until(Verdict.Fail, 100).verdict is Verdict.Fail
    assert world.seconds <= 3.5 * scrape


@pytest.mark.parametrize("anew", ["limits", "arms"])
def test_evidence_that_is_void_is_begun_anew_by_an_answer(anew: str) -> None:
    world = World(arm("stable", 50), arm("candidate", 50), spec())
    for _ in range(3):
        world.look()
    if anew == "limits":
        world.spec = spec(metrics=[{**ERRORS_ONLY[0], "maxIncrease": "60%"}])
    else:
        world.arms = replace(ARMS, stable=replace(ARMS.stable, name="another"))
    assert world.look().verdict is not Verdict.Unknown, world.status.message


def test_half_of_the_requests_failing_is_seen_right_after_the_scrapes_that_show_it() -> None:
    delays = []
    for seed in range(10):
        world = World(arm("stable", 750), arm("candidate", 250, errors=0.5), spec(), seed=seed)
        assert world.look_until(Verdict.Fail, 6).verdict is Verdict.Fail
        delays.append(world.seconds)
    # Scrapes are at 0.7, 2.7, 4.7 s; what the first one shows is what the candidate did by then.
    assert max(delays) < 4.9
    assert float(np.median(delays)) < 3.0


def test_five_percent_errors_at_ten_requests_a_second_fail_in_a_few_looks() -> None:
    for seed in range(5):
        world = World(arm("stable", 90), arm("candidate", 10, errors=0.05), spec(interval="15s"), scrape=15, seed=seed)
        status = world.look_until(Verdict.Fail, 14)
        assert status.verdict is Verdict.Fail
        assert status.reason is Reason.LimitExceeded
        assert status.message.startswith("errors ")
        assert metric(status, "errors").evidence > 0.9


def test_a_healthy_release_passes_and_never_leans() -> None:
    world = World(
        arm("stable", 750, errors=0.003), arm("candidate", 250, errors=0.003), spec(metrics=ERRORS_ONLY + LATENCY_ONLY)
    )
    for _ in range(20):
        status = world.look()
        assert status.verdict is not Verdict.Fail
        assert not status.leans_to_failing
    assert world.look_until(Verdict.Pass, 60).verdict is Verdict.Pass
    assert all(metric.verdict is Verdict.Pass for metric in world.status.metrics)
    assert metric(world.status, "latency").ratio == pytest.approx(1, abs=0.2)


def test_a_slower_candidate_fails_by_its_latency() -> None:
    world = World(arm("stable", 90), arm("candidate", 30, latency=0.06), spec(metrics=ERRORS_ONLY + LATENCY_ONLY))
    status = world.look_until(Verdict.Fail, 60)
    assert status.verdict is Verdict.Fail
    assert status.message.startswith("latency p99 ")
    found = metric(status, "latency")
    assert found.stable is not None
    assert found.candidate is not None
    assert 0.1 < found.stable < 0.25 < found.candidate


def test_great_numbers_are_written_out() -> None:
    world = World(
        arm("stable", 90), arm("candidate", 30, errors=1.0, latency=1.5), spec(metrics=ERRORS_ONLY + LATENCY_ONLY)
    )
    status = world.look_until(Verdict.Fail, 60)
    assert metric(status, "errors").message.startswith("100 % vs ")
    told = metric(status, "latency").message
    assert re.match(r"p99 [1-9]\d{3} ms vs ", told), told


def test_a_candidate_beyond_the_absolute_limit_fails_with_no_stable_left() -> None:
    world = World(arm("stable", 50, errors=0.002), arm("candidate", 50, errors=0.15), spec())
    world.stable.rps = 0
    assert world.look_until(Verdict.Fail, 20).verdict is Verdict.Fail


def test_fail_lasts() -> None:
    world = World(arm("stable", 750), arm("candidate", 250, errors=0.5), spec())
    failed = world.look_until(Verdict.Fail, 6)
    world.candidate.errors = 0.0
    for _ in range(5):
        world.look()
    assert world.status == failed.model_copy(update={"looked_at": world.status.looked_at})


def test_the_warm_up_does_not_count() -> None:
    world = World(arm("stable", 750), arm("candidate", 250, errors=0.5), spec(warmup="20s"))
    while world.seconds < 17:
        status = world.look()
        assert status.verdict in {Verdict.Inconclusive, Verdict.Unknown}
        assert status.requests == 0
    assert status.reason is Reason.WarmingUp
    world.candidate.errors = 0.0
    for _ in range(10):
        world.look()
    assert world.status.verdict is not Verdict.Fail


def test_no_answer_is_unknown_and_afterwards_nothing_is_lost() -> None:
    world = World(arm("stable", 100, errors=0.01), arm("candidate", 100, errors=0.01), spec())
    for _ in range(3):
        world.look()
    seen, evidence = world.status.requests, metric(world.status, "errors").evidence
    world.down = lambda _: Missing("Prometheus at http://p cannot be reached: connection refused")
    for _ in range(20):
        status = world.look()
        assert (status.verdict, status.reason) == (Verdict.Unknown, Reason.QueryFailed)
    assert "cannot be reached: connection refused" in status.message
    assert status.requests == seen
    assert metric(status, "errors").evidence == evidence
    world.down = lambda _: None
    status = world.look()
    assert status.verdict is Verdict.Inconclusive
    assert status.requests > seen + 0.9 * 100 * 2 * 20


def test_one_arm_without_an_answer_holds_back_the_other() -> None:
    world = World(arm("stable", 750), arm("candidate", 250, errors=0.5), spec())
    world.down = lambda query: Missing("timeout") if "6fcbd" in query else None
    assert all(world.look().verdict is Verdict.Unknown for _ in range(4))
    world.down = lambda _: None
    assert world.look().verdict is Verdict.Fail


def test_counters_that_nobody_exposes_are_named_with_the_way_out() -> None:
    world = World(arm("stable", 100), arm("candidate", 100), spec())
    world.down = lambda query: () if "7d9f5" in query else None
    status = world.look()
    assert (status.verdict, status.reason) == (Verdict.Unknown, Reason.NoSeries)
    assert 'http_requests_total{namespace="shop",pod=~"checkout-7d9f5-[a-z0-9]+"}' in status.message
    assert "prometheus.io/scrape" in status.message


def test_samples_that_stop_coming_are_unknown_after_a_while() -> None:
    world = World(arm("stable", 100), arm("candidate", 100), spec())
    world.look_until(Verdict.Inconclusive, 3)
    world.down = lambda _: ()
    verdicts = [world.look().verdict for _ in range(40)]
    assert verdicts[0] is Verdict.Inconclusive
    assert verdicts[-1] is Verdict.Unknown
    assert world.status.reason is Reason.Stale


def test_the_default_latency_is_done_without_where_there_is_no_histogram() -> None:
    def no_histogram(query: str) -> Answer | None:
        return () if "bucket" in query else None

    default = World(arm("stable", 750, errors=0.01), arm("candidate", 250, errors=0.01), AnalysisSpec())
    default.down = no_histogram
    status = default.look_until(Verdict.Pass, 40)
    assert status.verdict is Verdict.Pass
    latency = metric(status, "latency")
    assert latency.verdict is Verdict.Unknown
    assert latency.message.endswith("the release goes on without it")

    written = World(arm("stable", 100), arm("candidate", 100), spec(metrics=ERRORS_ONLY + LATENCY_ONLY))
    written.down = no_histogram
    assert all(written.look().verdict is Verdict.Unknown for _ in range(10))


def test_a_histogram_that_is_lost_holds_even_the_default_latency() -> None:
    world = World(
        arm("stable", 100), arm("candidate", 100), AnalysisSpec.model_validate({"interval": "2s", "warmup": "0s"})
    )
    world.look_until(Verdict.Inconclusive, 3)
    world.down = lambda query: () if "bucket" in query else None
    for _ in range(30):
        world.look()
    assert world.status.verdict is Verdict.Unknown


def test_a_candidate_without_requests_gives_no_evidence() -> None:
    world = World(arm("stable", 100), arm("candidate", 0), spec())
    for _ in range(10):
        world.look()
    status = world.status
    assert (status.verdict, status.reason, status.step_requests) == (Verdict.Inconclusive, Reason.NoTraffic, 0)


def test_a_step_counts_its_own_requests_and_must_pass_anew() -> None:
    world = World(arm("stable", 750, errors=0.003), arm("candidate", 250, errors=0.003), spec())
    before = world.look_until(Verdict.Pass, 60)
    assert before.verdict is Verdict.Pass
    world.step_changed = True
    status = world.look()
    assert status.verdict is Verdict.Inconclusive
    assert status.requests > before.requests
    assert 0 < status.step_requests < 700


def test_other_revisions_start_with_no_evidence() -> None:
    world = World(arm("stable", 750), arm("candidate", 250, errors=0.05), spec())
    world.look_until(Verdict.Inconclusive, 3)
    world.arms = replace(ARMS, candidate=replace(ARMS.candidate, name="89abc"))
    assert world.look().requests == 0


def test_a_restart_between_looks_changes_nothing() -> None:
    """Every look goes through JSON already; here one that goes without must find the same."""
    stable, candidate = arm("stable", 750, errors=0.003), arm("candidate", 250, errors=0.006)
    world = World(stable, candidate, spec(metrics=ERRORS_ONLY + LATENCY_ONLY))
    direct = world.status
    for _ in range(8):
        status = world.look()
        now = status.looked_at
        direct = analysis.look(world.spec, direct, ARMS, world.answered, now, step_changed=False)
        assert direct.journal == status.journal


def test_the_journal_fits() -> None:
    long_lived = arm("stable", 9000, errors=0.003, pods=32)
    long_lived.served = 1e9
    world = World(
        long_lived,
        arm("candidate", 1000, errors=0.003, pods=4),
        spec(metrics=ERRORS_ONLY + LATENCY_ONLY),
    )
    for _ in range(19):
        world.look()
    kept = json.loads(world.status.journal)["metrics"]
    assert all(len(json.dumps(metric, separators=(",", ":"))) < 4096 for metric in kept.values())


def test_the_journal_of_32_pods_in_both_arms_that_have_served_much_stays_small() -> None:
    """In the status of the release, for each metric: 4 KB."""
    stable, candidate = arm("stable", 900, 0.01, pods=32), arm("candidate", 900, 0.01, pods=32)
    stable.served, candidate.served = 4e8, 1e5
    world = World(stable, candidate, spec(interval="15s"), scrape=15)
    for _ in range(25):
        world.look()
    kept = json.loads(world.status.journal)["metrics"]["errors"]
    assert len(kept["stable"][3].split()) == len(kept["candidate"][3].split()) == 32
    assert len(json.dumps(kept, separators=(",", ":"))) <= 4096


HISTORY, NATIVE_HISTORY = (one.text for one in questions.history(spec(), spec().metrics[0], ARMS))


def test_what_stable_did_before_is_asked_once_and_of_the_pods() -> None:
    for arms in (ARMS, replace(ARMS, router=ROUTER)):
        world = World(arm("stable", 100), arm("candidate", 100), spec(), arms=arms)
        more = {*analysis.queries(world.spec, arms, world.status)} - {*analysis.queries(world.spec, arms)}
        assert more == {HISTORY, NATIVE_HISTORY}
        world.look()
        assert not any("[502s]" in query for query in analysis.queries(world.spec, arms, world.status))
    assert HISTORY.startswith('{__name__=~"http_requests_total|'), "whose counters there are is not known yet"
    assert 'pod=~"checkout-6fcbd-[a-z0-9]+"' in HISTORY
    assert HISTORY.endswith("[502s]")
    whole = "[3675s]"
    assert any(query.endswith(whole) for query in analysis.queries(spec(interval="15s"), ARMS, world_begun()))
    own = ratio('sum(bad{pod=~"{{pods}}"})', "all_total")
    assert analysis.queries(own, ARMS, world_begun()) == analysis.queries(own, ARMS), "a sum tells no pods apart"
    limit_only = spec(metrics=[{**LATENCY_ONLY[0], "maxIncrease": None}])
    assert analysis.queries(limit_only, ARMS, world_begun()) == analysis.queries(limit_only, ARMS)


def world_begun() -> AnalysisStatus:
    return analysis.begin(spec(), ARMS, START, 100, 5)


def noisy_world(seed: int, candidate_errors: float = 0.01, **fields: object) -> World:
    """Pods that differ by as much as their error rate, from scrape to scrape."""
    stable, candidate = arm("stable", 900, errors=0.01, pods=9), arm("candidate", 100, errors=candidate_errors, pods=1)
    stable.noise = candidate.noise = 1.0
    return World(stable, candidate, spec(**fields), seed=seed, before=510.0)


def test_pods_that_differ_from_scrape_to_scrape_are_no_regression() -> None:
    limited = [{**ERRORS_ONLY[0], "max": None}]
    for seed in range(4):
        world = noisy_world(seed, metrics=limited)
        assert world.look_until(Verdict.Fail, 100).verdict is not Verdict.Fail
        found = metric(world.status, "errors").dispersion
        assert found is not None
        assert 2 < found < 4
        assert not any(world.look().verdict is Verdict.Pass and world.status.step_requests < 2000 for _ in range(5))


def world_of_noisy_pods(metrics: list[dict[str, object]]) -> World:
    """Stable has served for an hour, with errors that differ from pod to pod; its durations do not."""
    stable = arm("stable", 90, errors=0.05, pods=9)
    stable.noise = 1.0
    return World(stable, arm("candidate", 10), spec(interval="15s", metrics=metrics), scrape=15, before=3700.0)


@pytest.mark.parametrize("metrics", [ERRORS_ONLY, LATENCY_ONLY])
def test_the_first_look_knows_how_pods_differ_even_if_the_candidate_was_not_scraped_yet(
    metrics: list[dict[str, object]],
) -> None:
    world = world_of_noisy_pods(metrics)
    first = metric(world.look(), str(metrics[0]["name"]))
    assert first.reason is Reason.NoSeries
    journal = json.loads(world.status.journal)["metrics"][str(metrics[0]["name"])]
    assert "pods" in journal["dispersion"]
    assert first.dispersion is not None
    assert (first.dispersion > 1.4) if metrics is ERRORS_ONLY else (first.dispersion < 1.2)


@pytest.mark.parametrize(
    ("pods", "lasting", "reason"),
    [
        (2, (0.4, 0.6, 0.8, 1.0, 1.0, 1.2, 1.4, 1.6), Reason.NeedsPods),
        (3, (0.4, 0.6, 0.8, 1.0, 1.0, 1.2, 1.4, 1.6), Reason.WithinLimits),
        (1, (), Reason.WithinLimits),
        (0, (0.4, 0.6, 0.8, 1.0, 1.0, 1.2, 1.4, 1.6), Reason.WithinLimits),  # nobody knows
    ],
)
def test_few_pods_prove_nothing_where_those_of_stable_differ_for_long(
    pods: int, lasting: tuple[float, ...], reason: Reason
) -> None:
    stable = arm("stable", 80, errors=0.02, pods=8)
    stable.lasting = lasting
    arms = replace(ARMS, pods=pods)
    world = World(
        stable,
        arm("candidate", 30, errors=0.01, pods=max(pods, 1)),
        spec(interval="15s"),
        scrape=15,
        arms=arms,
        before=3700.0,
    )
    while world.looks < 240 and world.look().reason in (Reason.NoSeries, Reason.NeedsRequests):
        pass
    found = metric(world.status, "errors")
    assert (found.reason, found.needed) == (reason, None)
    assert found.verdict is (Verdict.Inconclusive if reason is Reason.NeedsPods else Verdict.Pass)


def test_a_regression_is_still_found_where_pods_differ() -> None:
    for seed in range(3):
        assert noisy_world(seed, candidate_errors=0.1).look_until(Verdict.Fail, 40).verdict is Verdict.Fail


@pytest.mark.parametrize("answer", [Missing("query processing would load too many samples"), ()])
def test_no_history_is_no_trouble(answer: Answer) -> None:
    world = World(arm("stable", 750, errors=0.01), arm("candidate", 250, errors=0.01), spec())
    world.down = lambda query: answer if query == HISTORY else None
    first = metric(world.look(), "errors")
    assert first.verdict is Verdict.Inconclusive
    assert first.dispersion is not None
    assert 1.0 < first.dispersion < 1.2, "of what little stable's pods have shown since"


@pytest.mark.parametrize("metrics", [ERRORS_ONLY, LATENCY_ONLY])
def test_what_stable_did_before_is_known_to_a_release_that_began_in_an_outage(
    metrics: list[dict[str, object]],
) -> None:
    world = world_of_noisy_pods(metrics)
    world.down = lambda _: Missing("connection refused")
    for _ in range(3):
        assert world.look().reason is Reason.QueryFailed
    world.down = lambda _: None
    known = metric(world.look(), str(metrics[0]["name"])).dispersion
    assert known is not None
    assert (known > 1.4) if metrics is ERRORS_ONLY else (known < 1.2)
    assert not set(analysis.before(world.spec, ARMS)) & set(analysis.queries(world.spec, ARMS, world.status))


def test_what_a_look_shows_does_not_decide_what_it_is_worth() -> None:
    """Two worlds that differ only in what single pods of stable did since the last look."""
    worlds = [World(arm("stable", 900, pods=3), arm("candidate", 100), spec(), seed=5) for _ in range(2)]
    for world in worlds:
        world.stable.errors = 0.01
        for _ in range(5):
            world.look()
    now = analysis.next_look(worlds[0].spec, worlds[0].status)
    for world in worlds:
        world._until(now, (world.stable, world.candidate))
    failed = [("stable-0", "code", "500"), ("stable-1", "code", "500")]
    for kind, sign in zip(failed, (1, -1), strict=True):
        samples = worlds[1].stable.samples[kind]
        samples[-1] = (samples[-1][0], samples[-1][1] + 2 * sign)
    one, other = (
        analysis.look(world.spec, world.status, ARMS, world.answers(now), now, step_changed=False) for world in worlds
    )
    evidence = [json.loads(status.journal)["metrics"]["errors"]["evidence"]["fail"] for status in (one, other)]
    assert evidence[0] == evidence[1]
    assert metric(one, "errors").dispersion != metric(other, "errors").dispersion


def test_the_router_is_asked_where_it_knows_the_arms() -> None:
    arms = replace(ARMS, router=ROUTER)
    assert analysis.queries(spec(interval="15s"), arms) == (
        'router_requests_total{service=~"stable"}[60s]',
        'router_requests_total{service=~"candidate"}[60s]',
    )
    from_pods = [{**ERRORS_ONLY[0], "from": "Pods"}]
    assert all("http_requests_total" in query for query in analysis.queries(spec(metrics=from_pods), arms))
    world = World(arm("stable", 750), arm("candidate", 250, errors=0.5), spec(), arms=arms)
    assert world.look_until(Verdict.Fail, 6).verdict is Verdict.Fail


GRPC = replace(ARMS, router=ROUTER, protocols=(Protocol.GRPC,))
BOTH = replace(GRPC, protocols=(Protocol.HTTP, Protocol.GRPC))


def test_errors_of_grpc_are_asked_of_the_pods_and_latency_of_the_router() -> None:
    """The router sees HTTP status 200; a kubelet's probes are nobody's requests."""
    metrics = [ERRORS_ONLY[0], LATENCY_ONLY[0], {**LATENCY_ONLY[0], "name": "pods", "from": "Pods"}]
    pods = 'namespace="shop",pod=~"checkout-7d9f5-[a-z0-9]+",grpc_service!="grpc.health.v1.Health"'

    def asked(metrics: list[dict[str, str]], arms: Arms) -> list[str]:
        world = World(arm("stable", 300), arm("candidate", 100), spec(metrics=metrics), arms=arms)
        queries = analysis.queries(world.spec, arms, world.look())
        return [query for query in queries if "7d9f5" in query or "cand" in query]

    assert asked(metrics, GRPC) == [
        f"grpc_server_handled_total{{{pods}}}[20s]",
        'router_seconds_bucket{service=~"candidate"}[20s]',
        f"grpc_server_handling_seconds_bucket{{{pods}}}[20s]",
    ]
    assert asked(ERRORS_ONLY, BOTH) == [f'{{__name__=~"http_requests_total|grpc_server_handled_total",{pods}}}[20s]']
    (latency,) = asked([{**LATENCY_ONLY[0], "from": "Pods"}], BOTH)
    assert latency.startswith("http_request_duration_seconds_bucket{")
    assert analysis.queries(spec(metrics=[{**ERRORS_ONLY[0], "from": "Router"}]), GRPC) == ()


@pytest.mark.parametrize(
    ("label", "bad", "faulty"),
    [
        ("grpc_code", "Internal", True),
        ("grpc_code", "DeadlineExceeded", True),
        ("grpc_code", "DATA_LOSS", True),
        ("code", "UNAVAILABLE", True),
        ("grpc_code", "NotFound", False),
        ("grpc_code", "RESOURCE_EXHAUSTED", False),
    ],
)
def test_a_status_of_grpc_is_a_failure_where_the_server_is_at_fault(label: str, bad: str, *, faulty: bool) -> None:
    stable, candidate = arm("stable", 750), arm("candidate", 250, errors=0.5)
    stable.status = candidate.status = (label, "OK", bad)
    world = World(stable, candidate, spec(), arms=GRPC)
    assert (world.look_until(Verdict.Fail, 6).verdict is Verdict.Fail) is faulty
    assert metric(world.status, "errors").requests > 200


def test_requests_are_not_counted_twice_when_other_counters_are_gone_by() -> None:
    """A GRPCRoute comes in mid-release: the errors are the pods' from then on, and those begin with all they had."""
    world = World(arm("stable", 300), arm("candidate", 100), spec(), arms=replace(ARMS, router=ROUTER))
    for _ in range(20):
        world.look()
    before = metric(world.status, "errors").requests
    assert before > 1000
    world.arms = BOTH
    assert metric(world.look(), "errors").requests < before
    for _ in range(20):
        world.look()
    assert world.status.requests < 1.1 * 100 * world.seconds, "no more than there were"


def test_a_router_that_is_wanted_and_not_known_is_unknown() -> None:
    world = World(arm("stable", 100), arm("candidate", 100), spec(metrics=[{**ERRORS_ONLY[0], "from": "Router"}]))
    assert analysis.queries(world.spec, ARMS) == ()
    status = world.look()
    assert status.verdict is Verdict.Unknown
    assert "set from: Pods" in status.message


def test_a_histogram_too_coarse_for_its_limits_says_which_edge_it_needs() -> None:
    slow = [{"name": "latency", "preset": "Latency", "maxIncrease": "30%"}]
    far = [{"name": "latency", "preset": "Latency", "max": "1m"}]
    for metrics, told in ((slow, "add a bucket edge further up"), (far, "slower than 1m: add a bucket edge there")):
        world = World(arm("stable", 300, latency=20), arm("candidate", 100, latency=20), spec(metrics=metrics))
        for _ in range(5):
            status = world.look()
        assert (status.verdict, status.reason) == (Verdict.Inconclusive, Reason.Resolution)
        assert told in status.message


def ratio(of: str, to: str) -> AnalysisSpec:
    return spec(metrics=[{"name": "orders", "ratio": {"of": of, "to": to}, "maxIncrease": "50%"}])


def looked(spec: AnalysisSpec, answers: Sequence[Mapping[str, Answer]]) -> AnalysisStatus:
    status = analysis.begin(spec, ARMS, START, 100, 5)
    for index, answer in enumerate(answers):
        now = START + timedelta(seconds=2 * index + 2)
        status = analysis.look(spec, status, ARMS, answer, now, step_changed=False)
    return status


def sums(texts: tuple[str, ...], *values: float, at: float) -> dict[str, Answer]:
    """Each is worked out when its turn comes."""
    when = START.timestamp() + at
    return {
        text: (Series({}, ((when + 0.01 * turn, value),)),)
        for turn, (text, value) in enumerate(zip(texts, values, strict=True))
    }


def test_promql_of_the_users_is_asked_for_each_arm_and_counted() -> None:
    wanted = ratio('sum(bad{ns="{{namespace}}",pod=~"{{pods}}"})', 'sum(all{hash="{{revision}}"})')
    texts = analysis.queries(wanted, ARMS)
    assert texts == (
        'sum(bad{ns="shop",pod=~"checkout-6fcbd-[a-z0-9]+"})',
        'sum(all{hash="6fcbd"})',
        'sum(bad{ns="shop",pod=~"checkout-7d9f5-[a-z0-9]+"})',
        'sum(all{hash="7d9f5"})',
    )
    growing = [sums(texts, 5 + i, 1000 + 300 * i, 40 * i, 100 * i, at=2 * i + 2) for i in range(8)]
    status = looked(wanted, growing)
    assert status.verdict is Verdict.Fail
    assert status.message.startswith("orders 40 % vs 0.33 % stable")


def test_orders_that_stay_away_fail_and_it_is_told_by_how_much_they_may() -> None:
    fewer = spec(metrics=[{"name": "orders", "ratio": {"of": "orders", "to": "all"}, "maxDecrease": "5%"}])
    at = START.timestamp()

    def answers(look: int, rate: float) -> dict[str, Answer]:
        when = at + 2 * look + 2

        def growing(name: str, by: float) -> Series:
            return Series({"__name__": name, "pod": "a"}, ((when - 2, by * max(look - 1, 0)), (when, by * look)))

        return {
            text: (growing("orders", orders), growing("all", 1000))
            for text, orders in zip(analysis.queries(fewer, ARMS), (50, 1000 * rate), strict=True)
        }

    status = looked(fewer, [answers(look, 0.02) for look in range(12)])
    assert status.verdict is Verdict.Fail
    assert status.message == "orders 2 % vs 5 % stable, allowed: at most 5 % less than stable"
    assert looked(fewer, [answers(look, 0.05) for look in range(12)]).verdict is not Verdict.Fail
    assert looked(fewer, [answers(look, 0.09) for look in range(12)]).verdict is Verdict.Pass


def test_a_query_with_several_series_is_unknown_and_shows_them() -> None:
    wanted = ratio("bad_total", 'sum by (pod) (x{pod=~"{{pods}}"})')
    texts = analysis.queries(wanted, ARMS)
    several = tuple(Series({"pod": pod}, ((START.timestamp(), 1.0),)) for pod in ("a", "b"))
    status = looked(wanted, [dict.fromkeys(texts, several)])
    assert (status.verdict, status.reason) == (Verdict.Unknown, Reason.SeveralSeries)
    assert '2 series, such as {pod="a"} and {pod="b"}: sum them' in status.message


def test_what_prometheus_says_of_a_wrong_query_is_shown() -> None:
    wanted = ratio('sum(x{pod=~"{{pods}}"}', "all_total")
    status = looked(wanted, [dict.fromkeys(analysis.queries(wanted, ARMS), Missing('1:5: parse error: unclosed "("'))])
    assert status.verdict is Verdict.Unknown
    assert 'parse error: unclosed "("' in status.message


def test_bad_events_may_be_unknown_to_one_arm_but_not_to_both() -> None:
    wanted = ratio("bad_total", "all_total")
    stable, candidate = analysis.queries(wanted, ARMS)
    bad, everything = (
        Series({"__name__": name, "pod": "a"}, ((START.timestamp() - 1, 1.0), (START.timestamp() + 1, 9.0)))
        for name in ("bad_total", "all_total")
    )
    assert looked(wanted, [{stable: (everything,), candidate: (bad, everything)}]).verdict is Verdict.Inconclusive
    status = looked(wanted, [{stable: (everything,), candidate: (everything,)}])
    assert (status.verdict, status.reason) == (Verdict.Unknown, Reason.NoSeries)
    assert status.message.startswith("orders no series bad_total{")
    assert "or vector(0)" in status.message
    nothing = looked(wanted, [{stable: (bad, everything), candidate: (bad,)}, {stable: (bad,), candidate: (bad,)}])
    assert nothing.message.startswith("orders no series all_total{"), "what all events are must be known of each arm"


def test_two_counters_of_a_ratio_are_asked_for_at_once_and_each_is_told_by_its_name() -> None:
    wanted = ratio("bad_total", "all_total")
    stable, candidate = analysis.queries(wanted, ARMS)
    assert stable == '{__name__=~"bad_total|all_total",namespace="shop",pod=~"checkout-6fcbd-[a-z0-9]+"}[20s]'
    bad = Series({"__name__": "bad_total", "pod": "a"}, ((START.timestamp() + 1, 9.0),))
    native = replace(bad, labels={"__name__": "all_total", "pod": "a"}, cells={"~1": bad.samples})
    status = looked(wanted, [{stable: (bad, native), candidate: (bad, native)}])
    assert (status.verdict, status.reason) == (Verdict.Unknown, Reason.QueryFailed)
    assert status.message.startswith("orders all_total{"), "the other one has numbers"
    assert "native histograms, where a number is needed" in status.message


def test_requests_without_a_status_label_are_unknown() -> None:
    unlabelled: Answer = (Series({"pod": "a"}, ((START.timestamp() + 1, 9.0),)),)
    status = looked(spec(), [dict.fromkeys(analysis.queries(spec(), ARMS), unlabelled)])
    assert status.verdict is Verdict.Unknown
    assert "no label code or status" in status.message


@pytest.mark.parametrize(("interval", "scrape"), [(2, 2), (15, 15), (15, 2), (5, 15), (30, 7)])
def test_looks_follow_the_scrapes(interval: int, scrape: int) -> None:
    world = World(arm("stable", 20), arm("candidate", 20), spec(interval=f"{interval}s"), scrape=scrape)
    times = []
    for _ in range(25):
        world.look()
        times.append(world.seconds)
    gaps = np.diff(times[8:])
    assert gaps.max() <= 1.25 * interval + 0.001
    assert 0.8 * interval <= gaps.mean() <= 1.25 * interval
    if interval >= scrape:
        after_scrape = [(at + 59.3) % scrape for at in times[8:]]
        assert max(after_scrape) == pytest.approx(0.15, abs=0.02)


def test_a_late_scrape_is_waited_for() -> None:
    world = World(arm("stable", 20), arm("candidate", 20), spec())
    for _ in range(5):
        world.look()
    world.scraped += 0.3
    world.look()
    assert 0.2 < (analysis.next_look(world.spec, world.status) - world.status.looked_at).total_seconds() < 0.3


def test_without_metrics_nothing_is_judged() -> None:
    none = spec(metrics=[])
    assert looked(none, [{}]).verdict is Verdict.Pass


CPU = {"name": "cpu", "gauge": {"query": 'avg(cpu{pod=~"{{pods}}"})'}, "maxIncrease": "20%", "max": "90%"}


class Levels:
    """A world with a gauge beside its errors."""

    def __init__(self, candidate: float, stable: float = 0.5, **metric: object) -> None:
        self.candidate, self.stable = candidate, stable
        cpu = {name: value for name, value in {**CPU, **metric}.items() if value is not None}
        self.world = World(
            arm("stable", 75, errors=0.003),
            arm("candidate", 25, errors=0.003),
            spec(interval="15s", metrics=[*ERRORS_ONLY, cpu]),
            scrape=15,
        )
        self.missing = False
        self.world.down = self.level

    def level(self, query: str) -> Answer | None:
        if "cpu{" not in query:
            return None
        now, level = self.world.scraped, self.candidate if "7d9f5" in query else self.stable
        pods = (0.9, 1.1)
        return () if self.missing else tuple(Series({"pod": str(by)}, ((now, by * level),)) for by in pods)

    def look(self, times: int) -> AnalysisStatus:
        for _ in range(times):
            self.world.look()
        return self.world.status


def test_a_gauge_beyond_its_limits_holds_the_release_and_fails_nothing() -> None:
    levels = Levels(candidate=1.2)
    status = levels.look(120)
    assert (status.verdict, status.reason, status.held_by) == (Verdict.Inconclusive, Reason.Held, ("cpu",))
    assert not status.leans_to_failing
    found = metric(status, "cpu")
    assert (found.verdict, found.reason) == (Verdict.Fail, Reason.LimitExceeded)
    told = "cpu 120 % vs 50 % stable, allowed: at most 20 % more than stable and at most 90%"
    assert status.message == told
    levels.candidate = 0.5
    levels.world.down = lambda query: Missing("nobody answers") if "http_requests" in query else levels.level(query)
    blind = levels.look(1)
    assert (blind.verdict, blind.reason, blind.held_by) == (Verdict.Unknown, Reason.QueryFailed, ("cpu",))
    assert blind.message.startswith(f"{told}; errors http_requests_total{{")
    levels.world.down = levels.level
    assert levels.look(60).held_by == ("cpu",), "until somebody decides"
    levels.world.status = analysis.forgiven(levels.world.spec, levels.world.status)
    assert levels.world.status.held_by == ()
    requests = metric(status, "errors").requests
    after = levels.look(60)
    assert after.held_by == ()
    assert metric(after, "errors").requests > requests, "what else is known stays known"


def test_a_gauge_that_is_to_revert_fails_the_release() -> None:
    assert Levels(candidate=1.2, onFail="Revert").look(120).verdict is Verdict.Fail


def test_errors_that_are_to_pause_hold_the_release() -> None:
    pausing = [{**ERRORS_ONLY[0], "onFail": "Pause"}]
    world = World(arm("stable", 750), arm("candidate", 250, errors=0.5), spec(metrics=pausing))
    for _ in range(6):
        status = world.look()
    assert (status.verdict, status.held_by, status.leans_to_failing) == (Verdict.Inconclusive, ("errors",), False)


def test_what_pauses_takes_nothing_from_what_reverts() -> None:
    with_gauge, without = plan(Levels(candidate=0.5).world.spec), plan(spec(metrics=ERRORS_ONLY))
    assert with_gauge == without


def test_a_gauge_within_its_limits_passes_once_a_block_was_seen() -> None:
    levels = Levels(candidate=0.52, optional=None)
    assert metric(levels.look(5), "cpu").reason is Reason.NeedsTime
    found = metric(levels.look(20), "cpu")
    assert (found.verdict, found.reason, found.message) == (Verdict.Pass, Reason.WithinLimits, "52 % vs 50 % stable")
    assert found.needed is None
    levels.world.step_changed = True
    assert metric(levels.look(1), "cpu").reason is Reason.NeedsTime


def test_a_gauge_has_its_own_unit_and_a_limit_alone_asks_nothing_of_stable() -> None:
    levels = Levels(candidate=300e6, max="500000000", maxIncrease=None)
    assert sum("cpu" in query for query in analysis.queries(levels.world.spec, ARMS)) == 1
    found = metric(levels.look(20), "cpu")
    assert (found.verdict, found.message, found.dispersion) == (Verdict.Pass, "3e+08", None)


def test_a_gauge_without_an_answer_is_unknown() -> None:
    levels = Levels(candidate=0.5)
    levels.missing = True
    status = levels.look(1)
    assert (status.verdict, status.reason) == (Verdict.Unknown, Reason.NoSeries)
    assert "or vector(0)" in status.message


def test_the_warm_up_of_a_gauge_does_not_count() -> None:
    levels = Levels(candidate=5.0)
    levels.world.spec = spec(interval="15s", metrics=[*ERRORS_ONLY, CPU], warmup="10m")
    levels.look(30)
    assert levels.world.seconds < 600
    assert metric(levels.world.status, "cpu").evidence == 0


def test_a_restart_in_mid_block_changes_nothing() -> None:
    levels = Levels(candidate=0.77)
    direct = levels.world.status
    for _ in range(30):
        status = levels.look(1)
        answered, now = levels.world.answered, status.looked_at
        direct = analysis.look(levels.world.spec, direct, ARMS, answered, now, step_changed=False)
        assert direct.journal == status.journal


def test_pods_that_are_asked_themselves_are_looked_at_at_once_and_then_at_each_interval() -> None:
    wanted, arms = spec(source="Pods", interval="1s"), ARMS.asked_themselves()
    status = analysis.begin(wanted, arms, START, 100, 1)
    assert analysis.next_look(wanted, status) == START
    nothing = dict.fromkeys(analysis.queries(wanted, arms), ())
    status = analysis.look(wanted, status, arms, nothing, START + timedelta(seconds=0.1), step_changed=False)
    assert analysis.next_look(wanted, status) == START + timedelta(seconds=0.6), "close, when it begins to count"
    late = status.model_copy(update={"looked_at": START + timedelta(seconds=11)})
    assert analysis.next_look(wanted, late) == START + timedelta(seconds=12)
    warm = spec(source="Pods", interval="1s", warmup="60s")
    assert analysis.next_look(warm, late) == START + timedelta(seconds=12)
    assert "prometheus.io/port" in status.message
    assert all("pod=~" in query for query in nothing), "whatever the router counts"


def test_evidence_of_prometheus_is_none_of_the_pods_themselves() -> None:
    world = World(arm("stable", 100), arm("candidate", 100), spec(warmup="0s"))
    for _ in range(4):
        world.look()
    assert world.status.requests > 0
    arms = world.arms.asked_themselves()
    nothing = dict.fromkeys(analysis.queries(world.spec, arms), ())
    status = analysis.look(world.spec, world.status, arms, nothing, START + timedelta(minutes=5), step_changed=False)
    assert status.requests == 0


def test_what_an_answer_lacks_is_told_once() -> None:
    world = World(arm("stable", 100), arm("candidate", 100), spec(warmup="0s", metrics=ERRORS_ONLY))
    for _ in range(4):
        world.look()
    now, lacks = world.status.looked_at + timedelta(seconds=2), "1 of 4 pods cannot be read"
    answers = world.answers(now)
    lacking = {query: Partly.of(found, lacks) for query, found in answers.items() if not isinstance(found, Missing)}
    status = analysis.look(world.spec, world.status, world.arms, lacking, now, step_changed=False)
    assert status.verdict is world.status.verdict
    assert status.message.count(lacks) == 1

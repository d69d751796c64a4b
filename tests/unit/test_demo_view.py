"""What the demo shows, from what kubectl lists and the load counts, where there is no terminal."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from tests.demo.claims import Claim
from tests.demo.frame import Frame, Shares, look, tally, traces
from tests.demo.view import LiveView, PlainView, choose, line, picture

Json = dict[str, Any]


def replicaset(version: str, number: int, asked: int, ready: int) -> Json:
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"checkout-{version}",
            "labels": {"pod-template-hash": f"hash-{version}"},
            "annotations": {"deployment.kubernetes.io/revision": str(number)},
        },
        "spec": {
            "replicas": asked,
            "template": {"spec": {"containers": [{"env": [{"name": "VERSION", "value": version}]}]}},
        },
        "status": {"readyReplicas": ready},
    }


def pod(version: str, uid: str, **meta: str) -> Json:
    return {"kind": "Pod", "metadata": {"uid": uid, "labels": {"pod-template-hash": f"hash-{version}"}, **meta}}


def event(reason: str, at: str, kind: str = "CanaryRelease") -> Json:
    return {
        "kind": "Event",
        "metadata": {"uid": f"{reason}-{at}", "creationTimestamp": at},
        "involvedObject": {"kind": kind},
        "type": "Normal",
        "reason": reason,
        "message": "said",
        "lastTimestamp": at,
    }


STATUS: Json = {
    "phase": "Progressing",
    "message": "step 1/3: 10 % to hash-v3",
    "stable": {"hash": "hash-v2"},
    "candidate": {"hash": "hash-v3"},
    "traffic": {"weight": 10},
    "step": {"index": 1, "of": 3},
    "analysis": {
        "verdict": "Inconclusive",
        "metrics": [
            {"name": "errors", "verdict": "Inconclusive", "stable": 0.0, "candidate": 0.046, "evidence": 0.6},
            {"name": "latency", "verdict": "Inconclusive", "stable": 0.0042, "candidate": 0.152},
        ],
    },
}
ITEMS: list[Json] = [
    replicaset("v3", 3, 1, 1),
    replicaset("v1", 1, 0, 0),
    replicaset("v2", 2, 4, 4),
    *(pod("v2", f"p{n}") for n in range(4)),
    pod("v3", "p9"),
    pod("v3", "p8", deletionTimestamp="2026-01-01T00:00:00Z"),
    {"kind": "Deployment", "spec": {"replicas": 4, "template": {}, "progressDeadlineSeconds": 2147483646}},
    {"kind": "CanaryRelease", "status": STATUS},
    event("StepStarted", "2026-01-01T10:00:02Z"),
    event("ReleaseStarted", "2026-01-01T10:00:01Z"),
    event("ScalingReplicaSet", "2026-01-01T10:00:01Z", kind="Deployment"),
]
COUNTS = {"v1 200": 500, "v2 200": 900, "v3 200": 95, "v3 500": 5, "router 503": 2, "error: EOF": 1}


def frame() -> Frame:
    shares = Shares()
    shares.after(0.0, Counter({"v1": 500}))
    return look(12.3, ITEMS, COUNTS, shares)


def test_a_frame_tells_what_there_is() -> None:
    seen = frame()
    assert [(r.version, r.role, r.weight, r.served, r.failed) for r in seen.revisions] == [
        ("v1", "old", 0, 500, 0),
        ("v2", "stable", 90, 900, 0),
        ("v3", "candidate", 10, 100, 5),
    ]
    assert seen.pods == {"p0", "p1", "p2", "p3", "p9"}
    assert seen.elsewhere == {"router 503": 2, "error: EOF": 1}
    assert seen.total == 1503
    assert seen.deployment == {"replicas": 4}
    assert [news.reason for news in seen.news] == ["ReleaseStarted", "StepStarted"]


def test_a_share_is_of_the_last_seconds() -> None:
    shares = Shares()
    assert shares.after(0.0, Counter()) == {}
    assert shares.after(1.0, Counter({"v1": 100})) == {"v1": 1.0}
    assert shares.after(10.0, Counter({"v1": 190, "v2": 10})) == {"v1": 0.9, "v2": 0.1}


def test_answers_of_no_version_are_told_apart() -> None:
    seen = tally(COUNTS, ["v1", "v2", "v3"])
    assert seen.failed == Counter({"v3": 5})
    assert seen.elsewhere == {"router 503": 2, "error: EOF": 1}


def test_a_line() -> None:
    assert line(frame()) == (
        "  12.3 s  v2 4/4 pods, weight 90, 900 served, 0 failed, share 90 %"
        " | v3 1/1 pods, weight 10, 100 served, 5 failed, share 10 %"
        " | Progressing, step 1/3, verdict Inconclusive"
        " | errors 4.6 % vs 0 % stable, evidence 0.60"
        " | latency 152 ms vs 4.2 ms stable, evidence 0.00"
        " | 1 × error: EOF, 2 × router 503"
    )


def test_plain_lines_tell_changes_and_each_event_once() -> None:
    out = io.StringIO()
    view, first = PlainView(out), frame()
    for at in (1.0, 2.0, 3.0):
        view.show(replace(first, at=at))
    view.show(replace(first, at=4.0, status={**STATUS, "phase": "Waiting", "message": "no answer"}))
    lines = out.getvalue().splitlines()
    assert [text for text in lines if "event:" in text] == [
        "   1.0 s  event: ReleaseStarted: said",
        "   1.0 s  event: StepStarted: said",
    ]
    assert len(lines) == 4
    assert "Waiting, step 1/3, verdict Inconclusive, no answer" in lines[-1]


def test_a_killed_operator_is_told_and_its_last_words_are_not() -> None:
    out = io.StringIO()
    view = PlainView(out)
    view.show(frame())
    view.show(replace(frame(), at=13.0, alone=0.4))
    assert out.getvalue().splitlines()[-1] == (
        "  13.0 s  v2 4/4 pods, weight 90, 900 served, 0 failed, share 90 %"
        " | v3 1/1 pods, weight 10, 100 served, 5 failed, share 10 %"
        " | nobody watches: the operator was killed 0 s ago | 1 × error: EOF, 2 × router 503"
    )
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(picture(replace(frame(), alone=4.2)))
    text = console.export_text()
    assert "nobody watches  the operator was killed 4 s ago" in text
    assert "evidence of failing" not in text


def test_what_was_known_of_a_candidate_that_has_gone_is_not_shown() -> None:
    gone = replace(frame(), status={**STATUS, "phase": "Idle", "candidate": None, "step": None})
    assert "verdict" not in line(gone)
    assert "errors" not in line(gone)


def test_a_template_that_comes_back_keeps_its_place() -> None:
    items = [replicaset("v4", 5, 2, 2), replicaset("v2", 6, 4, 4)]
    for item, created in zip(items, ("2026-01-01T10:05:00Z", "2026-01-01T10:01:00Z"), strict=True):
        item["metadata"]["creationTimestamp"] = created
    assert [revision.version for revision in look(1.0, items, {}, Shares()).revisions] == ["v2", "v4"]


def test_before_there_is_a_release_all_goes_to_what_serves() -> None:
    seen = look(1.0, [replicaset("v1", 1, 4, 4)], {}, Shares())
    assert "v1 4/4 pods, weight 100" in line(seen)
    assert "not under management" in line(seen)


@pytest.mark.parametrize(("environment", "live"), [({}, True), ({"CI": "true"}, False)])
def test_a_table_is_for_a_terminal_that_somebody_looks_at(environment: dict[str, str], *, live: bool) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(choose(Terminal(), environment), LiveView) is live
    assert isinstance(choose(io.StringIO(), {}), PlainView)


def test_the_table_shows_the_same() -> None:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(picture(frame()))
    text = console.export_text()
    for shown in ("v3  candidate", "10 %", "100", "Progressing", "████████████░░░░░░░░ 0.60", "StepStarted: said"):
        assert shown in text


def test_claims_are_told_with_their_figures() -> None:
    out = io.StringIO()
    PlainView(out).claims([Claim("a", held=True, figure="0 of 10"), Claim("b", held=False, figure="1 of 10")])
    assert out.getvalue() == "✓ a: 0 of 10\n✗ b: 1 of 10\n"


def test_the_table_of_an_act_tells_the_events_of_that_act() -> None:
    out = io.StringIO()
    view = LiveView(Console(file=out, width=120, force_terminal=True))
    first = frame()
    view.show(replace(first, news=first.news[:1]))
    view.act("the next")
    out.truncate(0)
    view.show(first)
    view.settle()
    assert "StepStarted: said" in out.getvalue()
    assert "ReleaseStarted" not in out.getvalue()


def test_a_long_message_is_not_cut_and_a_long_event_is() -> None:
    console = Console(file=io.StringIO(), width=80, record=True)
    words = "because " * 20
    news = (replace(frame().news[0], message=words),)
    console.print(picture(replace(frame(), status={**STATUS, "message": words}, news=news)))
    lines = console.export_text().splitlines()
    assert sum(text.count("because") for text in lines if "ReleaseStarted" not in text) == 20
    (event,) = (text for text in lines if "ReleaseStarted" in text)
    assert event.endswith("…")


def test_a_table_of_claims_tells_which_did_not_hold() -> None:
    console = Console(file=io.StringIO(), width=80, record=True)
    LiveView(console).claims([Claim("a", held=True, figure="0 of 10"), Claim("b", held=False, figure="1 of 10")])
    assert [text.split() for text in console.export_text().splitlines()] == [
        ["✓", "a", "0", "of", "10"],
        ["✗", "b", "1", "of", "10"],
    ]


def test_traces_of_ours() -> None:
    item = {
        "kind": "HTTPRoute",
        "metadata": {"name": "checkout", "annotations": {"tidegate.dev/releasing": "checkout", "a": "b"}},
    }
    assert traces(item) == ["HTTPRoute checkout: tidegate.dev/releasing"]

"""Laws of rollouts: whatever happens, percentages only grow until off, and who is killed is off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rig.flaglife import STEPS, Life, counted

from tidegate.api.analysis import AnalysisStatus, Reason, Verdict
from tidegate.api.requests import RequestAction

Json = dict[str, Any]
BAKES = st.sampled_from(["0s", "10m", "2h"])
GUARD: Json = {
    "metrics": [{"name": "errors", "preset": "ErrorRatio", "maxIncrease": "50%"}],
    "interval": "30m",
    "onUnknown": {"deadline": "2h", "then": "Revert"},
}


@st.composite
def plans(draw: st.DrawFn) -> list[Json]:
    """Steps of a rollout."""
    shares = draw(st.lists(st.sampled_from([0, 0.5, 1, 7, 10, 33.333, 50, 99.999, 100]), min_size=1, unique=True))
    approval = st.sampled_from(["Automatic", "Automatic", "Manual"])
    return [{"percentage": one, "bake": draw(BAKES), "approval": draw(approval)} for one in sorted(shares)]


DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("steps"), plans()),
        st.tuples(st.just("guard"), st.booleans()),
        st.tuples(st.just("enabled"), st.booleans()),
        st.tuples(st.just("wrong"), st.booleans()),
        st.tuples(st.just("by"), st.sampled_from(["targetingKey", "account"])),
        st.tuples(st.just("ask"), st.sampled_from(list(RequestAction))),
        st.tuples(st.just("time"), st.sampled_from([1, 61, 3600, 86_400])),
        st.tuples(st.just("fails"), st.just(None)),
        st.tuples(st.just("counts"), st.sampled_from([(0, 0), (5000, 5000), (100, 90_000)])),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(DEEDS)
def test_percentages_only_grow_until_off_and_who_is_killed_is_off(deeds: list[tuple[str, Any]]) -> None:
    flag = Life({"rollout": {"steps": STEPS, "analysis": GUARD}})
    flag.decide()
    for what, how in deeds:
        seen, milli, digest, was_off = len(flag.served), flag.milli, flag.rollout.digest, flag.program.effective.off
        anew = do(flag, what, how) == "anew"
        assert flag.milli == 0 or flag.spec.get("enabled", True)
        if anew or flag.rollout.digest != digest or was_off:
            continue
        last = milli
        for served in flag.served[seen:]:
            assert served >= last or served == 0
            if served == 0 and last:
                assert flag.program.effective.off, "back to nothing by turning it off alone"
            last = served


def do(flag: Life, what: str, how: Any) -> str:
    """Somebody does something; ``anew`` where the rollout is to begin at nobody."""
    if what == "time":
        end = flag.now + timedelta(seconds=how)
        flag.decide()
        for _ in range(40):
            if flag.wake is None or flag.wake > end:
                break
            flag.now = max(flag.wake, flag.now + timedelta(milliseconds=1))
            flag.decide()
        flag.now = max(end, flag.now)
    elif what == "ask":
        told = flag.ask(how) if flag.rollout.digest else ""
        return "anew" if how is RequestAction.RETRY and told == "Done" else ""
    elif what == "fails":
        assert flag.status
        failed = AnalysisStatus(verdict=Verdict.Fail, reason=Reason.LimitExceeded, looked_at=flag.now, journal="")
        if flag.status.analysis and flag.status.analysis.journal:
            kept = failed.model_copy(update={"journal": flag.status.analysis.journal})
            flag.status = flag.status.model_copy(update={"analysis": kept})
            flag.metrics = lambda queries, _: {}
    elif what == "counts":
        inside, outside = how
        flag.counts = lambda _: counted(inside, outside, flag.rollout.milli / 100_000)
    elif what == "enabled":
        flag.writes(enabled=how)
    elif what == "wrong":
        flag.writes(prerequisites=[{"flag": "nowhere", "variants": ["on"]}] if how else [])
    else:
        rollout = {**flag.spec["rollout"], **({"analysis": GUARD if how else None} if what == "guard" else {what: how})}
        flag.writes(rollout=rollout)
    return ""

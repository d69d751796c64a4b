"""What holds of phi for all counts: never below 1, the same after a restart, and in whatever order pods come."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.core.verdict.dispersion import AmongPods, Dispersion
from tidegate.core.verdict.kernel import Poll, Tally


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    requests = draw(st.one_of(st.integers(0, 3000), st.floats(0, 1e9)))
    return Tally(requests * draw(st.sampled_from([0, 0.003, 0.1, 1])), requests)


Look = dict[str, Tally]
looks = st.lists(st.dictionaries(st.sampled_from([f"{pod:08x}" for pod in range(5)]), tallies()), max_size=25)


def poll(look: Look) -> Poll:
    *others, last = [*look.values(), Tally()]
    return Poll(last, sum(others, start=Tally()))


@settings(max_examples=80, deadline=None)
@given(looks, st.floats(0, 1e6), st.sampled_from(["told", ""]))
def test_phi_is_at_least_one_after_a_restart_too(seen: list[Look], expected: float, pods_are_told: str) -> None:
    through = restarted = Dispersion()
    for look in seen:
        pods = look if pods_are_told else {}
        through = through.after(pods, poll(look))
        restarted = Dispersion.load(json.loads(json.dumps(restarted.dump()))).after(pods, poll(look))
        assert restarted.phi(expected) == pytest.approx(through.phi(expected), abs=1e-9)
        assert through.phi(expected) >= 1
        assert math.isfinite(through.phi(expected))


@settings(max_examples=60, deadline=None)
@given(looks)
def test_pods_may_be_told_in_any_order(seen: list[Look]) -> None:
    one, other = AmongPods(), AmongPods()
    for look in seen:
        one, other = one.after(look), other.after(dict(reversed(look.items())))
        assert one == other


def test_little_is_kept_of_many_pods() -> None:
    known = AmongPods()
    for _ in range(19):
        known = known.after({f"{pod:04x}": Tally(12.34567, 98765.4) for pod in range(100)})
    assert len(known.under_way) == 24
    assert len(json.dumps(known.dump(), separators=(",", ":"))) < 1200

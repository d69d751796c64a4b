"""Histories at random, by hypothesis: drawn from a seed, and shrunk to what is needed where one goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.exhaustive.deeds import AFTER, ARGUMENTS, DEEDS, STAGES, Deed, History
from tests.exhaustive.history import Telling, tell
from tests.exhaustive.scenes import SCENES
from tests.fakes.virtual import VirtualLoop


def deed(what: str) -> st.SearchStrategy[Deed]:
    """Of this kind, on any cue."""
    return st.builds(
        Deed,
        st.just(what),
        st.sampled_from(ARGUMENTS[what]),
        stage=st.sampled_from(STAGES),
        after=st.sampled_from(AFTER),
    )


RELEASES = deed("release")
DEED = st.one_of(RELEASES, st.sampled_from(sorted(DEEDS)).flatmap(deed))


def history(scenes: Sequence[str]) -> st.SearchStrategy[History]:
    """In one of these scenes."""
    return st.builds(
        History,
        deeds=st.builds(
            lambda first, rest: (first, *rest),
            st.builds(Deed, st.just("release"), st.sampled_from(ARGUMENTS["release"]), after=st.sampled_from(AFTER)),
            st.lists(DEED, min_size=1, max_size=7),
        ),
        scene=st.sampled_from(scenes),
        replicas=st.sampled_from((4, 4, 1, 3, 7, 0)),
        seed=st.integers(0, 2**16),
    )


def told(history: History) -> Telling:
    """Tell a history on a clock of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(tell(history))


def check(
    examples: int,
    from_seed: int,
    after_each: Callable[[Telling], None] = lambda _: None,
    scenes: Sequence[str] = tuple(sorted(SCENES)),
) -> Counter[tuple[str, str]]:
    """Tell so many histories: how often each deed was done in each stage. The shortest that fails is raised."""
    met: Counter[tuple[str, str]] = Counter()

    @seed(from_seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(history(scenes))
    def histories(one: History) -> None:
        telling = told(one)
        met.update(telling.met)
        after_each(telling)

    level = logging.getLogger("tidegate").level
    logging.getLogger("tidegate").setLevel(logging.CRITICAL)
    try:
        histories()
    finally:
        logging.getLogger("tidegate").setLevel(level)
    return met

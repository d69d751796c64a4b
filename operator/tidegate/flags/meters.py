"""What the gateway counts. Nothing of who asks is in it but numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.flags.catalog import Catalog
from tidegate.flags.freshness import Freshness
from tidegate.flags.served import BULK, SINGLE

if TYPE_CHECKING:
    from collections.abc import Callable

_FLAG = ("flag_set", "flag")


class Meters(Collector):
    """Series are made when somebody asks: an evaluation costs an addition."""

    def __init__(self, catalog: Catalog, freshness: Freshness) -> None:
        self._catalog, self._freshness = catalog, freshness
        self._answers: dict[tuple[str, int], int] = {}
        self._requests: dict[tuple[str, str, int], int] = {}
        self.gauges: dict[str, Callable[[], int]] = {}
        """Who listens, by protocol."""
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def answered(self, what: str, status: int) -> None:
        """Count an answer over HTTP."""
        key = what, status
        self._answers[key] = self._answers.get(key, 0) + 1

    def requested(self, verb: str, resource: str, code: int) -> None:
        """Count a request to the API server."""
        key = verb, resource, code
        self._requests[key] = self._requests.get(key, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """The series."""
        yield self._evaluations()
        yield from self._rollouts()
        yield from self._flags()
        yield from self._own()

    def _evaluations(self) -> Metric:
        found = CounterMetricFamily(
            "tidegate_flag_evaluations", "Evaluations answered over OFREP", labels=(*_FLAG, "variant", "mode")
        )
        for flag_set, flag, variant, tally in self._catalog.tallies():
            for mode, name in ((SINGLE, "single"), (BULK, "bulk")):
                if tally[mode]:
                    found.add_metric([flag_set, flag, variant, name], tally[mode])
        return found

    def _rollouts(self) -> Iterator[Metric]:
        keys = GaugeMetricFamily(
            "tidegate_flag_distinct_keys",
            "People for whom a rollout was asked, each once, since it has its share; by whether they are in",
            labels=(*_FLAG, "arm"),
        )
        share = GaugeMetricFamily(
            "tidegate_flag_rollout_share", "How much of everybody a rollout under way has", labels=_FLAG
        )
        for flag_set, served in self._catalog.sets.items():
            for flag in served.flags.values():
                if flag.arms is None:
                    continue
                share.add_metric([flag_set, flag.key], flag.arms.share)
                for arm, distinct in (("in", flag.arms.inside), ("out", flag.arms.outside)):
                    estimate = distinct.estimate
                    if estimate is not None:
                        keys.add_metric([flag_set, flag.key, arm], round(estimate))
        yield keys
        yield share

    def _flags(self) -> Iterator[Metric]:
        flags = GaugeMetricFamily("tidegate_flags", "Flags that are served", labels=("flag_set",))
        for flag_set, served in self._catalog.sets.items():
            flags.add_metric([flag_set], len(served.flags))
        yield flags
        wrong = GaugeMetricFamily(
            "tidegate_flag_problem", "1 for a flag whose newest spec is not what is served", labels=_FLAG
        )
        for flag_set, problems in self._catalog.problems.items():
            for key in problems:
                wrong.add_metric([flag_set, key], 1)
        yield wrong
        late = GaugeMetricFamily(
            "tidegate_flag_conflicts",
            "Flags that are not served since an older one has their key",
            labels=("flag_set",),
        )
        for flag_set, names in self._catalog.conflicts.items():
            if names:
                late.add_metric([flag_set], len(names))
        yield late

    def _own(self) -> Iterator[Metric]:
        answers = CounterMetricFamily("tidegate_flag_requests", "Answers over HTTP", labels=("what", "code"))
        for (what, code), count in self._answers.items():
            answers.add_metric([what, str(code)], count)
        yield answers
        requests = CounterMetricFamily(
            "tidegate_api_requests", "Requests to the API server", labels=("verb", "resource", "code")
        )
        for (verb, resource, status), count in self._requests.items():
            requests.add_metric([verb, resource, str(status)], count)
        yield requests
        listening = GaugeMetricFamily("tidegate_flag_streams", "Who is told of changes", labels=("protocol",))
        for protocol, count_now in self.gauges.items():
            listening.add_metric([protocol], count_now())
        yield listening
        yield GaugeMetricFamily(
            "tidegate_flag_config_age_seconds",
            "Since when nobody has confirmed the flags; 0 while they are watched",
            value=self._freshness.age,
        )

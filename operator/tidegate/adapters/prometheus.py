"""Prometheus, asked through prometheus-api-client: in few threads, with deadlines, and not more often than needed.

The client is synchronous and returns the bare result. Its threads are bounded here; what else the server said, an
error or a warning that the answer is partial, is taken from the response before the client drops it.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import urllib3
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_api_client.prometheus_connect import PrometheusConnect

from tidegate.adapters.access import Access, Unreadable
from tidegate.adapters.session import Response, Session, TooLarge
from tidegate.core.cells import Bucket, columns
from tidegate.core.counters import Answer, Missing, Series
from tidegate.ports.clock import Clock

_FRESH = 0.2
"""Seconds for which an answer serves whoever asks the same: releases look right after the same scrape, so that
hardly a sample comes in between, and the next look has it."""
_STRIKES = 3
"""Failures in a row after which the server is taken to be down."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
"""Seconds until it is tried again: with one query, and doubled as long as that fails."""
_CONNECT = 2.0
_SERVERS_PART = 0.8
"""How much of the timeout a query may take to be worked out."""
MOST_READ = 64 * 1024 * 1024
"""Bytes of an answer: an hour of the counters of a hundred pods."""
_ELSEWHERE = range(300, 400)
"""Status codes of redirects."""
_OVERHEAD = 1.0
"""Seconds that a thread may take to give up after its own timeouts have passed."""
_TURN = 60.0
"""Seconds that a query waits for its turn: 500 releases that begin at once have 7,000. That it waits is no failure of
the server's, and one that gave up halfway would have to be asked again, behind all others."""


class _Unavailable(Exception):
    """The server could not be asked, or is not able to answer: not a matter of the query."""


class _Refused(Exception):
    """The server did not answer this query, or not in full."""


@dataclass(frozen=True)
class _Asked:
    """A query under way or answered."""

    task: asyncio.Task[Answer]
    since: float

    def serves(self, now: float) -> bool:
        """Whether whoever asks the same need not ask anew."""
        return not self.task.done() or now - self.since < _FRESH


class PrometheusSource:
    """A ``MetricSource`` for one Prometheus. To be used from one event loop, and closed at its end."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        parallel: int = 8,
        access: Access | None = None,
        clock: Clock,
    ) -> None:
        """``timeout`` in seconds for an answer. ``parallel`` queries at once; others wait for their turn before that.
        What stands after a ``?`` of the URL goes with each of them: of a store of several clusters, the one that is
        meant.

        Proxies and credentials of the environment are not used, and no redirect is followed with ours.
        """
        self._url, self._timeout, self._clock = url.partition("?")[0].rstrip("/"), timeout, clock
        self._access = access or Access()
        self._breaker = _Breaker(clock)
        self._asked: OrderedDict[tuple[str, float | None], _Asked] = OrderedDict()
        """The longest ago first."""
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="prometheus")
        self._turns = asyncio.Semaphore(parallel)
        self._session = Session(url, self._access, parallel=parallel, most=MOST_READ)
        session: Any = self._session  # the client calls request, mount and close of it, and no more
        self._client = PrometheusConnect(self._url, session=session)

    async def fetch(self, queries: Collection[str], at: datetime | None = None) -> Mapping[str, Answer]:
        """See ``MetricSource``. A query that is under way, or was just answered, is not asked again."""
        tasks = {query: self._task(query, at.timestamp() if at else None) for query in dict.fromkeys(queries)}
        # Shielded: others may wait for the same answers.
        answers = await asyncio.gather(*(asyncio.shield(task) for task in tasks.values()))
        return dict(zip(tasks, answers, strict=True))

    async def close(self) -> None:
        """End all queries, and the connections."""
        tasks = [asked.task for asked in self._asked.values()]
        self._asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _task(self, query: str, at: float | None) -> asyncio.Task[Answer]:
        now = self._clock.monotonic()
        while self._asked and not next(iter(self._asked.values())).serves(now):
            self._asked.popitem(last=False)
        known = self._asked.get((query, at))
        if known and known.serves(now):
            return known.task
        asked = _Asked(asyncio.create_task(self._answer(query, at)), now)
        self._asked[query, at] = asked
        self._asked.move_to_end((query, at))
        return asked.task

    async def _answer(self, query: str, at: float | None) -> Answer:
        try:
            async with asyncio.timeout(_TURN):
                await self._turns.acquire()
        except TimeoutError:
            return Missing(f"Prometheus at {self._url} has more to answer than it can: no turn in {_TURN:g} s")
        try:
            return await self._asked_now(query, at)
        finally:
            self._turns.release()

    async def _asked_now(self, query: str, at: float | None) -> Answer:
        if not self._breaker.allows():
            return Missing(self._breaker.why)
        try:
            async with asyncio.timeout(self._timeout + _OVERHEAD):
                loop = asyncio.get_running_loop()
                answer: Answer = await loop.run_in_executor(self._threads, self._ask, query, at)
        except TimeoutError:
            answer = Missing(self._breaker.failed(f"Prometheus at {self._url} did not answer in {self._timeout:g} s"))
        except _Unavailable as error:
            answer = Missing(self._breaker.failed(self._access.hide(str(error))))
        except _Refused as error:
            self._breaker.worked()
            answer = Missing(self._access.hide(str(error)))
        else:
            self._breaker.worked()
        return answer

    def _ask(self, query: str, at: float | None) -> tuple[Series, ...]:
        """One query, in a thread."""
        # So that the server gives up before we do, and says that it was this query.
        params = {"timeout": f"{_SERVERS_PART * self._timeout:.3f}"}
        if at is not None:
            params["time"] = f"{at:.3f}"
        timeouts: Any = (min(_CONNECT, self._timeout), self._timeout)  # handed on to our session, which takes a pair
        try:
            result = self._client.custom_query(query, params=params, timeout=timeouts)
        except PrometheusApiClientException:
            raise _why(self._url, self._session.heard) from None
        except Unreadable as error:
            raise _Unavailable(f"Prometheus at {self._url} is not asked: {error}") from None
        except TooLarge:
            raise _Refused(f"the answer has more than {MOST_READ // 1024**2} MiB: ask for fewer series") from None
        except urllib3.exceptions.HTTPError as error:
            raise _Unavailable(f"Prometheus at {self._url} {_failed(error, self._timeout)}") from None
        except (ValueError, KeyError, TypeError):
            raise _Unavailable(f"{self._url} does not answer as a Prometheus does: is the address right?") from None
        if lacking := _lacking(self._session.heard):
            raise _Refused(lacking)
        return _series(result)


class _Breaker:
    """Lets nothing through while the server is down, but one query now and then to find out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._strikes = 0
        self._next_try = 0.0
        self._pause = _FIRST_PAUSE
        self.why = ""
        """The last failure."""

    def allows(self) -> bool:
        """Whether to ask. Who asks after a pause is alone with it until the next."""
        if self._strikes < _STRIKES:
            return True
        if self._clock.monotonic() < self._next_try:
            return False
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._next_try = self._clock.monotonic() + self._pause
        return True

    def failed(self, why: str) -> str:
        """The server failed; returns why."""
        self._strikes += 1
        self.why = why
        if self._strikes == _STRIKES:
            self._pause = _FIRST_PAUSE
            self._next_try = self._clock.monotonic() + self._pause
        return why

    def worked(self) -> None:
        """The server answered."""
        self._strikes = 0


def _said(response: Response | None, name: str) -> Any:
    """A field that the server sent beside the data."""
    # The body is parsed once more only where the field may be there at all.
    if response is None or f'"{name}":'.encode() not in response.content:
        return None
    try:
        return response.json().get(name)
    except (ValueError, AttributeError):
        return None


def _lacking(response: Response | None) -> str:
    """Why an answer cannot be relied on; empty where it can.

    Warnings are of stores that did not answer (Thanos, Mimir), or of PromQL itself; VictoriaMetrics says ``isPartial``.
    In ``infos`` stands what is merely of interest, such as the name of a counter, but also that samples were left out.
    """
    if warnings := _said(response, "warnings"):
        kind = "a doubtful answer" if str(warnings[0]).startswith("PromQL") else "a partial answer"
        return f"{kind}: {warnings[0]}"
    if _said(response, "isPartial"):
        return "a partial answer: not all of the storage answered"
    left_out = next((info for info in _said(response, "infos") or () if "ignored" in str(info)), "")
    return f"a partial answer: {left_out}" if left_out else ""


def _why(url: str, response: Response | None) -> Exception:
    """What a response without success means: 4xx is about the query or about us, all else about the server."""
    if response is None:
        return _Unavailable(f"Prometheus at {url} did not answer")
    if response.status_code in _ELSEWHERE:
        return _Unavailable(f"Prometheus at {url} sends us elsewhere: give the address that answers")
    error = _said(response, "error")
    said = error or response.reason
    if response.status_code in {401, 403}:
        way = "are the credentials right, and is there a tenant's header where one is needed?"
        return _Unavailable(f"Prometheus at {url} refuses access ({response.status_code} {said}): {way}")
    # A query that takes too long is one of somebody's: it says nothing of those of all others.
    too_long = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and _said(response, "errorType") == "timeout"
    if error and (too_long or response.status_code in {400, 422}):
        return _Refused(str(said))
    if response.status_code == HTTPStatus.BAD_REQUEST:
        return _Unavailable(f"{url} does not answer as a Prometheus does (400 {said}): is it http, or https?")
    return _Unavailable(f"Prometheus at {url} is not able to answer ({response.status_code} {said})")


def _failed(error: urllib3.exceptions.HTTPError, timeout: float) -> str:
    """What came of a request that has no answer."""
    # That there is no connection is a kind of timeout to urllib3.
    slow = isinstance(error, urllib3.exceptions.TimeoutError)
    if slow and not isinstance(error, urllib3.exceptions.NewConnectionError):
        return f"did not answer in {timeout:g} s"
    return f"cannot be reached: {_cause(error)}"


def _cause(error: urllib3.exceptions.HTTPError) -> str:
    """The operating system's words, without the addresses of objects that come around them."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({inner.verify_message}); give its authority by --prometheus-ca"
        if isinstance(inner, ssl.SSLError):
            return f"no TLS ({inner.reason or 'handshake failed'}): is it http, or https?"
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror.lower()
        inner = inner.__cause__ or inner.__context__
    return "connection failed"


def _series(result: list[Any]) -> tuple[Series, ...]:
    """The client's result, a vector, a matrix or a scalar, as series. Refused: what has no numbers."""
    if result and not isinstance(result[0], dict):
        result = [{"metric": {}, "value": result}]
    try:
        series = tuple(found for one in result for found in _told(one))
    except (KeyError, TypeError, ValueError):
        raise _Refused("it answers something other than numbers and histograms, such as text") from None
    if any(not math.isfinite(value) for one in series for _, value in one.samples):
        raise _Refused("it answers NaN or infinity: a division by zero?")
    return series


def _told(one: Mapping[str, Any]) -> Iterator[Series]:
    """One series, or two: where numbers have become native histograms it has both."""
    histograms = [(float(at), found) for at, found in _samples(one, "histogram")]
    if histograms:
        counts = tuple((at, float(found["count"])) for at, found in histograms)
        yield Series(one["metric"], counts, cells=columns([(at, _buckets(found)) for at, found in histograms]))
    numbers = tuple((float(at), float(value)) for at, value in _samples(one, "value"))
    if numbers:
        yield Series(one["metric"], numbers)
    if not numbers and not histograms:
        raise ValueError("no samples")


def _buckets(found: Mapping[str, Any]) -> Iterator[Bucket]:
    """Those with something in them. Which of its edges a bucket has to itself is no matter to durations."""
    for _, low, high, count in found.get("buckets", ()):
        yield float(low), float(high), float(count)


def _samples(one: Mapping[str, Any], kind: str) -> Sequence[Any]:
    """Of a matrix many, of a vector one."""
    return one.get(f"{kind}s") or ([one[kind]] if kind in one else [])

"""How the demo looks: a live table on a terminal, plain lines elsewhere. What is shown is the same."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any

from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tests.demo.claims import Claim
from tests.demo.frame import Frame, News, Revision

COMMAND = "$ "
"""How a line begins that a user could have typed."""
BAR = 20
NEWS = 6
EVERY = 5.0
"""Seconds after which a plain line is written though nothing but the counts has changed."""

_COLOURS = {
    "Pass": "green",
    "Fail": "bold red",
    "Inconclusive": "yellow",
    "Unknown": "magenta",
    "Idle": "green",
    "Progressing": "cyan",
    "Waiting": "yellow",
    "Reverting": "bold red",
    "RolledBack": "red",
    "Warning": "red",
}
Json = dict[str, Any]


class View(ABC):
    """What the story tells its audience through."""

    @abstractmethod
    def say(self, text: str) -> None:
        """A sentence."""

    @abstractmethod
    def act(self, title: str) -> None:
        """The title of what follows."""

    @abstractmethod
    def show(self, frame: Frame) -> None:
        """How things are now."""

    @abstractmethod
    def settle(self) -> None:
        """The last frame stays as it is."""

    def claims(self, claims: Sequence[Claim]) -> None:
        """What was promised, and whether it held."""
        for claim in claims:
            self.say(f"{'✓' if claim.held else '✗'} {claim.text}: {claim.figure}")


def choose(stream: IO[str], environment: Mapping[str, str]) -> View:
    """A live table on a terminal that a person looks at, else plain lines."""
    if stream.isatty() and environment.get("CI", "") not in {"true", "1"}:
        return LiveView(Console(file=stream))
    return PlainView(stream)


@contextmanager
def opened() -> Iterator[View]:
    """The view of this process; the terminal is as it was afterwards."""
    view = choose(sys.stdout, os.environ)
    try:
        yield view
    finally:
        view.settle()


# --- plain lines


class PlainView(View):
    """A line for each change, and one now and then."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._last: tuple[float, object] = (-EVERY, None)
        self._told: set[str] = set()

    def say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def act(self, title: str) -> None:
        self.say(f"\n== {title}")

    def show(self, frame: Frame) -> None:
        for news in frame.news:
            if news.uid not in self._told:
                self._told.add(news.uid)
                self.say(f"{frame.at:6.1f} s  event: {event_line(news)}")
        at, known = self._last
        if _gist(frame) != known or frame.at >= at + EVERY:
            self._last = (frame.at, _gist(frame))
            self.say(line(frame))

    def settle(self) -> None:
        """Plain lines stay anyway."""


def line(frame: Frame) -> str:
    """A frame as one line."""
    revisions = " | ".join(_revision(revision) for revision in frame.revisions if _seen(revision))
    parts = [f"{frame.at:6.1f} s  {revisions}", state(frame), *(evidence(metric) for metric in _metrics(frame))]
    if frame.elsewhere:
        parts.append(_elsewhere(frame))
    return " | ".join(parts)


def state(frame: Frame) -> str:
    """Phase, step and verdict; they are old news while nobody watches."""
    if frame.alone is not None:
        return f"nobody watches: {_alone(frame.alone)}"
    status = frame.status
    step, analysis = status.get("step"), _analysis(frame)
    parts = [status.get("phase", "not under management")]
    if step:
        parts.append(f"step {step['index']}/{step['of']}")
    if analysis:
        parts.append(f"verdict {analysis['verdict']}")
    if parts[0] in {"Waiting", "Blocked", "Invalid"}:
        parts.append(status.get("message", ""))
    return ", ".join(parts)


def _alone(seconds: float) -> str:
    return f"the operator was killed {seconds:.0f} s ago"


def evidence(metric: Json) -> str:
    """A metric's numbers: candidate, stable, and how far the evidence is on its way to failing."""
    numbers = f"{_number(metric, 'candidate')} vs {_number(metric, 'stable')} stable"
    return f"{metric['name']} {numbers}, evidence {metric.get('evidence', 0.0):.2f}"


def event_line(news: News) -> str:
    """An event as one line."""
    return f"{news.reason}: {news.message}"


def _gist(frame: Frame) -> object:
    """What makes another line."""
    pods = tuple((r.version, r.ready, r.asked, r.weight) for r in frame.revisions if _seen(r))
    step, verdict = frame.status.get("step") or {}, _analysis(frame).get("verdict")
    return pods, frame.alone is None, frame.status.get("phase"), step.get("index"), verdict


def _seen(revision: Revision) -> bool:
    """Whether a revision has anything to show: no old one that has gone."""
    return bool(revision.asked or revision.ready or revision.role in {"stable", "candidate"})


def _revision(revision: Revision) -> str:
    pods = f"{revision.ready}/{revision.asked} pods"
    requests = f"{revision.served:,} served, {revision.failed:,} failed"
    return f"{revision.version} {pods}, weight {revision.weight}, {requests}{_share(revision, ', share {}')}"


def _elsewhere(frame: Frame) -> str:
    return ", ".join(f"{count:,} × {key}" for key, count in sorted(frame.elsewhere.items()))


def _share(revision: Revision, form: str = "{}") -> str:
    return "" if revision.share is None else form.format(f"{100 * revision.share:.0f} %")


def _metrics(frame: Frame) -> list[Json]:
    return list(_analysis(frame).get("metrics", ()))


def _analysis(frame: Frame) -> Json:
    """What is known of the candidate. It is old news when there is none, and while nobody watches."""
    current = frame.alone is None and frame.status.get("candidate")
    return frame.status.get("analysis") or {} if current else {}


def _number(metric: Json, side: str) -> str:
    value = metric.get(side)
    if value is None:
        return "–"
    if metric["name"] == "latency":
        return f"{1000 * value:,.0f} ms" if value >= 0.01 else f"{1000 * value:.1f} ms"
    return f"{float(f'{100 * value:.2g}'):g} %"


# --- a live table


class LiveView(View):
    """A table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._shown: set[str] = set()
        """Events of this act."""
        self._old: frozenset[str] = frozenset()
        """Events of earlier acts."""

    def say(self, text: str) -> None:
        self._console.print(Text(text, "bold cyan" if text.startswith(COMMAND) else ""))

    def act(self, title: str) -> None:
        self.settle()
        self._old = frozenset(self._shown)
        self._console.print()
        self._console.print(Rule(Text(title, "bold"), align="left", style="dim"))

    def show(self, frame: Frame) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._shown.update(news.uid for news in frame.news)
        current = tuple(news for news in frame.news if news.uid not in self._old)
        self._live.update(picture(replace(frame, news=current)), refresh=True)

    def settle(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def claims(self, claims: Sequence[Claim]) -> None:
        table = Table.grid(padding=(0, 1))
        table.add_column()
        table.add_column(ratio=5)
        table.add_column(ratio=4)
        for claim in claims:
            mark = Text("✓", "bold green") if claim.held else Text("✗", "bold red")
            table.add_row(mark, Text(claim.text), Text(claim.figure, "dim" if claim.held else "red"))
        self._console.print(table)


def picture(frame: Frame) -> Group:
    """A frame as a table with the release below."""
    return Group(_table(frame), _release(frame), *_bars(frame), *_last_news(frame))


def _table(frame: Frame) -> Table:
    table = Table()
    table.add_column("revision")
    for name in ("pods ready", "weight", "requests", "failed", "share now"):
        table.add_column(name, justify="right")
    for revision in filter(_seen, frame.revisions):
        table.add_row(
            Text(f"{revision.version}  {revision.role}"),
            f"{revision.ready}/{revision.asked}",
            f"{revision.weight} %",
            f"{revision.served:,}",
            Text(f"{revision.failed:,}", "bold red" if revision.failed else ""),
            _share(revision),
        )
    if frame.elsewhere:
        count = sum(frame.elsewhere.values())
        table.add_row(Text("none", "red"), "", "", f"{count:,}", Text(f"{count:,}", "bold red"), "")
    return table


def _release(frame: Frame) -> Table:
    """Since when, the phase, and what is told of it: a message of two lines stays in its column."""
    phase = frame.status.get("phase", "not under management")
    table = Table.grid(padding=(0, 2, 0, 0))
    at = f"{frame.at:5.0f} s"
    if frame.alone is None:
        table.add_row(at, Text(phase, _COLOURS.get(phase, "")), Text(frame.status.get("message", "")))
    else:
        table.add_row(at, Text("nobody watches", "bold magenta"), Text(_alone(frame.alone)))
    if frame.elsewhere:
        table.add_row("", "", Text(_elsewhere(frame), "red"))
    return table


def _bars(frame: Frame) -> Iterator[Text]:
    for metric in _metrics(frame):
        full = round(BAR * metric.get("evidence", 0.0))
        colour = _COLOURS.get(metric["verdict"], "")
        numbers = f"{_number(metric, 'candidate')} vs {_number(metric, 'stable')} stable"
        text = Text(f"  {metric['name']:<8} ") + Text(f"{metric['verdict']:<13}", colour) + Text(f"{numbers:<28}")
        text += Text(" evidence of failing ") + Text("█" * full, "red") + Text("░" * (BAR - full), "dim")
        yield text + Text(f" {metric.get('evidence', 0.0):.2f}")


def _last_news(frame: Frame) -> Iterator[Text]:
    for news in frame.news[-NEWS:]:
        text = Text(f"  {news.at}  ", "dim") + Text(event_line(news), _COLOURS.get(news.type, "dim"))
        text.no_wrap, text.overflow = True, "ellipsis"
        yield text

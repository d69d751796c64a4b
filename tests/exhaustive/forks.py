"""A world that goes on twice: as it was, and in a child process in which something happens at this very moment.

A fork copies the whole simulation, its loop and all that waits in it, at the price of a few milliseconds. So a story
is told once, and everything that could happen at each of its moments happens in a copy that is told to its end.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

SECONDS = 60
"""Of CPU that a copy may take: a world that turns in a circle ends all the same."""
MOST = 60_000
"""Characters that a copy may tell of itself: what a pipe holds."""


@dataclass(frozen=True)
class Ended:
    """What became of a copy."""

    label: str
    told: str
    """What its teller returned, or the traceback."""
    well: bool


class Forks:
    """Copies of this process, as many at once as there are processors."""

    def __init__(self, at_once: int | None = None) -> None:
        self.child = False
        """This is a copy."""
        self.ended: list[Ended] = []
        self._label = ""
        self._pipe = -1
        self._running: dict[int, tuple[str, int]] = {}
        self._at_once = at_once or os.cpu_count() or 1

    def fork(self, label: str) -> bool:
        """True in the copy, False in the original, which goes on as if nothing had been."""
        while len(self._running) >= self._at_once:
            self._reap()
        loop = asyncio.get_running_loop()
        reads, writes = os.pipe()
        gc.freeze()
        pid = os.fork()
        if pid:
            os.close(writes)
            self._running[pid] = (label, reads)
            return False
        os.close(reads)
        gc.disable()
        # Python takes a loop for not running in a process that did not start it; here it goes on.
        asyncio._set_running_loop(loop)
        self.child, self._label, self._pipe = True, label, writes
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        return True

    async def told(self, tell: Callable[[], Awaitable[str]]) -> str:
        """Tell a story. Copies that come into being meanwhile tell its end to the original, and are no more."""
        try:
            end = await tell()
        except BaseException:
            if self.child:
                self._finish(well=False, told=traceback.format_exc())
            raise
        if self.child:
            self._finish(well=True, told=end)
        while self._running:
            self._reap()
        return end

    def _finish(self, *, well: bool, told: str) -> None:
        try:
            os.write(self._pipe, (("+" if well else "-") + told[-MOST:]).encode()[: MOST + 1])
        finally:
            os._exit(0)

    def _reap(self) -> None:
        """Wait for those that have come to their end: they let go of their pipe."""
        pipes = {pipe: (pid, label) for pid, (label, pipe) in self._running.items()}
        for pipe in select.select(pipes, (), ())[0]:
            pid, label = pipes[pipe]
            with os.fdopen(pipe, "rb") as file:
                told = file.read().decode(errors="replace")
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            del self._running[pid]
            if not told:
                told = f"-the copy ended with {status} (negative: by that signal), and told nothing"
            self.ended.append(Ended(label, told[1:], well=told.startswith("+")))

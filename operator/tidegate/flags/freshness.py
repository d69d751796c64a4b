"""How old what is known is: whether it is known at all, and since when nobody has confirmed it."""

from __future__ import annotations

from tidegate.ports.clock import Clock


class Freshness:
    """Of the catalog. It is as old as the time since its watch broke, or since the snapshot was taken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None
        self.standing = False
        """Whether the watch does: what is known is what the API server has."""
        self._told = -1
        self._header = b"0"

    @property
    def known(self) -> bool:
        """Whether there is something to serve."""
        return self._since is not None

    def confirmed(self) -> None:
        """A list was taken, or the watch has said something: it stands."""
        self._since, self.standing = self._clock.monotonic(), True

    def broken(self) -> None:
        """The watch does not stand: what is known gets older from when it was last confirmed."""
        if self.standing:
            self._since, self.standing = self._clock.monotonic(), False

    def loaded(self, age: float) -> None:
        """A snapshot of this age, in seconds, was read."""
        if self._since is None:
            self._since = self._clock.monotonic() - age

    @property
    def age(self) -> int:
        """Seconds; 0 while the watch stands."""
        if self.standing or self._since is None:
            return 0
        return max(0, int(self._clock.monotonic() - self._since))

    @property
    def header(self) -> bytes:
        """The age as text."""
        age = 0 if self.standing else self.age
        if age != self._told:
            self._told, self._header = age, b"%d" % age
        return self._header

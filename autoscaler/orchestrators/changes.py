"""Whether what the engine listed a while ago still holds: its events would have told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST = timedelta(minutes=1)
"""What was listed is listed anew after this: the engine drops events that a reader does not take
in time."""
SILENCE = timedelta(seconds=10)
"""An engine from which nothing came for so long is asked whether it still answers: one that hangs
has no events either."""


class Changes:
    """Counts what happens on an engine, while its event stream stands."""

    def __init__(self) -> None:
        self._count = 0
        self._watched = False

    def stands(self) -> None:
        """Take note that the stream stands; what happened before it did, nobody knows."""
        self._count += 1
        self._watched = True

    def broke_off(self) -> None:
        """Take note that no events come any more."""
        self._watched = False

    def noticed(self) -> None:
        """Take note of an event, or of a change from here whose event is still to come."""
        self._count += 1

    @property
    def mark(self) -> int | None:
        """What stays the same for as long as nothing happens; None where nobody would know."""
        return self._count if self._watched else None


class Listed(Generic[T]):
    """What was listed last."""

    def __init__(self, changes: Changes, clock: Callable[[], datetime]) -> None:
        """`clock` tells how old it is."""
        self._changes = changes
        self._clock = clock
        self._kept: tuple[T, int | None, datetime] | None = None
        self._heard: datetime = clock()

    @property
    def content(self) -> T | None:
        """Return it where it still holds, and None where it must be listed anew."""
        mark = self._changes.mark
        if self._kept is None or mark is None:
            return None
        content, marked, at = self._kept
        # Below zero the clock was set back: nobody knows how old it is.
        young = timedelta() <= self._clock() - at < LONGEST
        return content if young and marked == mark else None

    @property
    def doubtful(self) -> bool:
        """Whether so much time has passed since the engine answered that it may hang."""
        return not timedelta() <= self._clock() - self._heard < SILENCE

    def answered(self) -> None:
        """Take note that the engine answers."""
        self._heard = self._clock()

    def keep(self, content: T, mark: int | None) -> None:
        """Keep what was listed; `mark` is that of the changes just before."""
        self._kept = content, mark, self._clock()
        self.answered()

"""Longer pauses after each failure in a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pause after the failures so far, and when it ends."""

    first: timedelta = timedelta(seconds=1)
    """Pause after the first failure. It doubles with each further failure."""
    longest: timedelta = timedelta(seconds=30)
    """The longest pause."""
    pause: timedelta = timedelta()
    """Pause after the latest failure; zero after a success."""
    retry_at: datetime | None = None
    """When the next attempt may be made; None after a success."""

    def ready(self, now: datetime) -> bool:
        """Whether the next attempt may be made now; it may also after the clock was set back."""
        return self.retry_at is None or not timedelta() < self.retry_at - now <= self.pause

    def failed(self, now: datetime) -> Backoff:
        """Return the state after one more failure: the pause is twice as long."""
        pause = min(max(self.first, 2 * self.pause), self.longest)
        return replace(self, pause=pause, retry_at=now + pause)

    def succeeded(self) -> Backoff:
        """Return the state after a success: without any failure."""
        return self if self.retry_at is None else Backoff(self.first, self.longest)

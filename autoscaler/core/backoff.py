"""Waiting longer after each failure in a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the failures so far, and until when."""

    first: timedelta = timedelta(seconds=1)
    """Pause after the first failure; it doubles with each further one."""
    longest: timedelta = timedelta(seconds=30)
    """The pause never grows beyond this."""
    pause: timedelta = timedelta()
    """Pause after the latest failure; zero after a success."""
    retry_at: datetime | None = None
    """Not to be tried before this; None after a success."""

    def ready(self, now: datetime) -> bool:
        """Whether another attempt may be made; also where the clock was set back meanwhile."""
        return self.retry_at is None or not timedelta() < self.retry_at - now <= self.pause

    def failed(self, now: datetime) -> Backoff:
        """Count one more failure: wait twice as long as the last time."""
        pause = min(max(self.first, 2 * self.pause), self.longest)
        return replace(self, pause=pause, retry_at=now + pause)

    def succeeded(self) -> Backoff:
        """Forget all failures."""
        return self if self.retry_at is None else Backoff(self.first, self.longest)

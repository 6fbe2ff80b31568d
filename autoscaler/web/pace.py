"""How often something may be done."""

from __future__ import annotations

import math
from collections import deque
from datetime import timedelta


class Pace:
    """Allows so many in a span of time, whoever asks."""

    def __init__(self, most: int, span: timedelta) -> None:
        self._most = most
        self._span = span.total_seconds()
        self._allowed: deque[float] = deque()
        """When the latest ones were allowed, the oldest first."""

    def wait(self, now: float) -> int:
        """Return after how many whole seconds the next one is allowed; 0: it is, and counts.

        `now` is in seconds that never go back.
        """
        while self._allowed and self._allowed[0] <= now - self._span:
            self._allowed.popleft()
        if len(self._allowed) >= self._most:
            return max(1, math.ceil(self._allowed[0] + self._span - now))
        self._allowed.append(now)
        return 0

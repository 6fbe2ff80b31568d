"""Says in the log what an agent refused, without letting a sender fill the log."""

from __future__ import annotations

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

EVERY = 60.0
"""Seconds between two lines with the same reason."""


class Refusals:
    """Logs each reason at most once a minute, with the number of times since the line before."""

    def __init__(self, logger: FilteringBoundLogger, clock: Callable[[], float]) -> None:
        """`clock` returns seconds that never go back."""
        self._logger = logger
        self._clock = clock
        self._said: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def note(self, reason: str, address: str) -> None:
        """Count a refusal of a sender. `reason` must be one of few texts."""
        self._since[reason] = self._since.get(reason, 0) + 1
        now = self._clock()
        if now - self._said.get(reason, -EVERY) >= EVERY:
            self._said[reason] = now
            times = self._since.pop(reason)
            self._logger.warning("refused", because=reason, latest_from=address, times=times)

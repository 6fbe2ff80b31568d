"""Log lines about overrides: one when they begin, are about to end, end, or are removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import groupby

from structlog.typing import FilteringBoundLogger

from autoscaler.core.override import Override, soon, time_left
from autoscaler.core.report import TickReport


class OverrideLog:
    """Logs what has changed about overrides since the tick before.

    Events: `override begins`, `override ends soon`, `override ended` and `override removed`. Values
    that were set together share a line.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._known: frozenset[Override] = frozenset()
        self._announced: frozenset[Override] = frozenset()
        """Those whose end has been announced."""

    def observe(self, report: TickReport) -> None:
        """Log what this tick changed."""
        now = frozenset(report.overrides)
        replaced = {(each.service, each.name) for each in now}
        gone = [each for each in self._known - now if (each.service, each.name) not in replaced]
        self._log("override begins", now - self._known, report.at)
        self._log("override ended", (each for each in gone if not each.holds(report.at)), report.at)
        self._log("override removed", (each for each in gone if each.holds(report.at)), report.at)
        ending = frozenset(each for each in now if soon(each, report.at))
        self._log("override ends soon", ending - self._announced, report.at)
        self._known, self._announced = now, ending

    def _log(self, event: str, overrides: Iterable[Override], now: datetime) -> None:
        for each, what in _together(tuple(overrides)):
            left = {} if each.until is None else {"left": time_left(each.until, now)}
            self._logger.info(
                event,
                service=str(each.service),
                values=what,
                until="ever" if each.until is None else each.until.isoformat(timespec="seconds"),
                by=each.by,
                reason=each.reason,
                **(left if event in {"override begins", "override ends soon"} else {}),
            )


def _together(overrides: Collection[Override]) -> Iterator[tuple[Override, list[str]]]:
    """Yield the first of the overrides that were set together, and what all of them do."""

    def setting(override: Override) -> tuple[str, str, str, str, str]:
        service, until = str(override.service), str(override.until)
        return service, str(override.since), until, override.by, override.reason

    for _, group in groupby(sorted(overrides, key=lambda it: (setting(it), it.name)), setting):
        same = list(group)
        yield same[0], [each.what for each in same]

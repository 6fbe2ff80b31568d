"""How long tasks were seen to run, by what workers report of themselves. Pure.

No report says when a task began. But of the tasks that ran at one report, no more can have ended
by a later one than the worker has finished meanwhile: the others have run all that time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoscaler.core.in_flight import LONGEST_HEARTBEAT, Worker

CLEARLY = timedelta(seconds=1)
"""Reports come a little early or late: only what is longer by this much shows for sure."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A time through which at least one task of a worker has run."""

    since: datetime
    """The report that it begins with, by the worker's own clock."""
    running: int
    """Tasks that ran then."""
    processed: int
    """Tasks that the worker had finished by then."""

    def goes_on(self, worker: Worker) -> bool:
        """Whether one of the tasks that ran at the beginning is certain to run at this report."""
        finished = worker.processed - self.processed
        return 0 <= finished < min(self.running, worker.running)


Spells = Mapping[str, Spell]
"""By worker instance: the workers that had tasks running at the latest look."""


def observe_spells(workers: Iterable[Worker], before: Spells) -> tuple[Spells, timedelta]:
    """Return the spells after a look at the workers, and how long the longest of them is.

    A worker's spell goes on as long as that is certain; after that, another one begins.
    """
    spells: dict[str, Spell] = {}
    longest = timedelta()
    for worker in workers:
        if worker.at is None or not worker.running:
            continue
        spell = before.get(worker.instance)
        if spell is None or not spell.goes_on(worker):
            spell = Spell(worker.at, worker.running, worker.processed)
        spells[worker.instance] = spell
        longest = max(longest, worker.at - spell.since)
    return spells, longest


def tells_at(worker: Worker, span: timedelta) -> datetime | None:
    """Return when a report is due that may show that a task has run for longer than `span`.

    By the worker's own clock; None where it does not say when its latest report was.
    """
    if worker.at is None:
        return None
    interval = worker.interval or LONGEST_HEARTBEAT
    return worker.at + interval * ((span + CLEARLY) // interval + 1)

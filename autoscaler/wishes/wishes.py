"""What all sources together want of a service, as one ScalingSpec."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from autoscaler.core.backlog import TaskQueue
from autoscaler.core.errors import LabelError, alone
from autoscaler.core.labels import read_labels
from autoscaler.core.model import Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.reading import task_queues
from autoscaler.core.schedule import NextBounds
from autoscaler.core.spec import ScalingSpec
from autoscaler.core.territory import Surroundings
from autoscaler.core.zones import UTC_ZONE
from autoscaler.ports import WishSource


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of one service."""

    spec: ScalingSpec | None = None
    """None where the values of the service were never right."""
    problems: tuple[str, ...] = ()
    """What is wrong with the present values; the spec is then that of the last right ones."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The present values, right or wrong, by the full names of labels."""
    queues: tuple[TaskQueue, ...] = ()
    """What has to be read for the spec."""
    given: Mapping[str, Given] = field(default_factory=dict)
    """What the spec was read from, by the full names of labels; the rest are defaults."""

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each value of the spec comes from that is not a default."""
        return {name: given.origin for name, given in self.given.items()}

    def next_bounds(self, now: datetime) -> NextBounds | None:
        """Return the next change of min or max by the schedule; None where there is none."""
        return None if self.spec is None else self.spec.next_bounds(now)


NOTHING = Wish()
"""What is wanted of a service that nobody has asked about yet."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A wish, and what the sources said when it was made."""

    said: Mapping[str, Given]
    wish: Wish


class Wishes:
    """Merges what the sources say of a service, and keeps the last good spec of each."""

    def __init__(
        self, sources: Sequence[WishSource], prefix: str, timezone: ZoneInfo = UTC_ZONE
    ) -> None:
        """Ask the sources in this order: a later one has the last word on a label.

        `timezone` is the daemon's, for schedules that name no other one.
        """
        self._sources = sources
        self._prefix = prefix
        self._timezone = timezone
        self._latest: dict[ServiceId, _Read] = {}
        self._failures: dict[int, str] = {}
        """What went wrong when a source was renewed, by its place among the sources."""

    async def renew(self) -> bool:
        """Let every source take in what has changed; return whether anything has."""
        self._failures = {}
        changed = False
        for place, source in enumerate(self._sources):
            with alone(self._failures, place):
                changed = await source.renew() or changed
        return changed

    def warnings(self, around: Surroundings | None, services: Collection[Service]) -> Sequence[str]:
        """Return what is wrong with the sources apart from any service, each with what to do.

        `around` is what was seen beside the `services` that are looked after; None where not all
        that there is was seen.
        """
        warnings = [
            f"what is wanted of services was not read again: {failure}; it counts as it was before"
            for failure in self._failures.values()
        ]
        followed = {service.id for service in services}
        for source in self._sources:
            warnings += source.warnings
            if around is not None:
                warnings += source.astray(around.services, followed.union(around.left_alone))
        return warnings

    def looks_after(self, service: ServiceId, labels: Mapping[str, str]) -> bool:
        """Return whether any source makes a service with these labels one that is looked after."""
        return any(source.looks_after(service, labels) for source in self._sources)

    def of(self, service: Service) -> Wish:
        """Return what is wanted of a service now.

        Values that are wrong keep the spec of the last right ones in force. The same Wish is
        returned for as long as no source says anything else.
        """
        before = self._latest.get(service.id, _Read({}, NOTHING))
        said: dict[str, Given] = {}
        try:
            for source in self._sources:
                said.update(source.given(service))
        except LabelError as error:
            return self._keep(service.id, _with_problems(before.wish, error.problems), {})
        if not said and service.refusal:
            # The orchestrator knows better than "queue is missing" where the labels are.
            wish = _with_problems(replace(before.wish, labels={}), (service.refusal,))
        elif said and said == before.said:
            wish = before.wish
        else:
            wish = self._read(said, before.wish)
        return self._keep(service.id, wish, said)

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._latest = {id_: read for id_, read in self._latest.items() if id_ in services}

    def _keep(self, service: ServiceId, wish: Wish, said: Mapping[str, Given]) -> Wish:
        self._latest[service] = _Read(said, wish)
        return wish

    def _read(self, said: Mapping[str, Given], before: Wish) -> Wish:
        labels = {name: given.value for name, given in said.items()}
        origins = {name: given.origin for name, given in said.items()}
        try:
            spec = read_labels(labels, self._prefix, origins, self._timezone)
        except LabelError as error:
            return _with_problems(replace(before, labels=labels), error.problems)
        return Wish(spec, labels=labels, queues=task_queues(spec), given=said)


def _with_problems(wish: Wish, problems: Sequence[str]) -> Wish:
    """Return the wish with other problems; the same one where they are the same."""
    return wish if wish.problems == tuple(problems) else replace(wish, problems=tuple(problems))

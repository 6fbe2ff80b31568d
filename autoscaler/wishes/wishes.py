"""What all sources together want of a service, as one ScalingSpec."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.core.errors import LabelError
from autoscaler.core.model import Service, ServiceId, TaskQueue
from autoscaler.core.reading import task_queues
from autoscaler.core.spec import ScalingSpec
from autoscaler.ports import WishSource


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of one service."""

    spec: ScalingSpec | None = None
    """None where the labels of the service were never right."""
    problems: tuple[str, ...] = ()
    """What is wrong with the present labels; the spec is then that of the last right ones."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the spec, or the problems, were read from."""
    queues: tuple[TaskQueue, ...] = ()
    """What has to be read for the spec."""


class Wishes:
    """Merges what the sources say of a service, and keeps the last good spec of each."""

    def __init__(self, sources: Sequence[WishSource], prefix: str) -> None:
        """Ask the sources in this order: a later one has the last word on a label."""
        self._sources = sources
        self._prefix = prefix
        self._latest: dict[ServiceId, Wish] = {}

    def of(self, service: Service) -> Wish:
        """Return what is wanted of a service now.

        Labels that are wrong keep the spec of the last right ones in force. Labels that have not
        changed are not read again.
        """
        labels: dict[str, str] = {}
        for source in self._sources:
            labels.update(source.labels(service))
        before = self._latest.get(service.id, Wish())
        if not labels and service.refusal:
            # The orchestrator knows better than "queue is missing" where the labels are.
            wish = replace(before, problems=(service.refusal,), labels=labels)
        elif labels and labels == before.labels:
            wish = before
        else:
            wish = self._read(labels, before)
        self._latest[service.id] = wish
        return wish

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._latest = {id_: wish for id_, wish in self._latest.items() if id_ in services}

    def _read(self, labels: Mapping[str, str], before: Wish) -> Wish:
        try:
            spec = ScalingSpec.from_labels(labels, self._prefix)
        except LabelError as error:
            return replace(before, problems=error.problems, labels=labels)
        return Wish(spec, labels=labels, queues=task_queues(spec))

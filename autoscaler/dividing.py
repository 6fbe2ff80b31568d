"""The task queues of a tick that several services poll, and what was known of those services."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from autoscaler.core.divide import divide
from autoscaler.core.history import History
from autoscaler.core.model import ServiceId
from autoscaler.core.report import IntegrationReport, ServiceReport
from autoscaler.core.share import Allowance
from autoscaler.core.sharers import OwnNamespaces, sharing_with
from autoscaler.core.situation import Situation
from autoscaler.wishes.wishes import Wish


class Dividing:
    """Divides what waits among the services of a tick, in the steps in which a tick goes on."""

    def __init__(self) -> None:
        """Begin without any service."""
        self._own: OwnNamespaces = {}
        self._latest: Mapping[ServiceId, Situation] = {}
        """The latest situation of each service."""
        self._divided: Mapping[ServiceId, Situation] = {}
        """Those of this tick."""
        self._missed: Mapping[ServiceId, Situation] = {}
        """Of the services that were not seen in this tick, what is known of them."""

    def begin(self, integrations: Iterable[IntegrationReport]) -> None:
        """Take in which namespaces are the integrations' own, before anything else in a tick."""
        self._own = {each.name: each.namespace for each in integrations}

    def together(
        self, rested: Mapping[ServiceId, ServiceReport], wishes: Mapping[ServiceId, Wish]
    ) -> Mapping[ServiceId, ServiceReport]:
        """Return the reports of those services at rest of which all rest that share their queues.

        What is new of one service changes what the others get of a queue that all of them poll, or
        polled.
        """
        left = {
            service
            for service, report in rested.items()
            for shared in report.shared.values()
            if not rested.keys() >= set(shared.others)
        }
        queues = {service: wish.queues for service, wish in wishes.items()}
        awake = sharing_with(left | (wishes.keys() - rested.keys()), queues, self._own)
        return {service: report for service, report in rested.items() if service not in awake}

    def divide(
        self,
        situations: Mapping[ServiceId, Situation],
        histories: Mapping[ServiceId, History],
        unseen: Collection[ServiceId],
    ) -> dict[ServiceId, Situation]:
        """Return the situations with the backlogs of shared task queues divided.

        Services that are `unseen` keep the replicas that they should have, and a portion for them.
        """
        self._missed = {
            service: replace(self._latest[service], replicas=histories[service].expected)
            for service in unseen
            if service in self._latest
        }
        divided = divide(situations, self._own, self._missed)
        self._divided = divided
        known = {**self._latest, **divided}
        self._latest = {service: each for service, each in known.items() if service in histories}
        return divided

    def pass_on(
        self,
        situations: Mapping[ServiceId, Situation],
        allowances: Mapping[ServiceId, Allowance],
    ) -> Mapping[ServiceId, Situation]:
        """Return the situations that differ because others get fewer replicas than they wish.

        What those cannot take of a shared task queue goes to the services that share it. Services
        that something went wrong with since `divide` keep their portions.
        """
        if not allowances:
            return {}
        failed = {id_: each for id_, each in self._divided.items() if id_ not in situations}
        limited = {
            service: replace(situation, allowance=allowances.get(service))
            for service, situation in situations.items()
        }
        divided = divide(limited, self._own, {**self._missed, **failed})
        return {
            service: replace(situations[service], backlog=each.backlog)
            for service, each in divided.items()
            if each.backlog != situations[service].backlog
        }

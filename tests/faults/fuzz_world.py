"""A daemon between fakes, which checks everything that the daemon does and reports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from autoscaler.core.errors import LabelError
from autoscaler.core.groups import Groups
from autoscaler.core.label_values import Busy, Mode
from autoscaler.core.labels import read_labels
from autoscaler.core.model import EndedBy, ScalingAction, Service, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.reason import ReasonCode
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.core.spec import ScalingSpec
from autoscaler.reconcile import Reconciler
from autoscaler.wishes.labels import Labels
from autoscaler.wishes.wishes import Wishes
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator

NAMES = ("a", "b", "c")
"""The services; the last one belongs to the Swarm."""
GROUP = "gpu"
GROUPS = Groups({GROUP: 6})
PATIENCE = timedelta(seconds=10)


class Checked(FakeOrchestrator):
    """An orchestrator that checks what it is asked to do."""

    def __init__(
        self, name: str, spec_of: Callable[[ServiceId], ScalingSpec], source: FakeBacklogSource
    ) -> None:
        super().__init__(name)
        self.under_way: dict[ServiceId, int] = {}
        """Replicas that the changes under way lead to."""
        self._spec_of = spec_of
        self._source = source

    async def grow(self, action: ScalingAction) -> None:
        """Add replicas, where that is right."""
        with self._changing(action):
            await super().grow(action)

    async def stop(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Stop replicas, where that is right."""
        with self._changing(action) as spec:
            replicas = await self.replicas(action.service)
            assert choice.of == tuple(replicas), "replicas have changed since the choice"
            assert len(replicas) - len(choice.replicas) >= action.desired, "too many are stopped"
            if spec.busy is not Busy.IGNORE and not self._source.mute:
                busy = [each.id for each in choice.replicas if self._source.running.get(each.id)]
                assert not busy, f"busy replicas are stopped: {busy}"
            return await super().stop(action, choice)

    @contextlib.contextmanager
    def _changing(self, action: ScalingAction) -> Iterator[ScalingSpec]:
        """Change a service, once at a time and as its last right labels allow; yield these."""
        spec = self._spec_of(action.service)
        assert spec.mode not in (Mode.OFF, Mode.DRY_RUN), f"changed although mode is {spec.mode}"
        assert action.service not in self.under_way, "two changes at a time"
        self.under_way[action.service] = action.desired
        try:
            yield spec
        finally:
            del self.under_way[action.service]


class World:
    """A daemon between fakes, and what the test itself knows of the services."""

    def __init__(self, labels: Mapping[str, Mapping[str, str]]) -> None:
        self.clock = Clock()
        self.source = FakeBacklogSource()
        self.compose, self.swarm = (
            Checked(name, self.spec_of, self.source) for name in ("compose", "swarm")
        )
        self.ids = {
            name: self.orchestrator(name).add(name, each, replicas=3)
            for name, each in labels.items()
        }
        # Of each service, the replica whose turn to stop comes first is busy.
        self.source.running = {f"{name}-3": 1 for name in self.ids}
        self.gone: dict[ServiceId, Service] = {}
        """Services that were removed, and may come back."""
        self.reports: list[TickReport] = []
        """The report of every tick."""
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start a daemon that knows nothing of the past."""
        self.met: set[ServiceId] = set()
        """The services that the daemon has seen and that are not gone."""
        self.specs: dict[ServiceId, ScalingSpec] = {}
        """Their last right labels."""
        wishes = Wishes([Labels("temporal")], "temporal")
        self.reconciler = Reconciler(
            [self.compose, self.swarm], self.source, wishes, clock=self.clock, groups=GROUPS
        )

    def orchestrator(self, name: str) -> Checked:
        """Return the orchestrator of a service."""
        return self.swarm if name == NAMES[-1] else self.compose

    def spec_of(self, service: ServiceId) -> ScalingSpec:
        """Return the last right labels of a service."""
        assert service in self.specs, "changed although its labels were never right"
        return self.specs[service]

    async def tick(self) -> None:
        """Tick once, check the report, and let the changes begin."""
        services = {
            id_: service
            for orchestrator in (self.compose, self.swarm)
            if orchestrator.unreachable is None
            for id_, service in orchestrator.services.items()
        }
        self.learn(services)
        replicas = {id_: service.replicas for id_, service in services.items()}
        replicas |= self.compose.under_way | self.swarm.under_way
        report = await self.reconciler.tick()
        self.reports.append(report)
        assert {each.service for each in report.services} == set(services), "no report of a service"
        assert set(report.unseen) == self.met - set(services), "services that were not seen"
        for each in report.services:
            self.check(each, services[each.service], replicas[each.service])
        if self.compose.unreachable is None:
            self.check_group(report, services, replicas)
        # A change looks and chooses in its first turns: nothing else may happen before that.
        for _ in range(3):
            await asyncio.sleep(0)

    async def end_changes(self) -> None:
        """Let every change under way end, however long it would have taken."""
        for name, id_ in self.ids.items():
            self.orchestrator(name).hold(id_).set()
        await self.reconciler.close(PATIENCE)

    def learn(self, services: Mapping[ServiceId, Service]) -> None:
        """Note which services the daemon is about to see, and forget those that are gone."""
        unreachable = self.compose.unreachable is not None
        kept = {id_ for id_ in self.met if unreachable and id_.orchestrator == "compose"}
        self.met = kept | set(services)
        self.specs = {id_: spec for id_, spec in self.specs.items() if id_ in self.met}
        for id_, service in services.items():
            try:
                self.specs[id_] = read_labels(service.labels, "temporal")
            except LabelError:
                continue

    def check_group(
        self,
        report: TickReport,
        services: Mapping[ServiceId, Service],
        replicas: Mapping[ServiceId, int],
    ) -> None:
        """Check that no change lets a group grow beyond its limit."""
        members = [id_ for id_, spec in self.specs.items() if GROUP in spec.groups]
        taken = {id_: max(replicas[id_], services[id_].replicas) for id_ in members}
        draining = sum(services[id_].draining for id_ in members)
        grown = {
            each.service: each.action.desired
            for each in report.services
            if each.action is not None and each.service in taken
        }
        after = sum(max(number, grown.get(id_, 0)) for id_, number in taken.items())
        most = max(GROUPS.most[GROUP], sum(taken.values()) + draining)
        assert after + draining <= most, "a group grew beyond its limit"

    def check(self, report: ServiceReport, service: Service, replicas: int) -> None:
        """Check the report of a service; `replicas` counts a change under way as made."""
        assert not any("unexpected" in error for error in report.errors), report.errors
        assert report.replicas == service.replicas
        spec = self.specs.get(report.service)
        if spec is None:
            assert report.errors, "wrong labels without an error"
            assert report.desired == service.replicas, "wrong labels changed the replicas"
            assert report.action is None
            return
        assert (report.min, report.max) == (spec.min, spec.max), "not the last right labels"
        by_hand = service.ending is not None and service.ending.by is EndedBy.HAND
        stopped = replicas == 0 and by_hand
        if spec.mode is Mode.OFF or service.refusal is not None or stopped:
            assert report.desired == replicas, "a service that may not be scaled"
            return
        check_desired(report, spec, service, replicas)


def check_desired(
    report: ServiceReport, spec: ScalingSpec, service: Service, replicas: int
) -> None:
    """Check the number that is wanted of a service that may be scaled."""
    ceiling = spec.max if service.ceiling is None else service.ceiling.replicas
    most = min(spec.max, ceiling)
    protected, crashed, shared = (
        any(reason.code is code for reason in report.reasons)
        for code in (ReasonCode.BUSY, ReasonCode.CRASHED, ReasonCode.SHARED)
    )
    assert not crashed or report.crash in report.errors, "held after a crash without an error"
    assert not (protected and spec.busy is Busy.IGNORE), "protected although busy is ignore"
    assert crashed or shared or min(spec.min, most) <= report.desired, "below the bounds"
    assert not shared or spec.groups, "held by a group that it is not in"
    held = not crashed or shared or report.desired >= min(replicas, most)
    assert held, "a crash stopped replicas"
    assert report.desired <= (max(most, replicas) if protected else most), "above the bounds"
    if report.busy is not None and spec.busy is not Busy.IGNORE:
        assert report.desired >= min(report.busy, replicas), "busy replicas are to go"
    may_shrink = spec.fallback.replicas is not None and not spec.fallback.at_least
    if report.backlog is None and not may_shrink:
        assert report.desired >= min(replicas, most), "an unknown backlog was taken for empty"

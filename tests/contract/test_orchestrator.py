"""What every orchestrator keeps to: the fake one, Compose and Swarm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import pytest

from autoscaler.core.errors import InFlightUnavailable, OrchestratorError
from autoscaler.core.in_flight import Standing
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.orchestrators.compose import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.swarm import SwarmOrchestrator
from autoscaler.ports import Orchestrator
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.real.stages import STUBBORN, Stage, docker

LABELS = {"temporal.queue": "orders", "temporal.max": "20", "other": "label"}


class Case(Protocol):
    """An orchestrator, and the place its services stand on."""

    orchestrator: Orchestrator

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Any], **options: Any) -> None:
        """Bring services to these replicas and labels."""

    def id(self, service: str) -> ServiceId:
        """Name a service, whether it is there or not."""

    def host(self, replica: Replica) -> str | None:
        """Return the host name inside a replica; None where others on this host have it too."""


class FakeCase:
    def __init__(self) -> None:
        self.orchestrator = FakeOrchestrator()

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Any], **_: Any) -> None:
        for service, number in replicas.items():
            if labels.get(service):
                self.orchestrator.add(service, labels[service], replicas=number)

    def id(self, service: str) -> ServiceId:
        return ServiceId(self.orchestrator.name, service)

    def host(self, replica: Replica) -> str | None:
        return replica.id


class RealCase:
    def __init__(self, stage: Stage, orchestrator: Orchestrator) -> None:
        self._stage = stage
        self.orchestrator = orchestrator
        self.up = stage.up

    def id(self, service: str) -> ServiceId:
        return ServiceId(self._stage.orchestrator, self._stage.name(service))

    def host(self, replica: Replica) -> str | None:
        if self._stage.orchestrator == "swarm":
            return None  # The stage puts its tasks on the host's network.
        return docker("exec", replica.id, "hostname").strip()


@pytest.fixture(
    params=[
        pytest.param("fake"),
        pytest.param("compose", marks=pytest.mark.engine),
        pytest.param("swarm", marks=pytest.mark.swarm),
    ]
)
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "fake":
        yield FakeCase()
        return
    stage: Stage = request.getfixturevalue(f"{request.param}_stage")
    engine = Engine()
    orchestrator: Orchestrator
    if request.param == "compose":
        orchestrator = ComposeOrchestrator(engine, clock=Clock(), projects=[stage.project])
    else:
        orchestrator = SwarmOrchestrator(engine, clock=Clock(), projects=[stage.project])
    yield RealCase(stage, orchestrator)
    await orchestrator.close(timedelta(seconds=30))
    engine.close()


async def look(case: Case, service: str) -> Service:
    found = {each.id: each for each in await case.orchestrator.discover()}
    return found[case.id(service)]


def action(case: Case, current: int, desired: int, service: str = "worker") -> ScalingAction:
    return ScalingAction(case.id(service), current, desired)


async def test_a_labelled_service_is_found_with_its_labels_and_replicas(case: Case) -> None:
    case.up({"worker": 2, "plain": 1}, {"worker": LABELS})

    found = await case.orchestrator.discover()

    assert [service.id for service in found] == [case.id("worker")]
    assert found[0].replicas == 2
    assert LABELS.items() <= found[0].labels.items()
    assert found[0].ceiling is None
    assert found[0].refusal is None


async def test_scales_to_exactly_the_desired_replicas_out_and_in(case: Case) -> None:
    case.up({"worker": 1}, {"worker": LABELS})

    await case.orchestrator.apply(action(case, 1, 4))
    assert (await look(case, "worker")).replicas == 4

    await case.orchestrator.apply(action(case, 4, 2))
    assert (await look(case, "worker")).replicas == 2


async def test_goes_to_zero_and_back(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})

    await case.orchestrator.apply(action(case, 2, 0))
    assert (await look(case, "worker")).replicas == 0

    # A replica that still drains is no template to start: wait for the end of the drain.
    await case.orchestrator.close(timedelta(seconds=30))
    await case.orchestrator.apply(action(case, 0, 2))
    assert (await look(case, "worker")).replicas == 2


async def test_a_replica_that_drains_does_not_count(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS}, command=STUBBORN, stop_grace_period="5s")

    await case.orchestrator.apply(action(case, 2, 1))

    assert (await look(case, "worker")).replicas == 1


async def test_the_same_action_twice_changes_nothing_more(case: Case) -> None:
    case.up({"worker": 1}, {"worker": LABELS})

    await case.orchestrator.apply(action(case, 1, 3))
    await case.orchestrator.apply(action(case, 1, 3))

    assert (await look(case, "worker")).replicas == 3


async def test_one_service_is_scaled_and_the_others_are_not(case: Case) -> None:
    case.up({"worker": 1, "other": 1}, {"worker": LABELS, "other": LABELS})

    await case.orchestrator.apply(action(case, 1, 2))

    assert (await look(case, "other")).replicas == 1


async def test_a_service_that_is_not_there_is_an_error_in_words(case: Case) -> None:
    with pytest.raises(OrchestratorError, match="gone"):
        await case.orchestrator.apply(action(case, 1, 2, service="gone"))


async def test_a_change_of_labels_is_seen(case: Case) -> None:
    case.up({"worker": 1}, {"worker": LABELS})
    changed = {**LABELS, "temporal.max": "5"}

    case.up({"worker": 1}, {"worker": changed})

    async def seen() -> str:
        return (await look(case, "worker")).labels["temporal.max"]

    assert await seen() == "5"


async def members(case: Case) -> list[Replica]:
    return list(await case.orchestrator.members(case.id("worker")))


def ids(replicas: Sequence[Replica]) -> list[str]:
    return [replica.id for replica in replicas]


def last_look(*busy: Replica) -> Any:
    """Say that some replicas are at work and all others are idle."""

    async def look(replicas: Sequence[Replica]) -> Mapping[str, Standing]:
        return {
            replica.id: Standing.BUSY if replica in busy else Standing.IDLE for replica in replicas
        }

    return look


async def test_members_are_the_replicas_each_with_the_host_name_inside_it(case: Case) -> None:
    case.up({"worker": 3, "other": 1}, {"worker": LABELS, "other": LABELS})

    found = await members(case)

    assert len(set(ids(found))) == 3
    assert [replica.host for replica in found] == [case.host(replica) for replica in found]
    assert all(replica.started for replica in found)


async def test_those_go_that_are_the_first_of_the_members_and_their_ids_come_back(
    case: Case,
) -> None:
    case.up({"worker": 4}, {"worker": LABELS})
    before = await members(case)

    gone = await case.orchestrator.apply(action(case, 4, 2))

    assert sorted(gone) == sorted(ids(before[:2]))
    assert ids(await members(case)) == ids(before[2:])


async def test_growth_stops_none_and_asks_nobody(case: Case) -> None:
    case.up({"worker": 1}, {"worker": LABELS})

    async def asked(_: Sequence[Replica]) -> Mapping[str, Standing]:
        raise AssertionError("nobody is to be stopped")

    assert list(await case.orchestrator.apply(action(case, 1, 2), asked)) == []
    assert (await look(case, "worker")).replicas == 2


async def test_idle_replicas_go_as_far_as_the_busy_one_that_is_the_last_in_turn(
    case: Case,
) -> None:
    case.up({"worker": 3}, {"worker": LABELS})
    before = await members(case)

    gone = await case.orchestrator.apply(action(case, 3, 0), last_look(before[2]))

    assert sorted(gone) == sorted(ids(before[:2]))
    assert ids(await members(case)) == ids(before[2:])
    assert (await look(case, "worker")).replicas == 1


async def test_a_busy_replica_that_is_the_first_in_turn_stays_and_idle_ones_go(case: Case) -> None:
    """How many go at once is the orchestrator's affair: the next tick asks for the others."""
    case.up({"worker": 3}, {"worker": LABELS})
    before = await members(case)
    busy = before[0]

    gone: list[str] = []
    for count in (3, 2):
        current = (await look(case, "worker")).replicas
        if current == 1:
            break
        assert current == count
        gone += await case.orchestrator.apply(action(case, current, 1), last_look(busy))

    assert sorted(gone) == sorted(ids(before[1:]))
    assert ids(await members(case)) == [busy.id]
    assert (await look(case, "worker")).replicas == 1


async def test_where_all_are_at_work_none_goes(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})
    before = await members(case)

    assert list(await case.orchestrator.apply(action(case, 2, 0), last_look(*before))) == []

    assert ids(await members(case)) == ids(before)
    assert (await look(case, "worker")).replicas == 2


async def test_where_nobody_reports_any_may_go(case: Case) -> None:
    case.up({"worker": 3}, {"worker": LABELS})
    before = await members(case)

    async def nobody(_: Sequence[Replica]) -> None:
        return None

    gone = await case.orchestrator.apply(action(case, 3, 1), nobody)

    assert sorted(gone) == sorted(ids(before[:2]))
    assert (await look(case, "worker")).replicas == 1


async def test_where_the_last_look_fails_none_goes(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})
    before = await members(case)

    async def fails(_: Sequence[Replica]) -> Mapping[str, Standing]:
        raise InFlightUnavailable("no answer")

    with pytest.raises(InFlightUnavailable, match="no answer"):
        await case.orchestrator.apply(action(case, 2, 1), fails)

    assert ids(await members(case)) == ids(before)

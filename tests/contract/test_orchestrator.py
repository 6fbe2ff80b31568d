"""What every orchestrator keeps to: the fake one, Compose and Swarm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

import pytest

from autoscaler.core.drain import Drain
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.in_flight import Standing
from autoscaler.core.model import EndedBy, Replica, ScalingAction, Service, ServiceId
from autoscaler.core.protect import (
    Choice,
    Stopped,
    choose_idle,
    choose_in_order,
    choose_vacated,
)
from autoscaler.orchestrators.compose.orchestrator import ComposeOrchestrator
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.projects import Projects
from autoscaler.orchestrators.swarm.orchestrator import SwarmOrchestrator
from autoscaler.ports import LooksAfter, Orchestrator
from autoscaler.wishes.labels import Labels
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.real.stages import STUBBORN, Stage, docker
from tests.real.waiting import LIMIT

LABELS = {"temporal.queue": "orders", "temporal.max": "20", "other": "label"}


class Case(Protocol):
    """An orchestrator, and the place its services stand on."""

    orchestrator: Orchestrator
    adopted: set[ServiceId]
    """Services that are looked after whatever their labels are."""

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Any], **options: Any) -> None:
        """Bring services to these replicas and labels."""

    def stop_by_hand(self, service: str) -> None:
        """Stop all replicas behind the orchestrator's back."""

    def id(self, service: str) -> ServiceId:
        """Name a service, whether it is there or not."""

    def host(self, replica: Replica) -> str | None:
        """Return the host name inside a replica; None where others on this host have it too."""


def looking_after(adopted: Collection[ServiceId]) -> LooksAfter:
    """Look after labelled services and those that are `adopted` now."""
    by_label = Labels("temporal").looks_after
    return lambda service, labels: service in adopted or by_label(service, labels)


class FakeCase:
    def __init__(self, adopted: set[ServiceId]) -> None:
        self.adopted = adopted
        self.orchestrator = FakeOrchestrator(looks_after=looking_after(adopted))

    def up(self, replicas: Mapping[str, int], labels: Mapping[str, Any], **options: Any) -> None:
        self.orchestrator.stubborn = options.get("command") is STUBBORN
        for service, number in replicas.items():
            self.orchestrator.add(service, labels.get(service, {}), replicas=number)

    def stop_by_hand(self, service: str) -> None:
        self.orchestrator.scale_by_hand(self.id(service), 0)

    def id(self, service: str) -> ServiceId:
        return ServiceId(self.orchestrator.name, service)

    def host(self, replica: Replica) -> str | None:
        return replica.id


class RealCase:
    def __init__(self, stage: Stage, orchestrator: Orchestrator, adopted: set[ServiceId]) -> None:
        self._stage = stage
        self.adopted = adopted
        self.orchestrator = orchestrator
        self.up = stage.up

    def stop_by_hand(self, service: str) -> None:
        self._stage.stop_by_hand(service)

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
    adopted: set[ServiceId] = set()
    if request.param == "fake":
        yield FakeCase(adopted)
        return
    stage: Stage = request.getfixturevalue(f"{request.param}_stage")
    engine = Engine()
    projects = Projects(engine, [stage.project])
    kind = ComposeOrchestrator if request.param == "compose" else SwarmOrchestrator
    orchestrator = kind(
        engine, clock=Clock(), projects=projects, looks_after=looking_after(adopted)
    )
    yield RealCase(stage, orchestrator, adopted)
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


async def test_a_service_without_a_label_is_found_while_it_is_adopted(case: Case) -> None:
    case.up({"worker": 2, "plain": 1}, {})
    assert list(await case.orchestrator.discover()) == []

    if not isinstance(case, FakeCase):
        assert case.orchestrator.surroundings.services >= {case.id("worker"), case.id("plain")}

    case.adopted.add(case.id("worker"))
    found = await look(case, "worker")
    assert (found.replicas, found.refusal, found.warnings) == (2, None, ())
    await grow(case, 2, 3)
    assert (await look(case, "worker")).replicas == 3

    case.adopted.clear()
    assert list(await case.orchestrator.discover()) == []
    assert len(await replicas(case)) == 3, "what is given back keeps its replicas"


async def replicas(case: Case) -> list[Replica]:
    return list(await case.orchestrator.replicas(case.id("worker")))


def ids(found: Sequence[Replica]) -> list[str]:
    return [replica.id for replica in found]


async def grow(case: Case, current: int, desired: int, service: str = "worker") -> None:
    await case.orchestrator.grow(action(case, current, desired, service))


async def stop_in_order(case: Case, current: int, desired: int) -> list[str]:
    """Stop the first replicas in the scheduler's order; return the ids of those that went."""
    choice = choose_in_order(await replicas(case), current - desired)
    return list((await case.orchestrator.stop(action(case, current, desired), choice)).replicas)


async def stop_idle(case: Case, desired: int, busy: Collection[str]) -> list[str]:
    """Stop idle replicas as the daemon does, and return the ids of those that went."""
    current = (await look(case, "worker")).replicas
    found = await replicas(case)
    known = {id_: Standing.BUSY if id_ in busy else Standing.IDLE for id_ in ids(found)}
    choice = choose_idle(found, known, len(found) - desired)
    stopped = await case.orchestrator.stop(action(case, current, desired), choice)
    gone = list(stopped.replicas)
    if stopped.vacated:
        choice = choose_vacated(await replicas(case))
        gone += (await case.orchestrator.stop(action(case, current, desired), choice)).replicas
    return gone


async def test_scales_to_exactly_the_desired_replicas_out_and_in(case: Case) -> None:
    case.up({"worker": 1}, {"worker": LABELS})

    await grow(case, 1, 4)
    assert (await look(case, "worker")).replicas == 4

    await stop_in_order(case, 4, 2)
    assert (await look(case, "worker")).replicas == 2


async def test_goes_to_zero_and_back(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})

    await stop_in_order(case, 2, 0)
    assert (await look(case, "worker")).replicas == 0

    # A replica that still drains is no template to start: wait for the end of the drain.
    await case.orchestrator.close(timedelta(seconds=30))
    await grow(case, 0, 2)
    assert (await look(case, "worker")).replicas == 2


async def test_a_service_that_somebody_else_has_stopped_says_so_until_it_runs_again(
    case: Case,
) -> None:
    case.up({"worker": 2}, {"worker": LABELS})
    assert (await look(case, "worker")).ending is None

    case.stop_by_hand("worker")
    stopped = await look(case, "worker")
    assert stopped.replicas == 0
    assert stopped.ending is not None
    assert stopped.ending.by is EndedBy.HAND

    # While two tasks still end, growth by one would tell them once more to stop: a Swarm waits.
    async with asyncio.timeout(LIMIT):
        while (await look(case, "worker")).draining:  # noqa: ASYNC110 - a Swarm announces no end
            await asyncio.sleep(0.1)
    await grow(case, 0, 1)
    assert (await look(case, "worker")).ending is None


async def test_what_the_orchestrator_has_stopped_is_not_stopped_by_hand(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})
    await look(case, "worker")

    await stop_in_order(case, 2, 0)
    await case.orchestrator.close(timedelta(seconds=30))

    stopped = await look(case, "worker")
    assert (stopped.replicas, stopped.ending) == (0, None)


async def test_a_replica_that_drains_does_not_count(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS}, command=STUBBORN, stop_grace_period="5s")

    await stop_in_order(case, 2, 1)

    assert (await look(case, "worker")).replicas == 1


async def drained(case: Case) -> Drain:
    """Stop one of two replicas that do not end by themselves, and return it."""
    case.up({"worker": 2}, {"worker": LABELS}, command=STUBBORN, stop_grace_period="60s")
    await look(case, "worker")
    (gone,) = await stop_in_order(case, 2, 1)
    assert (await look(case, "worker")).draining == 1
    (drain,) = case.orchestrator.drains
    assert (drain.id, drain.service, drain.own) == (gone, case.id("worker"), True)
    return drain


async def test_an_orchestrator_that_ends_replicas_by_itself_names_none_that_drain(
    case: Case,
) -> None:
    case.up({"worker": 2}, {"worker": LABELS})
    await look(case, "worker")
    assert list(case.orchestrator.drains) == []


async def test_one_that_drains_ends_when_it_is_killed(case: Case) -> None:
    if case.id("worker").orchestrator == "swarm":
        pytest.skip("the Swarm kills its tasks itself")
    drain = await drained(case)

    case.orchestrator.take_up(drain)
    case.orchestrator.kill(drain)

    async with asyncio.timeout(LIMIT):
        # The orchestrator does not announce the end.
        while (await look(case, "worker")).draining:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert list(case.orchestrator.drains) == []
    assert (await look(case, "worker")).replicas == 1


async def test_one_that_is_taken_back_counts_and_none_is_stopped_any_more(case: Case) -> None:
    if case.id("worker").orchestrator == "swarm":
        pytest.skip("the Swarm takes back no task")
    drain = await drained(case)

    case.orchestrator.take_back(drain, ignores=True)

    service = await look(case, "worker")
    assert (service.replicas, service.draining, service.ignoring) == (2, 0, (drain.name,))
    assert list(case.orchestrator.drains) == []
    assert await stop_in_order(case, 2, 1) == []
    assert (await look(case, "worker")).replicas == 2


async def test_the_same_growth_twice_changes_nothing_more(case: Case) -> None:
    case.up({"worker": 1}, {"worker": LABELS})

    await grow(case, 1, 3)
    await grow(case, 1, 3)

    assert (await look(case, "worker")).replicas == 3


async def test_one_service_is_scaled_and_the_others_are_not(case: Case) -> None:
    case.up({"worker": 1, "other": 1}, {"worker": LABELS, "other": LABELS})

    await grow(case, 1, 2)

    assert (await look(case, "other")).replicas == 1


async def test_a_service_that_is_not_there_is_an_error_in_words(case: Case) -> None:
    with pytest.raises(OrchestratorError, match="gone"):
        await grow(case, 1, 2, service="gone")


async def test_where_nothing_was_left_unstarted_nothing_is_removed(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})

    await case.orchestrator.remove_unstarted(case.id("worker"))

    assert (await look(case, "worker")).replicas == 2


async def test_a_change_of_labels_is_seen(case: Case) -> None:
    case.up({"worker": 1}, {"worker": LABELS})
    changed = {**LABELS, "temporal.max": "5"}

    case.up({"worker": 1}, {"worker": changed})

    assert (await look(case, "worker")).labels["temporal.max"] == "5"


async def test_each_replica_is_named_with_the_host_name_inside_it(case: Case) -> None:
    case.up({"worker": 3, "other": 1}, {"worker": LABELS, "other": LABELS})

    found = await replicas(case)

    assert len(set(ids(found))) == 3
    assert [replica.host for replica in found] == [case.host(replica) for replica in found]
    assert all(replica.started for replica in found)


async def test_the_first_replicas_in_order_go_and_their_ids_come_back(case: Case) -> None:
    case.up({"worker": 4}, {"worker": LABELS})
    before = await replicas(case)

    gone = await stop_in_order(case, 4, 2)

    assert sorted(gone) == sorted(ids(before[:2]))
    assert ids(await replicas(case)) == ids(before[2:])


async def test_where_nothing_is_chosen_nothing_goes(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})
    before = await replicas(case)

    stopped = await case.orchestrator.stop(action(case, 2, 1), Choice(tuple(before)))

    assert stopped == Stopped()
    assert ids(await replicas(case)) == ids(before)


async def test_idle_replicas_go_as_far_as_the_busy_one_that_is_the_last_in_turn(
    case: Case,
) -> None:
    case.up({"worker": 3}, {"worker": LABELS})
    before = await replicas(case)

    gone = await stop_idle(case, 0, {before[2].id})

    assert sorted(gone) == sorted(ids(before[:2]))
    assert ids(await replicas(case)) == ids(before[2:])
    assert (await look(case, "worker")).replicas == 1


async def test_a_busy_replica_that_is_the_first_in_turn_stays_and_idle_ones_go(case: Case) -> None:
    """How many go at once is up to the orchestrator: later ticks stop the others."""
    case.up({"worker": 3}, {"worker": LABELS})
    before = await replicas(case)
    busy = before[0]

    gone: list[str] = []
    async with asyncio.timeout(LIMIT):
        while (await look(case, "worker")).replicas > 1:
            gone += await stop_idle(case, 1, {busy.id})

    assert sorted(each for each in gone if each in ids(before)) == sorted(ids(before[1:]))
    assert ids(await replicas(case)) == [busy.id]
    assert (await look(case, "worker")).replicas == 1


async def test_where_all_replicas_are_busy_none_goes(case: Case) -> None:
    case.up({"worker": 2}, {"worker": LABELS})
    before = await replicas(case)

    assert await stop_idle(case, 0, set(ids(before))) == []

    assert ids(await replicas(case)) == ids(before)
    assert (await look(case, "worker")).replicas == 2

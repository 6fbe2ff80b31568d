"""Changes of replicas, beside the ticks: started, remembered, and careful right before a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.change import Changes, Order, read_in_flight
from autoscaler.core.errors import InFlightUnavailable, OrchestratorError
from autoscaler.core.in_flight import Crew, WorkerQuery
from autoscaler.core.label_values import Busy, SwarmChoice
from autoscaler.core.model import Replica, ScalingAction, ServiceId
from autoscaler.core.protect import Choice, Stopped
from autoscaler.core.spec import ScalingSpec
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator

PATIENCE = timedelta(seconds=10)
NO_ENGINE = OrchestratorError("no engine")


class Recorder(FakeOrchestrator):
    """An orchestrator that keeps every choice it was asked to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.choices: list[Choice] = []

    async def stop(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Keep the choice, and stop it."""
        self.choices.append(choice)
        return await self.carry_out(action, choice)

    async def carry_out(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Stop all replicas of a choice."""
        return await super().stop(action, choice)


class Refilling(Recorder):
    """An orchestrator that fills the place of a replica stopped by name, as a Swarm does.

    It stops one replica by name at a time. Asked for fewer replicas, it gives up the place first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place: Replica | None = None
        """What is in the vacated place, once there is one."""
        self.fills_with = Replica("place", None, turn=-1, started=False)
        """What a vacated place is filled with."""

    async def replicas(
        self, service: ServiceId, how: SwarmChoice = SwarmChoice.ORDER
    ) -> Sequence[Replica]:
        """Return the place before all other replicas."""
        place = [] if self.place is None else [self.place]
        return [*place, *await super().replicas(service, how)]

    async def carry_out(self, action: ScalingAction, choice: Choice) -> Stopped:
        """Stop the first replica by name, or else those in turn."""
        if choice.by_name:
            first = Choice(choice.of, by_name=choice.by_name[:1])
            stopped = await super().carry_out(action, first)
            self.place = self.fills_with
            return replace(stopped, vacated=True)
        others = tuple(each for each in choice.in_turn if each is not self.place)
        self.place = self.place if others == choice.in_turn else None
        return await super().carry_out(action, replace(choice, in_turn=others))


class Changing:
    """Changes over one service, between fakes."""

    def __init__(self, replicas: int, orchestrator: Recorder | None = None) -> None:
        self.orchestrator = orchestrator or Recorder()
        self.source = FakeBacklogSource()
        self.clock = Clock()
        self.changes = Changes({"compose": self.orchestrator}, self.source, self.clock)
        self.service = self.orchestrator.add("shop/worker", {}, replicas=replicas)
        self.crews: dict[str, Crew] = {}
        """The processes that are known to run together on a host."""

    def start(
        self,
        desired: int,
        *,
        current: int | None = None,
        busy: Busy = Busy.PROTECT,
        reported: bool = True,
        unstarted: bool = False,
    ) -> bool:
        """Start a change from the present number of replicas, or from `current`."""
        current = self.orchestrator.count(self.service) if current is None else current
        action = ScalingAction(self.service, current, desired)
        spec = ScalingSpec(queues=("orders",), busy=busy)
        return self.changes.start(Order(action, spec, reported, unstarted, self.crews))

    async def finish(self) -> None:
        """Wait until the change has ended, and write down how."""
        await self.changes.close(PATIENCE)
        self.changes.settle()

    async def make(self, desired: int, *, reported: bool = True, unstarted: bool = False) -> None:
        """Start a change and wait for its end."""
        assert self.start(desired, reported=reported, unstarted=unstarted)
        await self.finish()

    def run_tasks_on(self, *numbers: int) -> None:
        """Let the workers of these replicas, and of no others, run a task."""
        self.source.running = {f"shop/worker-{number}": 1 for number in numbers}

    @property
    def running(self) -> int:
        """Replicas that count now."""
        return self.orchestrator.count(self.service)


def ids(replicas: Sequence[Replica]) -> list[str]:
    """Return what replicas are called within their service."""
    return [replica.id.removeprefix("shop/") for replica in replicas]


class TestOneAtATime:
    """A service has at most one change under way."""

    async def test_a_second_change_is_not_started(self) -> None:
        one = Changing(1)
        gate = one.orchestrator.hold(one.service)
        assert one.start(4)
        assert not one.start(6)
        assert one.changes.under_way(one.service) == 4
        gate.set()
        await one.finish()
        assert one.running == 4
        assert [action.desired for action in one.orchestrator.actions] == [4]

    async def test_a_change_that_has_ended_is_under_way_until_it_is_settled(self) -> None:
        one = Changing(1)
        assert one.start(4)
        await one.changes.close(PATIENCE)
        assert one.changes.under_way(one.service) == 4
        assert not one.start(5)
        one.changes.settle()
        assert one.changes.under_way(one.service) is None
        assert one.start(5)
        await one.finish()

    async def test_other_services_change_meanwhile(self) -> None:
        one = Changing(1)
        gate = one.orchestrator.hold(one.service)
        other = one.orchestrator.add("shop/other", {})
        assert one.start(4)
        spec = ScalingSpec(queues=("orders",))
        assert one.changes.start(Order(ScalingAction(other, 1, 3), spec, True, False))  # noqa: FBT003
        async with asyncio.timeout(10):
            await one.orchestrator.until(other, 3)
        assert one.running == 1
        gate.set()
        await one.finish()

    async def test_a_service_without_a_change_has_none_under_way(self) -> None:
        one = Changing(1)
        assert one.changes.under_way(one.service) is None
        assert one.changes.failure(one.service) is None
        assert one.changes.take_interrupted(one.service) == 0


class TestUnstarted:
    async def test_replicas_that_were_never_started_go_before_new_ones_come(self) -> None:
        one = Changing(1)
        one.orchestrator.leave_behind(one.service, 2)
        await one.make(3, unstarted=True)
        assert one.orchestrator.tidied == [one.service]
        assert one.running == 3

    async def test_they_go_although_the_number_stays(self) -> None:
        one = Changing(2)
        await one.make(2, unstarted=True)
        assert one.orchestrator.tidied == [one.service]
        assert one.orchestrator.actions == []

    async def test_without_them_nothing_is_removed(self) -> None:
        one = Changing(1)
        await one.make(2)
        assert one.orchestrator.tidied == []


class TestSecondLook:
    """What the workers report is read again right before a stop."""

    async def test_a_replica_that_has_become_busy_since_the_decision_stays(self) -> None:
        one = Changing(3)
        assert one.start(1)
        one.run_tasks_on(3)
        await one.finish()
        assert ids(one.orchestrator.choices[0].by_name) == ["worker-2", "worker-1"]
        assert ids(await one.orchestrator.replicas(one.service)) == ["worker-3"]

    async def test_a_replica_stays_where_one_of_its_processes_no_longer_reports(self) -> None:
        one = Changing(3)
        one.crews["shop/worker-3"] = frozenset({"7", "8"})
        assert one.start(1)
        await one.finish()
        assert ids(one.orchestrator.choices[0].by_name) == ["worker-2", "worker-1"]

    async def test_where_all_have_become_busy_nothing_is_stopped_and_nothing_failed(self) -> None:
        one = Changing(3)
        assert one.start(1)
        one.run_tasks_on(1, 2, 3)
        await one.finish()
        assert one.orchestrator.choices == []
        assert one.changes.failure(one.service) is None

    @pytest.mark.parametrize(
        ("reported", "running"),
        [
            pytest.param(True, 3, id="a-worker-did-when-it-was-decided"),
            pytest.param(False, 1, id="no-worker-did-either"),
        ],
    )
    async def test_where_no_worker_reports_replicas_stay_if_one_did_before(
        self, running: int, *, reported: bool
    ) -> None:
        one = Changing(3)
        one.source.mute = True
        await one.make(1, reported=reported)
        assert one.running == running

    async def test_with_busy_ignore_no_worker_is_asked_for(self) -> None:
        one = Changing(3)
        one.run_tasks_on(3)
        assert one.start(1, busy=Busy.IGNORE)
        await one.finish()
        assert one.source.asked == []
        assert ids(one.orchestrator.choices[0].in_turn) == ["worker-3", "worker-2"]

    async def test_a_look_that_fails_stops_nothing_and_is_a_failure(self) -> None:
        one = Changing(3)
        one.source.heartbeats_fail = "Temporal does not answer"
        await one.make(1)
        assert one.orchestrator.choices == []
        assert one.changes.failure(one.service) == "Temporal does not answer"

    async def test_no_worker_is_asked_for_where_replicas_are_added(self) -> None:
        one = Changing(1)
        await one.make(3)
        assert one.source.asked == []


class TestReplicasThatWereNotDecidedOn:
    """Whose turn comes after replicas that came or go meanwhile is not known."""

    @pytest.mark.parametrize("busy", [Busy.PROTECT, Busy.IGNORE])
    async def test_nothing_is_stopped_where_there_are_more_than_was_decided_on(
        self, busy: Busy
    ) -> None:
        one = Changing(5)
        assert one.start(1, current=4, busy=busy)
        await one.finish()
        assert one.orchestrator.choices == []
        assert one.running == 5

    async def test_where_there_are_fewer_the_desired_ones_stay(self) -> None:
        one = Changing(5)
        assert one.start(2)
        one.orchestrator.scale_by_hand(one.service, 3)
        await one.finish()
        assert one.running == 2


class TestVacatedPlace:
    """A scheduler fills the place of a replica stopped by name, unless it wants fewer."""

    async def test_a_second_choice_gives_up_the_place_and_stops_nothing_by_name(self) -> None:
        swarm = Refilling()
        one = Changing(4, swarm)
        one.run_tasks_on(4)
        await one.make(1)
        first, second = swarm.choices
        assert ids(first.by_name) == ["worker-3", "worker-2", "worker-1"]
        assert ids(second.of) == ["place", "worker-4", "worker-2", "worker-1"]
        assert ids(second.in_turn) == ["place"]
        assert second.by_name == ()
        assert (swarm.place, one.running) == (None, 3)

    async def test_a_place_that_is_filled_with_a_busy_replica_is_not_given_up(self) -> None:
        swarm = Refilling()
        swarm.fills_with = Replica("new", "new", turn=-1)
        one = Changing(3, swarm)
        one.source.running = {"shop/worker-3": 1, "new": 1}
        await one.make(2)
        assert len(swarm.choices) == 1
        assert swarm.place == swarm.fills_with

    async def test_a_choice_in_turn_needs_no_second_one(self) -> None:
        swarm = Refilling()
        one = Changing(3, swarm)
        await one.make(1)
        assert len(swarm.choices) == 1
        assert len(one.source.asked) == 1

    async def test_a_busy_replica_that_went_before_the_second_choice_is_counted(self) -> None:
        swarm = Refilling()
        one = Changing(3, swarm)
        one.run_tasks_on(3)
        swarm.careless = True
        await one.make(2)
        assert len(swarm.choices) == 2
        assert one.changes.take_interrupted(one.service) == 1


class TestInterrupted:
    """Replicas that went although they were known to be busy."""

    async def test_they_are_counted_and_taken_once(self) -> None:
        one = Changing(5)
        one.run_tasks_on(5, 4)
        one.orchestrator.careless = True
        await one.make(2)
        assert one.changes.take_interrupted(one.service) == 2
        assert one.changes.take_interrupted(one.service) == 0

    async def test_they_add_up_until_they_are_taken(self) -> None:
        one = Changing(5)
        one.orchestrator.careless = True
        one.run_tasks_on(5)
        await one.make(4)
        one.run_tasks_on(4)
        await one.make(3)
        assert one.changes.take_interrupted(one.service) == 2

    async def test_an_idle_replica_that_goes_is_not_one_of_them(self) -> None:
        one = Changing(5)
        one.run_tasks_on(1)
        await one.make(1)
        assert one.running == 1
        assert one.changes.take_interrupted(one.service) == 0

    async def test_with_busy_ignore_nobody_knows_who_is_busy(self) -> None:
        one = Changing(3)
        one.run_tasks_on(3, 2, 1)
        assert one.start(1, busy=Busy.IGNORE)
        await one.finish()
        assert one.changes.take_interrupted(one.service) == 0


class TestBackoff:
    """Growth that fails is tried again after a growing pause."""

    @staticmethod
    async def failed(times: int) -> Changing:
        """Let growth fail so many times in a row, each as soon as it may be tried."""
        one = Changing(2)
        one.orchestrator.fail(one.service, NO_ENGINE)
        for _ in range(times):
            await one.make(4)
            one.clock.advance(600)
        one.clock.advance(-600)
        return one

    @pytest.mark.parametrize(
        ("times", "pause"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (12, 300)]
    )
    async def test_the_pause_doubles_from_2_seconds_to_5_minutes(
        self, times: int, pause: int
    ) -> None:
        one = await self.failed(times)
        assert one.changes.failure(one.service) == "no engine"
        one.clock.advance(pause - 0.1)
        assert not one.start(4)
        one.clock.advance(0.1)
        assert one.start(4)
        await one.finish()

    async def test_a_scale_in_does_not_wait_for_it(self) -> None:
        one = await self.failed(3)
        one.orchestrator.heal(one.service)
        await one.make(1)
        assert one.running == 1
        assert one.changes.failure(one.service) is None

    async def test_a_scale_in_that_fails_is_tried_again_at_once(self) -> None:
        one = Changing(4)
        one.orchestrator.fail(one.service, NO_ENGINE)
        await one.make(1)
        assert one.changes.failure(one.service) == "no engine"
        one.orchestrator.heal(one.service)
        await one.make(1)
        assert one.running == 1

    async def test_a_scale_in_that_fails_does_not_put_off_growth(self) -> None:
        one = Changing(4)
        one.orchestrator.fail(one.service, NO_ENGINE)
        await one.make(1)
        one.orchestrator.heal(one.service)
        await one.make(5)
        assert one.running == 5

    async def test_a_success_ends_the_failure_and_the_pauses(self) -> None:
        one = await self.failed(5)
        one.orchestrator.heal(one.service)
        one.clock.advance(600)
        await one.make(4)
        assert one.changes.failure(one.service) is None
        one.orchestrator.fail(one.service, NO_ENGINE)
        await one.make(5)
        one.clock.advance(2)
        assert one.start(5)
        await one.finish()

    async def test_a_failure_that_is_forgotten_no_longer_puts_growth_off(self) -> None:
        one = await self.failed(5)
        one.changes.forget_failure(one.service)
        assert one.changes.failure(one.service) is None
        assert one.start(4)
        await one.finish()

    async def test_the_failure_of_a_change_under_way_is_not_forgotten(self) -> None:
        one = await self.failed(1)
        one.clock.advance(2)
        assert one.start(4)
        one.changes.forget_failure(one.service)
        assert one.changes.failure(one.service) == "no engine"
        await one.finish()

    async def test_an_error_that_nobody_expected_is_a_failure_in_one_line(self) -> None:
        one = Changing(1)
        one.orchestrator.fail(one.service, ValueError("two\nlines"))
        await one.make(2)
        assert one.changes.failure(one.service) == "unexpected ValueError: two lines"


class TestServicesThatAreGone:
    async def test_what_is_known_of_them_is_forgotten(self) -> None:
        one = Changing(1)
        one.orchestrator.fail(one.service, NO_ENGINE)
        await one.make(2)
        one.changes.forget_all_but(set())
        assert one.changes.failure(one.service) is None
        assert one.start(2)
        await one.finish()

    async def test_a_change_under_way_is_kept_until_its_end(self) -> None:
        one = Changing(1)
        gate = one.orchestrator.hold(one.service)
        assert one.start(2)
        one.changes.forget_all_but(set())
        assert one.changes.under_way(one.service) == 2
        gate.set()
        await one.finish()
        one.changes.forget_all_but(set())
        assert one.changes.under_way(one.service) is None


class TestClose:
    async def test_it_waits_for_changes_under_way(self) -> None:
        one = Changing(1)
        assert one.start(3)
        await one.changes.close(PATIENCE)
        assert one.running == 3

    async def test_it_does_not_wait_for_longer_than_its_patience(self) -> None:
        one = Changing(1)
        gate = one.orchestrator.hold(one.service)
        assert one.start(3)
        async with asyncio.timeout(10):
            await one.changes.close(timedelta())
        assert one.changes.under_way(one.service) == 3
        gate.set()
        await one.finish()


class TestReadInFlight:
    """The replicas of a service and the workers on their hosts."""

    @staticmethod
    def spec() -> ScalingSpec:
        return ScalingSpec(queues=("a", "b"), integration="Prod-EU", namespace="eu")

    async def test_each_replica_comes_with_what_its_worker_reports(self) -> None:
        one = Changing(2)
        one.run_tasks_on(2)
        seen = await read_in_flight(one.orchestrator, one.source, one.service, self.spec())
        assert ids(seen.replicas) == ["worker-2", "worker-1"]
        assert {each.host: each.running for each in seen.workers} == {
            "shop/worker-1": 0,
            "shop/worker-2": 1,
        }

    async def test_workers_are_asked_for_by_host(self) -> None:
        one = Changing(1)
        await read_in_flight(one.orchestrator, one.source, one.service, self.spec())
        hosts = frozenset({"shop/worker-1"})
        assert one.source.asked == [WorkerQuery("prod_eu", "eu", hosts, frozenset())]

    async def test_where_a_host_is_unknown_all_workers_of_the_task_queues_are_asked_for(
        self,
    ) -> None:
        one = Changing(1)
        one.orchestrator.nameless = True
        await read_in_flight(one.orchestrator, one.source, one.service, self.spec())
        queues = frozenset({"a", "b"})
        assert one.source.asked == [WorkerQuery("prod_eu", "eu", frozenset(), queues)]

    async def test_a_replica_that_has_not_started_is_no_cause_to_ask_for_them(self) -> None:
        swarm = Refilling()
        swarm.place = swarm.fills_with
        one = Changing(1, swarm)
        await read_in_flight(one.orchestrator, one.source, one.service, self.spec())
        assert one.source.asked[0].queues == frozenset()

    async def test_what_cannot_be_read_is_an_error(self) -> None:
        one = Changing(1)
        one.source.heartbeats_fail = "Temporal does not answer"
        with pytest.raises(InFlightUnavailable, match="Temporal does not answer"):
            await read_in_flight(one.orchestrator, one.source, one.service, self.spec())


class TestRestoring:
    """What a change that was cut off has left frozen is put right, beside the ticks."""

    async def test_it_counts_as_a_change_that_keeps_the_number(self) -> None:
        one = Changing(3)
        one.orchestrator.freeze(one.service)
        one.changes.restore(one.service, 3)
        assert one.changes.under_way(one.service) == 3
        await one.finish()
        assert not one.orchestrator.services[one.service].frozen

    async def test_a_change_under_way_is_not_disturbed(self) -> None:
        one = Changing(1)
        gate = one.orchestrator.hold(one.service)
        one.start(4)
        one.orchestrator.freeze(one.service)
        one.changes.restore(one.service, 1)
        assert one.changes.under_way(one.service) == 4
        gate.set()
        await one.changes.close(PATIENCE)


async def test_who_may_be_stopped_by_name_is_asked_as_the_service_says() -> None:
    asked: list[SwarmChoice] = []

    class Asking(Recorder):
        async def replicas(
            self, service: ServiceId, how: SwarmChoice = SwarmChoice.ORDER
        ) -> Sequence[Replica]:
            asked.append(how)
            return await super().replicas(service, how)

    orchestrator = Asking()
    service = orchestrator.add("shop/worker", {}, replicas=1)
    spec = ScalingSpec(queues=("orders",), swarm_choice=SwarmChoice.ANY)
    await read_in_flight(orchestrator, FakeBacklogSource(), service, spec)
    assert asked == [SwarmChoice.ANY]

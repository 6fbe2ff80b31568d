"""One tick: every service found, read, decided and acted on; each alone in its trouble."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from autoscaler.core.backlog import WorkerVersion
from autoscaler.core.decide import decide
from autoscaler.core.errors import OrchestratorError
from autoscaler.core.in_flight import Worker, WorkerQuery
from autoscaler.core.label_values import QueueType
from autoscaler.core.model import Replica, ScalingAction, Service, ServiceId
from autoscaler.core.origin import Given
from autoscaler.core.reason import ReasonCode
from autoscaler.core.report import ServiceReport, TickReport
from autoscaler.core.situation import Decision, Situation
from autoscaler.core.territory import Surroundings
from autoscaler.reconcile import Reconciler
from autoscaler.wishes.labels import Labels
from tests.fakes.backlog import FakeBacklogSource
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.reports import compose as compose_ids
from tests.fakes.wishes import FakeSource, by_labels
from tests.unit.builders import task_queue

ORDERS = {"temporal.queue": "orders"}
MAILS = {"temporal.queue": "mails"}
AT_ONCE = ORDERS | {"temporal.scale-in.window": "0s"}
"""Labels of a service that scales in without waiting."""
LONG = ORDERS | {"temporal.scale-in.window": "1m"}
SHORT = ORDERS | {
    "temporal.min": "0",
    "temporal.cooldown": "20s",
    "temporal.scale-in.window": "20s",
}
LIMIT = timedelta(seconds=10)


class World:
    """A reconciler between fakes."""

    def __init__(
        self, *, dry_run: bool = False, prefix: str = "temporal", interval: float = 5
    ) -> None:
        self.clock = Clock()
        self.compose = FakeOrchestrator("compose")
        self.swarm = FakeOrchestrator("swarm")
        self.source = FakeBacklogSource()
        self.file = FakeSource()
        """What a services file says of every service."""
        self.reconciler = Reconciler(
            [self.compose, self.swarm],
            self.source,
            by_labels(prefix, self.file),
            clock=self.clock,
            interval=timedelta(seconds=interval),
            dry_run=dry_run,
        )

    async def tick(self, *, after: float = 5, act: bool = True, anew: bool = True) -> TickReport:
        """Let time pass, then look once. A tick that waits for an action would not end."""
        self.clock.advance(after)
        async with asyncio.timeout(10):
            return await self.reconciler.tick(act=act, anew=anew)

    async def report(self, id_: ServiceId, *, after: float = 5) -> ServiceReport:
        """Look once and return what is said of one service."""
        return of(await self.tick(after=after), id_)

    async def finish(self) -> None:
        """Wait until no action is under way."""
        await self.reconciler.close(LIMIT)

    async def until(self, id_: ServiceId, replicas: int) -> None:
        """Wait until a service has been scaled, whatever else is under way."""
        async with asyncio.timeout(10):
            await self.compose.until(id_, replicas)

    async def settle(self, *, after: float = 5) -> None:
        """Look once and wait for what it starts."""
        await self.tick(after=after)
        await self.finish()

    async def watch(self, seconds: float) -> None:
        """Look every 5 s for so long, the last time at the end, and wait for what that starts."""
        for _ in range(int(seconds // 5)):
            await self.settle()
        if seconds % 5:
            await self.settle(after=seconds % 5)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    # Looks at every failure, because asyncio complains of failures that nobody has looked at.
    await made.tick(act=False)


def of(report: TickReport, id_: ServiceId) -> ServiceReport:
    """Return what a tick says of one service."""
    (found,) = [service for service in report.services if service.service == id_]
    return found


def changes(actions: Sequence[ScalingAction]) -> list[tuple[str, int, int]]:
    """Return what orchestrators were asked for: service, from, to."""
    return [(action.service.name, action.current, action.desired) for action in actions]


class TestFollowingTheBacklog:
    async def test_a_service_gets_the_replicas_its_backlog_calls_for(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        world.source.fill("orders", 100)
        report = await world.report(worker)
        await world.finish()
        assert world.compose.count(worker) == 10
        assert (report.replicas, report.desired, report.backlog) == (1, 10, 100)
        assert report.queues == ("orders",)
        assert report.errors == ()

    async def test_a_tick_says_when_it_ended_and_how_long_it_took(self, world: World) -> None:
        world.source.reading = asyncio.Event()
        ticking = asyncio.create_task(world.tick())
        await asyncio.sleep(0)
        world.clock.advance(3)
        world.source.reading.set()
        report = await ticking
        assert report.took.total_seconds() == pytest.approx(3, abs=0.001)
        assert report.at == pytest.approx(world.clock.now, abs=timedelta(seconds=0.001))

    async def test_the_action_carries_the_count_it_was_decided_on_and_the_reasons(
        self, world: World
    ) -> None:
        worker = world.compose.add("shop/worker", ORDERS, replicas=2)
        world.source.fill("orders", 999)
        report = await world.report(worker)
        await world.finish()
        assert changes(world.compose.actions) == [("shop/worker", 2, 10)]
        assert report.action == world.compose.actions[0]
        assert report.action.reasons == report.reasons
        assert [reason.code for reason in report.reasons] == [ReasonCode.BACKLOG, ReasonCode.MAX]

    async def test_it_goes_back_to_min_after_the_scale_in_window(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        world.source.fill("orders", 100)
        await world.settle()
        world.source.fill("orders", 0)
        await world.watch(14)
        assert world.compose.count(worker) == 10
        await world.settle(after=2)
        assert world.compose.count(worker) == 1

    async def test_a_daemon_that_just_started_does_not_scale_in(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS, replicas=8)
        await world.settle()
        await world.watch(14)
        assert world.compose.count(worker) == 8
        await world.settle(after=2)
        assert world.compose.count(worker) == 1

    async def test_backlogs_of_all_its_queues_and_types_add_up(self, world: World) -> None:
        labels = {"temporal.queue": "orders,mails", "temporal.target": "1"}
        worker = world.compose.add("shop/worker", labels)
        world.source.fill("orders", 2)
        world.source.fill("orders", 3, QueueType.ACTIVITY)
        world.source.fill("mails", 4)
        assert (await world.report(worker)).backlog == 9

    async def test_it_reports_what_a_replica_is_taken_to_do(self, world: World) -> None:
        given = world.compose.add("a/given", ORDERS | {"temporal.keep-up": "1.5"})
        assert (await world.report(given)).throughput == 1.5
        unknown = world.compose.add("a/unknown", ORDERS)
        assert (await world.report(unknown)).throughput is None

    async def test_a_crash_is_an_error_that_says_what_happened(self, world: World) -> None:
        worker = world.compose.add("worker", ORDERS, replicas=3)
        world.compose.crash(worker, "worker-3 ended by itself", 1)
        report = await world.report(worker)
        assert (report.crash, report.crashed) == ("worker-3 ended by itself", 2)
        assert report.errors == ("worker-3 ended by itself",)

    async def test_a_service_that_somebody_has_stopped_is_left_alone_until_it_runs_again(
        self, world: World
    ) -> None:
        worker = world.compose.add("worker", ORDERS, replicas=3)
        world.source.fill("orders", 100)
        world.compose.scale_by_hand(worker, 0)
        assert (await world.report(worker)).desired == 0
        world.compose.scale_by_hand(worker, 1)
        assert (await world.report(worker)).desired == 10

    async def test_replicas_taken_away_by_hand_come_back_at_once(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        world.source.fill("orders", 100)
        await world.settle()
        world.compose.scale_by_hand(worker, 1)
        await world.settle()
        assert world.compose.count(worker) == 10

    async def test_nothing_is_asked_for_where_the_count_is_right(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS, replicas=10)
        world.source.fill("orders", 100)
        assert (await world.report(worker)).action is None
        assert world.compose.actions == []

    async def test_services_of_both_orchestrators_are_scaled_side_by_side(
        self, world: World
    ) -> None:
        world.swarm.add("shop_mailer", MAILS)
        world.compose.add("shop/worker", ORDERS)
        world.source.fill("orders", 20)
        world.source.fill("mails", 30)
        report = await world.tick()
        await world.finish()
        assert [service.service.name for service in report.services] == [
            "shop/worker",
            "shop_mailer",
        ]
        assert changes(world.compose.actions) == [("shop/worker", 1, 2)]
        assert changes(world.swarm.actions) == [("shop_mailer", 1, 3)]

    async def test_a_new_label_counts_from_the_next_tick(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        world.source.fill("orders", 100)
        await world.settle()
        world.compose.relabel(worker, ORDERS | {"temporal.target": "5", "temporal.max": "20"})
        await world.settle()
        assert world.compose.count(worker) == 20

    async def test_ceiling_refusal_and_warnings_of_the_service_are_heeded(
        self, world: World
    ) -> None:
        refused = world.compose.add("a/refused", ORDERS, refusal="being recreated")
        warned = world.compose.add("b/warned", ORDERS, warnings=("take care",))
        world.source.fill("orders", 50)
        report = await world.tick()
        await world.finish()
        assert of(report, refused).desired == 1
        assert of(report, refused).reasons[-1].code is ReasonCode.REFUSED
        assert of(report, warned).warnings == ("take care",)
        assert changes(world.compose.actions) == [("b/warned", 1, 5)]

    async def test_an_empty_world_is_a_quiet_one(self, world: World) -> None:
        report = await world.tick()
        assert report.services == ()
        assert not report.failed


class TestTimeInWhichNobodyLooked:
    """It does not pass: whoever did not look does not know."""

    @pytest.mark.parametrize(
        "gap",
        [
            pytest.param(61, id="a-window"),
            pytest.param(3600, id="an-hour-or-a-clock-set-ahead"),
            pytest.param(-1, id="a-clock-set-back-a-little"),
            pytest.param(-3600, id="a-clock-set-back"),
        ],
    )
    @pytest.mark.parametrize("labels", [LONG, SHORT], ids=["a-minute", "20-seconds"])
    async def test_windows_and_cooldown_hold_as_if_it_had_not_been(
        self, world: World, labels: dict[str, str], gap: float
    ) -> None:
        worker = world.compose.add("a/worker", labels)
        world.source.fill("orders", 100)
        await world.settle()
        world.source.fill("orders", 0)
        await world.settle(after=gap)
        assert world.compose.count(worker) == 10
        await world.watch(10)
        assert world.compose.count(worker) == 10
        await world.watch(50)
        assert world.compose.count(worker) == int(labels is LONG)

    async def test_a_cooldown_goes_on_where_it_was(self, world: World) -> None:
        labels = ORDERS | {"temporal.min": "0", "temporal.cooldown": "5m"}
        worker = world.compose.add("a/worker", labels)
        await world.watch(200)
        await world.settle(after=3600)
        assert world.compose.count(worker) == 1
        await world.watch(90)
        assert world.compose.count(worker) == 1
        await world.watch(10)
        assert world.compose.count(worker) == 0

    async def test_one_failed_look_afterwards_is_no_reason_for_a_fallback(
        self, world: World
    ) -> None:
        labels = ORDERS | {"temporal.fallback": "3", "temporal.scale-in.window": "0s"}
        worker = world.compose.add("a/worker", labels)
        world.source.fill("orders", 100)
        await world.settle()
        world.source.fail("orders", "Temporal does not answer")
        await world.settle(after=181)
        assert world.compose.count(worker) == 10
        await world.watch(170)
        assert world.compose.count(worker) == 10
        await world.watch(10)
        assert world.compose.count(worker) == 3

    async def test_looks_that_wait_for_an_answer_are_looks(self, world: World) -> None:
        labels = ORDERS | {"temporal.fallback": "3", "temporal.scale-in.window": "0s"}
        worker = world.compose.add("a/worker", labels, replicas=10)
        world.source.fail("orders", "Temporal does not answer")
        for _ in range(16):
            await world.settle(after=12)
        assert world.compose.count(worker) == 3

    async def test_it_is_each_services_own(self, world: World) -> None:
        lost = world.compose.add("a/worker", ORDERS, replicas=8)
        seen = world.swarm.add("a_worker", ORDERS, replicas=8)
        await world.tick()
        world.compose.unreachable = OrchestratorError("no Docker Engine")
        await world.watch(120)
        assert world.swarm.count(seen) == 1
        world.compose.unreachable = None
        await world.settle()
        assert world.compose.count(lost) == 8
        await world.watch(60)
        assert world.compose.count(lost) == 1

    async def test_a_step_period_goes_on_where_it_was(self, world: World) -> None:
        labels = ORDERS | {"temporal.scale-out.limit": "1/20s"}
        worker = world.compose.add("a/worker", labels)
        world.source.fill("orders", 100)
        await world.settle()
        await world.settle(after=3600)
        assert world.compose.count(worker) == 2
        await world.watch(15)
        assert world.compose.count(worker) == 3

    async def test_a_long_interval_between_two_looks_is_none(self) -> None:
        world = World(interval=300)
        worker = world.compose.add("a/worker", ORDERS | {"temporal.scale-in.window": "8m"})
        world.source.fill("orders", 100)
        await world.settle(after=300)
        world.source.fill("orders", 0)
        await world.settle(after=300)
        assert world.compose.count(worker) == 10
        await world.settle(after=300)
        assert world.compose.count(worker) == 1


class TestStepLimits:
    """A change counts from the decision that caused it, and others' from the look that sees it."""

    @staticmethod
    async def counts(world: World, worker: ServiceId, looks: int = 7) -> list[int]:
        """Look every 5 s; return the replicas after each look."""
        counts = []
        for _ in range(looks):
            await world.settle()
            counts.append(world.compose.count(worker))
        return counts

    @pytest.mark.parametrize(
        ("limit", "counts"),
        [
            pytest.param("1/5s", [2, 3, 4, 5, 6, 7, 8], id="one-at-each-look"),
            pytest.param("100%/15s", [2, 2, 2, 4, 4, 4, 8], id="twice-as-many-every-15s"),
        ],
    )
    async def test_growth_keeps_the_pace_that_the_label_names(
        self, world: World, limit: str, counts: list[int]
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.scale-out.limit": limit})
        world.source.fill("orders", 900)
        assert await self.counts(world, worker) == counts

    async def test_a_scale_in_keeps_it_too(self, world: World) -> None:
        labels = AT_ONCE | {"temporal.scale-in.limit": "2/10s"}
        worker = world.compose.add("a/worker", labels, replicas=10)
        assert await self.counts(world, worker) == [8, 8, 6, 6, 4, 4, 2]

    async def test_a_change_that_takes_long_counts_from_its_decision(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.scale-out.limit": "3/20s"})
        world.source.fill("orders", 900)
        gate = world.compose.hold(worker)
        await world.tick()
        for _ in range(3):
            assert (await world.report(worker)).desired == 4
        gate.set()
        await world.finish()
        assert world.compose.count(worker) == 4
        await world.settle()
        assert world.compose.count(worker) == 7

    async def test_a_change_that_fails_does_not_count(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.scale-out.limit": "3/1m"})
        world.source.fill("orders", 900)
        world.compose.fail(worker, OrchestratorError("no space left on device"))
        await world.settle()
        assert (await world.report(worker)).desired == 4
        world.compose.heal(worker)
        assert await self.counts(world, worker, looks=12) == [4] * 12

    async def test_of_a_change_that_is_made_in_part_that_part_counts(self, world: World) -> None:
        labels = AT_ONCE | {"temporal.scale-in.limit": "4/20s"}
        worker = world.compose.add("a/worker", labels, replicas=10)
        await world.tick()
        world.source.running = {f"a/worker-{number}": 1 for number in range(1, 9)}
        await world.finish()
        assert world.compose.count(worker) == 8
        world.source.running = {}
        assert await self.counts(world, worker, looks=6) == [6, 6, 6, 4, 2, 2]

    @pytest.mark.parametrize("how", ["a plan", "a dry run"])
    async def test_what_is_not_done_does_not_count(self, world: World, how: str) -> None:
        labels = ORDERS | {"temporal.scale-out.limit": "3/1m"}
        dry = labels | {"temporal.mode": "dry-run" if how == "a dry run" else "on"}
        worker = world.compose.add("a/worker", dry)
        world.source.fill("orders", 900)
        for _ in range(3):
            planned = of(await world.tick(act=how != "a plan"), worker)
            assert planned.desired == 4
        world.compose.relabel(worker, labels)
        await world.settle()
        assert world.compose.count(worker) == 4

    async def test_changes_by_others_count_from_the_look_that_sees_them(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.scale-out.limit": "3/20s"})
        world.source.fill("orders", 900)
        await world.settle()
        world.compose.scale_by_hand(worker, 6)
        # Three by the daemon at second 5, and two by hand, seen at second 10.
        assert await self.counts(world, worker, looks=5) == [6, 6, 6, 7, 9]


class TestReading:
    async def test_two_services_that_share_a_queue_cost_one_read_per_type(
        self, world: World
    ) -> None:
        world.compose.add("a/worker", ORDERS)
        world.compose.add("b/worker", ORDERS)
        world.swarm.add("c_worker", ORDERS)
        world.source.fill("orders", 30)
        report = await world.tick()
        (read,) = world.source.reads
        assert sorted(read) == sorted(
            [task_queue("orders", QueueType.WORKFLOW), task_queue("orders", QueueType.ACTIVITY)]
        )
        assert [service.desired for service in report.services] == [1, 1, 1]

    async def test_spellings_of_one_integration_are_one_read(self, world: World) -> None:
        types = {"temporal.queue-types": "workflow"}
        world.compose.add("a/worker", ORDERS | types | {"temporal.integration": "Prod-EU"})
        world.compose.add("b/worker", ORDERS | types | {"temporal.integration": "prod_eu"})
        await world.tick()
        assert world.source.reads == [[task_queue(integration="prod_eu")]]

    async def test_namespaces_keep_queues_of_one_name_apart(self, world: World) -> None:
        types = {"temporal.queue-types": "workflow"}
        world.compose.add("a/worker", ORDERS | types)
        world.compose.add("b/worker", ORDERS | types | {"temporal.namespace": "eu"})
        await world.tick()
        (read,) = world.source.reads
        assert set(read) == {task_queue(), task_queue(namespace="eu")}

    async def test_a_service_with_mode_off_is_not_read(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.mode": "off"}, replicas=7)
        report = await world.report(worker)
        assert world.source.reads == [[]]
        assert (report.desired, report.backlog, report.errors) == (7, None, ())

    async def test_a_backlog_that_cannot_be_read_holds_the_service_and_says_why(
        self, world: World
    ) -> None:
        blind = world.compose.add("a/worker", ORDERS, replicas=4)
        seeing = world.compose.add("b/worker", MAILS)
        world.source.fail("orders", "Temporal does not answer")
        world.source.fill("mails", 50)
        report = await world.tick()
        await world.finish()
        assert of(report, blind).errors == ("Temporal does not answer",)
        assert of(report, blind).backlog is None
        assert world.compose.count(blind) == 4
        assert world.compose.count(seeing) == 5
        assert report.failed

    async def test_one_unreadable_queue_of_several_makes_the_whole_backlog_unknown(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", {"temporal.queue": "orders,mails"})
        world.source.fill("mails", 500)
        world.source.fail("orders", "Temporal does not answer")
        report = await world.report(worker)
        assert (report.backlog, report.desired) == (None, 1)
        assert report.errors == ("Temporal does not answer",)

    async def test_it_follows_the_backlog_again_once_it_can_be_read(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fail("orders", "Temporal does not answer")
        await world.settle()
        world.source.fill("orders", 40)
        report = await world.report(worker)
        assert (report.desired, report.errors) == (4, ())

    async def test_an_error_nobody_expected_makes_every_backlog_unknown(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS, replicas=3)

        async def read(_queues: object, _waking: object) -> object:
            raise ZeroDivisionError("division by zero")

        monkeypatch.setattr(world.source, "read", read)
        report = await world.report(worker)
        assert report.desired == 3
        assert report.errors == ("unexpected ZeroDivisionError: division by zero",)

    async def test_the_source_is_told_which_queues_a_service_at_zero_waits_for(
        self, world: World
    ) -> None:
        world.compose.add("a/asleep", ORDERS | {"temporal.min": "0"}, replicas=0)
        world.compose.add("a/awake", MAILS, replicas=1)
        await world.tick(act=False)
        (waking,) = world.source.waking
        assert {queue.name for queue in waking} == {"orders"}

    async def test_the_reason_says_where_tasks_were_counted(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 30)
        world.source.counted.add("orders")
        report = await world.report(worker)
        assert str(report.reasons[0]) == "30 waiting tasks (counted now) at target 10 → 3"

    async def test_what_has_not_had_its_first_turn_is_unknown_and_no_error(
        self, world: World
    ) -> None:
        worker = world.compose.add("shop/worker", ORDERS, replicas=3)
        world.source.waiting_for_a_turn.add("orders")
        report = await world.report(worker)
        assert (report.backlog, report.desired, report.errors) == (None, 3, ())

    async def test_what_is_to_be_known_of_an_integration_is_said_of_its_services(
        self, world: World
    ) -> None:
        orders = world.compose.add("shop/worker", ORDERS)
        others = world.compose.add("shop/other", MAILS | {"temporal.integration": "Prod-EU"})
        world.source.notes["prod_eu"] = ("its task queues are read less often",)
        report = await world.tick()
        assert of(report, orders).warnings == ()
        assert of(report, others).warnings == ("its task queues are read less often",)


class TestLabels:
    async def test_bad_labels_keep_the_replicas_and_the_others_go_on(self, world: World) -> None:
        bad = world.compose.add(
            "a/bad", ORDERS | {"temporal.max": "many", "temporal.maxi": "3"}, replicas=30
        )
        good = world.compose.add("b/good", ORDERS)
        world.source.fill("orders", 20)
        report = await world.tick()
        await world.finish()
        assert world.compose.count(bad) == 30
        assert world.compose.count(good) == 2
        assert of(report, bad).desired == 30
        assert [error.split(" ")[0] for error in of(report, bad).errors] == [
            "temporal.maxi='3'",
            "temporal.max='many'",
        ]

    async def test_labels_that_turn_bad_leave_the_last_good_ones_in_force(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.max": "5"})
        world.source.fill("orders", 10)
        await world.settle()
        world.compose.relabel(worker, ORDERS | {"temporal.max": "many"})
        world.source.fill("orders", 100)
        report = await world.report(worker)
        await world.finish()
        assert world.compose.count(worker) == 5
        assert len(report.errors) == 1

    async def test_labels_that_are_right_again_are_no_trouble_any_more(self, world: World) -> None:
        worker = world.compose.add("a/worker", {"temporal.queu": "orders"})
        assert (await world.report(worker)).errors
        world.compose.relabel(worker, ORDERS)
        assert (await world.report(worker)).errors == ()

    async def test_labels_in_the_wrong_place_are_said_to_be(self, world: World) -> None:
        worker = world.swarm.add("shop_worker", {}, refusal="move its labels under deploy.labels")
        report = await world.report(worker)
        assert report.errors == ("move its labels under deploy.labels",)

    async def test_another_prefix_is_read_everywhere(self) -> None:
        world = World(prefix="acme")
        worker = world.compose.add("a/worker", {"acme.queue": "orders", "temporal.max": "x"})
        world.source.fill("orders", 30)
        assert (await world.report(worker)).desired == 3

    async def test_warnings_of_a_service_with_bad_labels_are_told_as_well(
        self, world: World
    ) -> None:
        bad = world.compose.add("a/bad", {"temporal.queu": "x"}, warnings=("take care",))
        assert (await world.report(bad)).warnings == ("take care",)


class TestActions:
    async def test_an_action_under_way_holds_up_neither_the_tick_nor_other_services(
        self, world: World
    ) -> None:
        slow = world.compose.add("a/slow", ORDERS)
        quick = world.compose.add("b/quick", MAILS)
        gate = world.compose.hold(slow)
        world.source.fill("orders", 20)
        world.source.fill("mails", 20)
        await world.tick()
        await world.until(quick, 2)
        world.source.fill("mails", 40)
        await world.tick()
        await world.until(quick, 4)
        assert world.compose.count(slow) == 1
        gate.set()
        await world.finish()
        assert world.compose.count(slow) == 2

    async def test_a_service_gets_no_second_action_while_one_is_under_way(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        gate = world.compose.hold(worker)
        world.source.fill("orders", 20)
        await world.tick()
        world.source.fill("orders", 90)
        report = await world.report(worker)
        assert report.action is None
        assert report.desired == 9
        gate.set()
        await world.finish()
        await world.settle()
        assert changes(world.compose.actions) == [("a/worker", 1, 2), ("a/worker", 2, 9)]

    async def test_what_the_action_under_way_will_have_made_counts_as_there(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        gate = world.compose.hold(worker)
        world.source.fill("orders", 80)
        await world.tick()
        world.source.fail("orders", "Temporal does not answer")
        assert (await world.report(worker)).desired == 8
        gate.set()
        await world.finish()

    async def test_an_action_that_fails_is_reported_and_tried_again_after_a_pause(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        world.compose.fail(worker, OrchestratorError("no space left on device"))
        await world.settle()
        for after in (5, 1.9):
            told = await world.report(worker, after=after)
            assert told.errors == ("no space left on device",)
            assert told.action is None
        again = await world.report(worker, after=0.2)
        assert again.action is not None
        assert again.errors == ("no space left on device",)

    async def test_the_pause_doubles_with_each_failure(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        world.compose.fail(worker, OrchestratorError("no space left on device"))
        tried = []
        for second in range(32):
            report = await world.report(worker, after=1)
            await world.finish()
            if report.action is not None:
                tried.append(second)
        # The next tick, a second later, learns of a failure: pauses of 2, 4 and 8 s begin there.
        assert tried == [0, 3, 8, 17]

    async def test_a_success_ends_the_trouble_and_the_pauses(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        world.compose.fail(worker, OrchestratorError("no space left on device"))
        await world.settle()
        await world.tick(after=1)
        world.compose.heal(worker)
        await world.settle(after=3)
        report = await world.report(worker)
        assert report.errors == ()
        assert world.compose.count(worker) == 2
        world.source.fill("orders", 30)
        assert (await world.report(worker, after=1)).action is not None

    async def test_a_failing_action_does_not_touch_the_others(self, world: World) -> None:
        failing = world.compose.add("a/failing", ORDERS)
        other = world.compose.add("b/other", MAILS)
        world.compose.fail(failing, OrchestratorError("no space left on device"))
        for waiting in (20, 30, 40):
            world.source.fill("orders", waiting)
            world.source.fill("mails", waiting)
            await world.settle()
        report = await world.tick()
        assert world.compose.count(other) == 4
        assert of(report, other).errors == ()

    async def test_an_action_that_nobody_expected_to_fail_says_so_in_one_line(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        world.compose.fail(worker, KeyError("Labels"))
        await world.settle()
        assert (await world.report(worker)).errors == ("unexpected KeyError: 'Labels'",)

    async def test_a_failure_is_no_trouble_once_the_count_is_right(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        world.compose.fail(worker, OrchestratorError("no space left on device"))
        await world.settle()
        await world.tick()
        world.compose.scale_by_hand(worker, 2)
        await world.finish()
        await world.tick(after=30)
        assert (await world.report(worker, after=30)).errors == ()

    async def test_a_failure_is_no_trouble_of_a_service_set_to_dry_run(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        world.compose.fail(worker, OrchestratorError("no space left on device"))
        await world.settle()
        await world.tick(after=1)
        world.compose.relabel(worker, ORDERS | {"temporal.mode": "dry-run"})
        assert (await world.report(worker, after=600)).errors == ()

    async def test_the_end_waits_for_actions_under_way_but_not_for_ever(self, world: World) -> None:
        quick = world.compose.add("a/quick", ORDERS)
        hung = world.compose.add("b/hung", MAILS)
        world.compose.hold(hung)
        world.source.fill("orders", 20)
        world.source.fill("mails", 20)
        await world.tick()
        await world.reconciler.close(timedelta(milliseconds=1))
        assert world.compose.count(quick) == 2
        assert world.compose.count(hung) == 1
        assert len(world.compose.closed) == len(world.swarm.closed) == 1

    async def test_an_action_that_fails_at_the_end_leaves_no_traceback(self) -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        world = World()
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        world.compose.fail(worker, OrchestratorError("no space left on device"))
        await world.settle()
        del world
        gc.collect()
        assert complaints == []

    async def test_what_was_left_behind_is_removed_though_the_count_is_right(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.compose.leave_behind(worker, 2)
        report = await world.report(worker)
        await world.finish()
        assert (report.desired, report.action) == (1, None)
        assert world.compose.tidied == [worker]
        await world.settle()
        assert world.compose.tidied == [worker]
        assert world.compose.actions == []

    async def test_a_service_that_a_change_has_left_frozen_is_put_right_and_then_scaled(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.min": "3"})
        world.compose.freeze(worker)
        report = await world.report(worker)
        assert (report.desired, report.action) == (1, None)
        await world.finish()
        await world.settle()
        assert world.compose.count(worker) == 3

    @pytest.mark.parametrize("labels", [{"temporal.mode": "off"}, {"temporal.queue": ""}])
    async def test_it_is_put_right_whatever_its_labels_say(
        self, world: World, labels: dict[str, str]
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS | labels)
        world.compose.freeze(worker)
        await world.settle()
        assert not world.compose.services[worker].frozen

    async def test_a_look_alone_leaves_it_frozen(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.compose.freeze(worker)
        await world.tick(act=False)
        await world.finish()
        assert world.compose.services[worker].frozen

    async def test_with_mode_off_it_is_left_there(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS | {"temporal.mode": "off"})
        world.compose.leave_behind(worker, 2)
        await world.settle()
        assert world.compose.tidied == []


class FakeOutlook:
    """Warns of one thing, and writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[frozenset[str] | None, bool]] = []
        self.error: Exception | None = None

    async def warnings(self, projects: frozenset[str] | None, *, acts: bool) -> list[str]:
        self.asked.append((projects, acts))
        if self.error is not None:
            raise self.error
        return ["another autoscaler is there"]


class TestSurroundings:
    @pytest.fixture
    def outlook(self) -> FakeOutlook:
        return FakeOutlook()

    @pytest.fixture
    def compose(self) -> FakeOrchestrator:
        made = FakeOrchestrator()
        made.surroundings = Surroundings(frozenset({"shop", "mail"}), compose_ids("mail/worker"))
        return made

    @pytest.fixture
    def reconciler(self, compose: FakeOrchestrator, outlook: FakeOutlook) -> Reconciler:
        return Reconciler(
            [compose], FakeBacklogSource(), by_labels(), clock=Clock(), outlook=outlook
        )

    async def test_what_is_left_alone_and_what_is_wrong_around_is_reported(
        self, reconciler: Reconciler, outlook: FakeOutlook
    ) -> None:
        report = await reconciler.tick()
        assert report.left_alone == compose_ids("mail/worker")
        assert report.warnings == ("another autoscaler is there",)
        assert outlook.asked == [({"shop", "mail"}, True)]
        assert not report.failed

    async def test_one_that_only_looks_says_so(
        self, reconciler: Reconciler, outlook: FakeOutlook
    ) -> None:
        await reconciler.tick(act=False)
        assert [acts for _, acts in outlook.asked] == [False]

    async def test_projects_are_not_known_while_an_orchestrator_does_not_answer(
        self, reconciler: Reconciler, compose: FakeOrchestrator, outlook: FakeOutlook
    ) -> None:
        compose.unreachable = OrchestratorError("no engine")
        report = await reconciler.tick()
        assert [projects for projects, _ in outlook.asked] == [None]
        assert report.left_alone == ()

    async def test_an_outlook_that_fails_keeps_nothing_from_being_scaled(
        self, reconciler: Reconciler, outlook: FakeOutlook
    ) -> None:
        outlook.error = OrchestratorError("inspecting is forbidden")
        report = await reconciler.tick()
        said = "what is around the services cannot be told: inspecting is forbidden"
        assert (report.warnings, report.errors) == ((said,), ())


class TestOrchestratorsInTrouble:
    async def test_one_that_fails_is_reported_and_the_other_goes_on(self, world: World) -> None:
        world.compose.unreachable = OrchestratorError("no Docker Engine at the default socket")
        mailer = world.swarm.add("shop_mailer", MAILS)
        world.source.fill("mails", 20)
        report = await world.tick()
        await world.finish()
        assert report.errors == ("no Docker Engine at the default socket",)
        assert world.swarm.count(mailer) == 2

    async def test_an_error_of_the_engine_they_share_is_said_once(self, world: World) -> None:
        world.compose.unreachable = OrchestratorError("no Docker Engine")
        world.swarm.unreachable = OrchestratorError("no Docker Engine")
        assert (await world.tick()).errors == ("no Docker Engine",)

    async def test_an_unexpected_error_of_one_ends_nothing_either(self, world: World) -> None:
        world.compose.unreachable = KeyError("Labels")
        world.swarm.add("shop_mailer", MAILS)
        report = await world.tick()
        assert report.errors == ("unexpected KeyError: 'Labels'",)
        assert len(report.services) == 1

    async def test_its_services_are_unseen_and_the_others_are_seen(self, world: World) -> None:
        lost = world.compose.add("a/worker", ORDERS)
        gone = world.swarm.add("a_worker", ORDERS)
        world.swarm.add("b_worker", ORDERS)
        assert (await world.tick()).unseen == ()
        world.compose.unreachable = OrchestratorError("no Docker Engine")
        del world.swarm.services[gone]
        for _ in range(2):
            report = await world.tick()
            assert report.unseen == (lost,)
            assert [service.service.name for service in report.services] == ["b_worker"]
        world.compose.unreachable = None
        assert (await world.tick()).unseen == ()

    async def test_its_services_keep_their_history(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS, replicas=8)
        await world.watch(55)
        world.compose.unreachable = OrchestratorError("no Docker Engine")
        await world.watch(55)
        world.compose.unreachable = None
        # A minute was looked at by the end of this: a new history would hold the replicas.
        await world.watch(10)
        assert world.compose.count(worker) == 1

    async def test_its_services_keep_their_last_good_labels(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        await world.tick()
        world.compose.unreachable = OrchestratorError("no Docker Engine")
        await world.tick()
        world.compose.unreachable = None
        world.compose.relabel(worker, ORDERS | {"temporal.max": "many"})
        world.source.fill("orders", 50)
        assert (await world.report(worker)).desired == 5

    async def test_a_cancelled_tick_is_cancelled(self, world: World) -> None:
        world.compose.discovery = asyncio.Event()
        tick = asyncio.create_task(world.reconciler.tick())
        await asyncio.sleep(0)
        tick.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tick
        world.compose.discovery = None


class TestUnexpectedErrors:
    async def test_an_error_nobody_expected_stays_with_its_service(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sometimes(situation: Situation) -> Decision:
            if situation.spec.target == 7:
                raise ZeroDivisionError("division by zero")
            return decide(situation)

        monkeypatch.setattr("autoscaler.core.decide.decide", sometimes)
        odd = world.compose.add("a/odd", ORDERS | {"temporal.target": "7"}, replicas=3)
        even = world.compose.add("b/even", MAILS)
        world.source.fill("orders", 20)
        world.source.fill("mails", 20)
        report = await world.tick()
        await world.finish()
        assert of(report, odd).errors == ("unexpected ZeroDivisionError: division by zero",)
        assert of(report, odd).desired == 3
        assert changes(world.compose.actions) == [(even.name, 1, 2)]

    @pytest.mark.parametrize("busy", ["protect", "strict"])
    async def test_a_closer_look_that_fails_stops_none(
        self, world: World, monkeypatch: pytest.MonkeyPatch, busy: str
    ) -> None:
        worker = world.compose.add("a/worker", AT_ONCE | {"temporal.busy": busy}, replicas=8)
        answers = iter([ValueError("a field is missing")])

        async def workers(_: WorkerQuery) -> Sequence[Worker]:
            for error in answers:
                raise error
            return []

        monkeypatch.setattr(world.source, "workers", workers)
        report = await world.report(worker)
        await world.finish()
        assert report.errors == ("unexpected ValueError: a field is missing",)
        assert (report.desired, world.compose.count(worker)) == (8, 8)

    async def test_a_source_of_wishes_that_fails_keeps_the_replicas_of_that_service(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        odd = world.compose.add("a/odd", ORDERS, replicas=3)
        even = world.compose.add("b/even", ORDERS)
        read = Labels.given

        def sometimes(labels: Labels, service: Service) -> Mapping[str, Given]:
            if service.id == odd:
                raise ZeroDivisionError("division by zero")
            return read(labels, service)

        monkeypatch.setattr(Labels, "given", sometimes)
        world.source.fill("orders", 20)
        report = await world.tick()
        await world.finish()
        assert of(report, odd).errors == ("unexpected ZeroDivisionError: division by zero",)
        assert of(report, odd).desired == 3
        assert changes(world.compose.actions) == [(even.name, 1, 2)]


class TestServicesThatComeAndGo:
    async def test_a_service_that_vanished_is_forgotten(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS, replicas=8)
        await world.tick()
        del world.compose.services[worker]
        assert (await world.tick(after=120)).services == ()
        world.compose.add("a/worker", {"temporal.queu": "orders"}, replicas=8)
        report = await world.report(worker)
        assert report.desired == 8
        assert report.queues == ()

    async def test_a_service_that_comes_back_starts_with_a_history_of_its_own(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS, replicas=8)
        await world.tick()
        del world.compose.services[worker]
        await world.tick(after=120)
        world.compose.add("a/worker", ORDERS, replicas=8)
        assert (await world.report(worker)).desired == 8

    async def test_a_new_service_is_found_by_the_next_tick(self, world: World) -> None:
        await world.tick()
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 20)
        assert (await world.report(worker)).desired == 2

    async def test_a_service_that_flickers_gets_no_second_action_meanwhile(
        self, world: World
    ) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        gate = world.compose.hold(worker)
        world.source.fill("orders", 20)
        await world.tick()
        seen = world.compose.services.pop(worker)
        await world.tick()
        world.compose.services[worker] = seen
        await world.tick()
        await asyncio.sleep(0)
        gate.set()
        await world.finish()
        assert len(world.compose.actions) == 1


class TestChangingNothing:
    async def test_a_plan_says_what_would_be_done_and_does_nothing(self, world: World) -> None:
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 100)
        report = of(await world.tick(act=False), worker)
        await world.finish()
        assert (report.replicas, report.desired, report.action) == (1, 10, None)
        assert world.compose.actions == []

    async def test_a_dry_run_by_label_touches_this_service_only(self, world: World) -> None:
        dry = world.compose.add("a/dry", ORDERS | {"temporal.mode": "dry-run"})
        wet = world.compose.add("b/wet", MAILS)
        world.source.fill("orders", 100)
        world.source.fill("mails", 100)
        report = await world.tick()
        await world.finish()
        assert (of(report, dry).desired, of(report, dry).action) == (10, None)
        assert of(report, dry).dry_run
        assert not of(report, wet).dry_run
        assert changes(world.compose.actions) == [("b/wet", 1, 10)]

    async def test_a_dry_run_of_the_daemon_touches_no_service(self) -> None:
        world = World(dry_run=True)
        worker = world.compose.add("a/worker", ORDERS)
        world.source.fill("orders", 100)
        report = await world.report(worker)
        await world.finish()
        assert (report.desired, report.action, report.dry_run) == (10, None, True)
        assert world.compose.actions == []


class TestInFlight:
    """What the workers are running is read where it counts, and only there."""

    @pytest.mark.parametrize(
        ("labels", "waiting", "asked"),
        [
            pytest.param(AT_ONCE, 10, 1, id="a-scale-in"),
            pytest.param(ORDERS, 10, 0, id="a-scale-in-that-the-window-holds"),
            pytest.param(AT_ONCE, 50, 0, id="at-rest"),
            pytest.param(AT_ONCE, 90, 0, id="growth"),
            pytest.param(AT_ONCE | {"temporal.slots-target": "80%"}, 50, 1, id="slots-target"),
            pytest.param(AT_ONCE | {"temporal.busy": "ignore"}, 10, 0, id="ignore"),
            pytest.param(AT_ONCE | {"temporal.mode": "off"}, 10, 0, id="mode-off"),
            pytest.param(AT_ONCE | {"temporal.mode": "pause-in"}, 10, 0, id="pause-in"),
        ],
    )
    async def test_it_is_asked_for_only_where_the_decision_depends_on_it(
        self, world: World, labels: dict[str, str], waiting: int, asked: int
    ) -> None:
        world.compose.add("shop/worker", labels, replicas=5)
        world.source.fill("orders", waiting)
        await world.tick(act=False)
        assert len(world.source.asked) == asked

    async def test_the_workers_on_the_hosts_of_the_replicas_are_asked_for(
        self, world: World
    ) -> None:
        where = {"temporal.integration": "Prod-EU", "temporal.namespace": "eu"}
        world.compose.add("shop/worker", AT_ONCE | where, replicas=2)
        await world.tick(act=False)
        hosts = frozenset({"shop/worker-1", "shop/worker-2"})
        assert world.source.asked == [WorkerQuery("prod_eu", "eu", hosts, frozenset())]

    async def test_where_a_host_cannot_be_told_those_of_its_task_queues_are_as_well(
        self, world: World
    ) -> None:
        world.compose.nameless = True
        world.compose.add("shop/worker", AT_ONCE | {"temporal.queue": "a,b"}, replicas=2)
        await world.tick(act=False)
        (query,) = world.source.asked
        assert (query.hosts, query.queues) == (frozenset(), frozenset({"a", "b"}))

    async def test_replicas_that_have_not_started_are_no_cause_to_ask_for_whole_task_queues(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def replicas(*_: Any) -> Sequence[Replica]:
            return [Replica("new", None, started=False), Replica("old", "old")]

        monkeypatch.setattr(world.compose, "replicas", replicas)
        world.compose.add("shop/worker", AT_ONCE, replicas=2)
        await world.tick(act=False)
        assert world.source.asked[0].queues == frozenset()
        assert world.source.asked[0].hosts == {"old"}

    async def test_those_at_work_stay_and_the_idle_ones_go(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=8)
        world.source.running = {"shop/worker-8": 1, "shop/worker-3": 2, "shop/worker-1": 1}
        report = await world.report(worker)
        await world.finish()
        assert world.compose.count(worker) == 3
        assert (report.desired, report.busy) == (3, 3)
        assert report.reasons[-1].code is ReasonCode.BUSY
        assert report.errors == ()

    async def test_when_they_have_finished_they_go_as_well(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=8)
        world.source.running = {"shop/worker-2": 1, "shop/worker-1": 1}
        await world.settle()
        assert world.compose.count(worker) == 2
        world.source.running = {}
        await world.settle()
        assert world.compose.count(worker) == 1

    async def test_what_cannot_be_read_holds_the_replicas_and_says_why(self, world: World) -> None:
        blind = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        world.source.heartbeats_fail = "Temporal does not answer"
        report = await world.report(blind)
        await world.finish()
        assert world.compose.count(blind) == 5
        assert report.errors == ("Temporal does not answer",)
        assert report.reasons[-1].code is ReasonCode.BUSY
        assert report.busy is None

    async def test_replicas_that_cannot_be_listed_hold_it_too(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fails(*_: Any) -> Sequence[Replica]:
            raise OrchestratorError("no engine")

        worker = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        monkeypatch.setattr(world.compose, "replicas", fails)
        report = await world.report(worker)
        assert (report.desired, report.errors, report.action) == (5, ("no engine",), None)

    async def test_growth_does_not_need_to_know(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE)
        world.source.heartbeats_fail = "Temporal does not answer"
        world.source.fill("orders", 50)
        report = await world.report(worker)
        await world.finish()
        assert world.compose.count(worker) == 5
        assert report.errors == ()

    async def test_ignore_never_asks_not_even_right_before_the_stop(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE | {"temporal.busy": "ignore"}, replicas=5)
        world.source.running = {"shop/worker-5": 1}
        report = await world.report(worker)
        await world.finish()
        assert world.compose.count(worker) == 1
        assert world.source.asked == []
        assert report.busy is None

    @pytest.mark.parametrize(
        ("target", "replicas"),
        [pytest.param("40%", 3, id="with-it"), pytest.param("none", 2, id="without-it")],
    )
    async def test_slots_target_grows_before_a_backlog_forms(
        self, world: World, target: str, replicas: int
    ) -> None:
        labels = AT_ONCE | {"temporal.slots-target": target}
        worker = world.compose.add("shop/worker", labels, replicas=2)
        world.source.running = {"shop/worker-1": 2, "shop/worker-2": 2}
        report = await world.report(worker)
        await world.finish()
        assert world.compose.count(worker) == replicas
        assert report.busy == 2

    async def test_a_plan_reads_and_says_the_same_and_stops_nothing(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        world.source.running = {"shop/worker-5": 1, "shop/worker-4": 1}
        planned = of(await world.tick(act=False), worker)
        asked = list(world.source.asked)
        done = await world.report(worker)
        assert (planned.desired, planned.reasons, planned.busy) == (2, done.reasons, 2)
        assert planned.action is None
        assert asked[0] == world.source.asked[1]


class TestNobodyReports:
    """An older SDK or server: behind the grace, with one warning."""

    async def test_scale_in_goes_on_after_a_minute(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        world.source.mute = True
        await world.settle()
        await world.watch(64)
        assert world.compose.count(worker) == 5
        await world.settle(after=2)
        assert world.compose.count(worker) == 1

    async def test_until_then_it_is_no_trouble_and_then_one_warning(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        world.source.fill("orders", 10)
        world.source.mute = True
        first = await world.report(worker)
        assert (first.errors, first.warnings, first.busy) == ((), (), None)
        await world.watch(65)
        (warning,) = (await world.report(worker)).warnings
        assert warning.startswith("no worker reports what it is running")

    async def test_strict_stops_none_and_warns_too(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE | {"temporal.busy": "strict"}, replicas=5)
        world.source.fill("orders", 10)
        world.source.mute = True
        await world.watch(600)
        report = await world.report(worker)
        assert (report.desired, report.action) == (5, None)
        assert len(report.warnings) == 1


class TestNobodyToStop:
    """A change that would stop nobody is not started, and so not reported in tick after tick."""

    WAKING = AT_ONCE | {"temporal.min": "0", "temporal.max": "1", "temporal.cooldown": "0s"}

    async def test_a_replica_that_leaves_by_itself_is_not_told_in_each_tick(
        self, world: World
    ) -> None:
        """A restarted container keeps its host name, and with it the last report from before."""
        worker = world.compose.add("shop/zero", self.WAKING, replicas=1)
        world.source.leaving = {"shop/zero-1"}
        reports = []
        for _ in range(5):
            reports.append(await world.report(worker, after=1))
            await world.finish()
        assert [report.action for report in reports] == [None] * 5
        assert {report.desired for report in reports} == {0}
        world.source.leaving.clear()
        report = await world.report(worker, after=1)
        await world.finish()
        assert report.action is not None
        assert world.compose.count(worker) == 0

    async def test_idle_replicas_go_beside_those_that_leave(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=4)
        world.source.leaving = {"shop/worker-4"}
        report = await world.report(worker)
        await world.finish()
        assert report.action is not None
        assert world.compose.count(worker) == 2


class TestSecondLook:
    """A change looks once more right before it stops anything: here, after the tick has ended."""

    async def test_a_replica_that_has_become_busy_meanwhile_stays(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=3)
        report = await world.report(worker)
        assert report.desired == 1
        world.source.running = {"shop/worker-3": 1, "shop/worker-2": 1}
        await world.finish()
        assert world.compose.count(worker) == 2

    async def test_where_all_have_become_busy_none_goes_and_none_failed(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=3)
        await world.tick()
        world.source.running = {f"shop/worker-{number}": 1 for number in (1, 2, 3)}
        await world.finish()
        assert world.compose.count(worker) == 3
        report = await world.report(worker)
        assert (report.errors, report.busy, report.interrupted) == ((), 3, 0)

    async def test_where_no_worker_reports_any_more_none_goes(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=3)
        await world.tick()
        world.source.mute = True
        await world.finish()
        assert world.compose.count(worker) == 3

    async def test_where_workers_report_at_last_the_busy_ones_stay(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=3)
        world.source.mute = True
        await world.watch(65)
        assert (await world.report(worker)).desired == 1
        world.source.mute = False
        world.source.running = {"shop/worker-3": 1, "shop/worker-2": 1}
        await world.finish()
        assert world.compose.count(worker) == 2

    async def test_where_it_cannot_be_read_none_goes_and_the_next_tick_says_why(
        self, world: World
    ) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=3)
        await world.tick()
        world.source.heartbeats_fail = "Temporal does not answer"
        await world.finish()
        assert world.compose.count(worker) == 3
        world.source.heartbeats_fail = None
        world.source.fill("orders", 90)
        report = await world.report(worker)
        assert report.errors == ("Temporal does not answer",)


class TestInterrupted:
    """Replicas that were stopped although they were known to be busy are counted."""

    async def test_there_is_none(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        world.source.running = {"shop/worker-5": 1}
        interrupted = [(await world.report(worker)).interrupted]
        await world.finish()
        interrupted.append((await world.report(worker)).interrupted)
        assert interrupted == [0, 0]

    async def test_a_careless_orchestrator_is_found_out_once(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        world.source.running = {"shop/worker-5": 1, "shop/worker-4": 2}
        world.compose.careless = True
        interrupted = [(await world.report(worker)).interrupted]
        await world.finish()
        world.source.running = {}
        world.compose.careless = False
        for _ in range(2):
            interrupted.append((await world.report(worker)).interrupted)
            await world.finish()
        assert interrupted == [0, 2, 0]

    async def test_a_change_that_failed_has_stopped_none(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=5)
        world.source.running = {"shop/worker-5": 1}
        world.compose.careless = True
        world.compose.fail(worker, OrchestratorError("no engine"))
        await world.settle()
        report = await world.report(worker)
        assert (report.errors, report.interrupted) == (("no engine",), 0)
        await world.finish()


class TestDraining:
    async def test_what_drains_is_told_and_does_not_count(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS, replicas=2)
        world.compose.drain(worker, 3)
        world.source.fill("orders", 50)
        report = await world.report(worker)
        await world.finish()
        assert (report.replicas, report.draining, report.desired) == (2, 3, 5)
        assert world.compose.count(worker) == 5

    async def test_it_is_told_of_a_service_with_bad_labels_too(self, world: World) -> None:
        worker = world.compose.add("shop/worker", {"temporal.max": "many"})
        world.compose.drain(worker, 3)
        assert (await world.report(worker)).draining == 3


class TestWhatElseCounts:
    async def test_a_service_that_names_a_build_is_read_by_its_own_backlog(
        self, world: World
    ) -> None:
        version = WorkerVersion("shop", "v2")
        labels = ORDERS | {"temporal.deployment": "shop", "temporal.build-id": "v2"}
        world.compose.add("shop/worker", labels)
        world.compose.add("shop/other", ORDERS)
        await world.tick()
        (read,) = world.source.reads
        assert {queue.version for queue in read} == {version, None}
        assert len(read) == 4

    async def test_a_grace_that_nobody_chose_is_warned_of(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS, grace=None)
        (warning,) = (await world.report(worker)).warnings
        assert warning.startswith("stop_grace_period is not set")


class TestLooksThatTakeOver:
    """Ticks of which nothing has happened since the one before: not `anew`."""

    async def test_services_are_found_again_after_5_s_only(self, world: World) -> None:
        world.compose.add("shop/worker", ORDERS)
        for _ in range(12):
            await world.tick(after=1, anew=False)
        assert world.compose.looks == 3
        assert len(world.source.reads) == 12

    async def test_at_once_where_something_has_happened(self, world: World) -> None:
        world.compose.add("shop/worker", ORDERS)
        await world.tick()
        other = world.compose.add("shop/other", MAILS)
        assert len((await world.tick(after=1, anew=False)).services) == 1
        assert (await world.report(other, after=1)).desired == 1

    async def test_at_once_where_an_orchestrator_did_not_answer(self, world: World) -> None:
        world.compose.unreachable = OrchestratorError("the engine hangs")
        await world.tick()
        world.compose.unreachable = None
        world.compose.add("shop/worker", ORDERS)
        assert (await world.tick(after=1, anew=False)).services

    @pytest.mark.parametrize(
        "moves", [{"refusal": "somebody else is at work"}, {"warnings": ("a stop fails",)}]
    )
    async def test_at_once_where_a_service_changes_with_time(
        self, world: World, moves: dict[str, Any]
    ) -> None:
        world.compose.add("shop/worker", ORDERS, **moves)
        for _ in range(3):
            await world.tick(after=1, anew=False)
        assert world.compose.looks == 3

    async def test_during_a_change_and_right_after_it(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        await world.tick(anew=False)
        world.source.fill("orders", 30)
        await world.tick(after=1, anew=False)
        await world.finish()
        report = of(await world.tick(after=1, anew=False), worker)
        assert report.replicas == 3

    async def test_tasks_wake_a_service_at_rest_at_the_next_look(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        for _ in range(3):
            await world.tick(after=1, anew=False)
        world.source.fill("orders", 30)
        assert of(await world.tick(after=1, anew=False), worker).desired == 3
        await world.finish()

    async def test_a_service_at_rest_is_decided_every_10_s(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decided: list[Situation] = []

        def counting(situation: Situation) -> Decision:
            decided.append(situation)
            return decide(situation)

        worker = world.compose.add("shop/worker", ORDERS)
        await world.watch(60)
        monkeypatch.setattr("autoscaler.core.decide.decide", counting)
        for _ in range(20):
            assert of(await world.tick(after=1, anew=False), worker).backlog == 0
        assert len(decided) == 2

    async def test_what_fails_is_not_at_rest(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        await world.tick(anew=False)
        world.source.fail("orders", "Temporal does not answer")
        report = of(await world.tick(after=1, anew=False), worker)
        assert (report.backlog, report.errors) == (None, ("Temporal does not answer",))

    async def test_in_flight_work_is_asked_for_every_5_s_while_replicas_are_held(
        self, world: World
    ) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=2)
        world.source.running = {"shop/worker-1": 1, "shop/worker-2": 1}
        for _ in range(10):
            report = of(await world.tick(after=1, anew=False), worker)
            assert report.desired == 2
        assert len(world.source.asked) == 2
        world.source.running = {}

    async def test_a_replica_that_was_started_again_is_asked_for_again(self, world: World) -> None:
        """The kept replica of a service at zero comes back under its name, with a new worker."""
        labels = AT_ONCE | {"temporal.min": "0", "temporal.max": "1", "temporal.cooldown": "0s"}
        worker = world.compose.add("shop/worker", labels)
        assert of(await world.tick(), worker).desired == 0
        await world.finish()
        world.source.fill("orders", 1)
        assert of(await world.tick(after=1, anew=False), worker).desired == 1
        await world.finish()
        world.source.silent = {"shop/worker-1"}
        await world.tick(after=1, anew=False)
        world.source.fill("orders", 0)
        report = of(await world.tick(after=1, anew=False), worker)
        assert (report.desired, report.action) == (1, None)

    async def test_right_before_a_stop_it_is_asked_for_again(self, world: World) -> None:
        worker = world.compose.add("shop/worker", AT_ONCE, replicas=2)
        world.source.running = {"shop/worker-1": 1, "shop/worker-2": 1}
        await world.tick(after=1, anew=False)
        world.source.running = {}
        await world.watch(10)
        assert world.compose.count(worker) == 1


class TestWishesThatChangeLive:
    async def test_they_are_followed_although_nothing_else_is_new(self, world: World) -> None:
        """A service at rest is decided anew, and the orchestrator asked for what is adopted now."""
        worker = world.compose.add("shop/worker", ORDERS)
        for _ in range(2):
            await world.tick(after=1, anew=False)
        looks = world.compose.looks

        world.file.want(min="3")
        report = of(await world.tick(after=1, anew=False), worker)

        assert report.desired == 3
        assert world.compose.looks == looks + 1
        assert report.given["temporal.min"] == Given("3", "shop.yaml:3")
        assert report.given["temporal.queue"] == Given("orders", "label")
        await world.finish()

    async def test_a_wrong_one_keeps_the_last_good_bounds(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS | {"temporal.min": "2"}, replicas=2)
        world.file.want(max="4")
        await world.tick()
        world.file.want(max="1")
        report = await world.report(worker)
        assert (report.min, report.max, report.desired) == (2, 4, 2)
        (error,) = report.errors
        assert error.startswith("temporal.max='1' (shop.yaml:3) must be")
        assert error.endswith("; min is 2")
        assert report.given["temporal.max"].value == "4"

    async def test_what_is_wrong_with_a_source_is_said_apart_from_services(
        self, world: World
    ) -> None:
        world.compose.add("shop/worker", ORDERS)
        world.file.wrong = ("shop.yaml:3: max='many' must be a whole number",)
        assert (await world.tick()).wish_warnings == world.file.wrong

    async def test_a_source_that_cannot_be_read_counts_as_it_was_before(self, world: World) -> None:
        worker = world.compose.add("shop/worker", ORDERS)
        world.file.want(max="4")
        await world.tick()
        world.file.want(max="6")
        world.file.failure = ZeroDivisionError("division by zero")
        report = await world.tick()
        assert of(report, worker).max == 4
        (warning,) = report.wish_warnings
        assert "unexpected ZeroDivisionError: division by zero" in warning
        world.file.failure = None
        assert (await world.report(worker)).max == 6

    async def test_wishes_for_services_that_are_not_there_are_said_where_all_were_seen(
        self, world: World
    ) -> None:
        world.file.strict = True
        worker = world.compose.add("shop/worker", ORDERS)
        there, beside = compose_ids("shop/plain", "mail/worker")
        world.compose.surroundings = Surroundings(
            frozenset({"shop", "mail"}), (beside,), frozenset({worker, there, beside})
        )
        assert (await world.tick()).wish_warnings == ("3 there, 2 followed",)
        world.swarm.unreachable = OrchestratorError("the engine hangs")
        assert (await world.tick()).wish_warnings == ()

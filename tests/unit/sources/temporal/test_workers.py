"""Worker heartbeats, read by ListWorkers, and by DescribeWorker where the list lacks slots."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import (
    WorkerHeartbeat,
    WorkerHostInfo,
    WorkerInfo,
    WorkerListInfo,
    WorkerSlotsInfo,
)
from temporalio.api.workflowservice.v1 import DescribeWorkerResponse, ListWorkersResponse
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.errors import InFlightUnavailable, IntegrationError
from autoscaler.core.in_flight import SlotKind, Slots, Worker, WorkerQuery
from autoscaler.core.integration import Integration
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from autoscaler.sources.temporal.calls import AT_ONCE, DEADLINE
from autoscaler.sources.temporal.workers import NAMES_AT_ONCE
from tests.fakes.clock import START, Clock
from tests.fakes.temporal import FakeConnections, FakeTemporal

RUNNING = WorkerStatus.WORKER_STATUS_RUNNING


class Place:
    """A source that reads from one fake server."""

    def __init__(self) -> None:
        self.server = FakeTemporal()
        integrations = {
            "default": Integration(endpoint="temporal:7233", namespace="shop"),
            "prod": Integration(endpoint="prod:7233", namespace="live"),
        }
        self.source = TemporalBacklogSource(FakeConnections(self.server, integrations), Clock())

    async def keys(self, hosts: Iterable[str] = (), queues: Iterable[str] = ()) -> list[str]:
        """Ask for workers and return their keys."""
        return [worker.instance for worker in await self.source.workers(query(hosts, queues))]

    async def why(self, asked: WorkerQuery) -> str:
        """Ask for workers that cannot be read, and return the reason."""
        with pytest.raises(InFlightUnavailable) as caught:
            await self.source.workers(asked)
        return str(caught.value)


@pytest.fixture
def place() -> Place:
    return Place()


def query(
    hosts: Iterable[str] = (),
    queues: Iterable[str] = (),
    *,
    integration: str = "default",
    namespace: str | None = None,
) -> WorkerQuery:
    return WorkerQuery(integration, namespace, frozenset(hosts), frozenset(queues))


def heartbeat(
    key: str,
    host: str = "r1",
    queue: str = "orders",
    status: WorkerStatus.ValueType = RUNNING,
    interval: timedelta = timedelta(seconds=10),
) -> WorkerHeartbeat:
    """Return a heartbeat as a worker sends it."""
    beat = WorkerHeartbeat(
        worker_instance_key=key,
        worker_identity=f"7@{host}",
        host_info=WorkerHostInfo(host_name=host, process_id="7"),
        task_queue=queue,
        status=status,
        workflow_task_slots_info=slots(100, 900, 10_000),
        activity_task_slots_info=slots(2, 3, 40),
        local_activity_slots_info=slots(1, 9, 7),
        nexus_task_slots_info=slots(0, 5, 0),
    )
    beat.heartbeat_time.FromDatetime(START)
    beat.start_time.FromDatetime(START - timedelta(hours=1))
    beat.elapsed_since_last_heartbeat.FromTimedelta(interval)
    return beat


def slots(used: int, free: int, processed: int) -> WorkerSlotsInfo:
    return WorkerSlotsInfo(
        current_used_slots=used, current_available_slots=free, total_processed_tasks=processed
    )


class TestAsking:
    async def test_a_heartbeat_becomes_a_worker(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat("w1", "r1")]
        assert await place.source.workers(query(["r1"])) == [
            Worker(
                instance="w1",
                host="r1",
                at=START,
                interval=timedelta(seconds=10),
                leaving=False,
                slots={
                    SlotKind.WORKFLOW: Slots(100, 900, 10_000),
                    SlotKind.ACTIVITY: Slots(2, 3, 40),
                    SlotKind.LOCAL_ACTIVITY: Slots(1, 9, 7),
                    SlotKind.NEXUS: Slots(0, 5, 0),
                },
                process="7",
                began=START - timedelta(hours=1),
            )
        ]

    async def test_the_first_heartbeat_has_no_interval(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat("w1", interval=timedelta())]
        (worker,) = await place.source.workers(query(["r1"]))
        assert worker.interval == timedelta()

    @pytest.mark.parametrize(
        ("status", "leaving"),
        [
            (WorkerStatus.WORKER_STATUS_RUNNING, False),
            (WorkerStatus.WORKER_STATUS_SHUTTING_DOWN, True),
            (WorkerStatus.WORKER_STATUS_SHUTDOWN, True),
            (WorkerStatus.WORKER_STATUS_UNSPECIFIED, False),
        ],
    )
    async def test_a_worker_that_shuts_down_is_leaving(
        self, place: Place, status: WorkerStatus.ValueType, *, leaving: bool
    ) -> None:
        place.server.heartbeats = [heartbeat("w1", status=status)]
        (worker,) = await place.source.workers(query(["r1"]))
        assert worker.leaving is leaving

    async def test_workers_are_found_by_host_and_by_task_queue(self, place: Place) -> None:
        place.server.heartbeats = [
            heartbeat("w1", "r1", "orders"),
            heartbeat("w2", "r2", "mails"),
            heartbeat("w3", "r3", "mails"),
            heartbeat("w4", "r4", "other"),
        ]
        assert await place.keys(["r1", "r2"]) == ["w1", "w2"]
        assert await place.keys([], ["mails"]) == ["w2", "w3"]
        assert await place.keys(["r1", "r2"], ["mails"]) == ["w1", "w2", "w3"]
        assert await place.keys(["gone"]) == []

    async def test_the_query_names_each_host_and_task_queue(self, place: Place) -> None:
        await place.keys(["r2", "r1"], ["orders"])
        (asked,) = place.server.listed
        assert asked.query == "HostName='r1' OR HostName='r2' OR TaskQueue='orders'"
        assert asked.namespace == "shop"

    @pytest.mark.parametrize(
        "name", ["it's", "back\\slash", "\\'both", "' OR HostName='r2", "ünï code", 'a"b']
    )
    async def test_no_name_can_change_the_query(self, place: Place, name: str) -> None:
        place.server.heartbeats = [heartbeat("w1", "r1", name), heartbeat("w2", "r2", "other")]
        assert await place.keys([], [name]) == ["w1"]

    async def test_workers_that_nobody_asked_for_are_left_out(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.server.heartbeats = [heartbeat("w1", "r1"), heartbeat("w2", "r2")]
        monkeypatch.setattr(
            "autoscaler.sources.temporal.workers._clauses", lambda _: ["TaskQueue='orders'"]
        )
        assert await place.keys(["r1"]) == ["w1"]

    async def test_an_empty_query_takes_no_call(self, place: Place) -> None:
        assert await place.keys() == []
        assert place.server.listed == []

    @pytest.mark.parametrize(
        ("hosts", "calls"),
        [(1, 1), (NAMES_AT_ONCE, 1), (NAMES_AT_ONCE + 1, 2), (3 * NAMES_AT_ONCE, 3)],
    )
    async def test_names_in_one_query_are_limited(
        self, place: Place, hosts: int, calls: int
    ) -> None:
        names = [f"r{number:03}" for number in range(hosts)]
        place.server.heartbeats = [heartbeat(name, name) for name in names]
        assert await place.keys(names) == names
        assert len(place.server.listed) == calls
        most = max(asked.query.count("HostName=") for asked in place.server.listed)
        assert most <= NAMES_AT_ONCE == 50

    async def test_a_worker_found_by_two_queries_is_returned_once(self, place: Place) -> None:
        names = [f"r{number:03}" for number in range(NAMES_AT_ONCE)]
        place.server.heartbeats = [heartbeat("w1", "r000", "orders")]
        assert await place.keys(names, ["orders"]) == ["w1"]
        assert len(place.server.listed) == 2

    async def test_every_page_is_read(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat(f"w{number}") for number in range(7)]
        place.server.most_in_a_page = 3
        assert await place.keys(["r1"]) == [f"w{number}" for number in range(7)]
        assert [asked.next_page_token for asked in place.server.listed] == [b"", b"3", b"6"]
        assert len({asked.query for asked in place.server.listed}) == 1

    async def test_workers_are_read_again_each_time(self, place: Place) -> None:
        for _ in range(2):
            await place.keys(["r1"])
        assert len(place.server.listed) == 2

    async def test_a_call_is_not_retried_and_has_a_deadline_of_its_own(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat("w1")]
        place.server.lists_slots = False
        await place.keys(["r1"])
        assert place.server.options == [(False, DEADLINE)] * 2

    @pytest.mark.parametrize(
        ("asked", "namespace"),
        [
            pytest.param(query(["r1"]), "shop", id="the-integrations-own"),
            pytest.param(query(["r1"], namespace="eu"), "eu", id="another-one"),
            pytest.param(query(["r1"], integration="prod"), "live", id="of-another-integration"),
        ],
    )
    async def test_the_namespace_is_the_label_or_else_the_integration_default(
        self, place: Place, asked: WorkerQuery, namespace: str
    ) -> None:
        await place.source.workers(asked)
        assert [call.namespace for call in place.server.listed] == [namespace]


class TestWhatAHeartbeatLeavesOut:
    """It is unknown, and nothing of it is zero."""

    SLOTS = (
        "workflow_task_slots_info",
        "activity_task_slots_info",
        "local_activity_slots_info",
        "nexus_task_slots_info",
    )

    async def worker_without(self, place: Place, *fields: str) -> Worker:
        """Return a worker whose heartbeat lacks some fields."""
        beat = heartbeat("w1")
        for field in fields:
            beat.ClearField(field)  # type: ignore[arg-type]
        place.server.heartbeats = [beat]
        (found,) = await place.source.workers(query(["r1"], ["orders"]))
        return found

    async def test_a_worker_that_names_no_kind_of_slot_does_not_tell_what_it_runs(
        self, place: Place
    ) -> None:
        found = await self.worker_without(place, *self.SLOTS)
        assert not found.tells
        assert found.slots == {}

    async def test_a_worker_of_the_go_sdk_leaves_out_the_kinds_that_it_has_no_slots_of(
        self, place: Place
    ) -> None:
        found = await self.worker_without(place, "nexus_task_slots_info")
        assert found.tells
        assert SlotKind.NEXUS not in found.slots
        assert found.running == 3

    async def test_a_heartbeat_without_a_time_is_not_fresh(self, place: Place) -> None:
        found = await self.worker_without(place, "heartbeat_time", "start_time")
        assert (found.at, found.began) == (None, None)
        assert not found.fresh(START)

    async def test_a_heartbeat_without_an_interval_is_like_the_first(self, place: Place) -> None:
        found = await self.worker_without(place, "elapsed_since_last_heartbeat")
        assert found.interval == timedelta()

    async def test_a_worker_that_does_not_say_where_it_runs_has_no_host(self, place: Place) -> None:
        found = await self.worker_without(place, "host_info")
        assert found.host == ""
        assert found.process == "7@r1"

    @pytest.mark.parametrize("lists_slots", [True, False])
    async def test_a_worker_without_a_heartbeat_is_known_and_may_run_anything(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, *, lists_slots: bool
    ) -> None:
        listed = WorkerListInfo(worker_instance_key="w1", host_name="r1", process_id="7")

        async def lists(*_: object, **__: object) -> ListWorkersResponse:
            empty = [WorkerInfo()] if lists_slots else []
            return ListWorkersResponse(workers_info=empty, workers=[listed])

        async def describes(*_: object, **__: object) -> DescribeWorkerResponse:
            return DescribeWorkerResponse()

        monkeypatch.setattr(place.server, "list_workers", lists)
        monkeypatch.setattr(place.server, "describe_worker", describes)
        (found,) = await place.source.workers(query(["r1"]))
        assert (found.instance, found.host, found.process) == ("w1", "r1", "7")
        assert not found.tells
        assert not found.fresh(START)

    async def test_a_worker_of_which_nothing_is_known_is_still_one(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def lists(*_: object, **__: object) -> ListWorkersResponse:
            return ListWorkersResponse(workers_info=[WorkerInfo()])

        monkeypatch.setattr(place.server, "list_workers", lists)
        (found,) = await place.source.workers(query(["r1"]))
        assert (found.host, found.tells, found.at) == ("", False, None)


class TestWhereTheListHasNoSlots:
    """A newer server may list workers without their slots."""

    async def test_each_worker_is_described(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat("w1", "r1"), heartbeat("w2", "r2")]
        place.server.lists_slots = False
        workers = await place.source.workers(query(["r1", "r2"]))
        assert [(worker.instance, worker.running) for worker in workers] == [("w1", 3), ("w2", 3)]
        assert sorted(place.server.described_workers) == ["w1", "w2"]

    async def test_where_the_list_has_slots_no_worker_is_described(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat("w1")]
        await place.keys(["r1"])
        assert place.server.described_workers == []

    async def test_a_worker_that_the_server_has_forgotten_since_is_left_out(
        self, place: Place
    ) -> None:
        place.server.heartbeats = [heartbeat("w1"), heartbeat("w2")]
        place.server.lists_slots = False
        place.server.forgotten = {"w1"}
        assert await place.keys(["r1"]) == ["w2"]

    async def test_calls_at_the_same_time_are_limited(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat(f"w{number:03}") for number in range(100)]
        place.server.lists_slots = False
        assert len(await place.keys(["r1"])) == 100
        assert place.server.most_at_once == AT_ONCE


class TestTrouble:
    async def test_a_server_that_keeps_no_heartbeats_lists_no_workers(self, place: Place) -> None:
        place.server.broken_lists = RPCError("unknown method", RPCStatusCode.UNIMPLEMENTED, b"")
        assert await place.keys(["r1"]) == []

    async def test_any_other_failure_is_unknown_in_flight_work(self, place: Place) -> None:
        place.server.broken_lists = RPCError("gone", RPCStatusCode.UNAVAILABLE, b"")
        assert (await place.why(query(["r1"], integration="prod"))).startswith(
            "integration prod: reading worker heartbeats in namespace live at prod:7233 failed"
            " (UNAVAILABLE: gone); "
        )

    async def test_a_connection_that_cannot_be_made_is_unknown_in_flight_work(
        self, place: Place
    ) -> None:
        place.server.broken_namespaces["eu"] = RuntimeError("Failed client connect: refused")
        why = await place.why(query(["r1"], namespace="eu"))
        assert "Failed client connect: refused" in why

    async def test_a_worker_that_cannot_be_described_is_not_idle(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fails(*_: object, **__: object) -> None:
            raise RPCError("busy", RPCStatusCode.RESOURCE_EXHAUSTED, b"")

        place.server.heartbeats = [heartbeat("w1")]
        place.server.lists_slots = False
        monkeypatch.setattr(place.server, "describe_worker", fails)
        assert "RESOURCE_EXHAUSTED: busy" in await place.why(query(["r1"]))

    async def test_a_page_that_fails_makes_all_workers_unknown(self, place: Place) -> None:
        place.server.heartbeats = [heartbeat(f"w{number}") for number in range(4)]
        place.server.most_in_a_page = 3
        answer = place.server.list_workers

        async def second_fails(request: object, **options: object) -> object:
            if place.server.listed:
                raise RPCError("gone", RPCStatusCode.UNAVAILABLE, b"")
            return await answer(request, **options)  # type: ignore[arg-type]

        place.server.list_workers = second_fails  # type: ignore[assignment, method-assign]
        assert "UNAVAILABLE: gone" in await place.why(query(["r1"]))

    async def test_an_unknown_integration_is_named(self, place: Place) -> None:
        with pytest.raises(IntegrationError, match="integration pord is not known"):
            await place.source.workers(query(["r1"], integration="pord"))

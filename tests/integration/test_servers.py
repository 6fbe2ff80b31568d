"""Servers that answer with less than the newest does: what they leave out is unknown, not zero.

A front of a real server takes out of its answers what older servers do not send.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import pytest
from temporalio import activity
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentVersionRequest
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion as Build
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from autoscaler.core.findings import Outcome
from autoscaler.core.integration import Integration
from autoscaler.core.report import ServiceReport
from autoscaler.integrations.order import Integrations
from autoscaler.reconcile import Reconciler
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from autoscaler.sources.temporal.examination import IntegrationExaminer
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels
from tests.real.front import Front, FrontProcess
from tests.real.temporal import TemporalServer
from tests.real.waiting import LIMIT

BEFORE_1_28 = {"DescribeTaskQueue": "stats"}


@pytest.fixture
def front(temporal: TemporalServer, front_process: FrontProcess) -> Iterator[Front]:
    """A front of the shared server, which leaves nothing out yet."""
    made = front_process.Front(temporal.endpoint)
    yield made
    made.close()


class World:
    """A service with three replicas that follows one task queue over a front."""

    def __init__(self, front: Front, queue: str, labels: Mapping[str, str] | None = None) -> None:
        self.known = Integrations({"default": Integration(endpoint=front.endpoint)}, Integration)
        self.connections = Connections(self.known)
        self.clock = Clock()
        self.orchestrator = FakeOrchestrator()
        wanted = {"temporal.queue": queue, "temporal.queue-types": "workflow", "temporal.min": "0"}
        wanted |= {f"temporal.{name}": text for name, text in (labels or {}).items()}
        self.orchestrator.add("worker", wanted, replicas=3)
        self.reconciler = Reconciler(
            [self.orchestrator],
            TemporalBacklogSource(self.connections, self.clock),
            by_labels(),
            clock=self.clock,
        )

    async def tick(self, seconds: float = 6) -> ServiceReport:
        """Let time pass and tick."""
        self.clock.advance(seconds)
        report = await self.reconciler.tick()
        (service,) = report.services
        # `plan` ends with exit code 1 then.
        assert report.failed == bool(service.errors)
        return service

    async def examine(self) -> list[tuple[Outcome, str]]:
        """Return what `doctor` finds out about the integration."""
        examiner = IntegrationExaminer(self.known, self.connections, self.clock)
        return [(each.outcome, each.text) for each in await examiner.examine(["default"])]


def a_queue() -> str:
    return f"queue-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def polling(client: Client, queue: str, deployment: str) -> AsyncIterator[None]:
    """Let a worker of build v1 poll a task queue, until the server knows the build."""

    @activity.defn
    async def work() -> None:
        """Do nothing."""

    build = WorkerDeploymentConfig(
        version=Build(deployment_name=deployment, build_id="v1"), use_worker_versioning=True
    )
    request = DescribeWorkerDeploymentVersionRequest(
        namespace=client.namespace,
        deployment_version=WorkerDeploymentVersion(deployment_name=deployment, build_id="v1"),
    )

    async def known() -> bool:
        try:
            answer = await client.workflow_service.describe_worker_deployment_version(request)
        except RPCError:
            return False
        return bool(answer.version_task_queues)

    async with Worker(client, task_queue=queue, activities=[work], deployment_config=build):
        async with asyncio.timeout(LIMIT):
            # The server does not announce it.
            while not await known():  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        yield


class TestUpTo127:
    """DescribeTaskQueue answers without `stats`."""

    async def test_a_full_task_queue_is_unknown_and_holds_its_replicas(
        self, temporal: TemporalServer, front: Front
    ) -> None:
        queue = a_queue()
        await temporal.enqueue(queue, 100)
        front.left_out = BEFORE_1_28
        world = World(front, queue, {"cooldown": "0s", "scale-in.window": "0s"})
        for _ in range(3):
            service = await world.tick(600)
            assert (service.backlog, service.desired) == (None, 3)
            (error,) = service.errors
            assert " (Temporal Server 1." in error
            assert "; it takes Temporal Server 1.28 or later" in error
        assert world.orchestrator.actions == []

        front.left_out = {}
        assert (await world.tick(600)).desired == 10

    async def test_the_doctor_says_it_once(self, front: Front) -> None:
        front.left_out = BEFORE_1_28
        front.unknown = {"ListWorkers", "DescribeWorker", "DescribeWorkerDeploymentVersion"}
        found = await World(front, a_queue()).examine()
        ((outcome, text),) = [each for each in found if each[0] is not Outcome.OK]
        assert outcome is Outcome.WRONG
        assert "left out how many tasks wait); it takes Temporal Server 1.28 or later" in text
        assert text.endswith("every service holds its replicas")


class TestUpTo128:
    """DescribeWorkerDeploymentVersion answers without the figures of the task queues."""

    @pytest.mark.parametrize(
        "left_out", ["version_task_queues", "version_task_queues.stats"], ids=["all", "figures"]
    )
    async def test_a_build_is_unknown_and_holds_its_replicas(
        self, temporal: TemporalServer, front: Front, left_out: str
    ) -> None:
        queue, deployment = a_queue(), f"deployment-{uuid.uuid4().hex[:8]}"
        client = await temporal.client()
        async with polling(client, queue, deployment):
            front.left_out = {"DescribeWorkerDeploymentVersion": left_out}
            world = World(
                front,
                queue,
                {"queue-types": "activity", "deployment": deployment, "build-id": "v1"},
            )
            service = await world.tick()
            assert (service.backlog, service.desired) == (None, 3)
            (error,) = service.errors
            assert f"the backlog of build {deployment}:v1" in error
            assert "; it takes Temporal Server 1.29 or later" in error

            front.left_out = {}
            assert (await world.tick()).backlog == 0


class TestWithoutCounts:
    """What waits on a partition is a field of the past, which servers may stop to send."""

    async def test_where_it_is_left_out_the_servers_own_figures_count(
        self, temporal: TemporalServer, front: Front
    ) -> None:
        queue = a_queue()
        front.left_out = {"DescribeTaskQueue": "task_queue_status"}
        world = World(front, queue)
        await world.tick()
        await temporal.enqueue(queue, 40)
        service = await world.tick()
        assert (service.backlog, service.desired) == (40, 4)
        assert "counted" not in str(service.reasons[0])
        assert "ListTaskQueuePartitions" not in front.calls

    async def test_where_partitions_cannot_be_listed_the_backlog_is_known_all_the_same(
        self, temporal: TemporalServer, front: Front
    ) -> None:
        queue = a_queue()
        front.unknown = {"ListTaskQueuePartitions"}
        world = World(front, queue)
        await world.tick()
        await temporal.enqueue(queue, 40)
        service = await world.tick()
        assert (service.backlog, service.desired, service.errors) == (40, 4, ())
        assert "ListTaskQueuePartitions" in front.calls


class TestUpTo129:
    """Worker heartbeats are off, and so are the calls that read them. Each has its own switch."""

    TAKES = "namespace_info.capabilities.worker_heartbeats"
    SWITCHES = "1.29 with frontend.WorkerHeartbeatsEnabled and frontend.ListWorkersEnabled set"

    async def warning(self, front: Front) -> str:
        """Return the only thing that the doctor finds wrong."""
        found = await World(front, a_queue()).examine()
        ((outcome, text),) = [each for each in found if each[0] is not Outcome.OK]
        assert outcome is Outcome.WARNING, text
        assert self.SWITCHES in text
        return text

    async def test_the_doctor_has_one_line_for_the_one_cause(self, front: Front) -> None:
        front.unknown = {"ListWorkers", "DescribeWorker"}
        front.left_out = {"DescribeNamespace": self.TAKES}
        text = await self.warning(front)
        assert "takes no worker heartbeats" in text
        assert "Temporal Server 1.30 or later has them" in text

    async def test_heartbeats_that_nobody_can_read_are_not_said_to_protect(
        self, front: Front
    ) -> None:
        front.unknown = {"ListWorkers", "DescribeWorker"}
        assert "takes worker heartbeats and does not list them" in await self.warning(front)

    async def test_lists_that_stay_empty_are_not_said_to_protect(self, front: Front) -> None:
        front.left_out = {"DescribeNamespace": self.TAKES}
        assert "takes no worker heartbeats" in await self.warning(front)


async def test_a_server_that_does_not_say_whether_it_takes_heartbeats_is_not_said_to_take_none(
    front: Front,
) -> None:
    front.left_out = {"DescribeNamespace": "namespace_info.capabilities"}
    found = await World(front, a_queue()).examine()
    ((outcome, text),) = [each for each in found if each[0] is not Outcome.OK]
    assert outcome is Outcome.WARNING
    assert "does not say that it takes worker heartbeats" in text


class TestBehindTheFrontend:
    """The frontend answers, and the service that holds the task queues does not."""

    async def test_the_doctor_does_not_talk_of_the_connection(self, front: Front) -> None:
        front.failing = {"DescribeTaskQueue": "no matching hosts"}
        found = await World(front, a_queue()).examine()
        ((outcome, text),) = [each for each in found if each[0] is not Outcome.OK]
        assert outcome is Outcome.WRONG
        assert "(UNAVAILABLE: no matching hosts); Temporal's frontend answers" in text
        assert "TLS" not in text

    async def test_a_tick_does_not_talk_of_tls(self, front: Front) -> None:
        front.failing = {"DescribeTaskQueue": "Not enough hosts to serve the request"}
        service = await World(front, a_queue()).tick()
        (error,) = service.errors
        assert service.desired == 3
        assert "check matching and history" in error

"""The backlog of one build, read by one DescribeWorkerDeploymentVersion for all task queues."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.deployment.v1 import WorkerDeploymentVersionInfo
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.enums.v1 import WorkerDeploymentVersionStatus as Status
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, NotFoundFailure
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentVersionResponse
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.backlog import BuildStatus, TaskQueue, WorkerVersion
from autoscaler.core.errors import BacklogUnavailable
from autoscaler.core.integration import Integration
from autoscaler.core.label_values import QueueType
from autoscaler.core.sighting import FRESH
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from autoscaler.sources.temporal.builds import _STATUS
from autoscaler.sources.temporal.calls import DEADLINE
from tests.fakes.clock import Clock
from tests.fakes.temporal import FakeConnections, FakeTemporal, waiting_tasks
from tests.unit.builders import stats

V1 = WorkerVersion("shop", "v1")
V2 = WorkerVersion("shop", "v2")
CURRENT = Status.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT
WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


class Place:
    """A source that reads from one fake server."""

    def __init__(self) -> None:
        self.server = FakeTemporal()
        self.clock = Clock()
        integrations = {"default": Integration(endpoint="temporal:7233", namespace="shop")}
        self.source = TemporalBacklogSource(FakeConnections(self.server, integrations), self.clock)

    def know(
        self,
        version: WorkerVersion = V1,
        status: Status.ValueType = CURRENT,
        *queues: tuple[str, TaskQueueType.ValueType, int],
    ) -> None:
        """Let the server know a build and its task queues, each with the tasks that wait."""
        self.server.builds[version.deployment, version.build_id] = (
            DescribeWorkerDeploymentVersionResponse(
                worker_deployment_version_info=WorkerDeploymentVersionInfo(status=status),
                version_task_queues=[
                    DescribeWorkerDeploymentVersionResponse.VersionTaskQueue(
                        name=name,
                        type=type_,
                        stats=waiting_tasks(waiting),
                    )
                    for name, type_, waiting in queues
                ],
            )
        )

    def break_(self, status: RPCStatusCode, *details: object) -> None:
        """Let every call in namespace shop fail."""
        packed = []
        for detail in details:
            message = AnyMessage()
            message.Pack(detail)  # type: ignore[arg-type]
            packed.append(message)
        raw = GrpcStatus(details=packed).SerializeToString()
        self.server.broken_namespaces["shop"] = RPCError("not there", status, raw)


@pytest.fixture
def place() -> Place:
    return Place()


def queue(
    name: str = "orders",
    type_: QueueType = QueueType.WORKFLOW,
    version: WorkerVersion | None = V1,
) -> TaskQueue:
    return TaskQueue("default", None, name, type_, version)


class TestReading:
    async def test_all_task_queues_of_a_build_come_with_one_call(self, place: Place) -> None:
        place.know(V1, CURRENT, ("orders", WORKFLOW, 7), ("orders", ACTIVITY, 2))
        workflows, activities = queue(), queue(type_=QueueType.ACTIVITY)
        known = {"build": BuildStatus.CURRENT, "pollers": 1}
        assert await place.source.read([workflows, activities]) == {
            workflows: stats(7, **known),
            activities: stats(2, **known),
        }
        (call,) = place.server.described_builds
        assert (call.namespace, call.report_task_queue_stats) == ("shop", True)
        version = call.deployment_version
        assert (version.deployment_name, version.build_id) == ("shop", "v1")
        assert place.server.options == [(False, DEADLINE)]

    async def test_each_build_takes_a_call_and_the_queue_of_all_builds_another(
        self, place: Place
    ) -> None:
        place.know(V1, CURRENT, ("orders", WORKFLOW, 1))
        place.know(V2, CURRENT, ("orders", WORKFLOW, 2))
        place.server.stats["orders"] = waiting_tasks(3)
        versions = (V1, V2, None)
        readings = await place.source.read([queue(version=version) for version in versions])
        waiting = [readings[queue(version=version)] for version in versions]
        assert [each.waiting for each in waiting] == [1, 2, 3]  # type: ignore[union-attr]
        assert len(place.server.described_builds) == 2
        assert len(place.server.calls) == 1

    def test_every_status_of_a_build_is_known(self) -> None:
        assert set(_STATUS) == set(Status.values())

    @pytest.mark.parametrize(
        ("told", "status"),
        [
            (Status.WORKER_DEPLOYMENT_VERSION_STATUS_UNSPECIFIED, BuildStatus.NEVER_POLLED),
            (Status.WORKER_DEPLOYMENT_VERSION_STATUS_CREATED, BuildStatus.NEVER_POLLED),
            (Status.WORKER_DEPLOYMENT_VERSION_STATUS_INACTIVE, BuildStatus.INACTIVE),
            (Status.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT, BuildStatus.CURRENT),
            (Status.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING, BuildStatus.RAMPING),
            (Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING, BuildStatus.DRAINING),
            (Status.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED, BuildStatus.DRAINED),
            pytest.param(99, BuildStatus.DRAINING, id="a-status-of-a-newer-server"),
        ],
    )
    async def test_a_reading_has_the_status_of_the_build(
        self, place: Place, told: Status.ValueType, status: BuildStatus
    ) -> None:
        place.know(V1, told, ("orders", WORKFLOW, 0))
        readings = await place.source.read([queue()])
        assert readings[queue()].build is status  # type: ignore[union-attr]

    async def test_a_task_queue_that_the_build_has_not_polled_is_empty(self, place: Place) -> None:
        place.know(V1, CURRENT, ("orders", WORKFLOW, 7), ("mails", ACTIVITY, 7))
        unlisted = queue("mails")
        assert (await place.source.read([unlisted]))[unlisted] == stats(
            0, build=BuildStatus.CURRENT
        )

    async def test_an_unknown_build_has_never_polled(self, place: Place) -> None:
        queues = [queue(), queue("mails", QueueType.ACTIVITY)]
        new = stats(0, build=BuildStatus.NEVER_POLLED)
        assert await place.source.read(queues) == dict.fromkeys(queues, new)

    async def test_a_task_queue_of_an_unknown_type_is_ignored(self, place: Place) -> None:
        unknown = TaskQueueType.TASK_QUEUE_TYPE_UNSPECIFIED
        place.know(V1, CURRENT, ("orders", unknown, 9), ("orders", WORKFLOW, 7))
        assert (await place.source.read([queue()]))[queue()].waiting == 7  # type: ignore[union-attr]

    async def test_a_reading_is_used_again_while_it_is_fresh(self, place: Place) -> None:
        place.know(V1, CURRENT, ("orders", WORKFLOW, 7))
        for _ in range(3):
            await place.source.read([queue()])
        assert len(place.server.described_builds) == 1
        place.clock.advance(FRESH.total_seconds())
        await place.source.read([queue()])
        assert len(place.server.described_builds) == 2

    async def test_a_new_task_queue_of_a_build_is_read_at_once(self, place: Place) -> None:
        place.know(V1, CURRENT, ("orders", WORKFLOW, 7), ("mails", WORKFLOW, 8))
        await place.source.read([queue()])
        readings = await place.source.read([queue(), queue("mails")])
        assert readings[queue("mails")].waiting == 8  # type: ignore[union-attr]


class TestServersThatLeaveFiguresOut:
    """Temporal Server up to 1.28 knows builds, but not how many of their tasks wait."""

    LISTED = DescribeWorkerDeploymentVersionResponse.VersionTaskQueue(name="orders", type=WORKFLOW)
    POLLED = WorkerDeploymentVersionInfo.VersionTaskQueueInfo(name="orders", type=WORKFLOW)
    OTHER = WorkerDeploymentVersionInfo.VersionTaskQueueInfo(name="mails", type=ACTIVITY)

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(
                DescribeWorkerDeploymentVersionResponse(
                    worker_deployment_version_info=WorkerDeploymentVersionInfo(status=CURRENT),
                    version_task_queues=[LISTED],
                ),
                id="of-a-task-queue-in-the-list",
            ),
            pytest.param(
                DescribeWorkerDeploymentVersionResponse(
                    worker_deployment_version_info=WorkerDeploymentVersionInfo(
                        status=CURRENT, task_queue_infos=[POLLED]
                    ),
                ),
                id="of-all-task-queues",
            ),
            pytest.param(
                DescribeWorkerDeploymentVersionResponse(
                    worker_deployment_version_info=WorkerDeploymentVersionInfo(
                        status=CURRENT, task_queue_infos=[OTHER]
                    ),
                ),
                id="of-another-task-queue-of-the-build",
            ),
            pytest.param(DescribeWorkerDeploymentVersionResponse(), id="of-the-build"),
        ],
    )
    async def test_the_build_is_unknown_and_not_empty(
        self, place: Place, answer: DescribeWorkerDeploymentVersionResponse
    ) -> None:
        place.server.builds["shop", "v1"] = answer
        place.server.version = "1.28.1"
        why = (await place.source.read([queue()]))[queue()]
        assert isinstance(why, BacklogUnavailable)
        assert str(why).startswith(
            "integration default: reading the backlog of build shop:v1 in namespace shop at"
            " temporal:7233 failed (Temporal Server 1.28.1 left out "
        )
        assert "; it takes Temporal Server 1.29 or later" in str(why)

    async def test_a_server_without_the_call_is_too_old(self, place: Place) -> None:
        place.break_(RPCStatusCode.UNIMPLEMENTED)
        why = str((await place.source.read([queue()]))[queue()])
        assert "; it takes Temporal Server 1.29 or later" in why

    async def test_task_queues_without_a_build_are_read_all_the_same(self, place: Place) -> None:
        place.server.builds["shop", "v1"] = DescribeWorkerDeploymentVersionResponse(
            worker_deployment_version_info=WorkerDeploymentVersionInfo(status=CURRENT),
            version_task_queues=[self.LISTED],
        )
        place.server.stats["mails"] = waiting_tasks(7)
        mails = queue("mails", version=None)
        for _ in range(2):
            readings = await place.source.read([queue(), mails])
            assert isinstance(readings[queue()], BacklogUnavailable)
            assert readings[mails] == stats(7)
            place.clock.advance(FRESH.total_seconds())

    async def test_a_task_queue_that_no_worker_has_polled_is_empty(self, place: Place) -> None:
        place.know(V1, CURRENT)
        assert (await place.source.read([queue()]))[queue()].waiting == 0  # type: ignore[union-attr]


class TestTrouble:
    async def test_a_missing_namespace_is_an_error_and_not_an_unknown_build(
        self, place: Place
    ) -> None:
        place.break_(RPCStatusCode.NOT_FOUND, NamespaceNotFoundFailure(namespace="shop"))
        answer = (await place.source.read([queue()]))[queue()]
        assert isinstance(answer, BacklogUnavailable)
        assert str(answer).endswith("check that namespace shop exists there")

    async def test_any_other_not_found_means_an_unknown_build(self, place: Place) -> None:
        place.break_(RPCStatusCode.NOT_FOUND, NotFoundFailure())
        answer = (await place.source.read([queue()]))[queue()]
        assert answer == stats(0, build=BuildStatus.NEVER_POLLED)

    async def test_any_other_failure_makes_all_task_queues_unknown(self, place: Place) -> None:
        place.break_(RPCStatusCode.RESOURCE_EXHAUSTED)
        queues = [queue(), queue("mails")]
        answers = await place.source.read(queues)
        assert {type(answers[each]) for each in queues} == {BacklogUnavailable}
        assert len({str(answers[each]) for each in queues}) == 1
        assert len(place.server.described_builds) == 1

    async def test_an_invalid_build_id_concerns_one_build_only(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = place.server.describe_worker_deployment_version

        async def refuses(request: object, **options: object) -> object:
            if request.deployment_version.build_id == "v1":  # type: ignore[attr-defined]
                raise RPCError("bad build id", RPCStatusCode.INVALID_ARGUMENT, b"")
            return await answer(request, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(place.server, "describe_worker_deployment_version", refuses)
        place.know(V2, CURRENT, ("orders", WORKFLOW, 5))
        readings = await place.source.read([queue(), queue(version=V2)])
        assert "INVALID_ARGUMENT: bad build id" in str(readings[queue()])
        assert readings[queue(version=V2)].waiting == 5  # type: ignore[union-attr]

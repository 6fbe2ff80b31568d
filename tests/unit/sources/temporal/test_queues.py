"""The backlog of one task queue, read by DescribeTaskQueue."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueueStats, TaskQueueVersioningInfo
from temporalio.service import ServiceClient

from autoscaler.core.label_values import QueueType
from autoscaler.sources.temporal.missing import MissingError
from autoscaler.sources.temporal.queues import (
    TYPES,
    ask_queue,
    queue_stats,
    read_queue,
)
from tests.fakes.temporal import FakeTemporal
from tests.unit.builders import stats


def test_every_queue_type_has_a_type_of_temporal() -> None:
    assert set(TYPES) == set(QueueType)
    assert TaskQueueType.TASK_QUEUE_TYPE_UNSPECIFIED not in TYPES.values()
    assert len(set(TYPES.values())) == len(TYPES)


def test_all_the_servers_figures_are_returned() -> None:
    answer = TaskQueueStats(
        approximate_backlog_count=7,
        approximate_backlog_age=Duration(seconds=90),
        tasks_add_rate=1.5,
        tasks_dispatch_rate=0.5,
        rate_limiting_active=True,
    )
    assert queue_stats(answer, pollers=3, deployment="shop") == stats(
        7,
        age=timedelta(seconds=90),
        add_rate=1.5,
        dispatch_rate=0.5,
        rate_limited=True,
        pollers=3,
        deployment="shop",
    )


@pytest.mark.parametrize(
    ("versioning", "deployment"),
    [
        pytest.param(None, "", id="unversioned"),
        pytest.param(
            TaskQueueVersioningInfo(
                current_deployment_version=WorkerDeploymentVersion(
                    deployment_name="shop", build_id="v1"
                )
            ),
            "shop",
            id="of-a-worker-deployment",
        ),
    ],
)
async def test_a_reading_of_all_builds_names_their_deployment(
    versioning: TaskQueueVersioningInfo | None, deployment: str
) -> None:
    server = FakeTemporal()
    if versioning is not None:
        server.versioning["orders"] = versioning
    client = cast("ServiceClient", server)
    read = read_queue(await ask_queue(client, "shop", "orders", QueueType.ACTIVITY))
    assert read == stats(0, deployment=deployment)


async def test_a_server_that_leaves_the_figures_out_is_not_an_empty_queue() -> None:
    server = FakeTemporal()
    server.lacks_stats = True
    client = cast("ServiceClient", server)
    answer = await ask_queue(client, "shop", "orders", QueueType.ACTIVITY)
    with pytest.raises(MissingError) as caught:
        read_queue(answer)
    assert caught.value.since == "1.28"


@pytest.mark.parametrize(
    ("waiting", "age"),
    [
        pytest.param(0, timedelta(), id="where-none-waits-there-is-no-age"),
        pytest.param(7, None, id="where-tasks-wait-it-is-unknown"),
    ],
)
def test_an_age_that_is_left_out_is_no_age_of_zero(waiting: int, age: timedelta | None) -> None:
    assert queue_stats(TaskQueueStats(approximate_backlog_count=waiting), pollers=0).age == age

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
from autoscaler.sources.temporal.queues import (
    TYPES,
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
    read = await read_queue(client, "shop", "orders", QueueType.ACTIVITY)
    assert read == stats(0, deployment=deployment)

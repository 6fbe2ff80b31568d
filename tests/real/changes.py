"""One change of replicas on real parts, made as the daemon makes it."""

from __future__ import annotations

from datetime import UTC, datetime

from autoscaler.change import Changes, Order
from autoscaler.core.label_values import Busy
from autoscaler.core.model import ScalingAction, ServiceId
from autoscaler.core.spec import ScalingSpec
from autoscaler.ports import Orchestrator
from tests.fakes.backlog import FakeBacklogSource


async def change_replicas(
    orchestrator: Orchestrator, service: ServiceId, current: int, desired: int
) -> None:
    """Change the number of replicas, whatever they run; raises OrchestratorError.

    Returns when new replicas have been started, or when those that go no longer count.
    """
    changes = Changes(
        {orchestrator.name: orchestrator}, FakeBacklogSource(), lambda: datetime.now(UTC)
    )
    spec = ScalingSpec(queues=("any",), busy=Busy.IGNORE)
    action = ScalingAction(service, current, desired)
    await changes.make(Order(action, spec, reported=False, unstarted=False))

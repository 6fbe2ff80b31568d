"""Three nodes, 20 tasks, 5 at work anywhere: which ones go, and what happens to the others.

`python -m tests.matrix.choice` tries as many layouts as one likes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from autoscaler.orchestrators.engine import Engine
from tests.matrix.choice import labels, lay_out, trial
from tests.matrix.cluster import Cluster, Stack
from tests.matrix.faults import FAULTS
from tests.matrix.ours import Ours
from tests.real.waiting import LIMIT


def prepare(cluster: Cluster, stack: Stack, choice: str, luck: random.Random) -> None:
    """Bring 20 tasks to the nodes, unevenly."""
    stack.deploy(1, labels_of_deploy=labels(choice))
    lay_out(cluster, stack, luck)


@pytest.mark.parametrize("fault", ["", *FAULTS])
async def test_with_any_the_idle_tasks_go_and_no_busy_one(
    cluster: Cluster, stack: Stack, fault: str
) -> None:
    """With a fault of one node, those on the other nodes; the warning names the node."""
    luck = random.Random(1)
    await asyncio.to_thread(prepare, cluster, stack, "any", luck)
    outcome = await trial(cluster, stack, luck, "any", fault, within=LIMIT)
    assert not outcome.broken, outcome


async def test_in_swarms_own_order_tasks_go_as_far_as_they_are_idle(
    cluster: Cluster, stack: Stack
) -> None:
    luck = random.Random(3)
    await asyncio.to_thread(prepare, cluster, stack, "order", luck)
    outcome = await trial(cluster, stack, luck, "order", within=LIMIT)
    assert not outcome.broken, outcome


@pytest.fixture
def second_manager(cluster: Cluster) -> Iterator[None]:
    """A second manager, so that the leader may change."""
    name = next(node for node in cluster.nodes if node != cluster.manager.name)
    cluster.manager.docker("node", "promote", name)
    yield
    cluster.manager.docker("node", "demote", name)


async def test_with_several_managers_the_order_is_used_and_a_warning_says_why(
    cluster: Cluster,
    stack: Stack,
    second_manager: None,  # noqa: ARG001
) -> None:
    luck = random.Random(4)
    await asyncio.to_thread(prepare, cluster, stack, "any", luck)
    outcome = await trial(cluster, stack, luck, "order", within=LIMIT)
    assert not outcome.broken, outcome

    engine = Engine(cluster.manager.environment)
    agents = cluster.agents.asked_by(engine, cluster.ids())
    hands = Ours(cluster, stack, agents, engine)
    hands.busy_on({str(each.host) for each in await hands.replicas()})
    await hands.tick()
    report = await hands.tick()
    engine.close()
    assert any("the Swarm has 2 managers" in warning for warning in report.warnings)

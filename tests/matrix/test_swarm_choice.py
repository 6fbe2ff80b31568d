"""Three nodes, 20 tasks, 5 at work anywhere: which ones go, and what happens to the others.

`python -m tests.matrix.choice` tries as many layouts as one likes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.matrix.choice import BUSY, TASKS, labels, lay_out, trial
from tests.matrix.cluster import Cluster, Stack, ours


def prepare(cluster: Cluster, stack: Stack, choice: str, luck: random.Random) -> None:
    """Bring 20 tasks to the nodes, unevenly."""
    stack.deploy(1, labels_of_deploy=labels(choice))
    lay_out(cluster, stack, luck)


@pytest.mark.parametrize("fault", ["", "killed"])
async def test_with_any_all_idle_tasks_go_and_no_busy_one(
    cluster: Cluster, stack: Stack, fault: str
) -> None:
    luck = random.Random(1)
    await asyncio.to_thread(prepare, cluster, stack, "any", luck)
    outcome = await trial(cluster, stack, luck, "any", fault)
    assert (outcome.gone, outcome.lost, outcome.frozen) == (TASKS - BUSY, 0, False)


@pytest.mark.parametrize("fault", ["silent", "cut-off"])
async def test_where_an_agent_does_not_answer_no_busy_task_goes(
    cluster: Cluster, stack: Stack, fault: str
) -> None:
    luck = random.Random(2)
    await asyncio.to_thread(prepare, cluster, stack, "any", luck)
    outcome = await trial(cluster, stack, luck, "any", fault)
    assert (outcome.lost, outcome.frozen) == (0, False)


async def test_in_swarms_own_order_tasks_go_as_far_as_they_are_idle(
    cluster: Cluster, stack: Stack
) -> None:
    luck = random.Random(3)
    await asyncio.to_thread(prepare, cluster, stack, "order", luck)
    outcome = await trial(cluster, stack, luck, "order")
    assert (outcome.gone, outcome.lost) == (outcome.next_idle, 0)


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
    outcome = await trial(cluster, stack, luck, "order")
    assert (outcome.gone, outcome.lost) == (outcome.next_idle, 0)

    agents = cluster.agents()
    async with ours(cluster, stack, agents) as hands:
        hands.busy_on({str(each.host) for each in await hands.replicas()})
        await hands.tick()
        report = await hands.tick()
    await agents.close()
    assert any("the Swarm has 2 managers" in warning for warning in report.warnings)

"""Scaling in a Swarm of three nodes keeps running tasks, whatever happens to the nodes."""

from __future__ import annotations

import asyncio

from tests.matrix.cluster import Cluster, Stack
from tests.matrix.ours import ours
from tests.real.waiting import until

FAILING = ["sh", "-c", "exit 1"]


async def test_growth_spreads_over_the_nodes_and_keeps_running_tasks(
    cluster: Cluster, stack: Stack
) -> None:
    stack.deploy(3)
    before = stack.running()

    async with ours(cluster, stack) as hands:
        await hands.apply(3, 9)
    stack.await_running(9)

    assert before.items() <= stack.running().items()
    assert set(stack.running().values()) == set(cluster.nodes)


async def test_the_new_tasks_are_in_the_overlay_network(cluster: Cluster, stack: Stack) -> None:
    stack.deploy(3)
    async with ours(cluster, stack) as hands:
        await hands.apply(3, 6)
    stack.await_running(6)

    for node in cluster.nodes:
        until(
            lambda node=node: stack.resolve("tasks.worker", on=node).count("Address: 10.") == 6,
            f"six addresses on {node}",
        )


async def test_scale_in_stops_the_right_number_and_keeps_the_others(
    cluster: Cluster, stack: Stack
) -> None:
    stack.deploy(9)
    before = stack.running()

    async with ours(cluster, stack) as hands:
        await hands.apply(9, 4)
    stack.await_running(4)

    assert stack.running().items() <= before.items()


async def test_scaling_after_a_node_is_lost(cluster: Cluster, stack: Stack) -> None:
    stack.deploy(6)
    *_, lost = cluster.nodes
    kept = {task: node for task, node in stack.running().items() if node != lost}
    cluster.kill(lost)
    until(lambda: live(stack, lost) == 6, "six tasks on the nodes that are left")

    async with ours(cluster, stack) as hands:
        await hands.apply(6, 8)
    until(lambda: live(stack, lost) == 8, "eight tasks on the nodes that are left")

    assert kept.items() <= stack.running().items()
    cluster.heal()
    cluster.await_ready()
    stack.await_running(8)
    assert kept.items() <= stack.running().items()


async def test_scaling_while_a_node_is_drained(cluster: Cluster, stack: Stack) -> None:
    stack.deploy(6)
    *_, drained = cluster.nodes
    kept = {task: node for task, node in stack.running().items() if node != drained}

    async with ours(cluster, stack) as hands:
        cluster.drain(drained)
        await hands.apply(6, 9)
    until(lambda: live(stack, drained) == 9, "nine tasks on the other nodes")

    assert stack.replicas() == 9
    assert kept.items() <= stack.running().items()


async def test_a_rollout_is_waited_for_and_then_scaled_without_another_one(
    cluster: Cluster, stack: Stack
) -> None:
    stack.deploy(4)
    async with ours(cluster, stack) as hands:
        await hands.tick_until(6)

        stack.deploy(4, version="2", wait=False)
        assert "a rollout is under way" in await hands.tick_until_refused()
        await hands.tick_until(6)

    assert stack.versions() == ["2"] * 6
    # The rollout replaced each replica of the file once; the others are new.
    assert max(stack.starts().values()) <= 2
    assert sum(stack.starts().values()) <= 4 + 2 + 4 + 2


async def test_a_failed_rollout_is_rolled_back_while_the_daemon_ticks(
    cluster: Cluster, stack: Stack
) -> None:
    """A write during the rollout would replace the specification that Swarm rolls back to."""
    stack.deploy(4)
    async with ours(cluster, stack) as hands:
        await hands.tick_until(6)

        await asyncio.gather(
            asyncio.to_thread(stack.deploy, 4, version="broken", command=FAILING, wait=False),
            hands.tick_while(lambda: stack.update_state() != "rollback_completed"),
        )
        await hands.tick_until(6)

    assert stack.versions() == ["1"] * 6


async def test_replicas_that_a_deploy_of_the_same_file_removed_come_back(
    cluster: Cluster, stack: Stack
) -> None:
    stack.deploy(3)
    async with ours(cluster, stack) as hands:
        await hands.tick_until(6)

        await asyncio.gather(asyncio.to_thread(stack.deploy, 3, wait=False), hands.tick_until(6))
        stack.deploy(3)
        left = stack.running()
        await hands.tick_until(6)

    assert left.items() <= stack.running().items()
    assert set(stack.starts().values()) == {1}


async def test_two_writers_at_once_end_where_the_labels_say(cluster: Cluster, stack: Stack) -> None:
    stack.deploy(2)
    before = stack.running()

    def by_hand(replicas: int) -> None:
        done = cluster.manager.attempt(
            "service", "scale", "--detach", f"{stack.service}={replicas}"
        )
        assert done.returncode == 0 or "update out of sequence" in done.stderr

    async with ours(cluster, stack) as hands:
        for theirs in (4, 5, 7):
            current = stack.replicas()
            await asyncio.gather(
                asyncio.to_thread(by_hand, theirs), hands.apply(current, current + 1)
            )
            # Either write was the last. Ours never changes a number that it has not seen.
            assert stack.replicas() in (theirs, current + 1)
        await hands.tick_until(8)

    assert set(stack.starts().values()) == {1}
    assert before.items() <= stack.running().items()


def live(stack: Stack, without: str) -> int:
    """Count the running tasks on nodes other than this one."""
    return sum(node != without for node in stack.running().values())

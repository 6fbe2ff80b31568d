"""Three nodes, unevenly filled: whatever the layout, no busy task is stopped, and idle ones are.

The tasks are small containers; which of them are at work, a source of backlogs in memory says.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Collection

import pytest

from autoscaler.core.model import Replica
from tests.matrix.cluster import LABELS, Cluster, Stack, closed
from tests.matrix.ours import Ours, ours
from tests.real.waiting import until

LAYOUTS = 6
"""Random layouts for each seed. One takes 5 to 15 s."""
LABELS_OF_LAYOUTS = LABELS | {"temporal.min": "0", "temporal.scale-in.window": "0s"}
LABELS_OF_LAYOUTS |= {"temporal.cooldown": "0s"}
TICKS = 4
"""Looks at one layout: later ones find what the first left."""


def lay_out(cluster: Cluster, stack: Stack, luck: random.Random) -> None:
    """Fill the nodes unevenly: in each of two steps only some of them take tasks."""
    stack.scale(0)
    for replicas in sorted(luck.sample(range(3, 10), 2)):
        with closed(cluster, luck.sample(sorted(cluster.nodes), luck.randint(1, 2))):
            stack.scale(replicas)


def first_turn(replicas: Collection[Replica]) -> set[str]:
    """Return the ids of the tasks that the Swarm would stop first."""
    first = min(each.turn for each in replicas)
    return {each.id for each in replicas if each.turn == first}


async def shrink(
    hands: Ours, stack: Stack, luck: random.Random, *, spare_first: bool
) -> tuple[bool, str]:
    """Make some tasks busy and ask for none; return whether idle ones were next, and a failure.

    With `spare_first`, no task of the first turn is busy, where there are others.
    """
    before = {each.id: each for each in await hands.replicas()}
    next_to_go = first_turn(before.values())
    others = sorted(before.keys() - next_to_go)
    may_be_busy = others if spare_first and others else sorted(before)
    busy = set(luck.sample(may_be_busy, luck.randint(1, len(may_be_busy))))
    hands.busy_on({str(before[id_].host) for id_ in busy})
    for _ in range(TICKS):
        await hands.tick()
    after = {each.id for each in await hands.replicas()}
    gone = before.keys() - after
    idle_next = next_to_go.isdisjoint(busy)
    nodes = Counter(stack.running().values())
    failures = (
        f"busy tasks went: {gone & busy}" if gone & busy else "",
        f"tasks were stopped in vain: {after - before.keys()}" if after - before.keys() else "",
        "idle tasks were next, and not all of them went" if idle_next and next_to_go - gone else "",
    )
    failure = "; ".join(filter(None, failures))
    return idle_next, failure and f"{failure}; left: {dict(nodes)}"


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_busy_task_is_stopped_and_idle_ones_in_the_first_turn_are(
    cluster: Cluster, stack: Stack, seed: int
) -> None:
    luck = random.Random(seed)
    stack.deploy(1, labels_of_deploy=LABELS_OF_LAYOUTS)
    seen: Counter[bool] = Counter()
    async with ours(cluster, stack) as hands:
        for number in range(LAYOUTS):
            await asyncio.to_thread(lay_out, cluster, stack, luck)
            layout = Counter(stack.running().values())
            idle_next, failure = await shrink(hands, stack, luck, spare_first=number % 2 == 0)
            assert not failure, f"seed {seed}, layout {number}, {dict(layout)}: {failure}"
            seen[idle_next] += 1
    until(lambda: len(stack.running()) == stack.replicas(), "as many tasks as replicas")
    assert seen[True], "no layout had idle tasks in the first turn"
    assert seen[False], "no layout had a busy task in the first turn"

"""Which tasks go: random layouts of 20 tasks on three nodes, 5 of them busy, and none are wanted.

    python -m tests.matrix.choice any|order TRIALS [ENGINE] [SEED] [FAULT]

Each trial prints a line of JSON, and the end a summary for each fault. The exit code is 1 where a
busy task was lost or another promise was broken. FAULT, with `any`, is one of

    killed         the daemon dies at a random call from the freezing on
    agent-killed   the agent on one node is killed at a random moment from the first stop on
    agent-gone     the agent on one node is killed before the daemon looks
    cut-off        one node loses its network at a random moment from the first stop on
    false-secret   the agent on one node has another secret than the daemon
    each           all of them, in turn

The agents are those of the image, one on each node. The tasks are small containers; which of them
are at work, a source of backlogs in memory says.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.swarm.frost import is_frozen
from tests.matrix.cluster import LABELS, Cluster, Stack, closed, three_nodes
from tests.matrix.faults import (
    AGENT_GONE,
    AGENT_KILLED,
    CUT_OFF,
    FALSE_SECRET,
    FAULTS,
    KILLED,
    NodeFault,
    let_a_daemon_die,
)
from tests.matrix.ours import Ours
from tests.matrix.outcome import Outcome, first_idle, summary
from tests.real.waiting import until

TASKS, BUSY = 20, 5
WITHIN = 60.0
"""Seconds in which idle tasks have to be gone."""
QUIET_TICKS = 3
"""Ticks in which nothing goes, after which nothing more goes."""


def labels(choice: str) -> dict[str, str]:
    """Return the labels of a service without waiting times."""
    more = {"temporal.min": "0", "temporal.cooldown": "0s", "temporal.scale-in.window": "0s"}
    return LABELS | more | {"temporal.swarm-choice": choice}


def lay_out(cluster: Cluster, stack: Stack, luck: random.Random) -> None:
    """Bring the service to 20 tasks, unevenly: some of them start while nodes are closed."""
    cluster.await_ready()
    stack.scale(luck.randint(0, BUSY))
    for replicas in (luck.randint(BUSY + 1, TASKS - 1), TASKS):
        with closed(cluster, luck.sample(sorted(cluster.nodes), luck.randint(0, 2))):
            stack.scale(replicas)


async def trial(  # noqa: PLR0913 - what one layout is about
    cluster: Cluster,
    stack: Stack,
    luck: random.Random,
    choice: str,
    fault: str = "",
    *,
    within: float = WITHIN,
) -> Outcome:
    """Make five random tasks busy, ask for none, and return what became of them.

    Idle tasks have to go `within` so many seconds of the daemon, or of the next where one dies.
    """
    await asyncio.to_thread(cluster.agents.ready)
    engine = Engine(cluster.manager.environment)
    agents = cluster.agents.asked_by(engine, cluster.ids())
    hands = Ours(cluster, stack, agents, engine)
    try:
        replicas = await hands.replicas()
        before = stack.running()
        busy = luck.sample(sorted(replicas, key=lambda each: each.id), BUSY)
        watched = {each.id for each in busy}
        idle = before.keys() - watched
        first = first_idle(replicas, watched)
        outcome = Outcome(choice, fault, dict(Counter(before.values())), len(first))
        must_go = first if choice == "order" else idle
        hosts = {str(each.host) for each in busy}
        if fault == KILLED:
            await let_a_daemon_die(cluster, stack, hosts, luck)
            outcome.killed_frozen = frozen(cluster, stack)
        node = NodeFault(cluster, fault, luck) if fault not in ("", KILLED) else None
        if node is not None:
            must_go = {id_ for id_ in idle if before[id_] != node.node}
            outcome.problems += await node.begin(agents, stack)
        if node is not None and fault == CUT_OFF:
            watched = {id_ for id_ in watched if before[id_] != node.node}
        hands.busy_on(hosts)
        began = time.monotonic()
        went, warnings = await down(hands, stack, must_go, node, began + within)
        outcome.seconds = round(went - began, 1)
        if node is not None:
            await node.end()
        if fault in (AGENT_KILLED, AGENT_GONE, FALSE_SECRET):
            outcome.problems += unnamed(node, warnings, stack)
        cluster.heal()
        after = stack.running()
        outcome.gone = len(idle - after.keys())
        outcome.stayed = len(must_go & after.keys())
        outcome.lost = len(watched - after.keys())
        outcome.vain = len(after.keys() - before.keys())
        outcome.frozen = frozen(cluster, stack)
        return outcome
    finally:
        engine.close()


def frozen(cluster: Cluster, stack: Stack) -> bool:
    """Return whether the service is frozen now."""
    text = cluster.manager.docker("service", "inspect", stack.service)
    return is_frozen(json.loads(text)[0]["Spec"])


def unnamed(node: NodeFault | None, warnings: Collection[str], stack: Stack) -> list[str]:
    """Return a problem where no warning names a node that has tasks, and whose agent is silent."""
    if node is None or node.node not in stack.running().values():
        return []
    return [] if any(node.node in each for each in warnings) else ["no warning names the node"]


async def down(
    hands: Ours,
    stack: Stack,
    must_go: Collection[str],
    fault: NodeFault | None,
    deadline: float,
) -> tuple[float, Collection[str]]:
    """Tick until all that must go is gone, and nothing more goes after the fault.

    Return when all was gone, and the warnings of the last ticks.
    """
    quiet, last, went = 0, -1, 0.0
    warnings: list[str] = []
    while time.monotonic() < deadline and quiet < QUIET_TICKS:
        report = await hands.tick()
        if not went and stack.running().keys().isdisjoint(must_go):
            went = time.monotonic()
        left = stack.replicas()
        calm = went and left == last and (fault is None or fault.over)
        quiet = quiet + 1 if calm else 0
        warnings = [*warnings, *report.warnings] if calm else []
        last = left
        await asyncio.sleep(0.5)
    return went or time.monotonic(), warnings


async def trials(  # noqa: PLR0913 - the arguments of the command
    cluster: Cluster, folder: Path, choice: str, number: int, *, seed: int, fault: str
) -> int:
    """Try so many layouts; return in how many of them a promise was broken."""
    seen: list[Outcome] = []
    stack = Stack(cluster, folder)
    stack.deploy(1, labels_of_deploy=labels(choice))
    for each in range(number):
        luck = random.Random(f"{seed} {each}")
        await asyncio.to_thread(lay_out, cluster, stack, luck)
        one = FAULTS[each % len(FAULTS)] if fault == "each" else fault
        seen.append(await trial(cluster, stack, luck, choice, one))
        print(json.dumps({"trial": each, "seed": seed, **seen[-1].line()}), flush=True)
        until(lambda: len(stack.running()) == stack.replicas(), "as many tasks as replicas")
    stack.close()
    for kind in sorted({each.fault for each in seen}):
        print(json.dumps(summary([each for each in seen if each.fault == kind])), flush=True)
    return sum(bool(each.broken) for each in seen)


def main(choice: str, number: str, engine: str = "26.1", seed: str = "1", fault: str = "") -> int:
    """Run the trials; return the exit code."""
    if fault not in {"any": ("", "each", *FAULTS), "order": ("",)}.get(choice, ()):
        print(__doc__)
        return 2
    with three_nodes(engine) as cluster, tempfile.TemporaryDirectory(prefix="tda-choice-") as made:
        trying = trials(cluster, Path(made), choice, int(number), seed=int(seed), fault=fault)
        return min(1, asyncio.run(trying))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

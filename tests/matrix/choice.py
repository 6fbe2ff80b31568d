"""Which tasks go: random layouts of 20 tasks on three nodes, 5 of them busy, and 5 are wanted.

    python -m tests.matrix.choice any|order TRIALS [ENGINE] [SEED] [FAULT]

Each trial prints a line. A busy task that does not run any more is lost. FAULT is one of `killed`
(the daemon dies at a random call from the freezing on), `silent` (the agent of one node does not
answer) and `cut-off` (one node loses its network while tasks stop). The tasks are small containers;
which of them are at work, a source of backlogs in memory says.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from autoscaler.orchestrators.engine import Engine, Lane
from autoscaler.orchestrators.swarm.frost import is_frozen
from tests.matrix.cluster import LABELS, Cluster, Ours, Stack, closed, three_nodes
from tests.real.agents import EngineAgents
from tests.real.waiting import until

T = TypeVar("T")
TASKS, BUSY = 20, 5
WITHIN = 60
"""Seconds in which idle tasks have to be gone."""
QUIET_TICKS = 3
"""Ticks in which nothing goes, after which nothing more goes in Swarm's own order."""
MOST_CALLS = 12
"""Calls to the engine, from the freezing on, after which a daemon is killed at the latest."""


class Killed(BaseException):
    """What a daemon that is killed sees. Nothing in the daemon catches it."""


class MortalEngine(Engine):
    """An engine as a daemon sees it that is killed so many calls after it has begun to freeze."""

    def __init__(self, environment: dict[str, str], calls: int) -> None:
        super().__init__(environment)
        self._left = calls
        self._freezing = False

    @property
    def dead(self) -> bool:
        """Whether the daemon has been killed."""
        return self._left <= 0

    async def call(self, what: str, work: Callable[[Any], T], lane: Lane = Lane.LOOK) -> T:
        """Call the engine; the last call is made, but its answer reaches nobody."""
        if self.dead:
            raise Killed
        self._freezing = self._freezing or what.startswith("freezing")
        self._left -= self._freezing
        answer = await super().call(what, work, lane)
        if self.dead:
            raise Killed
        return answer


@dataclass
class Outcome:
    """What became of one layout."""

    choice: str
    fault: str
    layout: dict[str, int]
    gone: int = 0
    """Idle tasks that went."""
    lost: int = 0
    """Busy tasks that went."""
    vain: int = 0
    """Tasks that run at the end, and did not at the beginning."""
    next_idle: int = 0
    """Idle tasks that Swarm's own order stops before any busy one can be hit."""
    seconds: float = 0.0
    killed_frozen: bool = False
    """Whether the daemon was killed while the service was frozen."""
    frozen: bool = False
    """Whether the service was still frozen at the end."""


def labels(choice: str) -> dict[str, str]:
    """Return the labels of a service without waiting times."""
    more = {"temporal.min": "0", "temporal.cooldown": "0s", "temporal.scale-in.window": "0s"}
    return LABELS | more | {"temporal.swarm-choice": choice}


def lay_out(cluster: Cluster, stack: Stack, luck: random.Random) -> None:
    """Bring the service to 20 tasks, unevenly: some of them start while nodes are closed."""
    stack.scale(luck.randint(0, BUSY))
    for replicas in (luck.randint(BUSY + 1, TASKS - 1), TASKS):
        with closed(cluster, luck.sample(sorted(cluster.nodes), luck.randint(0, 2))):
            stack.scale(replicas)


def next_idle(replicas: Any, busy: set[str]) -> int:
    """Return how many tasks go in Swarm's own order before a busy one may."""
    turns: dict[int, set[str]] = {}
    for each in replicas:
        turns.setdefault(each.turn, set()).add(each.id)
    idle = 0
    for turn in sorted(turns):
        if turns[turn] & busy:
            break
        idle += len(turns[turn])
    return idle


async def trial(
    cluster: Cluster, stack: Stack, luck: random.Random, choice: str, fault: str = ""
) -> Outcome:
    """Make five random tasks busy, ask for none, and return what became of them."""
    agents = cluster.agents()
    hands = Ours(cluster, stack, agents)
    try:
        replicas = await hands.replicas()
        busy = luck.sample(sorted(replicas, key=lambda each: each.id), BUSY)
        before = stack.running()
        outcome = Outcome(choice, fault, dict(Counter(before.values())))
        outcome.next_idle = next_idle(replicas, {each.id for each in busy})
        hosts = {str(each.host) for each in busy}
        watched = {each.id for each in busy}
        began = time.monotonic()
        if fault == "killed":
            await killed(cluster, stack, agents, hosts, luck.randint(1, MOST_CALLS))
            outcome.killed_frozen = frozen(cluster, stack)
        if fault in ("silent", "cut-off"):
            name = luck.choice(sorted(set(cluster.nodes) - {cluster.manager.name}))
            lose(cluster, agents, name, at_once=fault == "silent")
            if fault == "cut-off":
                watched = {id_ for id_ in watched if before[id_] != name}
        hands.busy_on(hosts)
        await down(hands, stack, choice if not fault or fault == "killed" else "order", began)
        outcome.seconds = round(time.monotonic() - began, 1)
        cluster.heal()
        after = stack.running()
        outcome.gone = len(before.keys() - after.keys() - {each.id for each in busy})
        outcome.lost = len(watched - after.keys())
        outcome.vain = len(after.keys() - before.keys())
        outcome.frozen = frozen(cluster, stack)
        return outcome
    finally:
        hands.engine.close()
        await agents.close()


def frozen(cluster: Cluster, stack: Stack) -> bool:
    """Return whether the service is frozen now."""
    text = cluster.manager.docker("service", "inspect", stack.service)
    return is_frozen(json.loads(text)[0]["Spec"])


async def killed(
    cluster: Cluster, stack: Stack, agents: EngineAgents, hosts: set[str], calls: int
) -> None:
    """Let a daemon work until it is killed."""
    engine = MortalEngine(cluster.manager.environment, calls)
    dying = Ours(cluster, stack, agents, engine)
    dying.busy_on(hosts)
    try:
        for _ in range(MOST_CALLS):
            await dying.tick()
            if engine.dead:
                break
    except Killed:
        pass
    finally:
        engine.close()


def lose(cluster: Cluster, agents: EngineAgents, name: str, *, at_once: bool) -> None:
    """Let the agent on a node be silent: at once, or with its network at the first stop."""
    (node,) = [id_ for id_, each in cluster.ids().items() if each == name]
    if at_once:
        agents.mute.add(node)
        return

    def cut() -> None:
        agents.before_drain = lambda: None
        agents.mute.add(node)
        cluster.cut_off(name)

    agents.before_drain = cut


async def down(hands: Ours, stack: Stack, choice: str, began: float) -> None:
    """Tick until nothing more goes: with any, until only as many as are busy are left."""
    quiet, last = 0, -1
    while time.monotonic() - began < WITHIN and quiet < QUIET_TICKS:
        await hands.tick()
        left = stack.replicas()
        quiet = quiet + 1 if left == last and (choice == "order" or left <= BUSY) else 0
        last = left
        if left <= BUSY and choice == "any":
            break
        await asyncio.sleep(0.5)


async def trials(cluster: Cluster, choice: str, number: int, seed: int, fault: str) -> int:
    """Try so many layouts; return how many busy tasks were lost in them."""
    seen: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="tda-choice-") as folder:
        stack = Stack(cluster, Path(folder))
        stack.deploy(1, labels_of_deploy=labels(choice))
        for each in range(number):
            luck = random.Random(f"{seed} {each}")
            await asyncio.to_thread(lay_out, cluster, stack, luck)
            seen.append(await trial(cluster, stack, luck, choice, fault))
            print(each, json.dumps(asdict(seen[-1])), flush=True)
            until(lambda: len(stack.running()) == stack.replicas(), "as many tasks as replicas")
        stack.close()
    lost = sum(each.lost for each in seen)
    in_time = sum(each.gone == TASKS - BUSY for each in seen)
    print(
        f"{choice} {fault}: {len(seen)} layouts, {lost} busy tasks lost, all 15 idle ones gone in"
    )
    print(f"{in_time}, {sum(each.vain for each in seen)} stopped in vain,")
    print(f"longest {max((each.seconds for each in seen), default=0)} s", flush=True)
    return lost


def main(choice: str, number: str, engine: str = "26.1", seed: str = "1", fault: str = "") -> int:
    """Run the trials; return the exit code."""
    with three_nodes(engine) as cluster:
        return min(1, asyncio.run(trials(cluster, choice, int(number), int(seed), fault)))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

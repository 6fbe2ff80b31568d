"""The tasks of a Swarm service, and in which order the Swarm would stop them. Pure.

The order is that of swarmkit (manager/orchestrator/replicated). Slots without a node, or with
several tasks, go first. Then slots go by how many tasks of the service their node has, the fullest
nodes first. On one node, tasks that do not run go first, then the highest slot. Between nodes with
equally many tasks the order is undefined.

On a Swarm of several nodes, a task that is about to get its node makes the whole order unknown: it
may have one before the number of replicas is written, and then balance may choose any other task.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from autoscaler.core.model import Replica
from autoscaler.core.stopping import DEFAULT_GRACE
from autoscaler.orchestrators.engine import Json
from autoscaler.orchestrators.swarm.frost import can_freeze

_SHORT_ID = 12
_ENDS_WITHIN = timedelta(minutes=1)
"""Time beyond its grace in which a task that was told to stop has ended, if its node is there."""
_BEFORE_START = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready")
_COUNT = ("ready", "running")
"""Desired states of tasks that are one of the replicas, or about to be."""


def in_turn(
    tasks: Iterable[Json], node: str, within_reach: Collection[str] = ()
) -> Sequence[Replica]:
    """Return the replicas of one service, those first that the Swarm would stop first.

    `node` is the id of the Swarm's only node, whose tasks may be stopped by name; empty where the
    Swarm has several nodes. Then all share one turn while a task is about to get its node.
    Tasks on the nodes `within_reach` may be stopped by name while their service is frozen, where
    all of its tasks have a node.
    """
    slots: dict[int, list[Json]] = defaultdict(list)
    for task in tasks:
        if task["DesiredState"] in _COUNT:
            slots[task["Slot"]].append(task)
    if not all(task.get("NodeID") for members in slots.values() for task in members):
        within_reach = ()
    copies: Counter[str] = Counter()
    placed: list[tuple[int, Replica]] = []
    for _, members in sorted(slots.items(), key=lambda slot: (not _runs(slot[1]), slot[0])):
        task = next((each for each in members if is_running(each)), members[0])
        home = task.get("NodeID", "")
        copy = 0
        if home and len(members) == 1:
            copies[home] += 1
            copy = copies[home]
        placed.append((copy, _replica(task, node, within_reach)))
    if not node and any(_is_being_placed(task) for members in slots.values() for task in members):
        return [replace(replica, turn=0) for _, replica in placed]
    last = max((copy for copy, _ in placed), default=0)
    # The undefined ones first of all, then the nth copies before the ones before them.
    turns = ((last - copy + 1 if copy else 0, replica) for copy, replica in placed)
    return [replace(each, turn=turn) for turn, each in sorted(turns, key=lambda entry: entry[0])]


def is_running(task: Mapping[str, Any]) -> bool:
    """Whether the container of a task runs."""
    return bool(task["Status"]["State"] == "running")


def container_of(task: Mapping[str, Any]) -> str:
    """Return the id of a task's container; empty while there is none."""
    return str((task["Status"].get("ContainerStatus") or {}).get("ContainerID") or "")


def ended_for_good(tasks: Iterable[Json], chosen: Collection[str]) -> Collection[str]:
    """Return the ids of those chosen tasks whose replacement is there and has no node.

    As long as their service is frozen, these replacements are the first to go.
    """
    tasks = list(tasks)
    nowhere = {
        task["Slot"] for task in tasks if task["DesiredState"] in _COUNT and not task.get("NodeID")
    }
    return [
        task["ID"]
        for task in tasks
        if task["ID"] in chosen and task["DesiredState"] not in _COUNT and task["Slot"] in nowhere
    ]


def finishing(tasks: Iterable[Json], now: datetime) -> int:
    """Return how many tasks were told to stop by the Swarm and still run.

    With the next scale-in, the Swarm forgets them, and their nodes send the stop signal once more
    (measured on 20.10 and 26.1). A task on a node that is lost never ends: it counts no longer than
    one on a node that is there.
    """
    return sum(_finishes(task, now) for task in tasks)


def least_growth(tasks: Iterable[Json], now: datetime) -> int:
    """Return the fewest replicas that growth may add without repeating a task's stop signal.

    With each write of a service, the Swarm forgets the slots that it has given up, and their nodes
    send the stop signal of what still runs there once more. Growth takes the lowest free slots
    again, and what runs in these is not forgotten (measured on 26.1). 0: any number may be added.
    """
    tasks = list(tasks)
    held = {task["Slot"] for task in tasks if task["DesiredState"] in _COUNT}
    given_up = {task["Slot"] for task in tasks if _finishes(task, now)} - held
    return sum(slot not in held for slot in range(1, max(given_up, default=0) + 1))


def grace_of_task(task: Json) -> timedelta:
    """Return the time between stop signal and kill that a task has."""
    grace = (task["Spec"].get("ContainerSpec") or {}).get("StopGracePeriod")
    return DEFAULT_GRACE if grace is None else timedelta(microseconds=grace / 1000)


def _finishes(task: Json, now: datetime) -> bool:
    return (
        task["DesiredState"] not in _COUNT
        and is_running(task)
        and now - datetime.fromisoformat(task["UpdatedAt"]) < grace_of_task(task) + _ENDS_WITHIN
    )


def _is_being_placed(task: Mapping[str, Any]) -> bool:
    """Whether a task gets a node any moment. One that cannot be placed says so, and waits."""
    return not task.get("NodeID") and not task["Status"].get("Err")


def _runs(tasks: Iterable[Json]) -> bool:
    return any(map(is_running, tasks))


def _replica(task: Json, node: str, within_reach: Collection[str]) -> Replica:
    container, home = container_of(task), task.get("NodeID")
    made_up_for = is_running(task) and _is_restarted(task)
    together = made_up_for and home in within_reach and can_freeze(task["Spec"])
    return Replica(
        id=task["ID"],
        host=container[:_SHORT_ID] if container and not _has_a_name(task) else None,
        choosable=together or (made_up_for and home == node),
        vacates=not together,
        started=task["Status"]["State"] not in _BEFORE_START,
        placed=bool(task.get("NodeID")),
    )


def _has_a_name(task: Json) -> bool:
    """Whether the host name is not the container's short id: set by hand, or the host's own."""
    named = (task["Spec"].get("ContainerSpec") or {}).get("Hostname")
    networks = (each["Network"] for each in task.get("NetworksAttachments") or ())
    return bool(named) or any(
        (network.get("DriverState") or {}).get("Name") == "host" for network in networks
    )


def _is_restarted(task: Json) -> bool:
    """Whether the Swarm makes up for a task however it ends: then its slot is the first to go."""
    policy = task["Spec"].get("RestartPolicy") or {}
    return policy.get("Condition") in (None, "", "any") and not policy.get("MaxAttempts")

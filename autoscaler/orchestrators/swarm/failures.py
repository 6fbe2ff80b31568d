"""Why a Swarm service has fewer tasks than it should, and who brought it to zero. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from autoscaler.core.model import EndedBy, Ending
from autoscaler.orchestrators.engine import Json

RECENT = timedelta(minutes=1)
"""A failure this young speaks against more tasks: Swarm starts a failing task again and again."""
_FAILED = ("failed", "rejected")
_ENDED = (*_FAILED, "complete")
_WANTED = ("ready", "running")
"""Desired states of tasks that run, or that the Swarm is about to start."""


def stuck(tasks: Sequence[Json]) -> str | None:
    """Return why more tasks could not run either: one cannot be placed. None where all can."""
    for task in tasks:
        status = task["Status"]
        if task["DesiredState"] == "running" and status["State"] == "pending" and status.get("Err"):
            return f"a task cannot be placed ({status['Err']})"
    return None


class Failures:
    """Tasks that have ended by themselves, each counted once."""

    def __init__(self) -> None:
        self._counted: dict[str, frozenset[str]] = {}
        """Ids of the failed tasks of the latest look, by the name of the service."""
        self._told: dict[str, set[str]] = defaultdict(set)
        """Ids of the tasks that the daemon has told to stop, by the name of the service."""

    def told_to_stop(self, name: str, task: str) -> None:
        """Expect the end of a task: the Swarm calls it failed where its exit code is not 0."""
        self._told[name].add(task)

    def look(self, name: str, tasks: Sequence[Json], now: datetime) -> tuple[Ending | None, int]:
        """Return the crash of a service, and how many tasks have failed since the look before.

        `tasks` are all of the service, or none where nobody has asked for them.
        """
        if tasks:
            self._told[name].intersection_update(task["ID"] for task in tasks)
        tasks = [task for task in tasks if task["ID"] not in self._told[name]]
        recent = [task for task in tasks if _state(task) in _FAILED and _age(task, now) < RECENT]
        ids = frozenset(task["ID"] for task in recent)
        failed = len(ids - self._counted.get(name, frozenset()))
        self._counted[name] = ids
        see = f"see `docker service ps --no-trunc {name}`"
        down = [task for task in _latest_of_dead_slots(tasks) if _state(task) in _ENDED]
        if down:
            story = (
                f"a task ended by itself ({_why(down[0])}), and its restart policy starts no other;"
                f" {see}"
            )
            return Ending(EndedBy.ITSELF, seen=True, story=story), failed
        if recent:
            latest = max(recent, key=lambda task: str(task["Status"]["Timestamp"]))
            story = f"a task ended by itself ({_why(latest)}), and the Swarm starts another; {see}"
            retry_at = now - max(_age(latest, now), timedelta()) + RECENT
            return Ending(EndedBy.ITSELF, seen=True, story=story, retry_at=retry_at), failed
        return None, failed

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop what is known of services that are gone."""
        self._counted = {name: ids for name, ids in self._counted.items() if name in names}
        for name in self._told.keys() - names:
            del self._told[name]


class Zero:
    """Who has brought a service to zero: the daemon, or somebody else."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[int, int]] = {}
        """The number that the daemon asked for last, and the version that it replaced."""
        self._replicas: dict[str, int] = {}
        """The number at the latest look."""
        self._endings: dict[str, Ending | None] = {}
        """Of the services at zero."""

    def asked_for(self, name: str, replicas: int, version: int) -> None:
        """Note a number that the daemon is about to write in place of a version of the service."""
        self._asked[name] = replicas, version

    def look(self, row: Json, replicas: int) -> Ending | None:
        """Return that somebody else has brought a service to zero; None where nobody has."""
        name: str = row["Spec"]["Name"]
        before, self._replicas[name] = self._replicas.get(name), replicas
        if replicas:
            self._endings.pop(name, None)
            # A list that was made before the daemon wrote still shows the version from then.
            if name in self._asked and row["Version"]["Index"] > self._asked[name][1]:
                del self._asked[name]
            return None
        if name not in self._endings:
            self._endings[name] = self._judge(row, before)
        return self._endings[name]

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop what is known of services that are gone."""
        self._asked = {name: each for name, each in self._asked.items() if name in names}
        self._replicas = {name: each for name, each in self._replicas.items() if name in names}
        self._endings = {name: each for name, each in self._endings.items() if name in names}

    def _judge(self, row: Json, before: int | None) -> Ending | None:
        name = row["Spec"]["Name"]
        if name in self._asked and self._asked[name][0] == 0:
            return None
        if before:
            return Ending(EndedBy.HAND, seen=True)
        # The previous spec is that before the latest write, of whomever.
        previous = row.get("PreviousSpec")
        by_hand = before is None and previous is not None and replicas_of(previous) > 0
        return Ending(EndedBy.HAND, seen=False) if by_hand else None


def replicas_of(spec: Json) -> int:
    """Return the number of replicas in a service's spec; 0 where its mode has none."""
    replicated = spec["Mode"].get("Replicated")
    # The API leaves out a number that was never set. Swarm then runs one task.
    return 0 if replicated is None else int(replicated.get("Replicas", 1))


def _latest_of_dead_slots(tasks: Sequence[Json]) -> Sequence[Json]:
    """Return the latest task of each slot in which the Swarm runs none and starts none."""
    slots: Mapping[int, list[Json]] = defaultdict(list)
    for task in tasks:
        slots[task["Slot"]].append(task)
    return [
        max(members, key=lambda task: str(task["Status"]["Timestamp"]))
        for members in slots.values()
        if not any(task["DesiredState"] in _WANTED for task in members)
    ]


def _state(task: Json) -> str:
    return str(task["Status"]["State"])


def _why(task: Json) -> str:
    """Return what the Swarm says of a task, such as `task: non-zero exit (3)`."""
    status = task["Status"]
    return str(status.get("Err") or status.get("Message") or status["State"])


def _age(task: Json, now: datetime) -> timedelta:
    return now - datetime.fromisoformat(task["Status"]["Timestamp"])

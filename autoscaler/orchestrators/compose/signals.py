"""Services whose replicas are certain to ignore their stop signal, known before any is stopped.

The first process of a container is shielded by the kernel: a signal that it has no handler for
does nothing to it. Python without a handler is such a process, and so is a shell that has started
the worker. `ps`, run by the engine, shows which signals a process handles.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from docker import APIClient

from autoscaler.core.model import ServiceId
from autoscaler.core.stopping import IgnoredSignal
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.compose.inventory import Inventory
from autoscaler.orchestrators.compose.leaving import signal_number
from autoscaler.orchestrators.engine import GONE, Engine, EngineError, Json, Lane

SETTLED = timedelta(seconds=30)
"""A process that has run for less may still be about to set up its handlers."""
PATIENCE = 5.0
"""Seconds that the first look waits for `ps`, so that commands that look once can tell. No later
look waits: it tells what the one before has found out."""
_COLUMNS = ("pid", "lwp", "s", "etimes", "caught", "blocked", "wchan:40", "comm")
PS = f"-L -o {','.join(_COLUMNS)}"
"""A row for each thread: each has its own mask of blocked signals, and waits for something else."""
_SLEEPS = "S"
_WAITS_FOR_A_SIGNAL = "sigtimedwait"
"""Part of the name of the kernel's function. A thread in it takes the signals that it waits for,
and `ps` shows them as not blocked meanwhile. docker-init and tini spend their lives in it."""
_UNTOLD_WAITS = ("-", "?", "0", "*")
"""Where the kernel hides what a thread waits for."""
_FROZEN = ("freez", "refrigerator")
"""Parts of the names of what a paused thread waits in, whatever it did before."""
_ALWAYS_WORK = (signal.SIGKILL, signal.SIGSTOP)
"""The signals that work on every process."""
_FIRST = "1"
"""The first process of a container as Podman shows it, which counts from the container's own. To
Docker, this would be the first process of the host, which belongs to no container."""
_SHELLS = ("sh", "ash", "bash", "busybox", "dash", "ksh", "zsh")


class Hearing(Enum):
    """What `ps` says of a process and its stop signal."""

    MAY_HEAR = auto()
    """It handles the signal, or waits for it, or may: nobody can tell more than that."""
    IGNORES = auto()
    """The signal is certain to do nothing."""
    NOT_SETTLED = auto()
    """It cannot be told at the moment: a later look may tell."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The first process of a container, as one look has found it."""

    hearing: Hearing
    age: timedelta = timedelta()
    """How long it has run, by the engine's own clock."""
    process: str = ""
    """Its name."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one configuration of a service."""

    version: str
    ignored: IgnoredSignal | None = None
    again_at: timedelta | None = SETTLED
    """How long its oldest replica has to have run before the next look; None: there is none."""


class Signals:
    """Looks at the oldest replica of each configuration, and again while nothing is settled.

    A process that was found to ignore its signal may set up a handler later, and a busy one may
    tell more at rest. So each is looked at again when it has run twice as long. That is a call or
    two for a service, and none at all once it is known to handle its signal.
    """

    def __init__(self, engine: Engine, inventory: Inventory) -> None:
        """Inspect containers by means of the `inventory`."""
        self._engine = engine
        self._inventory = inventory
        self._known: dict[ServiceId, _Known] = {}
        self._looks: dict[ServiceId, asyncio.Task[None]] = {}
        self._first = True
        """Whether nobody has looked yet."""

    def ignored(self, service: ServiceId) -> IgnoredSignal | None:
        """Return the stop signal that a service is certain to ignore; None where none is known."""
        known = self._known.get(service)
        return None if known is None else known.ignored

    async def look(self, services: Collection[Replicas]) -> None:
        """Look where it is time to. What cannot be found out is no error: it stays unknown."""
        ids = {replicas.service for replicas in services}
        self._known = {service: known for service, known in self._known.items() if service in ids}
        new = [task for task in map(self._begin, services) if task is not None]
        if new and self._first:
            await asyncio.wait(new, timeout=PATIENCE)
        self._first = False

    def _begin(self, replicas: Replicas) -> asyncio.Task[None] | None:
        """Begin to look at a service, unless it is too early or nothing is to be learnt."""
        service, version = replicas.service, replicas.template.version
        known = self._known.get(service)
        if known is None or known.version != version:
            known = self._known[service] = _Known(version)
        if known.again_at is None or service in self._looks:
            return None
        oldest = replicas.eldest(replicas.template)
        if oldest is None or oldest.state != "running":
            return None
        ran_for = self._inventory.ran_for(oldest)
        if ran_for < known.again_at:
            return None
        task = asyncio.create_task(
            self._look_at(oldest, known, ran_for), name=f"signals of {service}"
        )
        self._looks[service] = task
        return task

    async def _look_at(self, container: Container, known: _Known, ran_for: timedelta) -> None:
        """Find out what there is to know of a container, and note it for its service."""
        name = ""
        try:
            name = (await self._inventory.traits(container)).stop_signal
            sight = await self._see(container, name)
            if sight.hearing is Hearing.IGNORES:
                # The columns of `ps` are not read at the same moment. Two that agree are certain.
                sight = await self._see(container, name)
        except EngineError as error:
            passes = error.status is None or error.status in GONE
            # Otherwise a proxy does not let it through, or `ps` lacks a column: for good.
            sight = Sight(Hearing.NOT_SETTLED if passes else Hearing.MAY_HEAR)
        finally:
            del self._looks[container.service]
        ignored, again_at = known.ignored, ran_for + max(sight.age, SETTLED)
        if sight.hearing is Hearing.IGNORES:
            ignored = IgnoredSignal(name, sight.process, sight.process in _SHELLS)
        settled = sight.hearing is Hearing.MAY_HEAR
        if self._known.get(container.service) is known:
            self._known[container.service] = _Known(
                known.version, None if settled else ignored, None if settled else again_at
            )

    async def _see(self, container: Container, name: str) -> Sight:
        """Look once. Raises EngineError."""

        def work(client: APIClient) -> tuple[Json, Json]:
            top: Json = dict(client.top(container.id, PS))
            return client.inspect_container(container.id), top

        found = await self._engine.call(
            f"looking at the processes of {container.name}", work, Lane.PROCESSES
        )
        return judge(*found, signal_number(name))


def judge(inspect: Json, top: Json, number: int | None) -> Sight:
    """Say whether a container's first process ignores the signal with this number. Pure.

    `top` is what the engine answers for the columns that are asked for here, and `number` is None
    for a signal of an unknown name.
    """
    namespace: str = inspect["HostConfig"].get("PidMode") or ""
    shielded = namespace != "host" and not namespace.startswith("container:")
    if number is None or number in _ALWAYS_WORK or not shielded:
        return Sight(Hearing.MAY_HEAR)
    try:
        threads = _threads(top, str(inspect["State"]["Pid"]))
    except (KeyError, ValueError):
        return Sight(Hearing.MAY_HEAR)  # Some other `ps`.
    first = next((each for each in threads if each.is_first), None)
    if first is None:
        return Sight(Hearing.NOT_SETTLED)  # It has ended, or was started again meanwhile.
    return Sight(_hearing(threads, number, first.age), first.age, first.name)


@dataclass(frozen=True, slots=True)
class _Thread:
    """A thread of a process, as `ps` shows it."""

    is_first: bool
    state: str
    age: timedelta
    caught: int
    """The mask of the signals that the process handles."""
    blocked: int
    """The mask of the signals that wait until the thread takes them."""
    waits_in: str
    name: str


def _threads(top: Json, pid: str) -> Sequence[_Thread]:
    """Read the threads of a container's first process, which is `pid` to the host.

    Raises ValueError or KeyError where they cannot be read.
    """
    threads = []
    for row in top["Processes"] or ():
        process, thread, state, age, caught, blocked, waits_in, name = row
        if process in (pid, _FIRST):
            threads.append(
                _Thread(
                    thread == process,
                    state,
                    timedelta(seconds=int(age)),
                    int(caught, 16),
                    int(blocked, 16),
                    waits_in,
                    name,
                )
            )
    return threads


def _hearing(threads: Sequence[_Thread], number: int, age: timedelta) -> Hearing:
    bit = 1 << (number - 1)
    if any((each.caught | each.blocked) & bit for each in threads):
        return Hearing.MAY_HEAR
    if any(_WAITS_FOR_A_SIGNAL in each.waits_in for each in threads):
        return Hearing.MAY_HEAR
    if age < SETTLED or not all(map(_is_certain, threads)):
        return Hearing.NOT_SETTLED
    return Hearing.IGNORES


def _is_certain(thread: _Thread) -> bool:
    """Whether it is certain what a thread does: it sleeps, and not in what takes signals.

    One that runs may be on its way out of waiting for a signal: then its masks are not its own.
    """
    told = thread.waits_in not in _UNTOLD_WAITS
    frozen = any(part in thread.waits_in for part in _FROZEN)
    return thread.state == _SLEEPS and told and not frozen

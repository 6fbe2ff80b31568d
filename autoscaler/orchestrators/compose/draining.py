"""Replicas on their way out: each is told to stop, watched, and removed when it has ended.

Nothing here ends a replica by force unless it is asked to (`kill`): what the workers report decides
that, in core (decision 029). Neither does the engine: a signal that is sent by a kill has no
timer behind it, and no restart policy brings the container back (measured on three engines).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.core.drain import SIGNAL_SLACK, Drain
from autoscaler.core.model import ServiceId
from autoscaler.orchestrators.compose.containers import Container, Replicas
from autoscaler.orchestrators.compose.hands import OwnHands
from autoscaler.orchestrators.compose.inventory import Groups, Inventory
from autoscaler.orchestrators.compose.leaving import told_before
from autoscaler.orchestrators.compose.recipe import Traits
from autoscaler.orchestrators.engine import GONE, Engine, EngineError, Lane

_AGAIN = 0.2
"""Seconds until the engine is asked again whether a container has ended. It tells of the end some
50 ms before it has cleaned up, and refuses to remove the container until then."""


@dataclass(slots=True)
class _Drain:
    """A container that was told to stop and has not gone."""

    container: Container
    traits: Traits
    told_at: datetime | None
    """None while the signal is on its way."""
    own: bool
    """Whether this process has told it."""
    keep: bool = False
    """Whether it stays, stopped, when it has ended."""
    killed: bool = False
    signals: int = 0
    """Signals that this process has sent and whose events have not come."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    following: asyncio.Task[None] | None = None
    """Waits for its end and removes it; None while nobody has said that this is our work."""

    def seen(self, now: datetime) -> Drain:
        """Describe it for the decision."""
        grace = self.traits.grace
        return Drain(
            self.container.id,
            self.container.name,
            self.container.service,
            self.told_at or now,
            None if grace < 0 else timedelta(seconds=grace),
            self.traits.host_name(self.container.id) if self.traits.host is None else None,
            self.own,
        )

    def may_be_others(self, now: datetime) -> bool:
        """Whether a `docker stop` of somebody else may still be under way."""
        if self.following is not None or self.told_at is None:
            return False
        grace = self.traits.grace
        return grace < 0 or now < self.told_at + timedelta(seconds=grace) + SIGNAL_SLACK


class Drainer:
    """Stops, watches and removes replicas, those among them that were told before it began."""

    def __init__(
        self, engine: Engine, own: OwnHands, inventory: Inventory, clock: Callable[[], datetime]
    ) -> None:
        """Mark containers as `own` work, and tell the `inventory` of every change."""
        self._engine = engine
        self._own = own
        self._inventory = inventory
        self._clock = clock
        self._drains: dict[str, _Drain] = {}
        """By the ids of the containers."""
        self._ignoring: dict[str, Container] = {}
        """Containers that ignored their stop signal and count as replicas again, by their ids."""
        self._kills: set[asyncio.Task[None]] = set()
        self._trouble: dict[ServiceId, str] = {}
        self._past_is_known = False
        self._unsure: set[str] = set()
        """Ids of the containers whose stop signal got no answer: the engine may have sent it."""

    @property
    def draining(self) -> Collection[str]:
        """Ids of the containers that were told to stop and have not gone."""
        return self._drains.keys()

    def follows(self, container: str) -> bool:
        """Whether it is this process that brings a container to its end."""
        drain = self._drains.get(container)
        return drain is not None and drain.following is not None

    def take_own_signal(self, container: str) -> bool:
        """Take in the event of a signal; return whether this process has sent the signal.

        Each signal that was sent accounts for one event.
        """
        drain = self._drains.get(container)
        if drain is None or drain.signals == 0:
            return False
        drain.signals -= 1
        return True

    def seen(self) -> Sequence[Drain]:
        """Describe those that drain, for the decision."""
        now = self._clock()
        return [each.seen(now) for each in self._drains.values() if not each.ended.is_set()]

    def may_be_others(self, replicas: Replicas) -> bool:
        """Whether it looks as if somebody else were stopping a whole service just now.

        No replica of it runs that was not told to stop, and this process has not told them.
        """
        now = self._clock()
        draining = [self._drains[id_] for id_ in _ids(replicas.containers) & self._drains.keys()]
        return not replicas.running and any(each.may_be_others(now) for each in draining)

    def ignoring(self, replicas: Replicas) -> tuple[str, ...]:
        """Return the names of the replicas that ignored their stop signal."""
        return tuple(each.name for each in replicas.running if each.id in self._ignoring)

    def trouble(self, service: ServiceId) -> str | None:
        """Return what went wrong with the latest replicas that were to go; None where nothing."""
        return self._trouble.get(service)

    def forget_all_but(self, services: Collection[ServiceId]) -> None:
        """Drop what is known of services that are gone."""
        self._trouble = {who: what for who, what in self._trouble.items() if who in services}

    # ------------------------------------------------------------------ what happens

    async def look(self, groups: Groups) -> None:
        """Take in what runs, and at the first look what was told to stop before.

        The engine is asked again about replicas whose stop signal got no answer. Raises
        EngineError.
        """
        running = {
            each.id: each for group in groups.values() for each in group.containers if each.running
        }
        if not self._past_is_known:
            await self._read_past(running.values())
        elif self._unsure:
            await self._read_past([each for id_, each in running.items() if id_ in self._unsure])
        for id_ in self._drains.keys() - running.keys():
            self.ended(id_)
        self._ignoring = {id_: each for id_, each in self._ignoring.items() if id_ in running}

    def ended(self, container: str) -> None:
        """Take in that a container has ended."""
        self._ignoring.pop(container, None)
        drain = self._drains.get(container)
        if drain is None:
            return
        drain.ended.set()
        if drain.following is None:
            del self._drains[container]

    def came_up(self, container: str) -> None:
        """Take in that somebody has started a container: it is to stay."""
        self._ignoring.pop(container, None)
        drain = self._drains.pop(container, None)
        if drain is not None and drain.following is not None:
            drain.following.cancel()

    def has_ignored(self, container: str) -> bool:
        """Whether a container ignored its stop signal and counts as a replica again."""
        return container in self._ignoring

    async def _read_past(self, running: Collection[Container]) -> None:
        others = {each.id: each for each in running if each.id not in self._drains}
        told = await told_before(self._engine, self._inventory, self._clock, others.values())
        for id_, at in told.items():
            traits = await self._inventory.traits(others[id_])
            self._drains[id_] = _Drain(others[id_], traits, at, own=False)
        self._past_is_known = True
        self._unsure.clear()

    # ------------------------------------------------------------------ what is done

    def start(
        self, service: ServiceId, going: Iterable[tuple[Container, Traits]], *, keep: str
    ) -> None:
        """Tell these containers of a service to stop, and remove each when it has ended.

        The one with the id `keep` stays, stopped. They drain from now on; nothing waits for their
        end, and nothing cuts it short.
        """
        self._trouble.pop(service, None)
        for container, traits in going:
            drain = _Drain(container, traits, None, own=True, keep=container.id == keep)
            self._drains[container.id] = drain
            self._follow(drain, self._stop(drain))
        self._inventory.changed()  # What drains is no replica any more.

    def take_up(self, container: str, replicas: Replicas) -> bool:
        """Follow a container that was told to stop before this process began.

        It is removed when it has ended, unless no other of the service's `replicas` could be copied
        later. Returns False where it is followed already, or where somebody else may be stopping
        the whole service.
        """
        staying = replicas.without(self._drains.keys())
        drain = self._drains.get(container)
        if drain is None or drain.following is not None or self.may_be_others(staying):
            return False
        drain.keep = not staying.running and staying.keeper().id == container
        self._follow(drain, self._finish(drain))
        return True

    def take_back(self, container: str, *, ignores: bool) -> None:
        """Count a container as a replica again; `ignores`: it does not heed its stop signal."""
        drain = self._drains.pop(container, None)
        if drain is None:
            return
        if drain.following is not None:
            drain.following.cancel()
        if ignores:
            self._ignoring[container] = drain.container
        self._inventory.changed()

    def kill(self, container: str) -> None:
        """Begin to end a container at once, if it is one that this process follows."""
        drain = self._drains.get(container)
        if drain is None or drain.following is None or drain.killed or drain.ended.is_set():
            return
        drain.killed = True
        task = asyncio.create_task(self._kill(drain), name=f"kill {drain.container.name}")
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)

    async def remove(self, container: Container) -> None:
        """Remove a container that does not run. Raises EngineError; one that is gone is fine."""
        try:
            with self._own.on(container.name):
                await self._engine.call(
                    f"removing {container.name}",
                    lambda client: client.remove_container(container.id, v=True),
                    Lane.CHANGE,
                )
        except EngineError as error:
            if error.status not in GONE:
                raise

    async def close(self, patience: timedelta) -> None:
        """Wait at most `patience` for what this process stops; the others end without it."""
        try:
            async with asyncio.timeout(patience.total_seconds()):
                while following := [
                    each.following for each in self._drains.values() if each.following
                ]:
                    # No events arrive any more.
                    await self.look(await self._inventory.listed_now())
                    await asyncio.wait(following, timeout=_AGAIN)
        except (TimeoutError, EngineError):
            return

    def _follow(self, drain: _Drain, work: Coroutine[None, None, None]) -> None:
        drain.following = asyncio.create_task(work, name=f"drain {drain.container.name}")

    async def _stop(self, drain: _Drain) -> None:
        """Tell one replica to stop, and bring it to its end."""
        try:
            await self._signal(drain, drain.traits.stop_signal)
        except EngineError as error:
            if error.status not in GONE:
                if error.status is None:
                    self._unsure.add(drain.container.id)
                self._give_up(drain, error)
                return
            drain.ended.set()
        drain.told_at = self._clock()
        await self._finish(drain)

    async def _finish(self, drain: _Drain) -> None:
        """Wait for the end of one replica, and remove it."""
        await drain.ended.wait()
        try:
            if not drain.keep:
                while await self._inventory.runs(drain.container):  # noqa: ASYNC110 - only it knows
                    await asyncio.sleep(_AGAIN)
                await self.remove(drain.container)
        except EngineError as error:
            self._give_up(drain, error)
        else:
            self._let_go(drain)

    async def _kill(self, drain: _Drain) -> None:
        try:
            await self._signal(drain, "SIGKILL")
        except EngineError as error:
            if error.status not in GONE:
                drain.killed = False
                self._note(drain, error)

    async def _signal(self, drain: _Drain, name: str) -> None:
        """Send a signal to a container that drains. Raises EngineError."""
        container = drain.container
        drain.signals += 1  # The event may come before the answer.
        with self._own.on(container.name):
            await self._engine.call(
                f"sending {name} to {container.name}",
                lambda client: client.kill(container.id, signal=name),
                Lane.CHANGE,
            )

    def _give_up(self, drain: _Drain, error: EngineError) -> None:
        self._note(drain, error)
        self._let_go(drain)

    def _note(self, drain: _Drain, error: EngineError) -> None:
        container = drain.container
        self._trouble[container.service] = f"{container.name} could not be removed: {error}"

    def _let_go(self, drain: _Drain) -> None:
        if self._drains.get(drain.container.id) is drain:
            del self._drains[drain.container.id]
        self._inventory.changed()


def _ids(containers: Iterable[Container]) -> set[str]:
    return {each.id for each in containers}

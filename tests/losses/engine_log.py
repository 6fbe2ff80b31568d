"""Follows what happens to the containers of one run, as the engines of all nodes tell it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Self

from tests.interop.engines import Engine
from tests.losses.events import filters, read_event
from tests.losses.following import Following
from tests.losses.ledger import Event


class EngineLog:
    """The events of the containers of a run, from `__enter__` on."""

    def __init__(self, run: str, engines: Sequence[Engine]) -> None:
        """Follow the engines, one for each node."""
        self.events: list[Event] = []
        self.running: dict[str, set[str]] = defaultdict(set)
        """Host names of the running containers, by column."""
        self.engine_of: dict[str, Engine] = {}
        """The engine of a container that has started, by its host name."""
        self._run = run
        self._engines = engines

    def __enter__(self) -> Self:
        command = ["docker", "events", "--format={{json .}}", *filters(self._run)]
        with ExitStack() as parts:
            for engine in self._engines:
                read = partial(self._read, engine)
                parts.enter_context(Following(command, engine.environment, read))
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def by_node(self) -> Sequence[int]:
        """Return how many containers run on each node."""
        hosts = [host for hosts in list(self.running.values()) for host in list(hosts)]
        counted = Counter(id(self.engine_of[host]) for host in hosts)
        return [counted[id(engine)] for engine in self._engines]

    def _read(self, engine: Engine, line: str) -> None:
        event = read_event(line)
        self.events.append(event)
        if event.action == "start":
            self.engine_of[event.host] = engine
            self.running[event.column].add(event.host)
        elif event.action == "die":
            self.running[event.column].discard(event.host)

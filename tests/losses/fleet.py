"""The services at work, their tasks, the daemon that scales them, and what happens to both."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import yaml
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.losses.columns import Column, OnSignal
from tests.losses.journal import attempts_in
from tests.losses.ledger import Row, count
from tests.losses.load import WORKFLOWS, Load, RemoteTask, passed
from tests.losses.stage import SERVICES, TRACES, Stage, folders
from tests.real.daemon import Line

FIRST = 4
"""Replicas of a service at the start."""
STEPS = range(1, 11)
STEP_WEIGHTS = (30, 20, 12, 8, 8, 6, 5, 4, 4, 3)
LIFE = 60.0
"""Seconds that a daemon lives, and that pass between two crashes of a worker, on average."""
PATIENCE = 6.0
"""Seconds that a service gets to follow a wish before the next one comes."""


class Fleet:
    """Real services, one for each column."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that differs between runs
        self,
        folder: Path,
        stage: Stage,
        columns: Sequence[Column],
        seed: int,
        longest: float,
        parts: ExitStack,
    ) -> None:
        """Start everything but the daemon. `parts` ends it, `longest` is the longest task in s."""
        self._folder = folder
        self._stage = stage
        self._columns = columns
        self._seed = seed
        self._dice = random.Random(seed)
        self._wished = {column.name: FIRST for column in columns}
        self._crashed: set[str] = set()
        self._daemons = 0
        self._over = asyncio.Event()
        self._load = Load(self._wished, self._over, seed, longest)
        folders(folder)
        self._write_wishes()
        stage.start(FIRST, parts)

    # ------------------------------------------------------------------ at work

    async def work(self, scale_ins: int, minutes: float) -> None:
        """Work until the daemon has scaled in so often, or for so long; then end every task."""
        end = time.monotonic() + 60 * minutes
        # Its default runtime writes to standard output, where the table goes.
        runtime = Runtime(telemetry=TelemetryConfig(logging=None))
        client = await Client.connect(self._stage.endpoint, runtime=runtime)
        async with Worker(
            client,
            task_queue=WORKFLOWS,
            workflows=[RemoteTask],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            going = [self._live_and_die(), self._crash()]
            for column in self._columns:
                going += [self._load.feed(client, column), self._walk(column)]
            async with asyncio.TaskGroup() as group:
                for each in going:
                    group.create_task(each)
                while self.scale_ins < scale_ins and time.monotonic() < end:  # noqa: ASYNC110
                    await asyncio.sleep(1)
                self._over.set()

    @property
    def scale_ins(self) -> int:
        """How often the daemon has scaled in until now."""
        return sum(len(self._scale_ins_of(column)) for column in self._columns)

    @property
    def lines(self) -> Sequence[Line]:
        """The log of every daemon until now."""
        return self._stage.lines

    @property
    def progress(self) -> str:
        """What has happened until now, in words."""
        open_ = sum(task.attempts is None for task in self._load.tasks.values())
        running = " + ".join(map(str, self._stage.log.by_node()))
        ending = "; waiting for the last tasks" if self._over.is_set() else ""
        return (
            f"{self.scale_ins} scale-ins, {running} replicas run,"
            f" {len(self._load.tasks) - open_} tasks done, {open_} open,"
            f" daemon started {self._daemons} times,"
            f" {len(self._crashed)} workers killed{ending}"
        )

    async def _live_and_die(self) -> None:
        """Run the daemon, and kill it at random moments. The last one stays."""
        goes_on = True
        while goes_on:
            await asyncio.to_thread(self._stage.start_daemon)
            self._daemons += 1
            if not await passed(self._over, self._dice.expovariate(1 / LIFE)):
                await asyncio.to_thread(self._stage.kill_daemon)
                await asyncio.sleep(self._dice.uniform(0, 3))
            else:
                goes_on = False

    async def _crash(self) -> None:
        """Kill a worker from inside its container, at random moments.

        Never the last of a service: a daemon that was killed meanwhile would take it for stopped by
        hand. A process 1 without `init` cannot be killed from inside.
        """
        able = [column.name for column in self._columns if column.on_signal is not OnSignal.IGNORES]
        while able and not await passed(self._over, self._dice.expovariate(1 / LIFE)):
            name = self._dice.choice(able)
            hosts = sorted(self._stage.log.running[name])
            if min(len(hosts), self._wished[name]) >= FIRST:
                host = self._dice.choice(hosts)
                self._crashed.add(host)
                engine = self._stage.log.engine_of[host]
                await asyncio.to_thread(engine.attempt, "exec", host, "sh", "-c", "kill -9 -1")

    # ------------------------------------------------------------------ one column

    async def _walk(self, column: Column) -> None:
        """Wish for more and fewer replicas in turn, in random steps."""
        dice = random.Random(f"{self._seed} walk {column.name}")
        while not self._over.is_set():
            now = self._wished[column.name]
            (step,) = dice.choices(STEPS, STEP_WEIGHTS)
            most = self._stage.most
            down = now > step and (now == most or dice.random() < 0.5)
            self._wish(column, now - step if down else min(now + step, most))
            for _ in range(round(PATIENCE)):
                if len(self._stage.log.running[column.name]) == self._wished[column.name]:
                    break
                await passed(self._over, 1)
            await passed(self._over, dice.uniform(0, 3))
        # What was lost at the end is done again.
        self._wish(column, max(FIRST, self._wished[column.name]))

    def _wish(self, column: Column, replicas: int) -> None:
        """Wish for this number of replicas of a column."""
        self._wished[column.name] = replicas
        self._write_wishes()

    def _write_wishes(self) -> None:
        """Write the services file anew."""
        services = {
            self._stage.name(column): dict.fromkeys(("min", "max"), self._wished[column.name])
            for column in self._columns
        }
        new = self._folder / SERVICES / "new"
        new.write_text(yaml.safe_dump({"services": services}))
        new.rename(self._folder / SERVICES / "losses.yaml")

    # ------------------------------------------------------------------ counted

    def rows(self) -> Sequence[Row]:
        """Count every column."""
        begun = [
            attempt
            for journal in (self._folder / TRACES).iterdir()
            for attempt in attempts_in(journal.name, journal.read_text())
        ]
        tasks, events = list(self._load.tasks.values()), list(self._stage.log.events)
        return [
            count(
                column,
                [task for task in tasks if column_of(task.id) == column.name],
                [each for each in begun if column_of(each.task) == column.name],
                [event for event in events if event.column == column.name],
                self._crashed,
                self._scale_ins_of(column),
            )
            for column in self._columns
        ]

    def _scale_ins_of(self, column: Column) -> Sequence[float]:
        """Return when the daemon said that it scales a column in."""
        service = self._stage.name(column)
        return [
            datetime.fromisoformat(line["timestamp"]).timestamp()
            for line in self._stage.lines
            if line["event"] == "scaling in" and line["service"] == service
        ]


def column_of(task: str) -> str:
    """Return the name of the column that a task belongs to."""
    return task.rpartition("-")[0]

"""The services at work, their tasks, the daemon that scales them, and what happens to both."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.losses.columns import TYPESCRIPT, Column, OnSignal
from tests.losses.engine_log import EngineLog
from tests.losses.journal import attempts_in
from tests.losses.ledger import Row, count
from tests.losses.load import WORKFLOWS, Load, RemoteTask, passed
from tests.real.crew import IMAGE, NODE_MOUNTS, ServerInDocker
from tests.real.daemon import DaemonProcess
from tests.real.stages import ComposeStage, docker

CODE = Path(__file__).parent / "worker"
FIRST, MOST = 4, 11
"""Replicas of a service at the start, and at most: a step of ten is possible."""
STEPS = range(1, 11)
STEP_WEIGHTS = (30, 20, 12, 8, 8, 6, 5, 4, 4, 3)
LIFE = 60.0
"""Seconds that a daemon lives, and that pass between two crashes of a worker, on average."""
PATIENCE = 6.0
"""Seconds that a service gets to follow a wish before the next one comes."""


class Fleet:
    """Real services, one for each column."""

    def __init__(
        self, folder: Path, parts: ExitStack, columns: Sequence[Column], seed: int, longest: float
    ) -> None:
        """Start everything but the daemon. `parts` ends it, `longest` is the longest task in s."""
        self._folder = folder
        self._parts = parts
        self._columns = columns
        self._seed = seed
        self._dice = random.Random(seed)
        self._wished = {column.name: FIRST for column in columns}
        self._crashed: set[str] = set()
        self._daemons: list[DaemonProcess] = []
        self._over = asyncio.Event()
        self._load = Load(self._wished, self._over, seed, longest)
        for name in ("traces", "services"):
            (folder / name).mkdir()
        (folder / "traces").chmod(0o777)
        self.server = ServerInDocker()
        parts.callback(self.server.stop)
        self.server.start()
        self.stage = ComposeStage(folder)
        parts.callback(self._remove_containers)
        self._log = parts.enter_context(EngineLog(self.stage.project))
        self.stage.up(
            self._wished,
            {column.name: labels(column) for column in columns},
            each={column.name: self._options(column) for column in columns},
            top={"networks": {"default": {"external": True, "name": self.server.network}}},
        )

    def _options(self, column: Column) -> dict[str, Any]:
        """Return the Compose options of a column."""
        typescript = column.language == TYPESCRIPT
        ignores, finishes = (
            column.on_signal is each for each in (OnSignal.IGNORES, OnSignal.FINISHES)
        )
        flags = {"IGNORES": ignores, "HANDLES": finishes, "LOCAL": column.local}
        volumes = [f"{CODE}:/code:ro", f"{self._folder}/traces:/traces"]
        if typescript:
            volumes += NODE_MOUNTS
        return {
            "image": IMAGE,
            "command": ["/node/bin/node", "worker.mts"] if typescript else ["python", "worker.py"],
            "working_dir": "/code",
            # The kernel shields process 1 from signals that it does not handle.
            "init": not ignores,
            "stop_grace_period": f"{column.grace:g}s",
            # The server and the daemon come first: a starved server loses tasks of its own.
            "cpu_shares": 256,
            "volumes": volumes,
            "environment": {
                "HEARTBEAT_SECONDS": f"{column.heartbeat:g}",
                "TEMPORAL_ADDRESS": "temporal:7233",
                "TASK_QUEUE": column.name,
                "PYTHONDONTWRITEBYTECODE": "1",
                **{name: "1" for name, set_ in flags.items() if set_},
            },
        }

    def _remove_containers(self) -> None:
        """Remove all replicas at once, and what else the project has."""
        mine = f"--filter=label=com.docker.compose.project={self.stage.project}"
        while left := docker("ps", "--all", "--quiet", mine).split():
            with suppress(AssertionError):
                # The daemon's removals may come first.
                docker("rm", "--force", "--volumes", *left)
        self.stage.close()

    # ------------------------------------------------------------------ at work

    async def work(self, scale_ins: int, minutes: float) -> None:
        """Work until the daemon has scaled in so often, or for so long; then end every task."""
        end = time.monotonic() + 60 * minutes
        # Its default runtime writes to standard output, where the table goes.
        runtime = Runtime(telemetry=TelemetryConfig(logging=None))
        client = await Client.connect(self.server.endpoint, runtime=runtime)
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
    def progress(self) -> str:
        """What has happened until now, in words."""
        open_ = sum(task.attempts is None for task in self._load.tasks.values())
        running = sum(map(len, self._log.running.values()))
        ending = "; waiting for the last tasks" if self._over.is_set() else ""
        return (
            f"{self.scale_ins} scale-ins, {running} replicas run,"
            f" {len(self._load.tasks) - open_} tasks done, {open_} open,"
            f" daemon started {len(self._daemons)} times,"
            f" {len(self._crashed)} workers killed{ending}"
        )

    async def _live_and_die(self) -> None:
        """Run the daemon, and kill it at random moments. The last one stays."""
        goes_on = True
        while goes_on:
            daemon = await asyncio.to_thread(self._new_daemon)
            if not await passed(self._over, self._dice.expovariate(1 / LIFE)):
                await asyncio.to_thread(daemon.kill)
                await asyncio.sleep(self._dice.uniform(0, 3))
            else:
                goes_on = False

    def _new_daemon(self) -> DaemonProcess:
        daemon = DaemonProcess(
            self._folder,
            {
                "AUTOSCALER_PROJECTS": self.stage.project,
                "AUTOSCALER_INTEGRATIONS__DEFAULT__ENDPOINT": self.server.endpoint,
                "AUTOSCALER_SERVICES": str(self._folder / "services"),
                "AUTOSCALER_HOST_RESERVE": "0",
                "AUTOSCALER_LOG_LEVEL": "info",
            },
        )
        self._parts.enter_context(daemon)
        self._daemons.append(daemon)
        return daemon

    async def _crash(self) -> None:
        """Kill a worker from inside its container, at random moments.

        Never the last of a service: a daemon that was killed meanwhile would take it for stopped by
        hand. A process 1 without `init` cannot be killed from inside.
        """
        able = [column.name for column in self._columns if column.on_signal is not OnSignal.IGNORES]
        while not await passed(self._over, self._dice.expovariate(1 / LIFE)):
            name = self._dice.choice(able)
            hosts = sorted(self._log.running[name])
            if min(len(hosts), self._wished[name]) >= FIRST:
                host = self._dice.choice(hosts)
                self._crashed.add(host)
                command = ["docker", "exec", host, "sh", "-c", "kill -9 -1"]
                await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)

    # ------------------------------------------------------------------ one column

    async def _walk(self, column: Column) -> None:
        """Wish for more and fewer replicas in turn, in random steps."""
        dice = random.Random(f"{self._seed} walk {column.name}")
        while not self._over.is_set():
            now = self._wished[column.name]
            (step,) = dice.choices(STEPS, STEP_WEIGHTS)
            down = now > step and (now == MOST or dice.random() < 0.5)
            self._wish(column, now - step if down else min(now + step, MOST))
            for _ in range(round(PATIENCE)):
                if len(self._log.running[column.name]) == self._wished[column.name]:
                    break
                await passed(self._over, 1)
            await passed(self._over, dice.uniform(0, 3))
        # What was lost at the end is done again.
        self._wish(column, max(FIRST, self._wished[column.name]))

    def _wish(self, column: Column, replicas: int) -> None:
        """Write the services file anew, with this number for a column."""
        self._wished[column.name] = replicas
        services = {
            self.stage.name(name): {"min": number, "max": number}
            for name, number in self._wished.items()
        }
        new = self._folder / "services/new"
        new.write_text(yaml.safe_dump({"services": services}))
        new.rename(self._folder / "services/losses.yaml")

    # ------------------------------------------------------------------ counted

    def rows(self) -> Sequence[Row]:
        """Count every column."""
        begun = [
            attempt
            for journal in (self._folder / "traces").iterdir()
            for attempt in attempts_in(journal.name, journal.read_text())
        ]
        tasks, events = list(self._load.tasks.values()), list(self._log.events)
        return [
            count(
                column,
                [task for task in tasks if column_of(task.id) == column.name],
                [each for each in begun if column_of(each.task) == column.name],
                [event for event in events if event.service == column.name],
                self._crashed,
                self._scale_ins_of(column),
            )
            for column in self._columns
        ]

    def _scale_ins_of(self, column: Column) -> Sequence[float]:
        """Return when the daemon said that it scales a column in."""
        service = self.stage.name(column.name)
        return [
            datetime.fromisoformat(line["timestamp"]).timestamp()
            for daemon in self._daemons
            for line in list(daemon.lines)
            if line["event"] == "scaling in" and line["service"].endswith(service)
        ]


def column_of(task: str) -> str:
    """Return the name of the column that a task belongs to."""
    return task.rpartition("-")[0]


def labels(column: Column) -> dict[str, str]:
    """Return the labels of a column. A services file says how many replicas it is to have."""
    return {
        "temporal.queue": column.name,
        "temporal.min": "1",
        "temporal.max": "1",
        "temporal.scale-in.window": "0s",
        "temporal.keep-up": "off",
    }

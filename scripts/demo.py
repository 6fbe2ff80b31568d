"""Show the main job on the quickstart: 400 documents, and replicas that follow the backlog.

Starts compose/quickstart under a project name of its own, uploads the documents through its API,
watches the backlog and the replicas go up and down again, and sums up. Exits with 0 only when the
replicas went from the fewest to the most and back and every document was processed. Removes what
it started unless KEEP=1 is set. With RECORD=FILE what was seen is written there as JSON; the
picture in the README is drawn from such a file. `make demo` makes sure of all it needs first.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

COMPOSE_FILE = Path(__file__).resolve().parent.parent / "compose/quickstart/compose.yaml"
PROJECT = "autoscaler-demo"
WORKFLOW = "ProcessDocumentWorkflow"
DOCUMENTS = 400
REQUESTS_AT_ONCE = 16

# How long each part may take before the demo gives up, in seconds.
START_LIMIT = 180
RISE_LIMIT = 90
DRAIN_LIMIT = 300
SETTLE_LIMIT = 120
STOP_LIMIT = 120
CALL_LIMIT = 30

SAMPLE_EVERY = 1.0
LINE_EVERY = 5.0
HISTORY_COLUMNS = 60

SENTENCES = (
    "The invoice for the second quarter is attached to this letter.",
    "A review of the contract shows that the delivery is late and the price is not.",
    "Die Rechnung für das zweite Quartal ist diesem Brief beigelegt.",
    "Der Vertrag ist geprüft, und die Lieferung kommt nicht mit der Post.",
    "La facture pour le deuxième trimestre est dans les pages de cette lettre.",
    "El contrato para la entrega de los documentos llega con una carta y la factura.",
)

# Lines are never wrapped: a failure is one line, also in the log of a build.
console = Console(highlight=False, markup=False, soft_wrap=True)
errors = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)


class Failure(Exception):
    """The demo did not show what it is there to show. The message says why, in one line."""


FAILURES = (Failure, RPCError, RuntimeError)
"""What ends the demo with one line; Temporal's client raises the last two."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment."""

    at: float
    """Seconds since the first upload."""
    backlog: int
    replicas: int
    completed: int


@dataclass(frozen=True, slots=True)
class Repeated:
    """Attempts at activities that were followed by another."""

    failed: int
    """Those that a worker reported as failed."""
    timed_out: int
    """Those of which Temporal heard nothing in time: the machine was too busy, or a task was
    handed to a worker just when that stopped polling."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the worker's labels ask for."""

    queue: str
    fewest: int
    most: int


def docker(
    *arguments: str, limit: float, shown: bool = False, environment: Mapping[str, str] | None = None
) -> str:
    """Run a docker command for at most `limit` seconds; its output is returned, or shown."""
    output = None if shown else subprocess.PIPE
    try:
        done = subprocess.run(
            ["docker", *arguments],
            env=environment,
            timeout=limit,
            stdout=output,
            stderr=output,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"`docker {shlex.join(arguments)}` took longer than {limit:.0f} s") from None
    except OSError as error:
        raise Failure(f"docker cannot be run: {error}") from None
    if done.returncode:
        said = "see above" if shown else done.stderr.strip()
        raise Failure(f"`docker {shlex.join(arguments)}` failed: {said}")
    return done.stdout or ""


class Quickstart:
    """The quickstart as a Compose project of its own, on ports that are free."""

    def __init__(self) -> None:
        self.api_port, self.temporal_port, self.page_port = free_ports()
        self.environment = os.environ | {
            "API_PORT": str(self.api_port),
            "TEMPORAL_PORT": str(self.temporal_port),
            "PAGE_PORT": str(self.page_port),
        }

    def compose(self, *arguments: str, limit: float, shown: bool = False) -> str:
        """Run a Compose command on the project."""
        project = ("compose", "--project-name", PROJECT, "--file", str(COMPOSE_FILE))
        return docker(*project, *arguments, limit=limit, shown=shown, environment=self.environment)

    def bounds(self) -> Bounds:
        """Read the labels of the worker."""
        config = json.loads(self.compose("config", "--format", "json", limit=CALL_LIMIT))
        labels = config["services"]["worker"]["labels"]
        return Bounds(
            queue=labels["temporal.queue"],
            fewest=int(labels["temporal.min"]),
            most=int(labels["temporal.max"]),
        )

    def start(self) -> None:
        """Start every service and wait until those with a health check are healthy."""
        # Compose's own limit is the shorter one, as it can say what it still waits for.
        wait = ("--wait", "--wait-timeout", str(START_LIMIT))
        self.compose("up", "--detach", *wait, limit=START_LIMIT + CALL_LIMIT, shown=True)

    def stop(self) -> None:
        """Remove containers, networks and volumes."""
        # First what makes containers: Compose would miss one that comes after it has looked.
        self.compose("stop", "autoscaler", limit=STOP_LIMIT)
        self.compose("down", "--volumes", "--remove-orphans", limit=STOP_LIMIT)

    def autoscaler_log(self) -> str:
        """Return the last lines the autoscaler wrote."""
        options = ("--no-color", "--no-log-prefix", "--tail", "20")
        return self.compose("logs", *options, "autoscaler", limit=CALL_LIMIT)


def free_ports() -> tuple[int, int, int]:
    """Return three ports of the loopback interface that nothing uses."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
        socket.create_server(("127.0.0.1", 0)) as three,
    ):
        return one.getsockname()[1], two.getsockname()[1], three.getsockname()[1]


# ------------------------------------------------------------------------------ documents


def document(number: int) -> bytes:
    """Compose a document of a few kilobytes, the same for the same number."""
    chance = random.Random(number)  # noqa: S311 - variety, not secrecy
    return " ".join(chance.choices(SENTENCES, k=40)).encode()


def upload(port: int, body: bytes) -> None:
    """Post one document, as any client would."""
    connection = HTTPConnection("127.0.0.1", port, timeout=CALL_LIMIT)
    try:
        connection.request("POST", "/upload", body, {"Content-Type": "text/plain; charset=utf-8"})
        answer = connection.getresponse()
        said = answer.read().decode()
    except (OSError, HTTPException) as error:
        raise Failure(f"an upload failed: {error}") from error
    finally:
        connection.close()
    if answer.status != HTTPStatus.ACCEPTED:
        raise Failure(f"an upload was answered with {answer.status}: {said}")


async def upload_all(port: int) -> None:
    """Upload every document, a few at once."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        uploads = [
            loop.run_in_executor(threads, upload, port, document(n)) for n in range(DOCUMENTS)
        ]
        try:
            await asyncio.gather(*uploads)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


# ------------------------------------------------------------------------------ watching


async def count_backlog(client: Client, queue: str) -> int:
    """Add up the waiting workflow and activity tasks of the task queue."""
    answers = await asyncio.gather(
        *(
            client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=client.namespace,
                    task_queue=TaskQueue(name=queue),
                    task_queue_type=kind,
                    report_stats=True,
                ),
                timeout=timedelta(seconds=CALL_LIMIT),
            )
            for kind in (
                TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            )
        )
    )
    return sum(answer.stats.approximate_backlog_count for answer in answers)


async def count_completed(client: Client) -> int:
    """Count the documents whose workflow is completed."""
    answer = await client.count_workflows(
        f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Completed'"
    )
    return answer.count


async def count_replicas() -> int:
    """Count the running containers that Compose takes for replicas of the worker."""
    labels = (f"com.docker.compose.project={PROJECT}", "com.docker.compose.service=worker")
    filters = [f"--filter=label={label}" for label in labels]
    return len(
        (await asyncio.to_thread(docker, "ps", "--quiet", *filters, limit=CALL_LIMIT)).split()
    )


async def count_repeated_attempts(client: Client) -> Repeated:
    """Count the attempts at activities that had to be repeated, over all documents."""
    calls = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def of_one(workflow_id: str) -> Repeated:
        async with calls:
            history = await client.get_workflow_handle(workflow_id).fetch_history()
        failed, timed_out = 0, 0
        for event in history.events:
            started = event.activity_task_started_event_attributes
            before = max(0, started.attempt - 1)
            if started.last_failure.HasField("timeout_failure_info"):
                timed_out += before
            else:
                failed += before
        return Repeated(failed, timed_out)

    ids = [
        execution.id async for execution in client.list_workflows(f"WorkflowType = '{WORKFLOW}'")
    ]
    each = await asyncio.gather(*map(of_one, ids))
    return Repeated(sum(one.failed for one in each), sum(one.timed_out for one in each))


class Watch:
    """Takes a sample of the quickstart every second and shows each."""

    def __init__(
        self,
        client: Client,
        queue: str,
        uploads: asyncio.Task[None],
        show: Callable[[Sequence[Sample]], None],
    ) -> None:
        self.client = client
        self.queue = queue
        self.uploads = uploads
        self.show = show
        self.samples: list[Sample] = []
        self.began = time.monotonic()

    async def until(self, reached: Callable[[Sample], bool], limit: float, expected: str) -> Sample:
        """Sample until one satisfies `reached`, and return it.

        Raises Failure, naming what was `expected`, after `limit` seconds.
        """
        ends = time.monotonic() + limit
        while True:
            now = await self.sample()
            self.samples.append(now)
            self.show(self.samples)
            if self.uploads.done():
                self.uploads.result()  # raises what an upload failed with
            if reached(now):
                return now
            if time.monotonic() > ends:
                raise Failure(
                    f"{expected} within {limit:.0f} s, but there are {now.replicas} replicas,"
                    f" a backlog of {now.backlog} and {now.completed} completed documents"
                )
            await asyncio.sleep(SAMPLE_EVERY)

    async def sample(self) -> Sample:
        """Look at everything once."""
        backlog, replicas, completed = await asyncio.gather(
            count_backlog(self.client, self.queue),
            count_replicas(),
            count_completed(self.client),
        )
        return Sample(time.monotonic() - self.began, backlog, replicas, completed)


# ------------------------------------------------------------------------------ showing


@contextlib.contextmanager
def display() -> Iterator[Callable[[Sequence[Sample]], None]]:
    """Give a function that shows the samples: a live picture on a terminal, else lines."""
    if not console.is_terminal:
        yield lines()
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda samples: live.update(picture(samples), refresh=True)


def lines() -> Callable[[Sequence[Sample]], None]:
    """Print a line when the replicas change, and every few seconds."""
    shown: Sample | None = None

    def show(samples: Sequence[Sample]) -> None:
        nonlocal shown
        now = samples[-1]
        if shown and now.replicas == shown.replicas and now.at - shown.at < LINE_EVERY:
            return
        shown = now
        console.print(
            f"{now.at:5.0f} s   backlog {now.backlog:4}   replicas {now.replicas:2}"
            f"   completed {now.completed:3}"
        )

    return show


def picture(samples: Sequence[Sample]) -> Table:
    """Draw the latest numbers with their history."""
    now = samples[-1]
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column(justify="right", min_width=4)
    table.add_column()
    table.add_row("seconds", f"{now.at:.0f}")
    table.add_row(
        "backlog", str(now.backlog), history([sample.backlog for sample in samples]), style="yellow"
    )
    table.add_row(
        "replicas",
        str(now.replicas),
        history([sample.replicas for sample in samples]),
        style="cyan",
    )
    done = ProgressBar(
        DOCUMENTS, now.completed, HISTORY_COLUMNS, complete_style="green", finished_style="green"
    )
    table.add_row("completed", str(now.completed), done, style="green")
    return table


def history(values: Sequence[int]) -> str:
    """Draw the values as a row of bars, the highest of each stretch where there are many."""
    stretch = -(-len(values) // HISTORY_COLUMNS)
    highs = [max(values[start : start + stretch]) for start in range(0, len(values), stretch)]
    top = max(*highs, 1)
    return "".join(" ▁▂▃▄▅▆▇█"[-(-high * 8 // top)] for high in highs)


def summary(
    samples: Sequence[Sample],
    risen: Sample,
    drained: Sample,
    settled: Sample,
    repeated: Repeated,
) -> Table:
    """Sum up a run that went well."""
    spent = sum(one.replicas * (other.at - one.at) for one, other in pairwise(samples))
    always = risen.replicas * settled.at
    replicas = f"{samples[0].replicas} -> {risen.replicas} -> {settled.replicas}"
    table = Table(title="Replicas followed the backlog", show_header=False, title_justify="left")
    table.add_row("documents completed", f"{drained.completed} of {DOCUMENTS}")
    table.add_row("failed attempts", str(repeated.failed))
    if repeated.timed_out:
        table.add_row("timed-out attempts", f"{repeated.timed_out}, made good by another")
    table.add_row("replicas", replicas)
    table.add_row(f"time to {risen.replicas} replicas", f"{risen.at:.0f} s")
    table.add_row("time to drain", f"{drained.at:.0f} s")
    table.add_row(f"time back to {settled.replicas}", f"{settled.at:.0f} s")
    table.add_row("replica-seconds", f"{spent:.0f}; with {risen.replicas} throughout {always:.0f}")
    return table


# ------------------------------------------------------------------------------ the demo


async def run(quickstart: Quickstart, bounds: Bounds) -> Table:
    """Upload, watch, judge and sum up. Raises Failure when the replicas did not follow."""
    client = await Client.connect(f"127.0.0.1:{quickstart.temporal_port}")
    before = await count_replicas()
    if before != bounds.fewest:
        raise Failure(f"it should begin with {bounds.fewest} replicas, not with {before}")

    console.print(f"\nThe status page is at http://127.0.0.1:{quickstart.page_port}")
    console.print(f"Uploading {DOCUMENTS} documents. Times count from here.")
    uploads = asyncio.create_task(upload_all(quickstart.api_port))
    try:
        with display() as show:
            watch = Watch(client, bounds.queue, uploads, show)
            risen = await watch.until(
                lambda now: now.replicas >= bounds.most,
                RISE_LIMIT,
                f"the replicas should have reached {bounds.most}",
            )
            drained = await watch.until(
                lambda now: now.completed == DOCUMENTS and now.backlog == 0,
                DRAIN_LIMIT,
                f"all {DOCUMENTS} documents should have been completed",
            )
            settled = await watch.until(
                lambda now: now.replicas <= bounds.fewest,
                SETTLE_LIMIT,
                f"the replicas should have been back at {bounds.fewest}",
            )
    finally:
        uploads.cancel()
    counts = [sample.replicas for sample in watch.samples]
    if max(counts) > bounds.most or min(counts) < bounds.fewest:
        raise Failure(
            f"the replicas should have stayed within {bounds.fewest} and {bounds.most},"
            f" but went from {min(counts)} to {max(counts)}"
        )
    record = os.environ.get("RECORD")
    if record:
        await asyncio.to_thread(write_record, Path(record), watch.samples)
    repeated = await count_repeated_attempts(client)
    return summary(watch.samples, risen, drained, settled, repeated)


def write_record(file: Path, samples: Sequence[Sample]) -> None:
    """Write the samples as JSON, one a line, so that a change of them can be read."""
    rows = [
        {"at": round(one.at, 1), "backlog": one.backlog, "replicas": one.replicas}
        for one in samples
    ]
    text = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    file.write_text(f"[\n{text}\n]\n", encoding="utf-8")


@contextlib.contextmanager
def started(quickstart: Quickstart) -> Iterator[None]:
    """Start the quickstart and remove it at the end, or say how to when KEEP=1 is set."""
    quickstart.stop()  # what an earlier run left behind, kept or killed, is no starting point
    try:
        quickstart.start()
        yield
    except FAILURES:
        with contextlib.suppress(Failure):
            console.print(f"\nThe autoscaler's last lines:\n{quickstart.autoscaler_log()}")
        raise
    finally:
        if os.environ.get("KEEP") == "1":
            console.print(
                f"\nKept, as KEEP=1 asks for: the API is at 127.0.0.1:{quickstart.api_port},"
                f" Temporal at 127.0.0.1:{quickstart.temporal_port}, the status page at"
                f" http://127.0.0.1:{quickstart.page_port}. To remove everything:"
                f"\n  docker compose -p {PROJECT} down --volumes"
            )
        else:
            console.print("\nRemoving what the demo started ...")
            quickstart.stop()


def main() -> int:
    """Run the demo and clean up. Returns the exit code."""
    # `kill` and a terminal that closes have to clean up as Ctrl-C does.
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: signal.raise_signal(signal.SIGINT))
    quickstart = Quickstart()
    try:
        bounds = quickstart.bounds()
        with started(quickstart):
            result = asyncio.run(run(quickstart, bounds))
    except FAILURES as failure:
        errors.print(f"demo: {failure}")
        return 1
    except KeyboardInterrupt:
        errors.print("demo: interrupted")
        return 130
    finally:
        # The interpreter may crash at exit when a client is still around then.
        gc.collect()
    console.print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

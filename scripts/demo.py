"""Show the main job on the quickstart: 400 documents, and replicas that follow the backlog.

Starts compose/quickstart as a Compose project of its own, uploads the documents through its API,
watches the backlog and the replicas go up and down again, and prints a summary. Exits with 0 only
when the replicas went from the fewest to the most and back, and every document was processed.
Removes what it started unless KEEP=1 is set. With RECORD=FILE the samples are written there as
JSON; the picture in the README is drawn from such a file. `make demo` sets up everything needed.
"""

# The parts are in scripts/demonstration, which Python finds because it looks in the folder of the
# script it runs.

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from demonstration.documents import DOCUMENTS, upload_all
from demonstration.quickstart import PROJECT, Bounds, Failure, Quickstart
from demonstration.showing import console, display, errors, summary
from demonstration.watching import Sample, Watch, count_repeated_attempts, count_replicas
from rich.table import Table
from temporalio.client import Client
from temporalio.service import RPCError

# How long each part may take before the demo gives up, in seconds.
RISE_LIMIT = 90
DRAIN_LIMIT = 300
SETTLE_LIMIT = 120

FAILURES = (Failure, RPCError, RuntimeError)
"""What ends the demo with one line. Temporal's client raises the last two."""


async def run(quickstart: Quickstart, bounds: Bounds) -> Table:
    """Upload, watch, judge, and return the summary.

    Raises Failure when the replicas did not follow the backlog.
    """
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
    """Write the samples as JSON, one on each line, so that a diff can be read."""
    rows = [
        {"at": round(one.at, 1), "backlog": one.backlog, "replicas": one.replicas}
        for one in samples
    ]
    text = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    file.write_text(f"[\n{text}\n]\n", encoding="utf-8")


@contextlib.contextmanager
def started(quickstart: Quickstart) -> Iterator[None]:
    """Start the quickstart and remove it at the end; with KEEP=1, say how to remove it."""
    quickstart.stop()  # an earlier demo may have been kept, or killed
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
    """Run the demo and clean up; return the exit code."""
    # A shell lets what it starts in the background ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # `kill`, and closing the terminal, must clean up as Ctrl-C does.
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
        # The interpreter may crash at exit while a Temporal client still exists.
        gc.collect()
    console.print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())

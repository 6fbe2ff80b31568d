"""Count the tasks that scale-ins lose, with services at work and a daemon that is killed.

The exit code is 1 where a promise is broken or a task was not done in the end, and 130 when
interrupted. However it ends, nothing that it started is left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.losses import table
from tests.losses.columns import COLUMNS, SWARM_COLUMNS, TYPESCRIPT, Column
from tests.losses.compose import OnCompose
from tests.losses.fleet import Fleet
from tests.losses.ledger import Row
from tests.losses.swarm import OnSwarm
from tests.real.crew import TYPESCRIPT_TOOLS

SHOW_EVERY = 15.0
"""Seconds between two lines about the progress."""


async def count(asked: argparse.Namespace, seed: int) -> int:
    """Let the services work until the daemon has scaled in so often; print what was lost.

    Return the exit code. What was started is removed after the printing: that takes a while.
    """
    columns, stage = wanted(asked), OnSwarm if asked.swarm else OnCompose
    began = time.monotonic()
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="tda-losses-")))
        fleet = Fleet(folder, stage(folder, columns), columns, seed, asked.longest, parts)
        showing = asyncio.create_task(show(fleet, asked.scale_ins))
        try:
            await fleet.work(asked.scale_ins, asked.minutes)
            return tell(asked, seed, fleet.rows(), (time.monotonic() - began) / 60)
        finally:
            showing.cancel()
            if asked.log:
                asked.log.write_text("".join(f"{json.dumps(line)}\n" for line in fleet.lines))
            say("removing the containers")


def wanted(asked: argparse.Namespace) -> Sequence[Column]:
    """Return the columns that are asked for."""
    columns = SWARM_COLUMNS if asked.swarm else COLUMNS
    return [each for each in columns if not asked.only or each.name in asked.only.split(",")]


def find_problem(asked: argparse.Namespace) -> str | None:
    """Return what is wrong with the command line, or not installed; None where nothing is."""
    columns = wanted(asked)
    unknown = {*(asked.only or "").split(",")} - {"", *(each.name for each in columns)}
    if unknown:
        return f"no column is named {', '.join(sorted(unknown))}"
    in_typescript = any(each.language == TYPESCRIPT for each in columns)
    if in_typescript and not Path(*TYPESCRIPT_TOOLS).exists():
        return "Node is not there: run `python3 scripts/setup.py typescript`"
    return None


def tell(asked: argparse.Namespace, seed: int, rows: Sequence[Row], minutes: float) -> int:
    """Print what was counted; return the exit code."""
    broken = table.broken(rows)
    if asked.json:
        print(json.dumps({"seed": seed, "minutes": minutes, "rows": table.data(rows)}))
    else:
        print(table.markdown(rows))
    if not asked.json and not asked.markdown:
        print(f"\nseed {seed}, {minutes:.0f} minutes")
        print("\n".join(broken) or "no promise is broken, and every task was done")
    sys.stdout.flush()
    return 1 if broken else 0


async def show(fleet: Fleet, scale_ins: int) -> None:
    """Say how far it is, until cancelled."""
    while True:
        await asyncio.sleep(SHOW_EVERY)
        say(f"of {scale_ins}: {fleet.progress}")


def say(what: str) -> None:
    """Tell the person at the terminal; standard output is for the table."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


async def interruptible(asked: argparse.Namespace, seed: int) -> int:
    """Do the same; SIGINT and SIGTERM end it, after everything was removed."""
    counting = asyncio.create_task(count(asked, seed))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, counting.cancel)
    return await counting


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.losses", description=__doc__)
    parser.add_argument("scale_ins", type=int, help="how many scale-ins to wait for")
    parser.add_argument("seeds", type=int, nargs="*", help="one run for each; random without any")
    parser.add_argument("--swarm", action="store_true", help="on three nodes, not on Compose")
    parser.add_argument("--minutes", type=float, default=55, help="stop earlier, after so long")
    parser.add_argument("--longest", type=float, default=120, help="seconds of the longest task")
    parser.add_argument("--log", type=Path, help="file for the log of the daemons")
    parser.add_argument("--only", help="names of columns, with commas; all without it")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON, one line for each seed")
    shape.add_argument("--markdown", action="store_true", help="print the table alone")
    asked = parser.parse_args()
    if problem := find_problem(asked):
        parser.error(problem)
    code = 0
    for seed in asked.seeds or [random.randrange(10**6)]:
        say(f"seed {seed}")
        try:
            code = max(code, asyncio.run(interruptible(asked, seed)))
        except asyncio.CancelledError:
            return 130
    return code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not sys.exit: an interpreter that shuts down beside a worker of Temporal that was cancelled
    # may wait for the worker's threads for ever (seen after SIGTERM on a machine under load).
    os._exit(code)

"""Overrides under fire: many writers, half of them wrong, some killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from tests.e2e.conftest import labels
from tests.faults.conftest import Run
from tests.real.daemon import DaemonProcess, autoscaler, environment
from tests.real.stages import ComposeStage
from tests.real.waiting import until_async

WRITERS = 8
EACH_SECOND = 25
"""Writes of each writer: 200 together."""
SECONDS = 10
WRITER = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from autoscaler.core.errors import OverrideError
from autoscaler.core.model import ServiceId
from autoscaler.core.override import Wanted
from autoscaler.wishes.overrides_file import OverridesFile

file, service = OverridesFile(Path(sys.argv[1])), ServiceId("compose", sys.argv[2])
begun = time.monotonic()
for number in range(int(sys.argv[3]) * int(sys.argv[4])):
    value = "many" if number % 2 else str(1 + number % 4)
    try:
        file.put(Wanted(service, {"max": value}, "writer"), "temporal", {}, datetime.now(UTC))
    except OverrideError:
        pass
    time.sleep(max(0.0, begun + (number + 1) / int(sys.argv[3]) - time.monotonic()))
"""


def seen_max(daemon: DaemonProcess, name: str) -> int:
    """Return the max that the daemon goes by."""
    with urlopen(f"{daemon.url}api/services", timeout=30) as answer:
        found = json.loads(answer.read())["services"]
    return next(int(each["max"]) for each in found if each["service"] == name)


def writer(state: Path, name: str) -> subprocess.Popen[str]:
    """Start a process that writes overrides, every second of them wrong."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(state), name, str(EACH_SECOND), str(SECONDS)],
        env={**environment({}), "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_many_writers_half_of_them_wrong_and_some_killed(
    compose_stage: ComposeStage, run: Run, queue: str, tmp_path: Path
) -> None:
    compose_stage.up({"worker": 1}, {"worker": labels(queue)})
    name = compose_stage.name("worker")
    state = tmp_path / "state"
    daemon = run(compose_stage.project, AUTOSCALER_STATE=str(state))
    daemon.wait_for("tick")

    writers = [writer(state, name) for _ in range(WRITERS)]
    end = time.monotonic() + SECONDS
    chance = random.Random(20)
    while time.monotonic() < end:
        await asyncio.sleep(0.5)
        victim = chance.randrange(WRITERS)
        writers[victim].send_signal(signal.SIGKILL)
        writers[victim].wait()
        writers[victim] = writer(state, name)
    for each in writers:
        _, said = await asyncio.to_thread(each.communicate)
        assert said == ""

    done = autoscaler(tmp_path, "set", name, "max=7", AUTOSCALER_STATE=str(state))
    assert done.returncode == 0, done.stderr
    await until_async(lambda: seen_max(daemon, name) == 7, "the last good one")
    assert [path.name for path in state.iterdir() if "damaged" in path.name] == []
    assert "Traceback" not in daemon.text
    assert [line for line in daemon.lines if line["event"] in {"cannot scale", "not JSON"}] == []

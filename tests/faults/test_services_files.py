"""Services files that are written faster than anybody can read, wrongly, and only in part."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import labels
from tests.faults.conftest import Run, watched
from tests.real.stages import ComposeStage

RIGHT = range(2, 10)
"""Values of max that right files have: a single digit is never cut in the middle."""
WRITER = """
import itertools, os, sys, time
folder, service, begin = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in itertools.count(begin):
    right = number % 2
    value = 2 + number // 2 % 8 if right else "many"
    text = f"services:\\n  {service}:\\n    max: {value}\\n"
    path = f"{folder}/shop.yaml"
    if number % 3:
        with open(path, "w") as file:  # in place, in two parts
            file.write(text[:20])
            file.flush()
            file.write(text[20:])
    else:
        with open(f"{path}.new", "w") as file:
            file.write(text)
        os.replace(f"{path}.new", path)
    time.sleep(0.004)
"""
"""About 200 writes a second, every other one wrong."""


def write_for_a_second(folder: Path, service: str, begin: int) -> None:
    """Let another process write, and kill it in the middle."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), service, str(begin)])
    try:
        writer.wait(timeout=1)
    except subprocess.TimeoutExpired:
        writer.kill()
        writer.wait()
    else:
        raise AssertionError("the writer has ended by itself")


async def test_thousands_of_writes_half_of_them_wrong_and_writers_that_are_killed(
    compose_stage: ComposeStage, run: Run, queue: str, tmp_path: Path
) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    compose_stage.up({"worker": 1}, {"worker": labels(queue, max="5")})
    service = compose_stage.name("worker")
    daemon, watch = watched(run, compose_stage, AUTOSCALER_SERVICES=str(folder))

    for turn in range(10):
        await asyncio.to_thread(write_for_a_second, folder, service, turn * 1000)
    seen = len(daemon.lines)
    (folder / "shop.yaml").write_text(f"services:\n  {service}:\n    max: 7\n    min: 2\n")

    line = daemon.wait_for("scaling out", after=seen, desired=2)
    assert line["reasons"][-1].endswith(" (min)")
    changes = [
        change
        for each in daemon.lines
        if each["event"] == "labels changed"
        for change in each["changes"]
        if change.startswith("temporal.max: ")
    ]
    values = [re.split(" -> | \\(", change)[1] for change in changes]
    assert values[-1] == "7"
    assert {int(value) for value in values} <= {*RIGHT}
    assert "Traceback" not in daemon.text
    assert daemon.alive()
    await watch.recovered()

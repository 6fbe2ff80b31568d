"""scripts/demo.py, run as `make demo` runs it. Its summary shows the main job, end to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.browser import Browser
from tests.real.prometheus import severities, watch
from tests.real.stages import docker
from tests.real.waiting import until

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("demo")]

DEMO = Path(__file__).parents[2] / "scripts/demo.py"
PROJECT = "autoscaler-demo"
LIMIT = 600
"""Seconds. The demo's own limits are shorter."""


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    """A demo that has just started. It cleans up after itself even when the test fails."""
    environment = {key: value for key, value in os.environ.items() if key != "KEEP"}
    with subprocess.Popen(
        [sys.executable, str(DEMO)],
        env=environment | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.send_signal(signal.SIGTERM)  # does nothing where the demo has ended


def read_until(demo: subprocess.Popen[str], text: str) -> str:
    """Read the demo's output up to a line with this text, and return that line."""
    assert demo.stdout is not None
    read = []
    for line in demo.stdout:
        read.append(line)
        if text in line:
            return line
    pytest.fail(f"the demo ended without {text!r}:\n{''.join(read)}")


def nothing_is_left() -> bool:
    mine = f"--filter=label=com.docker.compose.project={PROJECT}"
    containers = docker("ps", "--all", "--quiet", mine)
    return not (
        containers + docker("network", "ls", "--quiet", mine) + docker("volume", "ls", "-q", mine)
    )


@pytest.fixture
def worker_exits() -> Iterator[Callable[[], list[str]]]:
    """Return a function that returns the exit codes of all workers that ended during the test."""
    filters = (
        "type=container",
        "event=die",
        f"label=com.docker.compose.project={PROJECT}",
        "label=com.docker.compose.service=worker",
    )
    command = ["docker", "events", *(f"--filter={one}" for one in filters)]
    form = "--format={{.Actor.Attributes.exitCode}}"
    with subprocess.Popen([*command, form], stdout=subprocess.PIPE, text=True) as process:

        def end() -> list[str]:
            process.terminate()
            return process.communicate()[0].split()

        yield end
        process.terminate()


@pytest.mark.browser
@pytest.mark.prometheus
def test_400_documents_take_the_replicas_from_1_to_20_and_back(
    worker_exits: Callable[[], list[str]],
    demo: subprocess.Popen[str],
    browser: Browser,
    tmp_path: Path,
) -> None:
    page = read_until(demo, "The status page is at").split()[-1]
    browser.open(page)
    browser.run("window.mark = 1")
    with watch(tmp_path, page) as prometheus:
        browser.shows("20 replicas", ".service")
        until(
            lambda: [most for _, most in prometheus.query("autoscaler_replicas")] == [20],
            "20 replicas in Prometheus",
        )
        until(lambda: set(prometheus.rules().values()) == {"ok"}, "an evaluation of every rule")
        firing = {name for name, _ in prometheus.firing()}
    assert {name for name in firing if severities()[name] == "critical"} == set()
    output, _ = demo.communicate(timeout=LIMIT)
    latest = browser.text("#recent-list")
    assert browser.run("return window.mark") == 1, "the page was reloaded"
    assert f"{PROJECT}/worker" in latest
    assert "waiting tasks at target 10" in latest

    assert demo.returncode == 0, output
    rows = dict(
        [cell.strip() for cell in line.split("│")[1:3]]
        for line in output.splitlines()
        if line.startswith("│")
    )
    assert rows["documents completed"] == "400 of 400"
    assert rows["replicas"] == "1 -> 20 -> 1"
    # Attempts may time out on a busy machine; the demo does not count these as failed. An attempt
    # also times out when its worker is killed, but then the worker's exit code is 137.
    assert rows["failed attempts"] == "0"
    exits = worker_exits()
    assert len(exits) >= 20
    assert "137" not in exits
    assert nothing_is_left()


def test_the_demo_fails_with_the_reason_in_its_last_line_when_replicas_do_not_follow(
    demo: subprocess.Popen[str],
) -> None:
    read_until(demo, "Uploading")
    autoscaler = f"{PROJECT}-autoscaler-1"
    while "service found" not in docker("logs", autoscaler):
        assert demo.poll() is None
    docker("pause", autoscaler)
    output, _ = demo.communicate(timeout=LIMIT)

    assert demo.returncode == 1, output
    reason = output.splitlines()[-1]
    assert reason.startswith("demo: the replicas should have reached 20 within 90 s, but"), output
    assert "service found" in output, "the autoscaler's last lines are missing"
    assert nothing_is_left()


def test_an_interrupt_in_the_middle_of_scaling_out_leaves_nothing(
    demo: subprocess.Popen[str],
) -> None:
    read_until(demo, "Uploading")
    while docker("ps", "-q", f"--filter=name={PROJECT}-worker-2") == "":
        assert demo.poll() is None
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=LIMIT)

    assert demo.returncode == 130, output
    assert nothing_is_left()

"""Every exit code of docs/command-line.md comes from a real run of the command."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from autoscaler.cli.exit_codes import ExitCode
from tests.real.daemon import autoscaler, environment
from tests.real.waiting import LIMIT

RUNS: Mapping[ExitCode, tuple[str, ...]] = {
    ExitCode.DONE: ("labels",),
    ExitCode.TROUBLE: ("status",),
    ExitCode.USAGE: ("set", "shop/worker", "max=many"),
}
"""What ends with each code where nothing listens on the daemon's port. Ctrl-C has its own test."""


def test_each_code_is_tried() -> None:
    assert {*RUNS, ExitCode.INTERRUPTED} == set(ExitCode)


@pytest.mark.parametrize("code", RUNS, ids=lambda code: code.name)
def test_it_is_returned_and_standard_error_says_why(tmp_path: Path, code: ExitCode) -> None:
    settings = {"AUTOSCALER_LISTEN": "127.0.0.1:1", "AUTOSCALER_STATE": str(tmp_path)}
    done = autoscaler(tmp_path, *RUNS[code], **settings)

    assert done.returncode == code
    lines = done.stderr.splitlines()
    assert bool(lines) == (code is not ExitCode.DONE)
    assert all(line.startswith("autoscaler: ") for line in lines)


def test_ctrl_c_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(LIMIT)
        settings = {"AUTOSCALER_LISTEN": f"127.0.0.1:{silent.getsockname()[1]}"}
        # A shell starts what is in its background with SIGINT ignored, and that is inherited.
        command = ["env", "--default-signal=INT", sys.executable, "-m", "autoscaler", "status"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(settings), stderr=subprocess.PIPE, text=True
        ) as process:
            # The command waits for an answer that never comes.
            waiting, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=LIMIT)
            waiting.close()

    assert (process.returncode, errors) == (ExitCode.INTERRUPTED, "")


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    command = f"{sys.executable} -m autoscaler labels --markdown | head --lines=1"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    assert (done.stdout, done.stderr) == ("# Labels\n", "")

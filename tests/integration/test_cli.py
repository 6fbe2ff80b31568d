"""The command line as a process: what is missing or wrong is one clear line, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from autoscaler.integrations.store import EncryptedStore
from tests.real.daemon import DaemonProcess, autoscaler, environment


def status(url: str) -> int:
    try:
        with urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_plan_without_an_engine_names_the_socket_and_what_to_do(tmp_path: Path) -> None:
    missing = f"unix://{tmp_path}/docker.sock"

    done = autoscaler(tmp_path, "plan", "--json", DOCKER_HOST=missing)

    assert done.returncode == 1
    planned = json.loads(done.stdout)
    (line,) = done.stderr.splitlines()
    assert (planned["services"], planned["errors"]) == ([], [line.removeprefix("autoscaler: ")])
    assert line.startswith("autoscaler: no Docker Engine answers at")
    assert missing in line
    assert "No such file or directory" in line
    assert "check that it runs" in line


def test_run_without_an_engine_says_so_once_and_goes_on(tmp_path: Path) -> None:
    settings = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "AUTOSCALER_POLL_INTERVAL": "1s"}
    with DaemonProcess(tmp_path, settings) as daemon:
        for _ in range(3):
            daemon.wait_for("tick", after=len(daemon.lines))
        health, ready = (status(f"{daemon.url}{path}") for path in ("healthz", "readyz"))
        told = [line for line in daemon.lines if line["event"] == "cannot scale"]
        assert daemon.alive()
        assert daemon.terminate() == 0

    (line,) = told
    assert "no Docker Engine answers at" in line["error"]
    assert (health, ready) == (200, 503)
    assert "Traceback" not in daemon.text


def test_wrong_settings_end_the_start_with_a_line_for_each(tmp_path: Path) -> None:
    done = autoscaler(
        tmp_path,
        "run",
        AUTOSCALER_POLL_INTERVAL="5",
        AUTOSCALER_LOG_LEVEL="loud",
        AUTOSCALER_DRYRUN="true",
        AUTOSCALER_INTEGRATIONS__CLOUD__API_KEY="planted-secret",
        AUTOSCALER_INTEGRATIONS__CLOUD__ENDPOINT="no port",
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "autoscaler: AUTOSCALER_DRYRUN is not a setting (the nearest is AUTOSCALER_DRY_RUN)",
        "autoscaler: AUTOSCALER_POLL_INTERVAL='5': a duration such as 30s, 5m or 1h30m is needed",
        "autoscaler: AUTOSCALER_LOG_LEVEL='loud': must be 'debug', 'info', 'warning' or 'error'",
        (
            "autoscaler: AUTOSCALER_INTEGRATIONS__CLOUD__ENDPOINT='no port': host and port are"
            " needed, such as localhost:7233"
        ),
    ]


def test_an_unknown_command_is_one_line_and_exit_code_two(tmp_path: Path) -> None:
    done = autoscaler(tmp_path, "plann")

    assert done.returncode == 2
    assert "No such command 'plann'" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_command(tmp_path: Path) -> None:
    done = autoscaler(tmp_path, "--help")

    assert done.returncode == 0
    assert all(verb in done.stdout for verb in ("run", "plan", "status", "simulate", "labels"))


@pytest.mark.parametrize("trace", ["burst", "ramp", "fan-out", "slow", "doubling"])
def test_simulate_sets_ours_beside_keda_on_every_trace_that_comes_along(
    tmp_path: Path, trace: str
) -> None:
    done = autoscaler(tmp_path, "simulate", trace, "--compare", "keda", COLUMNS="100")

    assert (done.returncode, done.stderr) == (0, "")
    table, _, plots = done.stdout.partition("waiting tasks")
    assert all(name in table for name in (trace, "default labels", "KEDA", "replica-seconds"))
    assert "replicas" in plots


def test_simulate_for_programs_is_one_json_object(tmp_path: Path) -> None:
    done = autoscaler(tmp_path, "simulate", "burst", "--label", "temporal.target=20", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    (alone,) = json.loads(done.stdout)["runs"]
    assert alone["figures"]["tasks_done"] == 2000


def test_a_wrong_trace_is_told_row_by_row_and_wrong_labels_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("time,arrivals\n0,many\n0,1\nsoon,2\n")
    labels = ("--label=temporal.tarqet=2", "--label=temporal.max=many")

    rows = autoscaler(tmp_path, "simulate", "orders.csv")
    named = autoscaler(tmp_path, "simulate", "burst", *labels)

    assert (rows.returncode, rows.stdout) == (named.returncode, named.stdout) == (2, "")
    assert [line.split(":")[:2] for line in rows.stderr.splitlines()] == [
        ["autoscaler", " orders.csv, row 2, column arrivals"],
        ["autoscaler", " orders.csv, row 3, column time"],
        ["autoscaler", " orders.csv, row 4, column time"],
    ]
    assert [line.split()[:2] for line in named.stderr.splitlines()] == [
        ["autoscaler:", "temporal.tarqet='2'"],
        ["autoscaler:", "temporal.max='many'"],
    ]


def test_the_prompt_for_an_api_key_shows_nothing_of_it(tmp_path: Path) -> None:
    store = tmp_path / "store" / "integrations"
    command = [sys.executable, "-m", "autoscaler", "integrations", "add", "cloud"]
    command += ["--endpoint", "cloud:7233"]
    terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    with subprocess.Popen(
        [sys.executable, "-c", terminal, *command],
        cwd=tmp_path,
        env=environment({"AUTOSCALER_STORE": str(store)}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        while not shown.endswith(b"API key (empty for none): "):
            piece = process.stdout.read1(1)
            assert piece, shown
            shown += piece
        process.stdin.write(b"planted-secret\n")
        process.stdin.flush()
        shown += process.stdout.read()
    assert process.returncode == 0
    assert b"stored integration cloud" in shown
    assert b"planted" not in shown
    stored = EncryptedStore(store).all()["cloud"].api_key
    assert stored is not None
    assert stored.get_secret_value() == "planted-secret"


def add_third(folder: Path, **stdin: Any) -> subprocess.CompletedProcess[str]:
    """Run `integrations add third` on a standard input that is no terminal."""
    command = [sys.executable, "-m", "autoscaler", "integrations", "add", "third"]
    settings = {
        "AUTOSCALER_STORE": str(folder / "store" / "integrations"),
        "DOCKER_HOST": f"unix://{folder}/no.sock",
    }
    return subprocess.run(
        [*command, "--endpoint=third:7233"],
        cwd=folder,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **stdin,
    )


def test_a_key_that_is_piped_in_without_an_option_is_stored(tmp_path: Path) -> None:
    done = add_third(tmp_path, input="planted-secret\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert "(credential: API key)" in done.stdout
    stored = EncryptedStore(tmp_path / "store" / "integrations").all()["third"].api_key
    assert stored is not None
    assert stored.get_secret_value() == "planted-secret"


def test_without_anything_on_standard_input_there_is_no_credential(tmp_path: Path) -> None:
    done = add_third(tmp_path, stdin=subprocess.DEVNULL)

    assert done.returncode == 0
    assert "(credential: none)" in done.stdout


def test_a_pipe_on_which_nothing_arrives_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        done = add_third(tmp_path, stdin=read)
    finally:
        os.close(read)
        os.close(write)

    assert done.returncode == 2
    assert "nothing arrives" in done.stderr
    assert not (tmp_path / "store").exists()

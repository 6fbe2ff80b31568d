"""Run command line tools: with a time limit, with progress on the terminal, and with a log."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
LOG = CACHE / "setup.log"

# Time limits in seconds, by the kind of work.
QUERY = 30
PULL = 120
INSTALL = 900
BUILD = 900


class SetupError(Exception):
    """A verb failed. The message says what was tried and what to do."""

    exit_code = 1


class NoEngineError(SetupError):
    """No Docker Engine answers, and none can be started here. The Makefile knows the exit code."""

    exit_code = 3


@contextmanager
def step(doing: str) -> Iterator[None]:
    """Print what is being done, then the seconds every 10 seconds, and at the end how it went."""
    started = time.monotonic()
    ended = threading.Event()

    def print_seconds() -> None:
        while not ended.wait(10):
            print(f" {time.monotonic() - started:.0f} s", end="", flush=True)

    print(f"{doing} ...", end="", flush=True)
    ticker = threading.Thread(target=print_seconds, daemon=True)
    ticker.start()
    outcome = "failed after"
    try:
        yield
        outcome = "done in"
    finally:
        ended.set()
        ticker.join()
        print(f" {outcome} {time.monotonic() - started:.0f} s", flush=True)


def run(
    command: Sequence[str],
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> None:
    """Run a tool for at most `timeout` seconds. Its output goes to the log.

    `env` is added to the environment. Raises SetupError with the last lines of the output when
    the tool fails, takes too long or is missing.
    """
    CACHE.mkdir(exist_ok=True)
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        begin = log.tell()
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise SetupError(f"could not run {command[0]}: {error.strerror}") from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise SetupError(
                f"gave up after {timeout:.0f} s: {' '.join(command)}\n{tail(LOG, begin)}"
            ) from None
        finally:
            _end_group(process)
    if code != 0:
        raise SetupError(f"exit code {code}: {' '.join(command)}\n{tail(LOG, begin)}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a tool that is still running, and every process that it started."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tail(log: Path, begin: int = 0, lines: int = 15) -> str:
    """Return the last lines of a log after byte `begin`, indented, and where the log is."""
    text = log.read_bytes()[begin:].decode(errors="replace")
    last = "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
    return f"{last}\nThe whole log is in {log.relative_to(ROOT)}."


def query(*command: str) -> str | None:
    """Return what a quick tool prints, or None when it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=QUERY,
            check=True,
            text=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder in .cache, and delete it afterwards."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        yield Path(folder)

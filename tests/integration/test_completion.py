"""Shell completion, by keys that are pressed in a real bash."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.reports import service, tick
from tests.real.daemon import autoscaler, environment
from tests.real.site import ServedSite
from tests.real.waiting import LIMIT

PROMPT = "ready> "
NEW_LINE = "\x15\n"
"""Ctrl-U, which empties the line, and Enter. Ctrl-C would not do in a shell of a background job."""
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x07\r]")


class Terminal:
    """An interactive bash that has loaded the script of `autoscaler completion bash`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._ours, theirs = pty.openpty()
        bin_folder = Path(sys.executable).parent
        settings |= {"PS1": PROMPT, "PATH": f"{bin_folder}:{os.environ['PATH']}", "TERM": "dumb"}
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=folder,
            env=environment(settings),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._read_until(PROMPT)
        self.type("source <(autoscaler completion bash)\n", PROMPT)

    def type(self, keys: str, until: str) -> str:
        """Type keys; return what the terminal then shows, up to and with a text."""
        os.write(self._ours, keys.encode())
        return self._read_until(until)

    def _read_until(self, text: str) -> str:
        shown = ""
        while text not in shown:
            assert select.select([self._ours], [], [], LIMIT)[0], shown
            shown += CONTROLS.sub("", os.read(self._ours, 65536).decode())
        return shown

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A shell beside a daemon that looks after two services."""
    with ServedSite() as site:
        site.observe(tick(service("shop/worker"), service("shop/mail")))
        made = Terminal(tmp_path, AUTOSCALER_LISTEN=f"127.0.0.1:{site.port}")
        yield made
        made.close()


def test_verbs_options_and_names_are_completed_in_bash(terminal: Terminal) -> None:
    # Each line is completed key by key: what has not been typed comes from the completion.
    terminal.type("autoscaler stat\t", "autoscaler status ")
    assert '"at"' in terminal.type("--js\t\n", PROMPT)
    terminal.type("autoscaler integ\tli\t", "autoscaler integrations list ")
    terminal.type(NEW_LINE, PROMPT)
    terminal.type("autoscaler pause shop/w\t", "pause shop/worker ")
    terminal.type(NEW_LINE, PROMPT)
    terminal.type("autoscaler simulate fan\t", "simulate fan-out ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(tmp_path: Path, shell: str) -> None:
    done = autoscaler(tmp_path, "completion", shell)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"_AUTOSCALER_COMPLETE=complete_{shell}" in done.stdout


def test_a_shell_without_a_script_is_named_beside_those_that_have_one(tmp_path: Path) -> None:
    done = autoscaler(tmp_path, "completion", "tcsh")

    assert (done.returncode, done.stdout) == (2, "")
    assert all(name in done.stderr for name in ("tcsh", "bash", "zsh", "fish"))

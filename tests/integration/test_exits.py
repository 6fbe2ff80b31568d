"""What a real engine tells of a container that has ended."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest
from docker import APIClient

from autoscaler.orchestrators.compose.ended import LONGEST, read_exit
from tests.real.stages import TINY_IMAGE, docker
from tests.real.waiting import until

pytestmark = pytest.mark.engine

Run = Callable[..., str]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return a function that runs a shell script in a container, and names the container."""
    names: list[str] = []

    def in_container(script: str, *options: str) -> str:
        names.append(f"tda-{uuid.uuid4().hex[:8]}")
        command = ["docker", "run", "--name", names[-1], *options, TINY_IMAGE, "sh", "-c", script]
        subprocess.run(command, capture_output=True, check=False, timeout=60)
        return names[-1]

    yield in_container
    docker("rm", "--force", "--volumes", *names)


@pytest.fixture(scope="module")
def client() -> Iterator[APIClient]:
    found = APIClient(version="auto")
    yield found
    found.close()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("exit 3", "exit code 3", id="nothing-was-written"),
        pytest.param("echo one; echo two; exit 3", "exit code 3 (two)", id="the-last-line"),
        pytest.param("echo two >&2; echo one; exit 3", "exit code 3 (two)", id="errors-first"),
        pytest.param("echo boom; echo; echo ' '; exit 1", "exit code 1 (boom)", id="empty-lines"),
        pytest.param(
            r"printf '\033[31mError:\033[0m\ta\001b\r\n'; exit 1",
            "exit code 1 (Error: a b)",
            id="colours-and-controls",
        ),
        pytest.param(r"printf '\377!'; exit 1", "exit code 1 (\ufffd!)", id="no-utf-8"),
        pytest.param("exit 0", "exit code 0", id="without-an-error"),
    ],
)
def test_it_is_the_exit_code_and_the_last_line_of_the_log(
    client: APIClient, run: Run, script: str, words: str
) -> None:
    assert str(read_exit(client, run(script))) == words


def test_a_long_line_is_cut(client: APIClient, run: Run) -> None:
    found = read_exit(client, run("head -c 100000 /dev/zero | tr '\\0' x; exit 1"))
    assert found.last_words == "x" * (LONGEST - 1) + "…"


def test_a_log_that_cannot_be_read_is_no_error(client: APIClient, run: Run) -> None:
    found = read_exit(client, run("echo boom; exit 3", "--log-driver=none"))
    assert str(found) == "exit code 3"


def test_a_kill_for_want_of_memory_is_no_stop_by_hand(client: APIClient, run: Run) -> None:
    # The engine notes the reason at the end, if the kernel's word has come by then. A container
    # that ended with the killed process could be too early for it. This one waits for the word.
    killed = "exec 2>/dev/null; tail /dev/zero; code=$?"
    script = f"{killed}; until [ -e /end ]; do sleep 0.1; done; exit $code"
    name = run(script, "--detach", "--memory=32m", "--memory-swap=32m")
    word = ("--filter=event=oom", f"--filter=container={name}", "--since=5m", "--until=0s")
    until(lambda: docker("events", *word), "the word of the kernel")
    docker("exec", name, "touch", "/end")
    docker("wait", name)
    found = read_exit(client, name)
    assert (found.code, found.out_of_memory, found.looks_stopped) == (137, True, False)
    assert str(found) == "exit code 137 (out of memory)"

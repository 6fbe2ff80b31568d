"""The image built from the Dockerfile."""

from __future__ import annotations

import json
import re
import socket
import tomllib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.stages import docker
from tests.real.waiting import until

pytestmark = pytest.mark.engine

IMAGE = "temporal-docker-autoscaler"
ROOT = Path(__file__).parents[2]
SOCKET = "/var/run/docker.sock"

Start = Callable[..., str]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a container of the image. It is removed after the test."""
    names: list[str] = []

    def run(*options: str) -> str:
        names.append(f"tda-{uuid.uuid4().hex[:8]}")
        # The project does not exist, so that this daemon changes nothing.
        settings = ["AUTOSCALER_PROJECTS=none", "AUTOSCALER_LOG_LEVEL=debug"]
        environment = [f"--env={setting}" for setting in settings]
        docker("run", "--detach", f"--name={names[-1]}", *environment, *options, IMAGE)
        return names[-1]

    yield run
    for name in names:
        docker("rm", "--force", name)


def events(container: str) -> list[str]:
    return [json.loads(line)["event"] for line in docker("logs", container).splitlines()]


def identity(container: str, field: str) -> list[str]:
    status = docker("exec", container, "grep", f"^{field}:", "/proc/1/status")
    return status.split()[1:]


def test_uses_the_mounted_socket_as_a_user_who_is_not_root(start: Start) -> None:
    container = start(f"--volume={SOCKET}:{SOCKET}")

    until(lambda: "tick" in events(container), "a tick")

    assert "cannot scale" not in events(container)
    assert identity(container, "Uid") == ["10001"] * 4
    assert identity(container, "Groups") == [str(Path(SOCKET).stat().st_gid)]
    assert identity(container, "NoNewPrivs") == ["1"]


def test_stays_root_where_the_group_of_the_socket_may_not_use_the_socket(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        container = start(f"--volume={path}:{SOCKET}")

        until(lambda: "cannot scale" in events(container), "a first attempt to use the engine")

        assert identity(container, "Uid") == ["0"] * 4


def health(container: str) -> str:
    return docker("inspect", "--format={{.State.Health.Status}}", container).strip()


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "0.0.0.0:9000"])
def test_is_healthy_while_its_loop_ticks(start: Start, listen: str) -> None:
    container = start(f"--volume={SOCKET}:{SOCKET}", f"--env=AUTOSCALER_LISTEN={listen}")

    until(lambda: health(container) == "healthy", "a healthy container")
    # The image has the style and the script of the page, and `autoscaler status`.
    page = docker(
        "exec", container, "python", "-c",
        "import os; from urllib.request import urlopen;"
        " port = os.environ['AUTOSCALER_LISTEN'].rpartition(':')[2];"
        " print(urlopen(f'http://127.0.0.1:{port}/').read().decode())",
    )  # fmt: skip
    assert "IntersectionObserver" in page
    assert "prefers-color-scheme" in page
    assert "looked" in docker("exec", container, "autoscaler", "status")


def test_is_unhealthy_when_nothing_answers(start: Start) -> None:
    # SIGSTOP suspends the whole process, so nothing answers.
    container = start(f"--volume={SOCKET}:{SOCKET}", "--health-interval=1s", "--health-retries=1")
    until(lambda: health(container) == "healthy", "a healthy container")

    docker("kill", "--signal=STOP", container)

    until(lambda: health(container) == "unhealthy", "an unhealthy container")


def test_ends_cleanly_when_docker_stops_it(start: Start) -> None:
    container = start(f"--volume={SOCKET}:{SOCKET}")
    until(lambda: "tick" in events(container), "a tick")

    docker("stop", container)

    assert docker("inspect", "--format={{.State.ExitCode}}", container).strip() == "0"


def test_the_daemon_can_read_what_root_stores_through_docker_exec(start: Start) -> None:
    container = start(f"--volume={SOCKET}:{SOCKET}")
    until(lambda: "tick" in events(container), "a tick")
    as_daemon = ("exec", "--user=autoscaler", container, "autoscaler", "integrations", "list")

    docker("exec", container, "autoscaler", "integrations", "add", "cloud", "--endpoint=cloud:7233")

    files = [f"/var/lib/autoscaler/integrations{end}" for end in ("", ".key")]
    assert docker("exec", container, "stat", "--format=%U %a", *files).split("\n")[:2] == [
        "autoscaler 600",
        "autoscaler 600",
    ]
    assert "encrypted store" in docker(*as_daemon)


def test_an_integration_that_would_go_with_its_container_is_stored_with_a_warning(
    start: Start,
) -> None:
    container = start(f"--volume={SOCKET}:{SOCKET}", "--env=AUTOSCALER_STORE=/tmp/store/it")
    add = "autoscaler integrations add cloud --endpoint=cloud:7233 2>&1 >/dev/null"
    assert "warning: /tmp/store is no volume, so the integration goes with this container" in (
        docker("exec", container, "sh", "-c", add)
    )


def test_its_labels_say_which_version_and_commit_it_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    labels = json.loads(docker("image", "inspect", "--format={{json .Config.Labels}}", IMAGE))
    of = {name.removeprefix("org.opencontainers.image."): text for name, text in labels.items()}

    assert of["version"] == project["version"]
    assert docker("run", "--rm", IMAGE, "--version").strip() == project["version"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", of["revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", of["created"])


def test_it_holds_what_the_daemon_needs_and_nothing_that_builds_or_tests_it() -> None:
    find = ("run", "--rm", "--entrypoint=find", IMAGE, "/opt/venv")
    names = docker(*find, "-path", "*/site-packages/*", "-prune", "-printf", "%f\\n").split()
    tests = docker(*find, "-path", "*/site-packages/autoscaler/*", "-name", "*test*")

    assert {"autoscaler", "docker", "temporalio"} <= set(names)
    assert {"pip", "hatchling", "pytest", "grpc", "mypy", "ruff", "setuptools"}.isdisjoint(names)
    assert tests == ""

"""Docker Engine: the one that answers, or one that is installed and started here."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from provision import apt
from provision.tools import CACHE, NoEngineError, SetupError, query, run, step, tail

SOCKET = "/var/run/docker.sock"
DOCKERD_PID = CACHE / "dockerd.pid"
DOCKERD_LOG = CACHE / "dockerd.log"

# Time limits in seconds.
START = 90
STOP = 60


def engine() -> None:
    """Provide a Docker Engine: the one that answers, or one that is installed and started."""
    version = _version()
    if version is None:
        _install()
        _start()
        version = _version()
    if version is None:
        raise NoEngineError(
            "An engine answers at its socket, but the docker command does not reach it.\n"
            "See what `docker version` says."
        )
    print(f"engine: Docker {version} answers")


def stop_engine() -> None:
    """End the dockerd that `engine` started, and no other."""
    pid = _read_pid(DOCKERD_PID)
    if _is_dockerd(pid):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP
        while _is_dockerd(pid):
            if time.monotonic() > deadline:
                raise SetupError(f"dockerd (process {pid}) did not end on SIGTERM.")
            time.sleep(0.2)
    DOCKERD_PID.unlink(missing_ok=True)


def _version() -> str | None:
    """Return the version of the engine that the docker command reaches."""
    return query("docker", "version", "--format", "{{.Server.Version}}")


def _install() -> None:
    """Install the engine and the docker command where they are missing. Raises NoEngineError."""
    host = os.environ.get("DOCKER_HOST", "")
    path = host.removeprefix("unix://") if host.startswith("unix://") else SOCKET
    answers = _answers_at(path)
    if host and not answers:
        raise NoEngineError(
            f"DOCKER_HOST is {host}, but no engine answers there.\n"
            "Start that engine, or unset DOCKER_HOST, and try again."
        )
    if not answers and Path(path).exists() and not os.access(path, os.W_OK):
        raise NoEngineError(
            f"This user may not use the engine's socket {path}.\n"
            "Join the group that owns it (sudo usermod -aG docker $USER, then log in again), "
            "or run this as root."
        )
    missing = [name for name in ("docker", "dockerd") if not shutil.which(name)]
    if answers:
        missing = [name for name in missing if name == "docker"]
    if not missing and (answers or os.geteuid() == 0):
        return
    if not apt.can_install():
        raise NoEngineError(
            f"Looked for the docker command and an engine at {path}: "
            f"{'no docker command' if answers else 'no engine answers'}.\n"
            "On Debian or Ubuntu run this as root, or: "
            "sudo apt-get install docker.io iptables && sudo systemctl start docker\n"
            "Elsewhere install Docker Engine or Docker Desktop and start it. Then try again."
        )
    try:
        apt.update()
        # Newer releases have the docker command in a package of its own.
        command = ["docker-cli"] if apt.knows("docker-cli") else []
        apt.install("docker.io", "iptables", *command)
    except SetupError as error:
        raise NoEngineError(
            f"Installing Docker Engine from the system's packages failed.\n{error}"
        ) from error


def _start() -> None:
    """Start the engine, unless its package has done so, and wait until it answers."""
    if _answers_at(SOCKET):
        return
    with step("starting the engine"):
        process = None
        if Path("/run/systemd/system").is_dir():
            try:
                run(["systemctl", "start", "docker"], START)
            except SetupError as error:
                raise NoEngineError(f"systemd could not start the engine.\n{error}") from error
        elif not _is_dockerd(_read_pid(Path("/var/run/docker.pid"))):
            process = _start_dockerd()
        deadline = time.monotonic() + START
        while not _answers_at(SOCKET):
            if process and process.poll() is not None:
                DOCKERD_PID.unlink()
                raise NoEngineError(f"dockerd does not run here:\n{tail(DOCKERD_LOG)}")
            if time.monotonic() > deadline:
                raise NoEngineError(f"The engine does not answer at {SOCKET}.\nSee its log.")
            time.sleep(0.2)


def _start_dockerd() -> subprocess.Popen[bytes]:
    """Start dockerd in the background, with no file or terminal of the caller kept open."""
    CACHE.mkdir(exist_ok=True)
    with DOCKERD_LOG.open("wb") as log:
        process = subprocess.Popen(
            ["dockerd"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    DOCKERD_PID.write_text(f"{process.pid}\n")
    return process


def _answers_at(path: str) -> bool:
    """Return whether an engine answers at a Unix socket."""
    connection = _SocketConnection(path)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _read_pid(file: Path) -> int:
    """Return the process id in a file, 0 when there is no file."""
    return int(file.read_text()) if file.exists() else 0


def _is_dockerd(pid: int) -> bool:
    """Return whether a process is a running dockerd."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "Name:\tdockerd\n" in status and "State:\tZ" not in status

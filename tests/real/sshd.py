"""An SSH server before the engine of this machine, in a container, with keys of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.real.waiting import until

IMAGE = "autoscaler-test/sshd:1"
SOCKET = "/var/run/docker.sock"
START = """
mkdir -p /run/sshd /root/.ssh
cp /keys/authorized /root/.ssh/authorized_keys && chmod 600 /root/.ssh/authorized_keys
cp /keys/host /run/host && chmod 600 /run/host
exec /usr/sbin/sshd -D -e -f /dev/null -h /run/host -o UsePAM=no -o PasswordAuthentication=no
"""


def is_there() -> bool:
    """Whether the image of the server is there: `scripts/setup.py ssh-image` makes it."""
    found = subprocess.run(
        ["docker", "image", "inspect", IMAGE], capture_output=True, check=False, timeout=60
    )
    return found.returncode == 0


class SshServer:
    """Starts the server; a home folder has the key that it takes, and knows its own."""

    def __init__(self, home: Path) -> None:
        """Write the keys below `home`/.ssh."""
        self.home = home
        self._folder = tempfile.TemporaryDirectory(prefix="tda-ssh-")
        keys = Path(self._folder.name)
        own, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        (home / ".ssh").mkdir(mode=0o700)
        write_key(home / ".ssh/id_ed25519", own)
        write_key(keys / "host", host)
        (keys / "authorized").write_text(_line(own) + "\n")
        self._name = f"tda-sshd-{uuid.uuid4().hex[:8]}"
        self.port = _free_port()
        self._docker(
            "run", "--detach", "--name", self._name, f"--publish=127.0.0.1:{self.port}:22",
            f"--volume={SOCKET}:{SOCKET}", f"--volume={keys}:/keys:ro",
            "--entrypoint=sh", IMAGE, "-c", START,
        )  # fmt: skip
        self.known = f"[127.0.0.1]:{self.port} {_line(host)}\n"
        (home / ".ssh/known_hosts").write_text(self.known)
        until(lambda: "Server listening" in self._log(), "the SSH server")

    @property
    def address(self) -> str:
        """The engine's address behind this server, as DOCKER_HOST has it."""
        return f"ssh://root@127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a process finds the engine and the keys."""
        return {"DOCKER_HOST": self.address, "HOME": str(self.home)}

    def cut(self) -> None:
        """End all connections, as a broken network would."""
        self._docker("restart", "--time=0", self._name)
        until(lambda: self._log().count("Server listening") > 1, "the SSH server again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._docker("rm", "--force", self._name)
        self._folder.cleanup()

    def _log(self) -> str:
        return self._run("logs", self._name).stderr

    def _docker(self, *arguments: str) -> str:
        return self._run(*arguments).stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # A test may have another context in use in the home folder.
        environment = {**os.environ, "DOCKER_CONTEXT": "default"}
        return subprocess.run(
            ["docker", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )


def _free_port() -> int:
    """Return a free port. The engine would choose another one at each restart."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def write_key(file: Path, key: Ed25519PrivateKey) -> None:
    """Write a private key as ssh reads it."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    file.touch(mode=0o600)
    file.write_bytes(private)


def _line(key: Ed25519PrivateKey) -> str:
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return public.decode()

"""The proxy of compose/hardened before the socket of this machine's engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real.stages import docker
from tests.real.waiting import free_port

HARDENED = Path(__file__).parents[2] / "compose/hardened/haproxy.cfg"


@contextmanager
def hardened_proxy(folder: Path, *without: str) -> Iterator[str]:
    """Run the proxy, `without` lines that have these words; yield its address.

    It logs what it refuses.
    """
    lines = HARDENED.read_text().splitlines()
    kept = [line for line in lines if not any(words in line for words in without)]
    assert len(kept) == len(lines) - len(without)
    config = folder / "haproxy.cfg"
    config.write_text("\n".join(kept) + "\n")
    port = free_port()
    container = docker(
        "run",
        "--detach",
        "--user=0",
        f"--publish=127.0.0.1:{port}:2375",
        f"--volume={config}:/usr/local/etc/haproxy/haproxy.cfg:ro",
        "--volume=/var/run/docker.sock:/var/run/docker.sock",
        "haproxy:3.0",
        "haproxy",
        "-db",
        "-f",
        "/usr/local/etc/haproxy/haproxy.cfg",
    ).strip()
    try:
        yield f"tcp://127.0.0.1:{port}"
        logged = docker("logs", container)
        assert ("403" in logged) == bool(without), logged
    finally:
        docker("rm", "--force", "--volumes", container)

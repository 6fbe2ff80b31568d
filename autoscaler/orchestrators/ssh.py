"""Engines behind SSH: what docker-py leaves to its caller."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from docker import APIClient
from docker.errors import DockerException

SCHEME = "ssh://"
MISSING = (
    "an ssh:// address needs a package that is not installed:"
    " pip install 'temporal-docker-autoscaler[ssh]' (the image has it)"
)
_ALIVE = 30
"""Seconds of silence after which a connection is used."""


def _failures() -> tuple[type[Exception], ...]:
    if find_spec("paramiko") is None:
        return ()
    from paramiko import SSHException  # noqa: PLC0415 - it is there only with the extra

    return (SSHException,)


FAILURES = _failures()
"""What fails where a connection of SSH has ended, beside what other connections raise."""
_UNABLE: tuple[type[Exception], ...] = (*FAILURES, OSError, EOFError)
"""What fails while one is made."""

_connecting = threading.Lock()
"""Held while a connection is made: sshd refuses some where more than ten log in at once."""


class SshError(DockerException):
    """No connection could be made."""


class NoPackageError(SshError):
    """The package that makes connections is not installed. The message says how to get it."""


@contextlib.contextmanager
def logging_in(address: str) -> Iterator[None]:
    """Make a client for `address` in here, if it is an ssh:// one. Raises SshError."""
    if not address.startswith(SCHEME):
        yield
        return
    if find_spec("paramiko") is None:
        raise NoPackageError(MISSING)
    with _connecting:
        try:
            yield
        except _UNABLE as error:
            raise SshError(f"SSH: {error}" if str(error) else "SSH failed") from error


def keep_alive(client: APIClient) -> bool:
    """Have the connection of a client used from time to time, so that no firewall forgets it.

    Returns False where it is no connection of SSH.
    """
    connection = _connection(client)
    if connection is not None:
        connection.get_transport().set_keepalive(_ALIVE)
    return connection is not None


def is_broken(client: APIClient) -> bool:
    """Whether a client has a connection of SSH that has ended: it never connects again."""
    connection = _connection(client)
    if connection is None:
        return False
    transport = connection.get_transport()
    return transport is None or not transport.is_active()


def cut_off(client: APIClient) -> bool:
    """Close the connection of a client, and with it what is being read there.

    Returns False where it is no connection of SSH.
    """
    connection = _connection(client)
    if connection is not None:
        connection.close()
    return connection is not None


def remedy(address: str) -> str:
    """Return what to do where no engine answers at an ssh:// address, for a sentence."""
    place = address.removeprefix(SCHEME)
    host, _, port = place.rpartition(":")
    command = f"ssh -p {port} {host}" if port.isdecimal() else f"ssh {place}"
    return (
        f"check that `{command} docker version` works for the daemon's user without a question"
        " for a password or the key of the host"
    )


def _connection(client: APIClient) -> Any:
    return getattr(client.get_adapter(client.base_url), "ssh_client", None)

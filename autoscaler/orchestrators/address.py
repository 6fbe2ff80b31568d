"""Where the engine is: DOCKER_HOST, or a Docker context, as the docker command finds it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from docker.context import Context, ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import DockerException
from requests.utils import get_environ_proxies

from autoscaler.orchestrators import ssh


class Address:
    """Where the engine is, by the environment of a process and the docker command's settings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._host = environment.get("DOCKER_HOST") or ""
        self._context = ""
        """Name of the Docker context in use; empty where none but the default is."""
        if not self._host:
            name = environment.get("DOCKER_CONTEXT") or get_current_context_name()
            self._context = "" if name == "default" else name

    def host(self) -> str:
        """Return it as DOCKER_HOST would have it; empty for the default socket.

        Raises DockerException where the context does not exist, and others where it is unreadable.
        """
        if not self._context:
            return self._host
        context: Context | None = ContextAPI.get_context(self._context)
        if context is None:
            raise DockerException("there is no Docker context of that name")
        return context.Host or ""

    def __str__(self) -> str:
        if not self._context:
            return self._host or "the default socket"
        host = self._known_host()
        name = self._context
        return f"{host} (Docker context {name})" if host else f"Docker context {name!r}"

    @property
    def remedy(self) -> str:
        """What to do where no engine answers, for a sentence."""
        host = self._known_host()
        if host.startswith(ssh.SCHEME):
            return ssh.remedy(host)
        leads = "that DOCKER_HOST leads to it"
        if self._context:
            leads = f"that Docker context {self._context} leads to it (see `docker context ls`)"
        return (
            f"check that it runs, {leads}, and that the daemon's user may read and write the socket"
        )

    def _known_host(self) -> str:
        # What is wrong with the context itself is said by the first call.
        with contextlib.suppress(Exception):
            return self.host()
        return ""


def proxies(url: str) -> Mapping[str, str]:
    """Return the proxies for an engine's URL as the docker command has them: none to this host."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        if ip_address(host).is_loopback:
            return {}
    if host == "localhost":
        return {}
    found: Mapping[str, str] = get_environ_proxies(url)
    return {scheme: proxy for scheme, proxy in found.items() if scheme in ("http", "https")}

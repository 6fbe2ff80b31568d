"""The Docker Engine API from asyncio: a client for each thread, errors in words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any, TypeVar

import docker
from docker import APIClient
from docker.errors import APIError, DockerException
from docker.transport import UnixHTTPAdapter
from docker.types import CancellableStream
from requests.exceptions import RequestException, Timeout

from autoscaler.core.errors import OrchestratorError

T = TypeVar("T")
Json = dict[str, Any]

TIMEOUT = 60
"""Seconds without a byte from the engine after which a call is given up. Creating a container
from a large image on a slow disk is the longest ordinary one."""


class Lane(StrEnum):
    """Threads of their own, so that slow work never holds up the next look."""

    LOOK = "look"
    CHANGE = "change"
    DRAIN = "drain"
    FOLLOW = "follow"


_THREADS = {
    Lane.LOOK: 4,
    # With 4 to 8 at once the engine starts containers fastest (measured 1.8 times faster than
    # one after the other); more only queue inside it.
    Lane.CHANGE: 8,
    # Each waits for a container to stop, asleep, for as long as the grace lasts.
    Lane.DRAIN: 512,
    # One event stream, and the next while the last is still being given up.
    Lane.FOLLOW: 2,
}


class EngineError(OrchestratorError):
    """A call to the engine failed."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the engine's answer; None when it did not answer."""


class Engine:
    """One Docker Engine, found as the docker command finds it (DOCKER_HOST, contexts)."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Read DOCKER_* from `environment`; without one, from the process's own."""
        self._environment = dict(os.environ if environment is None else environment)
        self._pools = {
            lane: ThreadPoolExecutor(threads, thread_name_prefix=lane)
            for lane, threads in _THREADS.items()
        }
        self._local = threading.local()
        self.address = self._environment.get("DOCKER_HOST") or "the default socket"

    async def call(self, what: str, work: Callable[[APIClient], T], lane: Lane = Lane.LOOK) -> T:
        """Run `work` in a thread with that thread's client. `what` says what is tried.

        Raises EngineError.
        """

        def in_thread() -> T:
            try:
                return work(self._client())
            except (DockerException, RequestException) as error:
                if getattr(error, "response", None) is None:
                    # The next call of this thread looks anew: the engine may be another one.
                    self._forget_client()
                raise self._translate(what, error) from error

        return await asyncio.get_running_loop().run_in_executor(self._pools[lane], in_thread)

    async def stop(self, container: str, grace: int) -> None:
        """Stop a container with its own signal and wait until it has ended.

        After `grace` seconds the engine kills it; -1 waits for as long as it takes. A container
        that is gone or stopped already is fine. Raises EngineError.
        """

        def work(client: APIClient) -> None:
            answer = client.post(
                api_url(client, f"/containers/{container}/stop"),
                params={"t": grace},
                timeout=None if grace < 0 else grace + TIMEOUT,
            )
            if answer.status_code != 404:  # noqa: PLR2004 - gone already
                answer.raise_for_status()

        await self.call(f"stopping container {container[:12]}", work, Lane.DRAIN)

    async def follow(
        self, filters: Mapping[str, Sequence[str]], since: int | None, seen: Callable[[Json], None]
    ) -> None:
        """Call `seen` on the event loop for each event until the engine ends the stream.

        `since` is the engine's time to begin at, in seconds. Calls `seen` with an empty
        event once the stream stands. Raises EngineError.
        """
        loop = asyncio.get_running_loop()
        stream: CancellableStream[Json] | None = None

        def work(client: APIClient) -> None:
            nonlocal stream
            stream = client.events(decode=True, filters=dict(filters), since=since)
            loop.call_soon_threadsafe(seen, {})
            for event in stream:
                loop.call_soon_threadsafe(seen, event)

        try:
            await self.call("following the engine's events", work, Lane.FOLLOW)
        finally:
            if stream is not None:
                with contextlib.suppress(DockerException, OSError):
                    stream.close()

    def close(self) -> None:
        """Take no more calls; those under way go on in their threads."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _client(self) -> APIClient:
        client: APIClient | None = getattr(self._local, "client", None)
        if client is None:
            client = docker.from_env(
                version="auto", timeout=TIMEOUT, environment=self._environment
            ).api
            adapter = client.get_adapter(client.base_url)
            if isinstance(adapter, UnixHTTPAdapter):
                client.mount(client.base_url, _OneConnection(f"http+unix://{adapter.socket_path}"))
                adapter.close()
            self._local.client = client
        return client

    def _forget_client(self) -> None:
        """Close this thread's client: left to itself, its connections would stay open for long."""
        client: APIClient | None = self._local.__dict__.pop("client", None)
        if client is not None:
            client.close()

    def _translate(self, what: str, error: Exception) -> EngineError:
        response = getattr(error, "response", None)
        if response is not None:
            return EngineError(
                f"{what} failed: the Docker Engine answered {response.status_code}"
                f" ({_explanation(error, response)})",
                response.status_code,
            )
        if isinstance(error, Timeout):
            return EngineError(
                f"{what} failed: the Docker Engine at {self.address} did not answer in time;"
                " check that it is healthy"
            )
        return EngineError(
            f"no Docker Engine answers at {self.address} ({_root_cause(error)});"
            " check that it runs, that DOCKER_HOST leads to it, and that the daemon's user"
            " may read and write the socket"
        )


class _OneConnection(UnixHTTPAdapter):
    """Keeps one connection to a socket: docker-py's own keeps one for each of 25 addresses.

    Some thirty threads would hold hundreds of them, with every file that the process may open.
    """

    def __init__(self, socket: str) -> None:
        super().__init__(socket, TIMEOUT)

    def get_connection(self, url: str | bytes, proxies: Any = None) -> Any:  # noqa: ARG002
        return super().get_connection("http+docker://localhost")


def api_url(client: APIClient, path: str) -> str:
    """Return the address of an API path that docker-py has no method for."""
    return f"{client.base_url}/v{client.api_version}{path}"


def api_version(client: APIClient) -> tuple[int, int]:
    """Return the version of the API that is spoken, such as (1, 41)."""
    major, minor = client.api_version.split(".")
    return int(major), int(minor)


def _explanation(error: Exception, response: Any) -> str:
    if isinstance(error, APIError) and error.explanation:
        text = str(error.explanation)
    else:
        try:
            text = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            text = str(response.reason)
    return " ".join(text.split())


def _root_cause(error: BaseException) -> str:
    """Return the operating system's word for it, below docker-py's, requests' and urllib3's."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:300]

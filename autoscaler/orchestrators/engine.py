"""The Docker Engine API from asyncio: calls in threads, clients lent to them, errors in words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import docker
from anyio import CapacityLimiter, to_thread
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
IDLE = 10.0
"""Seconds after which a client that nobody needed is closed, with its connection."""
STOPS_AT_ONCE = 8
"""Stopping 19 containers at once takes the engine 1.16 times as long as 8 at a time (measured)."""
TURN = 0.5
"""Seconds after which a container that is still stopping lets the next begin: it works on, and
costs the engine nothing. One that does not is gone in less."""


class Lane(StrEnum):
    """Calls that wait for each other; slow work in one never holds up another."""

    LOOK = "look"
    CHANGE = "change"
    DRAIN = "drain"
    FOLLOW = "follow"


_AT_ONCE = {
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
        environment = dict(os.environ if environment is None else environment)
        self._lanes = {lane: CapacityLimiter(calls) for lane, calls in _AT_ONCE.items()}
        self._turns = asyncio.Semaphore(STOPS_AT_ONCE)
        self._clients = _Clients(environment)
        self.address = environment.get("DOCKER_HOST") or "the default socket"

    async def call(self, what: str, work: Callable[[APIClient], T], lane: Lane = Lane.LOOK) -> T:
        """Run `work` in a thread with a client of its own. `what` says what is tried.

        Raises EngineError.
        """

        def in_thread() -> T:
            try:
                with self._clients.lent() as client:
                    return work(client)
            except (DockerException, RequestException) as error:
                raise self._translate(what, error) from error

        # Threads that have been idle for 10 s end: there are as many as are needed, not as many
        # as ever were.
        return await to_thread.run_sync(
            in_thread, limiter=self._lanes[lane], abandon_on_cancel=True
        )

    async def stop(self, container: str, grace: int) -> None:
        """Stop a container with its own signal and wait until it has ended.

        After `grace` seconds the engine kills it; -1 waits for as long as it takes. A container
        that is gone or stopped already is fine. Where many are stopped, a few begin at a time.
        Raises EngineError.
        """

        def work(client: APIClient) -> None:
            answer = client.post(
                api_url(client, f"/containers/{container}/stop"),
                params={"t": grace},
                timeout=None if grace < 0 else grace + TIMEOUT,
            )
            if answer.status_code != 404:  # noqa: PLR2004 - gone already
                answer.raise_for_status()

        async with self._turns:
            stopping = asyncio.create_task(
                self.call(f"stopping container {container[:12]}", work, Lane.DRAIN)
            )
            await asyncio.wait({stopping}, timeout=TURN)
        await stopping

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
        """Close the clients; those under way in threads are closed when they come back."""
        self._clients.close()

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


class _Clients:
    """docker-py's clients, each with one caller at a time, and no more of them than are needed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._idle: deque[tuple[float, APIClient]] = deque()
        """With the time that each came back; the latest is the next to go out again."""
        self._keep = IDLE

    @contextlib.contextmanager
    def lent(self) -> Iterator[APIClient]:
        """Lend a client. Where the engine did not answer it is closed: the next looks anew."""
        client = self._take() or self._make()
        try:
            yield client
        except (DockerException, RequestException) as error:
            if getattr(error, "response", None) is None:
                client.close()
            else:
                self._put_back(client)
            raise
        except BaseException:
            client.close()
            raise
        self._put_back(client)

    def close(self) -> None:
        """Close all that are not lent, and the others when they come back."""
        self._keep = -1.0
        self._close_idle()

    def _take(self) -> APIClient | None:
        # Two threads may look at once: only one of them gets the last.
        with contextlib.suppress(IndexError):
            return self._idle.pop()[1]
        return None

    def _put_back(self, client: APIClient) -> None:
        self._idle.append((time.monotonic(), client))
        self._close_idle()

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while self._idle[0][0] < time.monotonic() - self._keep:
                self._idle.popleft()[1].close()

    def _make(self) -> APIClient:
        client: APIClient = docker.from_env(
            version="auto", timeout=TIMEOUT, environment=self._environment
        ).api
        adapter = client.get_adapter(client.base_url)
        if isinstance(adapter, UnixHTTPAdapter):
            client.mount(client.base_url, _OneConnection(f"http+unix://{adapter.socket_path}"))
            adapter.close()
            # No proxy leads to a socket, and no .netrc knows it: looked for with every call, they
            # take a fifth of it.
            client.trust_env = False
        return client


class _OneConnection(UnixHTTPAdapter):
    """Keeps one connection to a socket: docker-py's own keeps one for each of 25 addresses.

    Some thirty clients would hold hundreds of them, with every file that the process may open.
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

"""The Docker Engine API from asyncio: calls run in threads, each with a client of its own."""

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
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.errors import APIError, DockerException
from docker.transport import UnixHTTPAdapter
from docker.types import CancellableStream
from requests.exceptions import RequestException, Timeout

from autoscaler.core.errors import OrchestratorError
from autoscaler.orchestrators import ssh
from autoscaler.orchestrators.address import Address, proxies

T = TypeVar("T")
Json = dict[str, Any]
"""A JSON object of the Engine API."""

TIMEOUT = 60
"""Seconds without a byte from the engine after which a call is given up. The longest ordinary call
creates a container from a large image on a slow disk."""
IDLE = 10.0
"""Seconds after which a client that nobody used is closed, with its connection."""
DOCKER, PODMAN = "the Docker Engine", "Podman"
"""The products that answer the Engine API, as they are called in a sentence."""
GONE = (404, 409)
"""HTTP statuses: no such container, or its removal is under way already."""
STOPS_AT_ONCE = 8
"""Stops begin eight at a time, because the engine is slower when all begin at once: stopping 19
containers at once took 1.16 times as long as eight at a time (measured 2026-11 on Engine 20.10).
This can go when that no longer holds."""
_FAILURES: tuple[type[Exception], ...] = (DockerException, RequestException, *ssh.FAILURES)
"""What docker-py raises where a call fails."""
HEAD_START = 0.5
"""Seconds after which a container that is still stopping lets the next stop begin: the engine only
waits for it then."""


class Lane(StrEnum):
    """A kind of call. Each kind has its own threads, so slow calls never hold up the others."""

    LOOK = "look"
    CHANGE = "change"
    DRAIN = "drain"
    EVENTS = "events"
    STATISTICS = "statistics"
    PROCESSES = "processes"


_AT_ONCE = {
    Lane.LOOK: 4,
    # With 4 to 8 calls at once the engine starts containers fastest: 1.8 times faster than one
    # after the other. More calls only wait inside the engine.
    Lane.CHANGE: 8,
    # Each of these threads sleeps until a container has stopped.
    Lane.DRAIN: 512,
    # One event stream, and the next one while the thread of the last one ends.
    Lane.EVENTS: 2,
    # Engine 20.10 answers only once a second, but then all that wait (measured 2026-11).
    Lane.STATISTICS: 32,
    # The engine runs `ps` for each: 75 to 250 ms on 2 busy cores (measured 2026-11).
    Lane.PROCESSES: 4,
}


class EngineError(OrchestratorError):
    """A call to the engine failed."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the engine's answer; None where it did not answer."""


class Engine:
    """One Docker Engine, found as the docker command finds it (DOCKER_HOST, contexts)."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Read DOCKER_* from `environment`; without one, from the process's own."""
        environment = dict(os.environ if environment is None else environment)
        self._lanes = {lane: CapacityLimiter(calls) for lane, calls in _AT_ONCE.items()}
        self._turns = asyncio.Semaphore(STOPS_AT_ONCE)
        self._address = Address(environment)
        self._clients = _Clients(environment, self._address)
        self.address = str(self._address)

    async def call(self, what: str, work: Callable[[APIClient], T], lane: Lane = Lane.LOOK) -> T:
        """Run `work` in a thread with a client of its own, and return what it returns.

        `what` says what is tried, for the error. Raises EngineError.
        """

        def in_thread() -> T:
            try:
                with self._clients.lent() as client:
                    return work(client)
            except _FAILURES as error:
                raise self._translate(what, error) from error

        # anyio ends threads that have been idle for 10 s.
        return await to_thread.run_sync(
            in_thread, limiter=self._lanes[lane], abandon_on_cancel=True
        )

    async def stop(self, container: str, grace: int) -> None:
        """Stop a container with its own signal and wait until it has ended.

        After `grace` seconds the engine kills it; -1 means that the engine never does. A container
        that is gone or has stopped already is no error. Raises EngineError.
        """

        def work(client: APIClient) -> None:
            answer = client.post(
                api_url(client, f"/containers/{container}/stop"),
                params={"t": grace},
                timeout=None if grace < 0 else grace + TIMEOUT,
            )
            if answer.status_code != 404:  # noqa: PLR2004 - it is gone
                answer.raise_for_status()

        async with self._turns:
            stopping = asyncio.create_task(
                self.call(f"stopping container {container[:12]}", work, Lane.DRAIN)
            )
            await asyncio.wait({stopping}, timeout=HEAD_START)
        await stopping

    async def events(
        self,
        filters: Mapping[str, Sequence[str]],
        since: int | None,
        began: Callable[[], None],
        happened: Callable[[Json], None],
    ) -> None:
        """Call `happened` on the event loop for each event until the engine ends the stream.

        `since` is the engine's time to begin at, in seconds since 1970. `began` is called once the
        engine has opened the stream. Raises EngineError.
        """
        loop = asyncio.get_running_loop()
        stream: CancellableStream[Json] | None = None
        reading: APIClient | None = None

        def work(client: APIClient) -> None:
            nonlocal reading, stream
            reading = client
            stream = client.events(decode=True, filters=dict(filters), since=since)
            loop.call_soon_threadsafe(began)
            for event in stream:
                loop.call_soon_threadsafe(happened, event)

        try:
            await self.call("following the engine's events", work, Lane.EVENTS)
        finally:
            if stream is not None and reading is not None and not ssh.cut_off(reading):
                with contextlib.suppress(DockerException, OSError):
                    stream.close()

    def close(self) -> None:
        """Close the clients; a client in use is closed when its call ends."""
        self._clients.close()

    @property
    def product(self) -> str:
        """What answers, by its own word: `Podman`, or `the Docker Engine`, also before it has
        answered.
        """
        return self._clients.product

    def _translate(self, what: str, error: Exception) -> EngineError:
        response = getattr(error, "response", None)
        if response is not None:
            return EngineError(
                f"{what} failed: {self.product} answered {response.status_code}"
                f" ({_explanation(error, response)})",
                response.status_code,
            )
        if isinstance(error, Timeout):
            return EngineError(
                f"{what} failed: {self.product} at {self.address} did not answer in time;"
                " check that it is healthy"
            )
        if isinstance(error, ssh.NoPackageError):
            return EngineError(f"no Docker Engine answers at {self.address}: {error}")
        return EngineError(
            f"no Docker Engine answers at {self.address} ({_root_cause(error)});"
            f" {self._address.remedy}"
        )


class _Clients:
    """docker-py's clients, each used by one thread at a time: they are not thread-safe."""

    def __init__(self, environment: dict[str, str], address: Address) -> None:
        self._environment = environment
        self._address = address
        self._idle: deque[tuple[float, APIClient]] = deque()
        """Clients that nobody uses, each with the time it came back; the latest is used next."""
        self._keep = IDLE
        self.product = DOCKER

    @contextlib.contextmanager
    def lent(self) -> Iterator[APIClient]:
        """Lend a client. It is closed where the engine did not answer, so the next one connects
        again.
        """
        client = self._take() or self._make()
        try:
            yield client
        except _FAILURES as error:
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
        """Close all clients that are not lent, and each of the others when it comes back."""
        self._keep = -1.0
        self._close_idle()

    def _take(self) -> APIClient | None:
        # Two threads may ask at the same time: only one of them gets the last client.
        with contextlib.suppress(IndexError):
            while ssh.is_broken(client := self._idle.pop()[1]):
                client.close()
            return client
        return None

    def _put_back(self, client: APIClient) -> None:
        self._idle.append((time.monotonic(), client))
        self._close_idle()

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while self._idle[0][0] < time.monotonic() - self._keep:
                self._idle.popleft()[1].close()

    def _make(self) -> APIClient:
        # A client that is to find out the version itself calls the engine before anything can be
        # set on it. So one that calls nothing by itself asks for the version.
        asking = self._new(MINIMUM_DOCKER_API_VERSION)
        try:
            answer: Json = asking.version(api_version=False)
        finally:
            asking.close()
        self.product = _product(answer)
        return self._new(answer["ApiVersion"])

    def _new(self, version: str) -> APIClient:
        """Return a client for a version of the API, which has called nothing yet."""
        with ssh.logging_in(self._address.host()):
            client: APIClient = docker.from_env(
                version=version, timeout=TIMEOUT, environment=self._environment
            ).api
        # Of the environment, the docker command heeds only the proxies. With `trust_env`,
        # REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE replace the authority of the engine, and .netrc adds
        # a password.
        client.trust_env = False
        adapter = client.get_adapter(client.base_url)
        if isinstance(adapter, UnixHTTPAdapter):
            # By default docker-py keeps a connection for each of the last 25 addresses it called.
            # Thirty clients would then hold hundreds of open files.
            socket = f"http+unix://{adapter.socket_path}"
            client.mount(client.base_url, UnixHTTPAdapter(socket, TIMEOUT, pool_connections=1))
            adapter.close()
        elif not ssh.keep_alive(client):
            client.proxies.update(proxies(client.base_url))
        return client


def _product(version: Json) -> str:
    """Return what answers, by the engine's answer to the question for its version."""
    parts = version.get("Components") or ()
    return PODMAN if any(each["Name"].startswith(PODMAN) for each in parts) else DOCKER


def api_url(client: APIClient, path: str) -> str:
    """Return the URL of an API path that docker-py has no method for."""
    return f"{client.base_url}/v{client.api_version}{path}"


def api_version(client: APIClient) -> tuple[int, int]:
    """Return the version of the API that the client speaks, such as (1, 41)."""
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
    """Return the operating system's word for what went wrong, from below docker-py and requests."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:300]

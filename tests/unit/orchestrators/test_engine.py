"""The engine from asyncio: errors in words, clients lent to threads, no grace cut short."""

from __future__ import annotations

import asyncio
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
import requests
from docker import APIClient
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.context.config import get_context_id
from docker.errors import APIError, DockerException, ImageNotFound
from paramiko import SSHException

from autoscaler.core.errors import OrchestratorError
from autoscaler.orchestrators import engine as module
from autoscaler.orchestrators import ssh
from autoscaler.orchestrators.address import Address
from autoscaler.orchestrators.engine import (
    IDLE,
    STOPS_AT_ONCE,
    TIMEOUT,
    Engine,
    EngineError,
    Lane,
    api_url,
)


def answer(status: int, body: str = '{"message": "so  it\\nis"}') -> requests.Response:
    """Return an answer of the engine."""
    made = requests.Response()
    made.status_code = status
    made.reason = "Some Reason"
    made._content = body.encode()
    return made


def nested(*errors: BaseException) -> BaseException:
    """Chain errors the way libraries do, the outermost first."""
    for outer, inner in pairwise(errors):
        outer.__context__ = inner
    return errors[0]


class Clients:
    """Makes clients, and remembers which were closed and what was posted."""

    def __init__(self) -> None:
        self.made: list[SimpleNamespace] = []
        self.closed: list[SimpleNamespace] = []
        self.posts: list[dict[str, Any]] = []
        self.answer = answer(204)
        self.error: Exception | None = None

    def from_env(self, **options: Any) -> SimpleNamespace:
        if self.error is not None:
            raise self.error
        client = SimpleNamespace(
            base_url="http+docker://localhost",
            api_version="1.41",
            post=self.post,
            proxies={},
            version=lambda **_: {"ApiVersion": "1.41"},
            get_adapter=lambda _url: None,
        )
        if options["version"] == MINIMUM_DOCKER_API_VERSION:
            client.close = lambda: None  # it only asks for the version
        else:
            client.close = lambda: self.closed.append(client)
            self.made.append(client)
        return SimpleNamespace(api=client)

    def post(self, url: str, **options: Any) -> requests.Response:
        self.posts.append({"url": url, **options})
        return self.answer


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    made = Clients()
    monkeypatch.setattr(docker, "from_env", made.from_env)
    return made


@pytest.fixture
def engine(clients: Clients) -> Iterator[Engine]:  # noqa: ARG001 - its clients are those
    made = Engine()
    yield made
    made.close()


def raising(error: BaseException) -> Callable[[APIClient], None]:
    """Return work that fails."""

    def work(_client: APIClient) -> None:
        raise error

    return work


async def failure(engine: Engine, error: BaseException) -> EngineError:
    """Run work that fails, and return what comes of it."""
    with pytest.raises(EngineError) as caught:
        await engine.call("listing containers", raising(error))
    assert isinstance(caught.value, OrchestratorError)
    assert caught.value.__cause__ is error
    return caught.value


class TestErrors:
    async def test_what_the_engine_answers_is_told_with_its_status(self, engine: Engine) -> None:
        error = await failure(engine, APIError("x", answer(409), explanation="name\n in use"))
        assert str(error) == (
            "listing containers failed: the Docker Engine answered 409 (name in use)"
        )
        assert error.status == 409

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            pytest.param('{"message": "so  it\\nis"}', "so it is", id="the-engines-message"),
            pytest.param("<html>", "Some Reason", id="no-json"),
            pytest.param('{"detail": "x"}', "Some Reason", id="json-without-a-message"),
            pytest.param("[1]", "Some Reason", id="json-of-another-shape"),
        ],
    )
    async def test_an_answer_without_an_explanation_is_told_by_its_body(
        self, engine: Engine, body: str, words: str
    ) -> None:
        error = await failure(engine, requests.HTTPError(response=answer(500, body)))
        assert str(error).endswith(f"answered 500 ({words})")
        assert error.status == 500

    async def test_an_engine_that_is_slow_is_told_as_such(self, engine: Engine) -> None:
        error = await failure(engine, requests.ReadTimeout("timed out"))
        assert "at the default socket did not answer in time" in str(error)
        assert error.status is None

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            pytest.param(
                nested(
                    DockerException("Error while fetching server API version"),
                    requests.ConnectionError("Connection aborted"),
                    FileNotFoundError(2, "No such file or directory"),
                ),
                "No such file or directory",
                id="no-socket",
            ),
            pytest.param(
                nested(
                    requests.ConnectionError("Connection aborted"),
                    PermissionError(13, "Permission denied"),
                ),
                "Permission denied",
                id="no-permission",
            ),
            pytest.param(
                DockerException("Invalid  bind\naddress"), "Invalid bind address", id="bad-address"
            ),
            pytest.param(
                SSHException("SSH session not active"), "SSH session not active", id="ssh-ended"
            ),
        ],
    )
    async def test_an_engine_that_cannot_be_reached_is_told_with_what_to_do(
        self, engine: Engine, error: BaseException, cause: str
    ) -> None:
        told = await failure(engine, error)
        assert str(told) == (
            f"no Docker Engine answers at the default socket ({cause});"
            " check that it runs, that DOCKER_HOST leads to it, and that the daemon's user"
            " may read and write the socket"
        )
        assert told.status is None

    async def test_docker_host_is_named_where_it_is_set(
        self, monkeypatch: pytest.MonkeyPatch, clients: Clients
    ) -> None:
        monkeypatch.setenv("DOCKER_HOST", "tcp://engine:2375")
        clients.error = DockerException("Error while fetching server API version")
        engine = Engine()
        with pytest.raises(EngineError, match="no Docker Engine answers at tcp://engine:2375"):
            await engine.call("listing containers", lambda client: client)
        engine.close()

    async def test_errors_of_our_own_are_not_taken_for_the_engines(self, engine: Engine) -> None:
        with pytest.raises(ZeroDivisionError):
            await engine.call("counting", raising(ZeroDivisionError()))


class TestAddress:
    @pytest.fixture
    def contexts(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """The docker command's folder, with a context `far`."""
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        (tmp_path / "config.json").write_text('{"currentContext": "far"}')
        folder = tmp_path / "contexts" / "meta" / get_context_id("far")
        folder.mkdir(parents=True)
        host = f"unix://{tmp_path}/far.sock"
        (folder / "meta.json").write_text(
            json.dumps({"Name": "far", "Metadata": {}, "Endpoints": {"docker": {"Host": host}}})
        )
        return tmp_path

    async def test_a_context_is_named_with_its_host(self, contexts: Path) -> None:
        engine = Engine({})
        with pytest.raises(EngineError) as caught:
            await engine.call("looking", lambda client: client.ping())
        assert f"at unix://{contexts}/far.sock (Docker context far)" in str(caught.value)

    @pytest.mark.usefixtures("contexts")
    async def test_a_context_that_is_not_there_is_not_the_default_socket(self) -> None:
        engine = Engine({"DOCKER_CONTEXT": "typo"})
        with pytest.raises(EngineError, match="there is no Docker context of that name"):
            await engine.call("looking", lambda client: client.ping())

    @pytest.mark.usefixtures("contexts")
    async def test_what_to_do_names_the_context(self) -> None:
        engine = Engine({})
        with pytest.raises(EngineError, match="that Docker context far leads to it"):
            await engine.call("looking", lambda client: client.ping())

    async def test_an_ssh_address_without_the_extra_says_how_to_install_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ssh, "find_spec", lambda _name: None)
        engine = Engine({"DOCKER_HOST": "ssh://me@far"})
        with pytest.raises(EngineError) as caught:
            await engine.call("looking", lambda client: client.ping())
        assert str(caught.value) == (
            "no Docker Engine answers at ssh://me@far: an ssh:// address needs a package that is"
            " not installed: pip install 'temporal-docker-autoscaler[ssh]' (the image has it)"
        )

    @pytest.mark.parametrize(
        ("address", "command"),
        [
            ("ssh://me@far", "`ssh me@far docker version`"),
            ("ssh://me@far:2222", "`ssh -p 2222 me@far docker version`"),
        ],
    )
    def test_where_ssh_leads_to_nothing_a_command_shows_why(
        self, address: str, command: str
    ) -> None:
        assert command in ssh.remedy(address)

    @pytest.mark.usefixtures("contexts")
    def test_docker_host_comes_before_a_context(self) -> None:
        assert Engine({"DOCKER_HOST": "tcp://far:2375"}).address == "tcp://far:2375"


@pytest.mark.parametrize(
    ("host", "proxies"),
    [
        pytest.param("tcp://far:2375", {"http": "http://proxy:3128"}, id="as-docker"),
        pytest.param("tcp://near:2375", {}, id="no-proxy"),
        pytest.param("tcp://127.0.0.1:2375", {}, id="this-host"),
        pytest.param("tcp://localhost:2375", {}, id="this-host-by-name"),
    ],
)
def test_of_the_environment_only_the_proxies_count(
    monkeypatch: pytest.MonkeyPatch, host: str, proxies: dict[str, str]
) -> None:
    for name, value in {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "near"}.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    environment = {"DOCKER_HOST": host}
    client = module._Clients(environment, Address(environment))._new("1.41")
    assert client.trust_env is False
    assert client.proxies.get("http") == proxies.get("http")


class TestClients:
    async def test_one_whose_connection_of_ssh_has_ended_is_closed_and_another_one_made(
        self, engine: Engine, clients: Clients
    ) -> None:
        await engine.call("looking", lambda client: client)
        (first,) = clients.made
        ended = SimpleNamespace(get_transport=lambda: None)
        first.get_adapter = lambda _url: SimpleNamespace(ssh_client=ended)
        used = await engine.call("looking", lambda client: client)
        assert clients.closed == [first]
        assert used is not first

    async def test_one_client_is_enough_for_calls_in_a_row(
        self, engine: Engine, clients: Clients
    ) -> None:
        for _ in range(30):
            await engine.call("looking", lambda client: client)
        assert len(clients.made) == 1

    async def test_no_client_is_used_by_two_threads_at_once(self, engine: Engine) -> None:
        barrier = threading.Barrier(4, timeout=10)

        def work(client: APIClient) -> int:
            barrier.wait()
            return id(client)

        used = await asyncio.gather(*(engine.call("looking", work) for _ in range(4)))
        assert len(set(used)) == 4

    async def test_clients_that_nobody_needs_for_a_while_are_closed(
        self, engine: Engine, clients: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = SimpleNamespace(monotonic=lambda: 0.0)
        monkeypatch.setattr(module, "time", clock)
        barrier = threading.Barrier(4, timeout=10)
        await asyncio.gather(*(engine.call("looking", lambda _: barrier.wait()) for _ in range(4)))
        clock.monotonic = lambda: IDLE
        used = await engine.call("looking", lambda client: client)
        assert not clients.closed
        clock.monotonic = lambda: IDLE + 1
        assert await engine.call("looking", lambda client: client) is used
        assert sorted(map(id, clients.closed)) == sorted(
            id(each) for each in clients.made if each is not used
        )

    async def test_a_client_that_failed_in_a_way_nobody_knows_is_not_lent_again(
        self, engine: Engine, clients: Clients
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            await engine.call("counting", raising(ZeroDivisionError()))
        assert clients.closed == clients.made

    async def test_at_the_end_all_are_closed_also_one_that_is_still_lent(
        self, engine: Engine, clients: Clients
    ) -> None:
        await engine.call("looking", lambda client: client)
        await engine.call("looking", lambda _: engine.close())
        assert clients.closed == clients.made

    async def test_after_a_lost_connection_the_engine_is_looked_for_anew(
        self, engine: Engine, clients: Clients
    ) -> None:
        barrier = threading.Barrier(2, timeout=10)

        def lose(_client: APIClient) -> None:
            barrier.wait()
            raise requests.ConnectionError("gone")

        await asyncio.gather(
            *(engine.call("looking", lose) for _ in range(2)), return_exceptions=True
        )
        before = list(clients.made)
        await engine.call("looking", lambda client: client)
        assert len(clients.made) == len(before) + 1
        assert sorted(map(id, clients.closed)) == sorted(map(id, before))

    async def test_after_an_answer_the_client_is_kept(
        self, engine: Engine, clients: Clients
    ) -> None:
        for _ in range(30):
            with pytest.raises(EngineError):
                await engine.call("looking", raising(ImageNotFound("no", answer(404))))
        assert len(clients.made) == 1

    async def test_after_an_answer_docker_py_does_not_know_the_client_is_kept(
        self, engine: Engine, clients: Clients
    ) -> None:
        for _ in range(30):
            with pytest.raises(EngineError):
                await engine.call("looking", raising(requests.HTTPError(response=answer(404))))
        assert len(clients.made) == 1

    async def test_slow_work_in_one_lane_does_not_hold_up_another(self, engine: Engine) -> None:
        end = threading.Event()
        slow = [
            asyncio.ensure_future(engine.call("changing", lambda _: end.wait(10), Lane.CHANGE))
            for _ in range(20)
        ]
        async with asyncio.timeout(10):
            await engine.call("looking", lambda client: client)
        assert not any(work.done() for work in slow)
        end.set()
        assert all(await asyncio.gather(*slow))


class Connections(socketserver.ThreadingUnixStreamServer):
    """An engine's socket that counts the open connections to it, and answers every call."""

    daemon_threads = True

    def __init__(self, place: Path) -> None:
        self.open = 0
        self.changed = threading.Condition()
        super().__init__(str(place), _Answering)


class _Answering(socketserver.StreamRequestHandler):
    server: Connections

    def handle(self) -> None:
        self._count(1)
        answer = b'{"ApiVersion": "1.41"}'
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
        for line in self.rfile:
            if line == b"\r\n":
                self.wfile.write(head + answer)
        self._count(-1)

    def _count(self, difference: int) -> None:
        with self.server.changed:
            self.server.open += difference
            self.server.changed.notify_all()


async def test_a_client_keeps_one_connection_however_many_paths_it_asks_for(
    tmp_path: Path,
) -> None:
    with Connections(tmp_path / "docker.sock") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine = Engine({"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
        for number in range(20):
            await engine.call(
                "looking", lambda client, path=number: client.inspect_container(f"c{path}")
            )
        with server.changed:
            assert server.changed.wait_for(lambda: server.open == 1, timeout=10), server.open
        server.shutdown()
        engine.close()


class TestStop:
    @pytest.mark.parametrize(
        ("grace", "patience"),
        [
            pytest.param(10, 10 + TIMEOUT, id="the-grace-and-then-some"),
            pytest.param(3600, 3600 + TIMEOUT, id="an-hour-is-waited-for"),
            pytest.param(0, TIMEOUT, id="no-grace"),
            pytest.param(-1, None, id="for-as-long-as-it-takes"),
        ],
    )
    async def test_the_engine_is_given_the_whole_grace(
        self, engine: Engine, clients: Clients, grace: int, patience: int | None
    ) -> None:
        await engine.stop("abc", grace)
        assert clients.posts == [
            {
                "url": "http+docker://localhost/v1.41/containers/abc/stop",
                "params": {"t": grace},
                "timeout": patience,
            }
        ]

    @pytest.mark.parametrize("status", [204, 304, 404])
    async def test_a_container_that_is_stopped_or_gone_is_fine(
        self, engine: Engine, clients: Clients, status: int
    ) -> None:
        clients.answer = answer(status)
        await engine.stop("abc", 10)

    async def test_a_few_begin_at_a_time(self, engine: Engine, clients: Clients) -> None:
        under_way, most, lock = 0, 0, threading.Lock()
        all_in = threading.Barrier(STOPS_AT_ONCE)

        def post(_url: str, **_: Any) -> requests.Response:
            nonlocal under_way, most
            with lock:
                under_way += 1
                most = max(most, under_way)
            all_in.wait(10)
            with lock:
                under_way -= 1
            return answer(204)

        clients.post = post
        await asyncio.gather(*(engine.stop("abc", 10) for _ in range(3 * STOPS_AT_ONCE)))
        assert most == STOPS_AT_ONCE

    async def test_those_that_work_on_do_not_keep_others_from_beginning(
        self, engine: Engine, clients: Clients, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "HEAD_START", 0.01)
        everyone = threading.Barrier(2 * STOPS_AT_ONCE, timeout=10)

        def post(_url: str, **_: Any) -> requests.Response:
            everyone.wait()
            return answer(204)

        clients.post = post
        await asyncio.gather(*(engine.stop("abc", 3600) for _ in range(2 * STOPS_AT_ONCE)))

    async def test_a_container_that_cannot_be_stopped_is_an_error(
        self, engine: Engine, clients: Clients
    ) -> None:
        clients.answer = answer(500)
        with pytest.raises(EngineError, match="stopping container 0123456789ab failed") as caught:
            await engine.stop("0123456789abcdef", 10)
        assert caught.value.status == 500


def test_a_path_of_the_api_has_the_version_of_the_client() -> None:
    client: Any = SimpleNamespace(base_url="http+docker://localhost", api_version="1.51")
    assert api_url(client, "/x") == "http+docker://localhost/v1.51/x"

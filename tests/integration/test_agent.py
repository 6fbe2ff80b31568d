"""`autoscaler agent` in a process, beside a real engine that manages a Swarm."""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from autoscaler.core.agent_messages import (
    LONGEST_BODY,
    Header,
    Request,
    Signer,
    StateAnswer,
    StateBody,
    Verb,
)
from autoscaler.orchestrators.engine import Engine
from autoscaler.orchestrators.swarm.agents import AgentUnavailable
from autoscaler.orchestrators.swarm.posting import NoAnswer
from tests.real.agent import SECRET, AgentProcess, AgentsAt
from tests.real.flood import Flood
from tests.real.stages import STUBBORN, TINY_IMAGE, SwarmStage, docker
from tests.real.waiting import LIMIT, until_async

pytestmark = pytest.mark.swarm

LABELS = {"temporal.queue": "orders"}
NOBODY = "a" * 64
FLOOD_RATE = 1000
"""Requests a second."""
FLOOD = 5000
"""Requests in all, at least."""
IN_A_ROW = 20
STALLED = "(status 408)"
"""What the daemon's side says where a request did not arrive within the 5 s that an agent waits."""
OTHER_ADDRESS = "127.0.0.2"
OTHER_SECRET = "another secret that is long enough too"
# A handler that needs two seconds, and says that it was asked.
HANDLING = (
    "sh",
    "-c",
    "trap 'echo asked; sleep 2; echo done; exit 0' TERM; while :; do sleep 0.1; done",
)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def agent(tmp_path: Path, swarm: None) -> Iterator[AgentProcess]:  # noqa: ARG001
    with AgentProcess(tmp_path, {}) as process:
        yield process


class Patient(AgentsAt):
    """The daemon's side. It asks again where this machine stalled for longer than one exchange."""

    async def _ask(self, node: str, verb: Verb, body: BaseModel) -> StateAnswer:
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    return await super()._ask(node, verb, body)
                except AgentUnavailable as error:
                    if not isinstance(error.__cause__, NoAnswer) and STALLED not in str(error):
                        raise


@pytest.fixture
def daemon(engine: Engine, agent: AgentProcess) -> Patient:
    return Patient(engine, SecretStr(SECRET), agent.port)


@pytest.fixture
def worker(swarm_stage: SwarmStage) -> str:
    """The Swarm's id of a service with two tasks that end two seconds after their signal."""
    swarm_stage.up({"worker": 2}, {"worker": LABELS}, command=HANDLING)
    return service_id(swarm_stage.name("worker"))


@pytest.fixture
def stranger() -> Iterator[str]:
    """A container that is no task of a Swarm."""
    id_ = docker("run", "--detach", TINY_IMAGE, "sleep", "3600").strip()
    yield id_
    docker("rm", "--force", id_)


def node_id() -> str:
    return docker("info", "--format={{.Swarm.NodeID}}").strip()


def service_id(name: str) -> str:
    return docker("service", "inspect", "--format={{.ID}}", name).strip()


def containers_of(service: str) -> list[str]:
    return docker(
        "ps", "--quiet", "--no-trunc", f"--filter=label=com.docker.swarm.service.id={service}"
    ).split()


def runs(container: str) -> bool:
    return docker("inspect", "--format={{.State.Running}}", container).strip() == "true"


def signed(
    body: bytes,
    verb: str = Verb.STATE,
    node: str | None = None,
    at: datetime | None = None,
    secret: str = SECRET,
) -> dict[str, str]:
    """Return the headers of a signed request."""
    request = Request(
        verb,
        node_id() if node is None else node,
        str(round((at or now()).timestamp() * 1000)),
        secrets.token_hex(16),
        body,
    )
    return {
        Header.NODE.value: request.node,
        Header.TIME.value: request.time,
        Header.NONCE.value: request.nonce,
        Header.SIGNATURE.value: Signer(SecretStr(secret)).of_request(request),
    }


def post(
    agent: AgentProcess,
    path: str,
    body: bytes,
    headers: Callable[[], Mapping[str, str]],
    method: str = "POST",
) -> tuple[int, str]:
    """Send a request, and again with new headers where this machine stalled in the middle of it."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=LIMIT)
        try:
            connection.request(method, path, body, dict(headers()))
            answer = connection.getresponse()
            text = answer.read().decode()
        except ConnectionError:
            continue
        finally:
            connection.close()
        if answer.status != HTTPStatus.REQUEST_TIMEOUT:
            return answer.status, text
    raise AssertionError(f"no answer to {path} within {LIMIT} s")


NOTHING = StateBody(service="", containers=()).model_dump_json().encode()


async def test_it_says_which_containers_of_a_service_run(daemon: Patient, worker: str) -> None:
    first, second = containers_of(worker)

    found = await daemon.state(node_id(), worker, [first, second, NOBODY])

    assert found == {first: True, second: True, NOBODY: False}


async def test_it_has_one_container_stopped_by_its_own_signal(daemon: Patient, worker: str) -> None:
    first, second = containers_of(worker)
    since = str(time.time())

    await daemon.drain(node_id(), worker, first, timedelta(seconds=90))

    # The same order again, while the first one is followed, sends no second signal.
    await daemon.drain(node_id(), worker, first, timedelta(seconds=90))
    await until_async(lambda: not runs(first), "the end of the container")
    assert docker("logs", first).split() == ["asked", "done"]
    assert docker("inspect", "--format={{.State.ExitCode}}", first).strip() == "0"
    assert (await daemon.state(node_id(), worker, [first, second]))[second]
    signals = docker(
        "events", f"--since={since}", f"--until={time.time()}", "--filter=event=kill",
        f"--filter=container={first}", "--format={{.Actor.Attributes.signal}}",
    ).split()  # fmt: skip
    assert signals == ["15"]


async def test_the_grace_travels_with_the_order(daemon: Patient, swarm_stage: SwarmStage) -> None:
    # Behind the grace of its service it would still run at the end of the test.
    swarm_stage.up({"worker": 1}, {"worker": LABELS}, command=STUBBORN, stop_grace_period="1h")
    service = service_id(swarm_stage.name("worker"))
    (container,) = containers_of(service)

    await daemon.drain(node_id(), service, container, timedelta(seconds=1))

    await until_async(lambda: not runs(container), "the end of the container")
    assert docker("inspect", "--format={{.State.ExitCode}}", container).strip() == "137"
    docker("service", "update", "--detach", "--stop-grace-period=1s", swarm_stage.name("worker"))


async def test_a_container_that_is_gone_needs_no_stop(daemon: Patient, worker: str) -> None:
    await daemon.drain(node_id(), worker, NOBODY, timedelta(seconds=1))

    assert len(containers_of(worker)) == 2


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(hours=25)])
async def test_no_grace_beyond_a_day_is_sent(daemon: Patient, grace: timedelta) -> None:
    with pytest.raises(AgentUnavailable, match="grace"):
        await daemon.drain(node_id(), "service1", NOBODY, grace)


async def test_it_refuses_containers_of_others(
    agent: AgentProcess, daemon: Patient, worker: str, stranger: str
) -> None:
    first, *_ = containers_of(worker)

    for service, container in ((worker, stranger), ("another1", first)):
        with pytest.raises(AgentUnavailable, match=r"403.*no task of the service"):
            await daemon.drain(node_id(), service, container, timedelta())
        with pytest.raises(AgentUnavailable, match=r"403.*no task of the service"):
            await daemon.state(node_id(), service, [container])

    assert runs(stranger)
    assert runs(first)
    assert agent.refusals().count("containers that are not the daemon's to ask for") == 1


async def test_it_refuses_a_service_that_nobody_wants_scaled(
    daemon: Patient, swarm_stage: SwarmStage
) -> None:
    swarm_stage.up({"worker": 1}, {"worker": {}})
    service = service_id(swarm_stage.name("worker"))
    (container,) = containers_of(service)

    with pytest.raises(AgentUnavailable, match=r"403.*no temporal\.\* labels"):
        await daemon.drain(node_id(), service, container, timedelta())

    assert runs(container)


async def test_it_refuses_services_of_other_stacks(
    engine: Engine, tmp_path: Path, worker: str
) -> None:
    first, *_ = containers_of(worker)

    with AgentProcess(tmp_path, {"AUTOSCALER_PROJECTS": "shop"}) as agent:
        daemon = Patient(engine, SecretStr(SECRET), agent.port)
        with pytest.raises(AgentUnavailable, match=r"403.*no stack that this agent serves"):
            await daemon.drain(node_id(), worker, first, timedelta())

    assert runs(first)


async def test_it_refuses_another_secret_and_says_so_once(
    engine: Engine, agent: AgentProcess, worker: str
) -> None:
    first, *_ = containers_of(worker)
    false = Patient(engine, SecretStr(OTHER_SECRET), agent.port)

    for _ in range(3):
        with pytest.raises(AgentUnavailable, match="the same AUTOSCALER_AGENT_SECRET") as refused:
            await false.drain(node_id(), worker, first, timedelta())

    name = docker("node", "inspect", "--format={{.Description.Hostname}}", "self").strip()
    assert f"node {name}" in str(refused.value)
    assert runs(first)
    (because,) = (each for each in agent.refusals() if "signature" in each)
    assert "AUTOSCALER_AGENT_SECRET" in because
    assert not any(secret in line for secret in (SECRET, OTHER_SECRET) for line in agent.text)


async def test_the_daemon_refuses_what_does_not_know_the_secret(
    engine: Engine,
    swarm: None,  # noqa: ARG001
) -> None:
    async def say_yes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"running":{}}'
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with await asyncio.start_server(say_yes, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        daemon = Patient(engine, SecretStr(SECRET), port)
        with pytest.raises(AgentUnavailable, match="does not know the secret"):
            await daemon.drain(node_id(), "service1", NOBODY, timedelta())


def test_it_refuses_unknown_verbs_and_methods(agent: AgentProcess) -> None:
    assert post(agent, "/remove", NOTHING, lambda: signed(NOTHING, "remove"))[0] == 404
    assert post(agent, "/state/", NOTHING, lambda: signed(NOTHING))[0] == 404
    assert post(agent, "/state", NOTHING, lambda: signed(NOTHING), "PUT")[0] == 405


def test_it_follows_a_request_once(agent: AgentProcess) -> None:
    sent: list[Mapping[str, str]] = []

    def sign() -> Mapping[str, str]:
        sent.append(signed(NOTHING))
        return sent[-1]

    assert post(agent, "/state", NOTHING, sign)[0] == 200
    status, text = post(agent, "/state", NOTHING, lambda: sent[-1])

    assert status == 401
    assert "sent before" in text


@pytest.mark.parametrize("seconds", [-60, 60])
def test_it_refuses_signatures_of_another_time(agent: AgentProcess, seconds: int) -> None:
    another = timedelta(seconds=seconds)

    status, text = post(agent, "/state", NOTHING, lambda: signed(NOTHING, at=now() + another))

    assert status == 401
    assert "clock" in text


def test_it_refuses_what_was_signed_before_it_began(tmp_path: Path, swarm: None) -> None:  # noqa: ARG001
    headers = signed(NOTHING)

    with AgentProcess(tmp_path, {}) as agent:
        status, text = post(agent, "/state", NOTHING, lambda: headers)

    # Where this machine stalls, the request is too old as well.
    assert status == 401
    assert "start of this agent" in text or "clock" in text


def test_it_refuses_requests_for_another_node(agent: AgentProcess) -> None:
    assert post(agent, "/state", NOTHING, lambda: signed(NOTHING, node="elsewhere"))[0] == 421


def test_it_refuses_a_verb_and_a_body_that_were_not_signed(agent: AgentProcess) -> None:
    assert post(agent, "/drain", NOTHING, lambda: signed(NOTHING))[0] == 401
    assert post(agent, "/state", NOTHING + b" ", lambda: signed(NOTHING))[0] == 401
    assert post(agent, "/state", NOTHING, dict)[0] == 401


@pytest.mark.parametrize("body", [b"", b"[]", b'{"service":"a","containers":["../etc"]}'])
def test_it_refuses_a_body_that_it_does_not_understand(agent: AgentProcess, body: bytes) -> None:
    assert post(agent, "/state", body, lambda: signed(body))[0] == 400


@pytest.mark.parametrize("announced", [True, False])
def test_it_refuses_a_body_of_10_mib_without_reading_it(
    agent: AgentProcess, *, announced: bool
) -> None:
    answer = ""
    while not answer:
        answer = begin_10_mib(agent, announced=announced)

    assert answer.startswith("HTTP/1.1 413 ")
    assert post(agent, "/state", NOTHING, lambda: signed(NOTHING))[0] == 200


def begin_10_mib(agent: AgentProcess, *, announced: bool) -> str:
    """Begin to send a body of 10 MiB; return the answer, nothing where this machine stalled."""
    size = 10 * 1024 * 1024
    try:
        with socket.create_connection(("127.0.0.1", agent.port), timeout=LIMIT) as connection:
            length = f"Content-Length: {size}" if announced else "Transfer-Encoding: chunked"
            connection.sendall(f"POST /state HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n".encode())
            if not announced:
                # One byte more than it takes, of 10 MiB.
                connection.sendall(f"{size:x}\r\n".encode() + b"a" * (LONGEST_BODY + 1))
            answer = connection.recv(4096).decode()
    except ConnectionError:
        return ""
    return "" if answer.startswith("HTTP/1.1 408 ") else answer


async def test_a_sender_that_ends_no_request_does_not_shut_the_daemon_out(
    engine: Engine, agent: AgentProcess
) -> None:
    daemon = AgentsAt(engine, SecretStr(SECRET), agent.port)
    answered = held_meanwhile = False
    async with asyncio.timeout(LIMIT):
        # Where this machine stalls, they are given up before the daemon has asked.
        while not (answered and held_meanwhile):
            with unfinished(agent.port, 40) as held:
                answered = await daemon.silent() == []
                held_meanwhile = len(held) - len(select.select(held, (), (), 0)[0]) > 0
                # Each of them is answered or cut off, so none is held for ever.
                for connection in held:
                    answer = await asyncio.to_thread(read_all, connection)
                    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")

    assert "no whole request within 5 s" in agent.refusals()


@contextmanager
def unfinished(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Begin so many requests, from another address than the daemon's, and end none."""
    request = b"POST /state HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
    with ExitStack() as stack:
        held = []
        for _ in range(number):
            source = (OTHER_ADDRESS, 0)
            connection = socket.create_connection(("127.0.0.1", port), LIMIT, source)
            held.append(stack.enter_context(connection))
            with suppress(ConnectionError):
                connection.sendall(request)
        yield held


def read_all(connection: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := connection.recv(4096):
            found += chunk
    except ConnectionError:
        pass
    return found


async def test_a_thousand_requests_a_second_neither_starve_the_daemon_nor_fill_the_log(
    engine: Engine, agent: AgentProcess, record_property: Callable[[str, object], None]
) -> None:
    """A thousand is what is aimed at; the property says what was reached on this machine.

    `bench/agent_flood.py` measures what it does to the daemon's requests.
    """
    daemon = AgentsAt(engine, SecretStr(SECRET), agent.port)
    with Flood(agent.port, FLOOD_RATE, [OTHER_ADDRESS]) as flood:
        await until_async(lambda: flood.sent > FLOOD_RATE, "a flood")
        flood.measure()
        in_a_row = 0
        async with asyncio.timeout(LIMIT):
            while in_a_row < IN_A_ROW or flood.sent < FLOOD:
                # A machine that stalls may cost one answer. A daemon that is starved gets hardly
                # any, and never so many in a row.
                in_a_row = in_a_row + 1 if await daemon.silent() == [] else 0
                # The daemon asks a few times a second.
                await asyncio.sleep(0.1)
        record_property("requests sent a second", round(flood.rate))

    refused = agent.lines("refused")
    assert any("connections a second from one address" in line["because"] for line in refused)
    assert len(agent.text) < 20


def test_it_says_that_it_is_healthy(agent: AgentProcess) -> None:
    assert post(agent, "/healthz", b"", dict, "GET")[0] == 200


def test_it_ends_by_sigterm(agent: AgentProcess) -> None:
    assert agent.end() == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"AUTOSCALER_AGENT_SECRET": ""}, "the agent needs AUTOSCALER_AGENT_SECRET"),
        ({"AUTOSCALER_AGENT_SECRET": "short"}, "at least 32 characters"),
        (
            {"AUTOSCALER_AGENT_SECRET": "", "AUTOSCALER_AGENT_SECRET_FILE": "/none"},
            "cannot be read",
        ),
    ],
)
def test_it_does_not_begin_without_a_secret(
    tmp_path: Path, settings: Mapping[str, str], words: str
) -> None:
    with AgentProcess(tmp_path, settings) as agent:
        assert agent.end() == 2

    assert words in "".join(agent.text)
    assert json.dumps("short") not in "".join(agent.text)

"""Every way to reach Temporal: a real server behind real TLS, certificates and API keys.

Each failure is reported in one line that says what to do, and holds the replicas. No tick fails
while a credential is rotated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.findings import Outcome
from autoscaler.core.integration import Integration
from autoscaler.core.report import IntegrationReport, ServiceReport
from autoscaler.integrations.order import Integrations
from autoscaler.reconcile import Reconciler
from autoscaler.sources.connections.clients import Connections
from autoscaler.sources.temporal.backlogs import TemporalBacklogSource
from autoscaler.sources.temporal.examination import IntegrationExaminer
from tests.fakes.clock import Clock
from tests.fakes.orchestrator import FakeOrchestrator
from tests.fakes.wishes import by_labels
from tests.real.certificates import HOST, Authority, Pair, self_signed
from tests.real.front import Front, FrontProcess
from tests.real.temporal import TemporalServer
from tests.real.waiting import until_async

AUTHORITY = Authority()
OTHER = Authority("Another authority")
REPLICAS = 3


class Way(StrEnum):
    """How clients reach the server."""

    PLAIN = "plain"
    TLS = "TLS"
    """With a certificate authority that the system trusts."""
    OWN_CA = "own CA"
    MTLS = "mTLS"


@dataclass
class Place:
    """A front of Temporal, and the settings of an integration that may pass it."""

    front: Front
    settings: dict[str, Any]


class World:
    """For each integration, a service with three replicas that follows a task queue."""

    def __init__(self, **integrations: Integration) -> None:
        self.clock = Clock()
        self.integrations = dict(integrations)
        self.known = Integrations(self.integrations, Integration)
        self.connections = Connections(self.known)
        self.orchestrator = FakeOrchestrator()
        for name in integrations:
            labels = {"temporal.queue": "orders", "temporal.integration": name}
            labels["temporal.queue-types"] = "workflow"
            self.orchestrator.add(name, labels, replicas=REPLICAS)
        source = TemporalBacklogSource(self.connections, self.clock)
        self.reconciler = Reconciler([self.orchestrator], source, by_labels(), clock=self.clock)

    async def tick(self) -> list[tuple[ServiceReport, IntegrationReport]]:
        """Tick a poll interval later; return the report of each service and its integration."""
        self.clock.advance(6)
        report = await self.reconciler.tick()
        return list(zip(report.services, report.integrations, strict=True))

    async def reads(self) -> IntegrationReport:
        """Tick once, check that the backlog was read, and return the report of the integration."""
        ((service, integration),) = await self.tick()
        assert service.errors == ()
        assert service.backlog == 0
        assert integration.up
        return integration

    async def holds(self) -> str:
        """Tick once, check that the replicas are held, and return the one line that says why."""
        ((service, integration),) = await self.tick()
        assert (service.backlog, service.desired) == (None, REPLICAS)
        assert integration.up is False
        (line,) = service.errors
        assert integration.error == line
        assert "\n" not in line
        return line

    async def says(self, words: str) -> None:
        """Tick until the line that says why has these words.

        It may take several ticks: where the server closes a TLS 1.3 connection while a call is on
        its way, the client may only report that the call was cancelled.
        """
        lines = [await self.holds()]
        while words not in lines[-1]:
            assert len(lines) < 5, lines
            self.clock.advance(30)
            lines.append(await self.holds())

    async def examine(self) -> list[tuple[Outcome, str]]:
        """Return what `doctor` finds out about the integrations."""
        examiner = IntegrationExaminer(self.known, self.connections, self.clock)
        return [(each.outcome, each.text) for each in await examiner.examine(self.integrations)]


@pytest.fixture
def open_front(
    temporal: TemporalServer, front_process: FrontProcess
) -> Iterator[Callable[..., Front]]:
    """Return a function that opens a front of the shared server. It is closed after the test."""
    fronts: list[Front] = []

    def open_(**options: Any) -> Front:
        fronts.append(front_process.Front(temporal.endpoint, **options))
        return fronts[-1]

    yield open_
    for front in fronts:
        front.close()


@pytest.fixture
def reach(
    open_front: Callable[..., Front], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Way], Place]:
    """Return a function that makes a front which is reached in one of the ways."""

    def make(way: Way) -> Place:
        if way is Way.PLAIN:
            front = open_front()
            return Place(front, {"endpoint": front.endpoint, "tls": "off"})
        authority = AUTHORITY.write(tmp_path)
        clients = AUTHORITY.certificate if way is Way.MTLS else None
        front = open_front(certificate=AUTHORITY.server(), clients=clients)
        settings: dict[str, Any] = {"endpoint": front.endpoint}
        if way is Way.TLS:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            return Place(front, settings | {"tls": "on"})
        settings["tls_ca_file"] = authority
        if way is Way.MTLS:
            settings |= AUTHORITY.client().write(tmp_path)
        return Place(front, settings)

    return make


@pytest.mark.parametrize("way", Way)
class TestKeys:
    """Every way, with every state of the API key."""

    async def test_no_key_is_needed_where_the_server_asks_for_none(
        self, reach: Callable[[Way], Place], way: Way
    ) -> None:
        world = World(prod=Integration(**reach(way).settings))
        await world.reads()
        assert {outcome for outcome, _ in await world.examine()} == {Outcome.OK}

    async def test_a_missing_key_is_reported(self, reach: Callable[[Way], Place], way: Way) -> None:
        place = reach(way)
        place.front.keys = {"right-key"}
        line = await World(prod=Integration(**place.settings)).holds()
        assert "UNAUTHENTICATED: Request unauthorized." in line
        assert (
            "pairs a client certificate with an endpoint that may want an API key"
            if way is Way.MTLS
            else "integration prod has no API key: set API_KEY_FILE"
        ) in line

    async def test_the_right_key_passes(self, reach: Callable[[Way], Place], way: Way) -> None:
        place = reach(way)
        place.front.keys = {"right-key"}
        world = World(prod=Integration(**place.settings, api_key="right-key"))
        await world.reads()
        assert {outcome for outcome, _ in await world.examine()} == {Outcome.OK}

    async def test_a_wrong_key_is_reported_and_not_repeated(
        self, reach: Callable[[Way], Place], way: Way
    ) -> None:
        place = reach(way)
        place.front.keys = {"right-key"}
        place.front.echo = True
        world = World(prod=Integration(**place.settings, api_key="wrong-key"))
        line = await world.holds()
        assert "UNAUTHENTICATED" in line
        assert "check the API key of integration prod, that it has neither expired nor" in line
        (text,) = [text for outcome, text in await world.examine() if outcome is Outcome.WRONG]
        assert "check the API key of integration prod" in text
        assert "wrong-key" not in line + text, "the key is repeated, as in the server's answer"

    async def test_rotating_the_key_loses_no_tick_and_no_connection(
        self, reach: Callable[[Way], Place], way: Way, tmp_path: Path
    ) -> None:
        place = reach(way)
        file = tmp_path / "api-key"
        put(file, "first-key")
        place.front.keys = {"first-key", "second-key"}
        world = World(prod=Integration(**place.settings, api_key_file=file))
        await world.reads()

        put(file, "second-key\n")
        await world.reads()
        place.front.keys = {"second-key"}
        await world.reads()
        await world.reads()

        assert len(place.front.peers) == 1


def put(file: Path, content: str | bytes) -> None:
    """Write a file in place: this is how a Docker secret on Compose is renewed."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


class TestServersCertificate:
    @pytest.mark.parametrize(
        ("certificate", "words"),
        [
            pytest.param(
                AUTHORITY.server(valid_for=-timedelta(days=2)),
                ("the server's certificate expired on ", "renew it on the server"),
                id="expired",
            ),
            pytest.param(
                AUTHORITY.server("temporal.internal"),
                (f"is not for {HOST} but for temporal.internal", "set TLS_SERVER_NAME"),
                id="of-another-host",
            ),
            pytest.param(
                self_signed(),
                ("signed by no authority in TLS_CA_FILE", "for a self-signed one, to itself"),
                id="self-signed",
            ),
            pytest.param(
                OTHER.server(),
                ("signed by no authority in TLS_CA_FILE", "set TLS_CA_FILE"),
                id="of-another-authority",
            ),
        ],
    )
    async def test_an_untrusted_certificate_is_reported(
        self,
        open_front: Callable[..., Front],
        tmp_path: Path,
        certificate: Pair,
        words: tuple[str, str],
    ) -> None:
        front = open_front(certificate=certificate)
        authority = AUTHORITY.write(tmp_path)
        world = World(prod=Integration(endpoint=front.endpoint, tls_ca_file=authority))
        line = await world.holds()
        assert all(word in line for word in words), line
        assert front.calls == []

    async def test_an_authority_that_the_system_does_not_know_is_reported(
        self, open_front: Callable[..., Front]
    ) -> None:
        front = open_front(certificate=AUTHORITY.server())
        line = await World(prod=Integration(endpoint=front.endpoint, tls="on")).holds()
        assert "signed by no authority in this machine's list" in line

    async def test_another_name_can_be_expected(
        self, open_front: Callable[..., Front], tmp_path: Path
    ) -> None:
        front = open_front(certificate=AUTHORITY.server("temporal.internal"))
        settings = {"endpoint": front.endpoint, "tls_ca_file": AUTHORITY.write(tmp_path)}
        await World(prod=Integration(**settings, tls_server_name="temporal.internal")).reads()

    async def test_a_self_signed_certificate_can_be_its_own_authority(
        self, open_front: Callable[..., Front], tmp_path: Path
    ) -> None:
        certificate = self_signed()
        put(tmp_path / "server.pem", certificate.certificate)
        front = open_front(certificate=certificate)
        await World(
            prod=Integration(endpoint=front.endpoint, tls_ca_file=tmp_path / "server.pem")
        ).reads()

    async def test_tls_on_only_one_side_is_reported(
        self, open_front: Callable[..., Front], tmp_path: Path
    ) -> None:
        plain, encrypted = open_front(), open_front(certificate=AUTHORITY.server())
        authority = AUTHORITY.write(tmp_path)
        to_plain = World(prod=Integration(endpoint=plain.endpoint, tls_ca_file=authority))
        assert "does not answer in TLS); set TLS to off" in await to_plain.holds()
        to_encrypted = World(prod=Integration(endpoint=encrypted.endpoint))
        assert "it probably wants TLS: set TLS to on" in await to_encrypted.holds()

    async def test_rotating_certificate_and_authority_loses_no_tick(
        self, open_front: Callable[..., Front], tmp_path: Path
    ) -> None:
        front = open_front(certificate=AUTHORITY.server())
        authorities = AUTHORITY.write(tmp_path)
        world = World(prod=Integration(endpoint=front.endpoint, tls_ca_file=authorities))
        await world.reads()
        put(authorities, AUTHORITY.certificate + OTHER.certificate)
        await world.reads()
        front.stop()
        front.certificate = OTHER.server()
        front.start()
        await world.reads()
        put(authorities, OTHER.certificate)
        await world.reads()


class TestClientsCertificate:
    @pytest.fixture
    def front(self, open_front: Callable[..., Front]) -> Front:
        return open_front(certificate=AUTHORITY.server(), clients=AUTHORITY.certificate)

    async def test_a_missing_certificate_is_reported(self, front: Front, tmp_path: Path) -> None:
        settings = {"endpoint": front.endpoint, "tls_ca_file": AUTHORITY.write(tmp_path)}
        world = World(prod=Integration(**settings))
        await world.says("it probably wants a client certificate (mTLS): set TLS_CERT_FILE")
        world = World(prod=Integration(**settings, api_key="right-key"))
        await world.says("integration prod pairs an API key with an endpoint that probably wants a")

    @pytest.mark.parametrize(
        ("certificate", "words"),
        [
            pytest.param(
                OTHER.client(), "does not accept the client certificate: check", id="of-another"
            ),
            pytest.param(
                AUTHORITY.client(valid_for=-timedelta(days=2)),
                "does not accept the client certificate, which expired on ",
                id="expired",
            ),
        ],
    )
    async def test_a_refused_certificate_is_reported(
        self, front: Front, tmp_path: Path, certificate: Pair, words: str
    ) -> None:
        files = certificate.write(tmp_path)
        settings = {"endpoint": front.endpoint, "tls_ca_file": AUTHORITY.write(tmp_path)}
        world = World(prod=Integration(**settings, **files))
        await world.says(words)

    async def test_the_day_of_its_expiry_is_known(self, front: Front, tmp_path: Path) -> None:
        soon = AUTHORITY.client(valid_for=timedelta(days=20))
        settings = {"endpoint": front.endpoint, "tls_ca_file": AUTHORITY.write(tmp_path)}
        world = World(prod=Integration(**settings, **soon.write(tmp_path)))
        integration = await world.reads()
        assert integration.expires_at is not None
        world.clock.now = integration.expires_at - timedelta(days=20)
        found = await world.examine()
        day = f"{integration.expires_at:%Y-%m-%d}"
        assert (Outcome.WARNING, f"its client certificate expires on {day}: replace it") in found

    async def test_rotating_the_certificate_loses_no_tick(
        self, front: Front, tmp_path: Path
    ) -> None:
        first, second = AUTHORITY.client(), OTHER.client("rotated")
        settings = {"endpoint": front.endpoint, "tls_ca_file": AUTHORITY.write(tmp_path)}
        world = World(prod=Integration(**settings, **first.write(tmp_path)))
        await world.reads()

        front.clients = AUTHORITY.certificate + OTHER.certificate
        put(tmp_path / "client.pem", second.certificate)
        between = await world.reads()
        assert between.error is not None
        assert "do not belong together" in between.error

        put(tmp_path / "client.key", second.key)
        after = await world.reads()
        assert after.error is None
        assert front.callers[-1].strip() == second.certificate.strip()

        front.clients = OTHER.certificate
        await world.reads()
        assert len(front.peers) == 2
        await until_async(lambda: front.connections == 1, "the end of the first connection")


class TestServer:
    @pytest.mark.parametrize("way", Way)
    async def test_a_server_that_is_down_is_reported_and_is_read_again_afterwards(
        self, reach: Callable[[Way], Place], way: Way
    ) -> None:
        place = reach(way)
        place.front.stop()
        world = World(prod=Integration(**place.settings))
        assert "(Connection refused); check the endpoint" in await world.holds()
        place.front.start()
        await world.reads()
        place.front.stop()
        assert "check the endpoint" in await world.holds()
        place.front.start()
        await world.reads()

    async def test_a_missing_namespace_is_reported(self, reach: Callable[[Way], Place]) -> None:
        place = reach(Way.OWN_CA)
        world = World(prod=Integration(**place.settings, namespace="nowhere"))
        assert "NOT_FOUND" in (line := await world.holds())
        assert "check that namespace nowhere exists there" in line
        assert (await world.examine())[-1][0] is Outcome.WRONG

    async def test_a_missing_permission_is_reported(self, reach: Callable[[Way], Place]) -> None:
        place = reach(Way.OWN_CA)
        place.front.keys = {"right-key"}
        place.front.forbidden = {"DescribeTaskQueue"}
        world = World(prod=Integration(**place.settings, api_key="right-key"))
        line = await world.holds()
        assert "PERMISSION_DENIED" in line
        assert "that it may read namespace default" in line

    @pytest.mark.parametrize(
        "call",
        [
            "DescribeNamespace",
            "DescribeTaskQueue",
            "ListWorkers",
            "DescribeWorker",
            "DescribeWorkerDeploymentVersion",
        ],
    )
    async def test_the_doctor_names_a_forbidden_call(
        self, reach: Callable[[Way], Place], call: str
    ) -> None:
        place = reach(Way.PLAIN)
        place.front.forbidden = {call}
        found = await World(prod=Integration(**place.settings)).examine()
        (wrong,) = [text for outcome, text in found if outcome is Outcome.WRONG]
        assert wrong.startswith(f"{call} in namespace default at {place.front.endpoint} failed")
        assert "; without it " in wrong
        (allowed,) = [text for _, text in found if text.startswith("may call ")]
        assert call not in allowed.removeprefix("may call ").split(", ")
        assert len(allowed.split(", ")) == 4

    async def test_the_doctor_finds_nothing_wrong_with_a_healthy_server(
        self, reach: Callable[[Way], Place]
    ) -> None:
        place = reach(Way.MTLS)
        found = await World(prod=Integration(**place.settings)).examine()
        texts = [text for _, text in found]
        assert {outcome for outcome, _ in found} == {Outcome.OK}
        assert texts[0].endswith("over TLS, credential: client certificate, from environment")
        assert texts[1].startswith("its client certificate expires on ")
        assert texts[2:] == [
            (
                "may call DescribeNamespace, DescribeTaskQueue, ListWorkers, DescribeWorker,"
                " DescribeWorkerDeploymentVersion"
            ),
            "namespace default is there and takes worker heartbeats",
        ]


async def test_only_the_broken_integration_backs_off(reach: Callable[[Way], Place]) -> None:
    good, bad = reach(Way.PLAIN), reach(Way.PLAIN)
    bad.front.keys = {"right-key"}
    world = World(bad=Integration(**bad.settings), good=Integration(**good.settings))
    for _ in range(8):
        (held, broken), (read, well) = await world.tick()
        assert held.errors
        assert (read.errors, read.backlog) == ((), 0)
        assert (broken.up, well.up) == (False, True)
    # The bad one is tried at 5, 10, 15, 20 and 30 s; the last pause is 16 s long.
    assert bad.front.calls.count("GetSystemInfo") == 5


async def test_an_integration_that_is_no_longer_used_is_closed(
    reach: Callable[[Way], Place],
) -> None:
    place = reach(Way.OWN_CA)
    world = World(prod=Integration(**place.settings))
    world.orchestrator.add(
        "second", {"temporal.queue": "other", "temporal.integration": "prod"}, replicas=1
    )
    await world.reconciler.tick()
    assert place.front.connections == 1
    world.orchestrator.services.popitem()
    await world.reads()
    assert place.front.connections == 1
    world.orchestrator.services.clear()
    await world.reconciler.tick()
    await until_async(lambda: place.front.connections == 0, "the end of the connection")

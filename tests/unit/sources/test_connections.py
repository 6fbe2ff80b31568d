"""One client for each integration, and one line for people when it does not get through."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration
from autoscaler.sources.connections import Connections, explain
from tests.fakes.temporal import FakeIntegrations


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Temporal's client was asked to connect with, each time."""
    calls: list[dict[str, Any]] = []

    async def connect(endpoint: str, **options: Any) -> object:
        calls.append({"endpoint": endpoint, **options})
        return object()

    monkeypatch.setattr(Client, "connect", connect)
    return calls


PEM = b"-----BEGIN-----\n"


def connections(**integrations: Integration) -> Connections:
    """Make connections for the given integrations."""
    return Connections(FakeIntegrations(integrations))


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    file = tmp_path / "some.pem"
    file.write_bytes(PEM)
    return file


async def options(connected: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """Return what a client of an integration with these settings is made with."""
    await connections(prod=Integration(**settings)).client("prod")
    (made,) = connected
    return made


class TestOneClient:
    async def test_a_client_is_made_once_and_kept(self, connected: list[dict[str, Any]]) -> None:
        all_of_them = connections(prod=Integration())
        assert await all_of_them.client("prod") is await all_of_them.client("prod")
        assert len(connected) == 1

    async def test_spellings_of_a_name_share_a_client(
        self, connected: list[dict[str, Any]]
    ) -> None:
        all_of_them = connections(prod_eu=Integration())
        assert await all_of_them.client("Prod-EU") is await all_of_them.client("prod_eu")
        assert len(connected) == 1

    async def test_many_first_calls_at_once_share_a_client(
        self, connected: list[dict[str, Any]]
    ) -> None:
        all_of_them = connections(prod=Integration())
        clients = await asyncio.gather(*(all_of_them.client("prod") for _ in range(16)))
        assert len({id(client) for client in clients}) == 1
        assert len(connected) == 1

    async def test_it_connects_with_its_first_call_only(
        self, connected: list[dict[str, Any]]
    ) -> None:
        assert (await options(connected))["lazy"] is True

    async def test_an_integration_that_is_not_known_has_none(self) -> None:
        with pytest.raises(IntegrationError, match="pord"):
            await connections(prod=Integration()).client("pord")


class TestCredentials:
    async def test_without_any_the_connection_is_plain(
        self, connected: list[dict[str, Any]]
    ) -> None:
        made = await options(connected, endpoint="temporal:7233", namespace="shop")
        assert (made["endpoint"], made["namespace"]) == ("temporal:7233", "shop")
        assert (made["api_key"], made["tls"]) == (None, False)

    async def test_an_api_key_is_passed_on_over_tls(self, connected: list[dict[str, Any]]) -> None:
        made = await options(connected, api_key="s3cret")
        assert (made["api_key"], made["tls"]) == ("s3cret", True)

    async def test_an_api_key_can_come_from_a_file(
        self, connected: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        file.write_text("s3cret\n")
        made = await options(connected, api_key_file=file)
        assert (made["api_key"], made["tls"]) == ("s3cret", True)

    async def test_an_api_key_over_plain_text_stays_possible(
        self, connected: list[dict[str, Any]]
    ) -> None:
        made = await options(connected, api_key="s3cret", tls="off")
        assert (made["api_key"], made["tls"]) == ("s3cret", False)

    async def test_certificate_key_authority_and_name_are_passed_on_from_files(
        self, connected: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        for name in ("ca", "cert", "key"):
            (tmp_path / name).write_text(f"PEM of {name}\n")
        made = await options(
            connected,
            tls_ca_file=tmp_path / "ca",
            tls_cert_file=tmp_path / "cert",
            tls_key_file=tmp_path / "key",
            tls_server_name="temporal.internal",
        )
        assert made["tls"] == TLSConfig(
            server_root_ca_cert=b"PEM of ca\n",
            client_cert=b"PEM of cert\n",
            client_private_key=b"PEM of key\n",
            domain="temporal.internal",
        )

    async def test_certificates_can_be_given_as_text(self, connected: list[dict[str, Any]]) -> None:
        made = await options(connected, tls_cert="PEM of cert", tls_key="PEM of key")
        assert made["tls"] == TLSConfig(
            client_cert=b"PEM of cert", client_private_key=b"PEM of key"
        )

    async def test_an_api_key_and_a_certificate_go_together(
        self, connected: list[dict[str, Any]], pem: Path
    ) -> None:
        made = await options(connected, api_key="s3cret", tls_ca_file=pem)
        assert made["api_key"] == "s3cret"
        assert made["tls"] == TLSConfig(server_root_ca_cert=PEM)

    async def test_headers_are_passed_on(self, connected: list[dict[str, Any]]) -> None:
        made = await options(connected, metadata={"x-tenant": SecretStr("s3cret")})
        assert made["rpc_metadata"] == {"x-tenant": "s3cret"}

    @pytest.mark.parametrize("field", ["api_key_file", "tls_ca_file"])
    async def test_a_file_that_is_not_there_is_named_with_what_to_do(
        self, tmp_path: Path, field: str
    ) -> None:
        missing = tmp_path / "missing"
        with pytest.raises(IntegrationError) as caught:
            await connections(prod=Integration(**{field: missing})).client("prod")
        assert str(caught.value).startswith("integration prod: a credential file cannot be read")
        assert str(missing) in str(caught.value)
        assert "check the path" in str(caught.value)

    async def test_an_api_key_that_is_no_text_is_an_error_of_its_integration(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        file.write_bytes(b"\xff\xfe")
        with pytest.raises(IntegrationError, match="integration prod"):
            await connections(prod=Integration(api_key_file=file)).client("prod")

    async def test_after_a_failure_the_file_is_read_anew(
        self, connected: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        file = tmp_path / "key"
        all_of_them = connections(prod=Integration(api_key_file=file))
        with pytest.raises(IntegrationError):
            await all_of_them.client("prod")
        file.write_text("s3cret")
        await all_of_them.client("prod")
        assert connected[0]["api_key"] == "s3cret"

    async def test_what_temporals_client_refuses_is_an_error_of_its_integration(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def connect(_endpoint: str, **_options: Any) -> object:
            raise ValueError("invalid domain")

        monkeypatch.setattr(Client, "connect", connect)
        with pytest.raises(IntegrationError, match="does not take these settings"):
            await connections(prod=Integration()).client("prod")

    async def test_the_real_client_is_made_without_any_server(self) -> None:
        client = await connections(prod=Integration(api_key="s3cret")).client("prod")
        assert client.namespace == "default"


class TestExplain:
    @pytest.mark.parametrize(
        ("status", "hint"),
        [
            (RPCStatusCode.NOT_FOUND, "check that namespace shop exists there"),
            (RPCStatusCode.UNAVAILABLE, "check the endpoint"),
            (RPCStatusCode.CANCELLED, "did not answer in time"),
            (RPCStatusCode.DEADLINE_EXCEEDED, "did not answer in time"),
            (RPCStatusCode.UNAUTHENTICATED, "check the API key or certificate of integration prod"),
            (RPCStatusCode.PERMISSION_DENIED, "that it may read namespace shop"),
            (RPCStatusCode.RESOURCE_EXHAUSTED, "a longer AUTOSCALER_POLL_INTERVAL"),
        ],
    )
    def test_each_answer_comes_with_what_to_do(self, status: RPCStatusCode, hint: str) -> None:
        line = explain(RPCError("so it is", status, b""), "prod", "shop", "reading backlogs")
        head, _, advice = line.partition("; ")
        assert head == f"integration prod: reading backlogs failed ({status.name}: so it is)"
        assert hint in advice

    def test_an_answer_nobody_knows_a_remedy_for_stands_alone(self) -> None:
        error = RPCError("broken", RPCStatusCode.DATA_LOSS, b"")
        line = explain(error, "prod", "shop", "reading backlogs")
        assert line == "integration prod: reading backlogs failed (DATA_LOSS: broken)"

    def test_a_connection_that_cannot_be_made_says_what_to_check(self) -> None:
        line = explain(RuntimeError("Failed client connect"), "prod", "shop", "reading backlogs")
        assert "(Failed client connect); check the endpoint" in line

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            pytest.param("plain words", "plain words", id="plain"),
            pytest.param("two\n  lines", "two lines", id="one-line"),
            pytest.param(
                'Failed client connect: Status { code: Unavailable, message: "tcp", source:'
                ' Error { kind: Io, error: "connection refused" } }',
                "connection refused",
                id="the-innermost-quoted",
            ),
            pytest.param(
                "tonic::transport::Error(Transport, ConnectError(Custom { kind: InvalidData,"
                " error: InvalidCertificate(UnknownIssuer) }))",
                "UnknownIssuer",
                id="the-innermost-name",
            ),
            pytest.param("x" * 400, "x" * 300, id="not-endless"),
        ],
    )
    def test_the_clients_debug_output_is_cut_down_to_its_words(self, text: str, words: str) -> None:
        assert f"({words});" in explain(RuntimeError(text), "prod", "shop", "reading")

    def test_braces_in_a_name_do_no_harm(self) -> None:
        error = RPCError("gone", RPCStatusCode.NOT_FOUND, b"")
        assert "namespace {x} exists" in explain(error, "{i}", "{x}", "reading {y}")

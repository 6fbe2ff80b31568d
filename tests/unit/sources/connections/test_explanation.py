"""A failed call in one line: what was tried, what came back, what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.integration import Integration
from autoscaler.sources.connections.explanation import Attempt, explain

UNAUTHENTICATED = RPCError("no", RPCStatusCode.UNAUTHENTICATED, b"")
CERTIFICATE = {"tls_cert_file": "/client.pem", "tls_key_file": "/client.key"}
REGIONAL = "us-west-2.aws.api.temporal.io:7233"
OF_NAMESPACE = "shop.a1b2c.tmprl.cloud:7233"
CLOSED = RuntimeError('hyper::Error(Canceled, "connection closed")')


def line(
    error: RPCError | RuntimeError,
    *,
    namespace: str = "shop",
    expired_at: datetime | None = None,
    answered: bool = False,
    in_container: bool = False,
    **settings: Any,
) -> str:
    """Explain a failure of an integration with these settings."""
    attempt = Attempt(
        "reading",
        "prod",
        namespace,
        Integration(**settings),
        expired_at,
        answered=answered,
        in_container=in_container,
    )
    return explain(error, attempt)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (RPCStatusCode.NOT_FOUND, "check that namespace shop exists there"),
        (RPCStatusCode.UNAVAILABLE, "check the endpoint"),
        (RPCStatusCode.CANCELLED, "check the endpoint, that Temporal runs there"),
        (RPCStatusCode.UNKNOWN, "check the endpoint, that Temporal runs there"),
        (RPCStatusCode.DEADLINE_EXCEEDED, "did not answer in time"),
        (RPCStatusCode.UNAUTHENTICATED, "check the API key of integration prod"),
        (RPCStatusCode.PERMISSION_DENIED, "that it may read namespace shop"),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "a longer AUTOSCALER_POLL_INTERVAL"),
    ],
)
def test_each_status_has_its_advice(status: RPCStatusCode, hint: str) -> None:
    head, _, advice = line(RPCError("so it is", status, b""), api_key="key").partition("; ")
    assert head == f"integration prod: reading failed ({status.name}: so it is)"
    assert hint in advice


def test_a_server_that_hangs_differs_from_one_that_went_away() -> None:
    error = RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")
    assert "did not answer in time" in line(error)


def test_a_connection_that_breaks_during_a_call_is_not_an_error_of_the_server() -> None:
    error = RPCError("h2 protocol error: http2 error", RPCStatusCode.INTERNAL, b"")
    assert "check the endpoint, that Temporal runs there" in line(error)
    fault = RPCError("so it is", RPCStatusCode.INTERNAL, b"")
    assert line(fault) == "integration prod: reading failed (INTERNAL: so it is)"


def test_a_status_without_advice_is_returned_alone() -> None:
    error = RPCError("broken", RPCStatusCode.DATA_LOSS, b"")
    assert line(error) == "integration prod: reading failed (DATA_LOSS: broken)"


def test_a_refusal_while_connecting_reads_like_any_other_refusal() -> None:
    error = RuntimeError(
        "Failed client connect: `get_system_info` call error after connection: Status { code:"
        ' PermissionDenied, message: "Request unauthorized.", source: None }'
    )
    assert line(error, api_key="key").startswith(
        "integration prod: reading failed (PERMISSION_DENIED: Request unauthorized.);"
        " check the API key of integration prod"
    )


class TestPairings:
    """A credential of another kind than the endpoint takes is named with the endpoint."""

    def test_an_api_key_where_the_server_wants_a_certificate(self) -> None:
        assert (
            "integration prod pairs an API key with an endpoint that probably wants a client"
            " certificate (mTLS)" in line(CLOSED, api_key="key")
        )

    def test_an_api_key_with_a_namespace_endpoint_of_temporal_cloud(self) -> None:
        for error in (CLOSED, UNAUTHENTICATED):
            told = line(error, endpoint=OF_NAMESPACE, namespace="shop.a1b2c", api_key="key")
            assert "shop.a1b2c.tmprl.cloud takes an API key only if" in told
            assert "REGION.PROVIDER.api.temporal.io:7233" in told

    def test_a_certificate_where_the_server_wants_an_api_key(self) -> None:
        assert (
            "integration prod pairs a client certificate with an endpoint that may want an API"
            " key: set API_KEY_FILE" in line(UNAUTHENTICATED, **CERTIFICATE)
        )

    def test_a_certificate_with_a_regional_endpoint_of_temporal_cloud(self) -> None:
        told = line(UNAUTHENTICATED, endpoint=REGIONAL, namespace="shop.a1b2c", **CERTIFICATE)
        assert "us-west-2.aws.api.temporal.io takes API keys" in told
        assert "NAMESPACE.ACCOUNT.tmprl.cloud:7233" in told

    def test_right_pairings_get_no_such_advice(self) -> None:
        key = line(UNAUTHENTICATED, endpoint=REGIONAL, namespace="shop.a1b2c", api_key="key")
        certificate = line(CLOSED, endpoint=OF_NAMESPACE, namespace="shop.a1b2c", **CERTIFICATE)
        for told in (key, certificate):
            assert "pairs" not in told
            assert "takes" not in told

    def test_a_namespace_without_its_account_on_temporal_cloud(self) -> None:
        error = RPCError("no", RPCStatusCode.NOT_FOUND, b"")
        assert "written NAME.ACCOUNT" in line(error, endpoint=REGIONAL, api_key="key")
        assert "NAME.ACCOUNT" not in line(error, endpoint="temporal:7233", api_key="key")

    def test_no_credential_where_the_server_wants_one(self) -> None:
        assert "integration prod has no API key" in line(UNAUTHENTICATED)
        assert "it probably wants a client certificate" in line(CLOSED, tls="on")
        assert "it probably wants TLS: set TLS to on" in line(CLOSED)


class TestCertificates:
    @pytest.mark.parametrize(
        ("found", "answer", "advice"),
        [
            pytest.param(
                "InvalidCertificate(ExpiredContext { time: UnixTime(1795572370), not_after:"
                " UnixTime(1795313170) })",
                "the server's certificate expired on 2026-11-22",
                "renew it on the server",
                id="expired",
            ),
            pytest.param(
                "InvalidCertificate(NotValidYetContext { time: UnixTime(1) })",
                "the server's certificate is not valid yet",
                "check the clock",
                id="not-yet",
            ),
            pytest.param(
                "InvalidCertificate(NotValidForNameContext { expected: DnsName(a), presented:"
                ' ["DnsName(\\"b.example\\")", "IpAddress(10.0.0.1)"] })',
                "the server's certificate is not for temporal but for b.example, 10.0.0.1",
                "set TLS_SERVER_NAME",
                id="other-name",
            ),
            pytest.param(
                "InvalidCertificate(UnknownIssuer)",
                "the server's certificate is signed by no authority in this machine's list",
                "set TLS_CA_FILE",
                id="unknown-issuer",
            ),
            pytest.param(
                "InvalidMessage(InvalidContentType)",
                "the server does not answer in TLS",
                "set TLS to off",
                id="no-tls",
            ),
        ],
    )
    def test_each_fault_of_a_server_certificate_has_its_advice(
        self, found: str, answer: str, advice: str
    ) -> None:
        error = RuntimeError(f"tonic::transport::Error(Transport, ConnectError({found}))")
        told = line(error, endpoint="temporal:7233", tls="on")
        assert told.startswith(f"integration prod: reading failed ({answer}); ")
        assert advice in told

    def test_a_configured_authority_is_named(self) -> None:
        error = RuntimeError("InvalidCertificate(UnknownIssuer)")
        assert "signed by no authority in TLS_CA_FILE" in line(error, tls_ca_file="/ca.pem")

    def test_a_refused_client_certificate_is_named(self) -> None:
        assert "probably does not accept the client certificate: check" in line(
            CLOSED, **CERTIFICATE
        )
        expired = line(CLOSED, **CERTIFICATE, expired_at=datetime(2026, 1, 2, tzinfo=UTC))
        assert "the client certificate, which expired on 2026-01-02: check" in expired


def test_a_connection_that_cannot_be_made_has_its_advice() -> None:
    assert "(Failed client connect); check the endpoint" in line(
        RuntimeError("Failed client connect")
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("plain words", "plain words", id="plain"),
        pytest.param("two\n  lines", "two lines", id="one-line"),
        pytest.param(
            'Failed client connect: Status { code: Unavailable, message: "tcp", source:'
            ' Error { kind: Io, error: "connection refused" } }',
            "UNAVAILABLE: tcp",
            id="a-status",
        ),
        pytest.param(
            'tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error",'
            ' 127.0.0.1:1, Os { code: 111, kind: ConnectionRefused, message: "Connection'
            ' refused" })))',
            "Connection refused",
            id="the-innermost-quoted",
        ),
        pytest.param(
            "tonic::transport::Error(Transport, ConnectError(Custom { kind: Other, error:"
            " Exhausted }))",
            "Exhausted",
            id="the-innermost-name",
        ),
        pytest.param("x" * 400, "x" * 300, id="not-endless"),
    ],
)
def test_the_clients_debug_output_is_reduced_to_its_message(text: str, words: str) -> None:
    assert f"({words});" in line(RuntimeError(text))


def test_braces_in_a_name_are_kept() -> None:
    error = RPCError("gone", RPCStatusCode.NOT_FOUND, b"")
    assert "namespace {x} exists" in line(error, namespace="{x}")


class TestWhereItIsNotTheConnection:
    """The frontend answers, and one of the services behind it does not."""

    @pytest.mark.parametrize("status", [RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNKNOWN])
    def test_a_server_that_answers_other_calls_lacks_one_of_its_services(
        self, status: RPCStatusCode
    ) -> None:
        said = line(RPCError("no hosts", status, b""), answered=True)
        assert "check matching and history" in said
        assert "TLS" not in said
        assert "endpoint" not in said

    @pytest.mark.parametrize(
        "message",
        [
            "Not enough hosts to serve the request",
            'connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.7:7235"',
            "error reading from server: EOF",
        ],
    )
    def test_the_words_of_the_frontend_are_known(self, message: str) -> None:
        assert "check matching and history" in line(
            RPCError(message, RPCStatusCode.UNAVAILABLE, b"")
        )

    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (RPCStatusCode.UNAVAILABLE, "tcp connect error"),
            (RPCStatusCode.UNKNOWN, "transport error"),
            (RPCStatusCode.CANCELLED, "operation was canceled"),
            (RPCStatusCode.INTERNAL, "h2 protocol error: http2 error"),
        ],
    )
    def test_a_connection_that_was_made_did_not_fail_for_tls(
        self, status: RPCStatusCode, message: str
    ) -> None:
        said = line(RPCError(message, status, b""))
        assert "check the endpoint" in said
        assert "matching" in said
        assert "TLS" not in said

    def test_a_connection_that_was_never_made_may_have_failed_for_tls(self) -> None:
        refused = (
            'Failed client connect: Status { code: Unavailable, message: "tcp", source: None }'
        )
        for text in (refused, "Failed client connect"):
            assert "whether it wants TLS" in line(RuntimeError(text))


class TestLocalhostInAContainer:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.53", "[::1]"])
    def test_it_is_the_container_itself(self, host: str) -> None:
        said = line(RuntimeError("refused"), in_container=True, endpoint=f"{host}:7234")
        assert f"in a container {host} is the container itself" in said
        assert "temporal:7234" in said
        assert 'extra_hosts: ["host.docker.internal:host-gateway"]' in said
        assert "\n" not in said

    @pytest.mark.parametrize(
        ("host", "in_container"),
        [("localhost", False), ("temporal", True), ("localhost.example.com", True)],
    )
    def test_it_is_not_mentioned_elsewhere(self, host: str, *, in_container: bool) -> None:
        said = line(RuntimeError("refused"), in_container=in_container, endpoint=f"{host}:7233")
        assert "container" not in said

    def test_it_is_not_mentioned_once_a_connection_was_made(self) -> None:
        error = RPCError("gone", RPCStatusCode.UNAVAILABLE, b"")
        assert "container" not in line(error, in_container=True, endpoint="localhost:7233")

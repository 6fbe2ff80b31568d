"""Explains a failed call to Temporal in one line: what was tried, what came back, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from temporalio.service import RPCError, RPCStatusCode

from autoscaler.core.integration import Integration


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was tried, and with which settings. The advice depends on both."""

    what: str
    """The call and its endpoint."""
    name: str
    """Name of the integration."""
    namespace: str
    integration: Integration = field(default_factory=Integration)
    expired_at: datetime | None = None
    """When the credentials expired; None where they have not, or where nobody knows."""
    connected: bool = True
    """Whether the connection had been made before the call failed."""
    answered: bool = False
    """Whether the server has just answered another call: neither endpoint nor TLS is wrong."""
    in_container: bool = False
    """Whether this process runs in a container."""


class _Meaning(NamedTuple):
    """What a failure means."""

    answer: str
    """What came back, in words."""
    advice: str
    """What to do; empty where nobody knows."""


def explain(error: RPCError | RuntimeError, attempt: Attempt) -> str:
    """Return one line about a failed call.

    temporalio raises RuntimeError where no connection could be made, and RPCError after that.
    """
    if isinstance(error, RPCError):
        meaning = _answered(error.status, error.message, attempt)
    else:
        meaning = _connecting(str(error), replace(attempt, connected=False))
    return _line(meaning, attempt)


def explain_missing(what: str, since: str, version: str, attempt: Attempt) -> str:
    """Return one line about an answer that lacks `what`, which Temporal Server has `since`.

    `version` is that of the server; empty where it is unknown.
    """
    server = f"Temporal Server {version}" if version else "the server, which hides its version,"
    advice = (
        f"it takes Temporal Server {since} or later: upgrade it, and let any proxy before it pass"
        " on the whole answer"
    )
    return _line(_Meaning(f"{server} left out {what}", advice), attempt)


def _line(meaning: _Meaning, attempt: Attempt) -> str:
    line = f"integration {attempt.name}: {attempt.what} failed ({meaning.answer})"
    return line + (f"; {meaning.advice}" if meaning.advice else "")


# --------------------------------------------------------------- a connection that failed


_STATUS = re.compile(r'code: (\w+), message: "([^"]*)"')
"""The status of the client's first call (GetSystemInfo), as Rust prints it."""


def _connecting(text: str, attempt: Attempt) -> _Meaning:
    meaning = _transport(text, attempt)
    if meaning is not None:
        return meaning
    refused = _STATUS.search(text)
    if refused is not None:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", refused[1]).upper()
        if name in RPCStatusCode.__members__:
            return _answered(RPCStatusCode[name], refused[2], attempt)
    return _Meaning(_plain(text), _unreachable(attempt))


def _unreachable(attempt: Attempt) -> str:
    """Say what to check where nothing answers."""
    if attempt.connected:
        # TLS and credentials were right when the connection was made.
        return (
            "check the endpoint, that Temporal runs there, and all its services with it (frontend,"
            " history, matching)"
        )
    return (
        "check the endpoint, that Temporal runs there, and whether it wants TLS or a client"
        " certificate" + _localhost(attempt)
    )


_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[?::1\]?")


def _localhost(attempt: Attempt) -> str:
    """Say what localhost is in a container, where that is what the endpoint names."""
    host, _, port = attempt.integration.endpoint.rpartition(":")
    if not attempt.in_container or _LOOPBACK.fullmatch(host) is None:
        return ""
    return (
        f"; in a container {host} is the container itself (unless its network_mode is host): name"
        f" the service of Temporal on a network that both are in, such as temporal:{port}, or reach"
        f" the host as host.docker.internal:{port} with"
        ' extra_hosts: ["host.docker.internal:host-gateway"]'
    )


def _transport(text: str, attempt: Attempt) -> _Meaning | None:
    """Return what went wrong below gRPC: in TLS, or because only one side uses TLS."""
    if "InvalidCertificate" in text:
        return _refused_certificate(text, attempt)
    if "InvalidContentType" in text:
        return _Meaning(
            "the server does not answer in TLS",
            "set TLS to off if it is to be reached without, or correct the endpoint's port",
        )
    return _closed(attempt) if _CLOSED.search(text) else None


def _refused_certificate(text: str, attempt: Attempt) -> _Meaning:
    """Explain why this machine does not trust the server's certificate."""
    if "NotValidForName" in text:
        names = text.partition("presented:")[2]
        presented = ", ".join(re.findall(r'(?:DnsName|IpAddress)\(\\?"?([\w.:*-]+)', names))
        expected = attempt.integration.tls_server_name or _host(attempt)
        return _Meaning(
            f"the server's certificate is not for {expected}"
            + (f" but for {presented}" if presented else ""),
            "set TLS_SERVER_NAME to a name that it is for, or correct the endpoint",
        )
    if "Expired" in text:
        ended = re.search(r"not_after: UnixTime\((\d+)\)", text)
        on = f" {_on(datetime.fromtimestamp(int(ended[1]), UTC))}" if ended else ""
        return _Meaning(
            f"the server's certificate expired{on}",
            "renew it on the server; if it has been, check the clock of this machine",
        )
    if "NotValidYet" in text:
        return _Meaning(
            "the server's certificate is not valid yet", "check the clock of this machine"
        )
    trusted = "TLS_CA_FILE" if attempt.integration.has_authority else "this machine's list"
    return _Meaning(
        f"the server's certificate is signed by no authority in {trusted}",
        "set TLS_CA_FILE to the certificate of the authority that signed it; for a self-signed"
        " one, to itself",
    )


_CLOSED = re.compile(
    r"connection closed|broken pipe|BrokenPipe|UnexpectedEof|unexpected-eof"
    r"|ConnectionReset|connection reset|received fatal alert"
)


def _closed(attempt: Attempt) -> _Meaning:
    """Explain a connection that the server ended without an answer.

    In TLS 1.3 a client learns only after the handshake that its certificate was refused.
    """
    integration = attempt.integration
    if not integration.uses_tls:
        return _Meaning(
            "the server ended the connection at once", "it probably wants TLS: set TLS to on"
        )
    ended = "the server ended the connection after the TLS handshake"
    if integration.has_certificate:
        expired = "" if attempt.expired_at is None else f", which expired {_on(attempt.expired_at)}"
        return _Meaning(
            ended,
            f"it probably does not accept the client certificate{expired}: check that it is"
            " valid, and that the server knows the authority that signed it",
        )
    pairing = (
        f"integration {attempt.name} pairs an API key with an endpoint that probably wants a"
        " client certificate (mTLS): set TLS_CERT_FILE and TLS_KEY_FILE, or use the endpoint"
        " that takes API keys"
    )
    missing = "it probably wants a client certificate (mTLS): set TLS_CERT_FILE and TLS_KEY_FILE"
    return _Meaning(ended, (pairing if integration.has_api_key else missing) + _cloud(attempt))


# ------------------------------------------------------------------ an answer that refused

_BEHIND_FRONTEND = (
    "Temporal's frontend answers, so another of its services is probably down: check matching and"
    " history"
)
_FROM_FRONTEND = re.compile(r"Not enough hosts|transport: |error reading from server|code = ")
"""What Temporal's frontend says where it does not reach the service that it asks."""
_LATE = "Temporal did not answer in time; check that it is healthy"
_ADVICE = {
    RPCStatusCode.DEADLINE_EXCEEDED: _LATE,
    RPCStatusCode.RESOURCE_EXHAUSTED: "Temporal refuses more calls at present;"
    " a longer AUTOSCALER_POLL_INTERVAL asks less often",
}


def _answered(status: RPCStatusCode, message: str, attempt: Attempt) -> _Meaning:
    if "InvalidCertificate" in message:
        return _refused_certificate(message, attempt)
    return _Meaning(f"{status.name}: {_plain(message)}", _advice(status, message, attempt))


def _advice(status: RPCStatusCode, message: str, attempt: Attempt) -> str:
    if status is RPCStatusCode.NOT_FOUND:
        return f"check that namespace {attempt.namespace} exists there" + _account(attempt)
    if status in {RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED}:
        return _credential(attempt) + _cloud(attempt) + _account(attempt)
    if status is RPCStatusCode.CANCELLED:
        # Without "timeout", the server went away during the call.
        return _LATE if "timeout" in message.lower() else _unreachable(attempt)
    if status is RPCStatusCode.INTERNAL and "h2 protocol error" in message:
        # The client says this, not the server: the connection broke during the call.
        return _unreachable(attempt)
    if status in {RPCStatusCode.UNAVAILABLE, RPCStatusCode.UNKNOWN}:
        from_frontend = attempt.answered or _FROM_FRONTEND.search(message)
        return _BEHIND_FRONTEND if from_frontend else _unreachable(attempt)
    return _ADVICE.get(status, "")


def _credential(attempt: Attempt) -> str:
    integration = attempt.integration
    if attempt.expired_at is not None:
        return f"its credential expired {_on(attempt.expired_at)}: replace it"
    may_read = f" and that it may read namespace {attempt.namespace}"
    if integration.has_api_key:
        return (
            f"check the API key of integration {attempt.name}, that it has neither expired nor"
            f" been deleted,{may_read}"
        )
    if integration.has_certificate:
        return (
            f"integration {attempt.name} pairs a client certificate with an endpoint that may want"
            f" an API key: set API_KEY_FILE, or check the certificate{may_read}"
        )
    return f"integration {attempt.name} has no API key: set API_KEY_FILE"


# ---------------------------------------------------------------------- Temporal Cloud

_NAMESPACE_ENDPOINT = ".tmprl.cloud"
_REGIONAL_ENDPOINT = ".api.temporal.io"


def _cloud(attempt: Attempt) -> str:
    """Name the credential that an endpoint of Temporal Cloud takes, where it is another one."""
    integration, host = attempt.integration, _host(attempt)
    if integration.has_api_key and host.endswith(_NAMESPACE_ENDPOINT):
        return (
            f"; {host} takes an API key only if API keys are switched on for the namespace, and"
            " otherwise wants its certificate; the endpoint for API keys reads"
            f" REGION.PROVIDER{_REGIONAL_ENDPOINT}:7233"
        )
    if not integration.has_api_key and host.endswith(_REGIONAL_ENDPOINT):
        return (
            f"; {host} takes API keys; a certificate goes with the namespace's own endpoint"
            f" NAMESPACE.ACCOUNT{_NAMESPACE_ENDPOINT}:7233"
        )
    return ""


def _account(attempt: Attempt) -> str:
    host = _host(attempt)
    in_cloud = host.endswith((_NAMESPACE_ENDPOINT, _REGIONAL_ENDPOINT))
    if in_cloud and "." not in attempt.namespace:
        return "; on Temporal Cloud a namespace is written NAME.ACCOUNT"
    return ""


def _host(attempt: Attempt) -> str:
    return attempt.integration.endpoint.rpartition(":")[0]


def _on(moment: datetime) -> str:
    return f"on {moment:%Y-%m-%d}"


_QUOTED = re.compile(r'(?:message|error): "([^"]+)"')


def _plain(text: str) -> str:
    """Return the readable part of the client's debug output of nested errors."""
    text = " ".join(text.split())
    quoted = _QUOTED.findall(text)
    if quoted:
        last: str = quoted[-1]
        return last
    if "tonic::transport" in text:
        # Such as ConnectError(Custom { error: InvalidCertificate(UnknownIssuer) }).
        innermost: str = re.findall(r"\w+", text)[-1]
        return innermost
    return text[:300]

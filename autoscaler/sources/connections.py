"""One Temporal client for each integration, and what to say when it does not get through."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration, canonical
from autoscaler.ports import IntegrationStore

CONNECT_TIMEOUT = timedelta(seconds=5)


class Connections:
    """Makes a client when an integration is first used, and keeps it."""

    def __init__(self, integrations: IntegrationStore) -> None:
        self._integrations = integrations
        self._clients: dict[str, Client] = {}

    async def client(self, name: str) -> Client:
        """Return the client of an integration; it connects with its first call.

        Raises IntegrationError when the integration is not known or a file of its
        credentials cannot be read.
        """
        key = canonical(name)
        if key not in self._clients:
            self._clients[key] = await _lazy_client(name, self._integrations.get(name))
        return self._clients[key]

    def integration(self, name: str) -> Integration:
        """Return the settings behind a name. Raises IntegrationError."""
        return self._integrations.get(name)


async def _lazy_client(name: str, integration: Integration) -> Client:
    try:
        api_key = _text(integration.api_key, integration.api_key_file)
        tls = _tls(integration) if integration.uses_tls else False
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrationError(
            f"integration {name}: a credential file cannot be read ({error});"
            " check the path, and that the daemon's user may read it"
        ) from error
    try:
        return await Client.connect(
            integration.endpoint,
            namespace=integration.namespace,
            api_key=api_key,
            tls=tls,
            rpc_metadata={
                key: value.get_secret_value() for key, value in integration.metadata.items()
            },
            connect_timeout=CONNECT_TIMEOUT,
            lazy=True,
        )
    except (RuntimeError, ValueError) as error:
        raise IntegrationError(
            f"integration {name}: Temporal's client does not take these settings ({error})"
        ) from error


def _tls(integration: Integration) -> bool | TLSConfig:
    if not integration.has_tls_options:
        return True
    return TLSConfig(
        server_root_ca_cert=_bytes(integration.tls_ca, integration.tls_ca_file),
        client_cert=_bytes(integration.tls_cert, integration.tls_cert_file),
        client_private_key=_bytes(integration.tls_key, integration.tls_key_file),
        domain=integration.tls_server_name,
    )


def _text(value: SecretStr | None, file: Path | None) -> str | None:
    content = _bytes(value, file)
    return None if content is None else content.decode().strip()


def _bytes(value: SecretStr | None, file: Path | None) -> bytes | None:
    if file is not None:
        return file.read_bytes()
    return None if value is None else value.get_secret_value().encode()


def explain(error: RPCError | RuntimeError, integration: str, namespace: str, tried: str) -> str:
    """Put a failed call into one line: what was tried, what came back, what to do.

    `tried` names the call and its endpoint. A connection that could not be made is a
    RuntimeError in temporalio, everything after that an RPCError.
    """
    where = f"integration {integration}: {tried}"
    if isinstance(error, RPCError):
        answer = f"{error.status.name}: {_plain(error.message)}"
        hint = _HINTS.get(error.status, "")
    else:
        answer, hint = _plain(str(error)), _UNREACHABLE
    advice = hint.format(namespace=namespace, integration=integration)
    return f"{where} failed ({answer})" + (f"; {advice}" if advice else "")


_UNREACHABLE = (
    "check the endpoint, that Temporal runs there, and whether it wants TLS or a client certificate"
)
_CREDENTIAL = (
    "check the API key or certificate of integration {integration} and that it may read"
    " namespace {namespace}"
)
_HINTS = {
    RPCStatusCode.NOT_FOUND: "check that namespace {namespace} exists there",
    RPCStatusCode.UNAVAILABLE: _UNREACHABLE,
    RPCStatusCode.CANCELLED: "Temporal did not answer in time; check that it is healthy",
    RPCStatusCode.DEADLINE_EXCEEDED: "Temporal did not answer in time; check that it is healthy",
    RPCStatusCode.UNAUTHENTICATED: _CREDENTIAL,
    RPCStatusCode.PERMISSION_DENIED: _CREDENTIAL,
    RPCStatusCode.RESOURCE_EXHAUSTED: "Temporal refuses more calls at present;"
    " a longer AUTOSCALER_POLL_INTERVAL asks less often",
}


_QUOTED = re.compile(r'(?:message|error): "([^"]+)"')


def _plain(text: str) -> str:
    """Take the words for people out of the client's debug output of nested errors."""
    text = " ".join(text.split())
    quoted = _QUOTED.findall(text)
    if quoted:
        last: str = quoted[-1]
        return last
    if "tonic::transport" in text:
        # Nested like ConnectError(Custom { error: InvalidCertificate(UnknownIssuer) }).
        innermost: str = re.findall(r"\w+", text)[-1]
        return innermost
    return text[:300]

"""The integration that Temporal's own environment configuration describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from temporalio.envconfig import ClientConfigProfile, ClientConfigTLS

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.integration import DEFAULT_ENDPOINT, DEFAULT_NAMESPACE, Integration, TlsMode

Pem = Path | str | bytes | None
"""A certificate or key as Temporal's loader returns it: the file that holds it, or its content."""


def temporal_environment() -> Integration:
    """Read TEMPORAL_ADDRESS, _NAMESPACE, _API_KEY, _TLS*, _PROFILE and temporal.toml.

    Without an address it is localhost:7233, without a namespace it is default.
    Raises ConfigurationError where Temporal's loader or the Integration refuses the values.
    """
    try:
        profile = ClientConfigProfile.load()
    except RuntimeError as error:
        raise ConfigurationError(
            [f"Temporal's environment configuration (TEMPORAL_*, temporal.toml): {_plain(error)}"]
        ) from None
    values: dict[str, Any] = {
        "endpoint": profile.address or DEFAULT_ENDPOINT,
        "namespace": profile.namespace or DEFAULT_NAMESPACE,
        "api_key": profile.api_key or None,
        "metadata": dict(profile.grpc_meta),
        **_tls(profile.tls),
    }
    try:
        return Integration.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(
            [
                " ".join(
                    (
                        "Temporal's environment configuration:",
                        *map(str, entry["loc"]),
                        entry["msg"].removeprefix("Value error, "),
                    )
                )
                for entry in error.errors(include_input=False)
            ]
        ) from error


def _plain(error: RuntimeError) -> str:
    """Return what is wrong without quoting the file, which may hold a secret."""
    text = str(error)
    place = re.search(r"line \d+, column \d+", text)
    if place is not None:
        return f"the file is no TOML at {place[0]}"
    return " ".join(text.split())


def _tls(tls: ClientConfigTLS | None) -> dict[str, Any]:
    if tls is None:
        return {}
    if tls.disabled:
        return {"tls": TlsMode.OFF}
    return {
        "tls": TlsMode.ON,
        "tls_server_name": tls.server_name,
        **_pem("tls_ca", tls.server_root_ca_cert),
        **_pem("tls_cert", tls.client_cert),
        **_pem("tls_key", tls.client_private_key),
    }


def _pem(field: str, pem: Pem) -> dict[str, Any]:
    match pem:
        case None:
            return {}
        case Path():
            return {f"{field}_file": pem}
        case bytes():
            return {field: SecretStr(pem.decode())}
        case str():
            return {field: SecretStr(pem)}

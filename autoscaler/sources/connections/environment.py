"""The integration that Temporal's own environment configuration describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from temporalio.envconfig import ClientConfigProfile, ClientConfigTLS

from autoscaler.core.errors import ConfigurationError
from autoscaler.core.integration import DEFAULT_ENDPOINT, DEFAULT_NAMESPACE, Integration, TlsMode

Source = Path | str | bytes | None


def temporal_environment() -> Integration:
    """Read TEMPORAL_ADDRESS, _NAMESPACE, _API_KEY, _TLS*, _PROFILE and temporal.toml.

    What is not set falls back to localhost:7233 and namespace default.
    Raises ConfigurationError where Temporal's own loader refuses them.
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
    """Say what is wrong without the line of the file, which may hold a secret."""
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
        **_source("tls_ca", tls.server_root_ca_cert),
        **_source("tls_cert", tls.client_cert),
        **_source("tls_key", tls.client_private_key),
    }


def _source(field: str, source: Source) -> dict[str, Any]:
    if source is None:
        return {}
    if isinstance(source, Path):
        return {f"{field}_file": source}
    return {field: SecretStr(source.decode() if isinstance(source, bytes) else source)}

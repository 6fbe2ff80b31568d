"""A named Temporal connection: its endpoint, its namespace and its credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

DEFAULT_ENDPOINT = "localhost:7233"
DEFAULT_NAMESPACE = "default"
LAST_PORT = 65535

_ENDPOINT = re.compile(r"[^\s/]+:(?P<port>\d{1,5})", re.ASCII)


class TlsMode(StrEnum):
    """Whether the connection is encrypted."""

    AUTO = "auto"
    """On where an API key or any TLS option is given, as in Temporal's own clients."""
    ON = "on"
    OFF = "off"


def canonical(name: str) -> str:
    """Return the canonical spelling of an integration's name: lower case, `_` in place of `-`."""
    return name.strip().lower().replace("-", "_")


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _host_and_port(value: str) -> str:
    match = _ENDPOINT.fullmatch(value)
    if match is None or not 0 < int(match["port"]) <= LAST_PORT:
        raise ValueError(f"host and port are needed, such as {DEFAULT_ENDPOINT}")
    return value


class Integration(BaseModel):
    """Endpoint, namespace and credentials of one Temporal connection. Secrets stay masked."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        hide_input_in_errors=True,  # a traceback must not show what may be a secret
    )

    endpoint: Annotated[str, AfterValidator(_host_and_port)] = DEFAULT_ENDPOINT
    """Host and port, such as `localhost:7233` or `my-ns.a1b2c.tmprl.cloud:7233`."""
    namespace: Annotated[str, Field(min_length=1)] = DEFAULT_NAMESPACE
    """Namespace of services that have no label for it."""
    api_key: SecretStr | None = None
    """API key, as text."""
    api_key_file: Path | None = None
    """File that holds the API key, a Docker secret for example."""
    tls: Annotated[TlsMode, BeforeValidator(_lower)] = TlsMode.AUTO
    """auto, on or off."""
    tls_ca_file: Path | None = None
    """PEM file with the certificate of the authority that signed the server's certificate."""
    tls_cert_file: Path | None = None
    """PEM file with the client certificate (mTLS)."""
    tls_key_file: Path | None = None
    """PEM file with the client certificate's private key (mTLS)."""
    tls_ca: SecretStr | None = None
    """The authority's certificate, as PEM text."""
    tls_cert: SecretStr | None = None
    """The client certificate, as PEM text."""
    tls_key: SecretStr | None = None
    """The client certificate's private key, as PEM text."""
    tls_server_name: str | None = None
    """Name to expect in the server's certificate where it is not the host of the endpoint."""
    metadata: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Further gRPC headers."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: object) -> object:
        # Compose passes a variable that is not set on as an empty one.
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value != ""}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("API_KEY and API_KEY_FILE are both set: keep one of them")
        certificate = self.tls_cert_file or self.tls_cert
        key = self.tls_key_file or self.tls_key
        if (certificate is None) != (key is None):
            raise ValueError("TLS_CERT_FILE and TLS_KEY_FILE belong together: one is missing")
        if self.tls is TlsMode.OFF and self.has_tls_options:
            raise ValueError("TLS is off, but a TLS_* file or server name is set: remove one")
        return self

    @property
    def has_api_key(self) -> bool:
        """Whether an API key is among its credentials."""
        return bool(self.api_key or self.api_key_file)

    @property
    def has_certificate(self) -> bool:
        """Whether a client certificate (mTLS) is among its credentials."""
        return bool(self.tls_cert or self.tls_cert_file)

    @property
    def has_authority(self) -> bool:
        """Whether it names the authority to trust, in place of those of the system."""
        return bool(self.tls_ca or self.tls_ca_file)

    @property
    def has_tls_options(self) -> bool:
        """Whether it has any TLS option other than the mode."""
        return self.has_authority or self.has_certificate or bool(self.tls_server_name)

    @property
    def uses_tls(self) -> bool:
        """Whether the connection uses TLS."""
        if self.tls is not TlsMode.AUTO:
            return self.tls is TlsMode.ON
        return self.has_tls_options or self.has_api_key

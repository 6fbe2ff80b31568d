"""The credentials of an integration, read from its settings and files."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr
from temporalio.service import TLSConfig

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration

if TYPE_CHECKING:
    # cryptography takes some MiB of memory: it is loaded only where there are certificates.
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class Credentials:
    """All credentials of an integration, checked as far as possible without a server."""

    api_key: SecretStr | None
    authority: bytes | None
    """PEM of the certificate authorities to trust; None: the system's."""
    certificate: bytes | None
    """PEM of the client certificate, followed by intermediate certificates."""
    key: SecretStr | None
    """PEM of the private key of the client certificate."""
    server_name: str | None
    """Name to expect in the server's certificate; None: the endpoint's host."""
    metadata: Mapping[str, SecretStr]
    """Further gRPC headers."""
    encrypted: bool
    """Whether the connection uses TLS."""
    expires: Mapping[str, datetime] = field(default_factory=dict)
    """When the API key and the client certificate expire, as far as that is known."""

    @classmethod
    def read(cls, name: str, integration: Integration) -> Self:
        """Read and check the credentials of an integration; `name` appears in error messages.

        Raises IntegrationError where a file cannot be read or has the wrong content, or where
        certificate and key do not belong together.
        """
        with _named(name):
            api_key = _api_key(integration)
            certificate = _bytes(integration.tls_cert, integration.tls_cert_file)
            key = _bytes(integration.tls_key, integration.tls_key_file)
            authority = _bytes(integration.tls_ca, integration.tls_ca_file)
            if authority is not None:
                _certificates(authority, "TLS_CA_FILE")
            expires: dict[str, datetime] = {}
            key_expires = None if api_key is None else _expiry_of_token(api_key)
            if key_expires is not None:
                expires["API key"] = key_expires
            if certificate is not None and key is not None:
                leaf = _certificates(certificate, "TLS_CERT_FILE")[0]
                _belong_together(leaf, key)
                expires["client certificate"] = leaf.not_valid_after_utc
            return cls(
                api_key=None if api_key is None else SecretStr(api_key),
                authority=authority,
                certificate=certificate,
                key=None if key is None else SecretStr(key.decode()),
                server_name=integration.tls_server_name,
                metadata=integration.metadata,
                encrypted=integration.uses_tls,
                expires=expires,
            )

    @property
    def expires_at(self) -> datetime | None:
        """When the first credential expires; None where that is not known."""
        return min(self.expires.values(), default=None)

    @property
    def kind(self) -> str:
        """The kinds of credentials there are, in words."""
        kinds = [
            *(["API key"] if self.api_key is not None else []),
            *(["client certificate"] if self.certificate is not None else []),
        ]
        return " and ".join(kinds) or "none"

    def tls(self) -> bool | TLSConfig:
        """Return the TLS settings in the form that Temporal's client takes."""
        if not (self.encrypted and (self.authority or self.certificate or self.server_name)):
            return self.encrypted
        return TLSConfig(
            server_root_ca_cert=self.authority,
            client_cert=self.certificate,
            client_private_key=None if self.key is None else self.key.get_secret_value().encode(),
            domain=self.server_name,
        )

    def headers(self) -> dict[str, str | bytes]:
        """Return the further gRPC headers in plain text."""
        return {name: value.get_secret_value() for name, value in self.metadata.items()}


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn what is wrong into an IntegrationError that names the integration and no secret."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        why = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        raise IntegrationError(
            f"integration {name}: a credential file cannot be read ({why});"
            " check the path, and that the daemon's user may read it"
        ) from None
    except _Unusable as error:
        raise IntegrationError(f"integration {name}: {error}") from None


class _Unusable(Exception):
    """A credential has the wrong form; the message says what to do, and shows no secret."""


def _api_key(integration: Integration) -> str | None:
    content = _bytes(integration.api_key, integration.api_key_file)
    if content is None:
        return None
    key = content.decode().strip()
    if not key:
        raise _Unusable(f"the file {integration.api_key_file} is empty; put the API key into it")
    if not (key.isascii() and key.isprintable()):
        raise _Unusable("the API key has characters that no API key has; check what is in it")
    return key


def _bytes(value: SecretStr | None, file: Path | None) -> bytes | None:
    if file is not None:
        return file.read_bytes()
    return None if value is None else value.get_secret_value().encode()


def _certificates(pem: bytes, setting: str) -> list[x509.Certificate]:
    from cryptography import x509  # noqa: PLC0415

    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise _Unusable(
            f"{setting} holds no certificate in PEM form; check what is in it"
        ) from None


def _belong_together(certificate: x509.Certificate, key: bytes) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
    )

    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise _Unusable(
            "TLS_KEY_FILE is protected by a passphrase; put a key without one there"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _Unusable("TLS_KEY_FILE holds no private key in PEM form; check it") from None
    if private.public_key() != certificate.public_key():
        raise _Unusable(
            "the certificate in TLS_CERT_FILE and the key in TLS_KEY_FILE do not belong together;"
            " put a matching pair there"
        )


def _expiry_of_token(key: str) -> datetime | None:
    """Return when an API key expires; None unless it is a JSON Web Token with an expiry."""
    _, _, rest = key.partition(".")
    payload, _, _ = rest.partition(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None

"""Certificate authorities and certificates that a test makes for itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path) -> dict[str, str]:
        """Write both into a folder; return the paths by the names of the settings for them."""
        files = {"tls_cert_file": folder / "client.pem", "tls_key_file": folder / "client.key"}
        files["tls_cert_file"].write_bytes(self.certificate)
        files["tls_key_file"].write_bytes(self.key)
        return {name: str(file) for name, file in files.items()}


class Authority:
    """A certificate authority."""

    def __init__(self, name: str = "An authority of the tests") -> None:
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._key, timedelta(days=3650))
        builder = builder.issuer_name(self._name).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.certificate = builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    def write(self, folder: Path) -> Path:
        """Write the certificate into a folder and return the file."""
        file = folder / "ca.pem"
        file.write_bytes(self.certificate)
        return file

    def server(self, host: str = HOST, valid_for: timedelta = timedelta(days=90)) -> Pair:
        """Issue a server's certificate; where `valid_for` is negative it expired that long ago."""
        return self._issue(host, valid_for)

    def client(self, name: str = "autoscaler", valid_for: timedelta = timedelta(days=90)) -> Pair:
        """Issue a client's certificate."""
        return self._issue(name, valid_for)

    def _issue(self, name: str, valid_for: timedelta) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), key, valid_for).issuer_name(self._name)
        return _pair(builder.add_extension(_known_as(name), critical=False), key, self._key)


def self_signed(host: str = HOST) -> Pair:
    """Make a server's certificate that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(host), key, timedelta(days=90)).issuer_name(_name(host))
    return _pair(builder.add_extension(_known_as(host), critical=False), key, key)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _known_as(host: str) -> x509.SubjectAlternativeName:
    try:
        return x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
    except ValueError:
        return x509.SubjectAlternativeName([x509.DNSName(host)])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    end = datetime.now(UTC) + valid_for
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(end, datetime.now(UTC)) - timedelta(days=1))
        .not_valid_after(end)
    )


def _pair(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
) -> Pair:
    return Pair(
        builder.sign(signer, SHA256()).public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )

"""A certificate of one's own, for a server whose callers are told of it. Nothing of it outlives the process."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=3650)
"""Longer than any process runs: with it goes the key."""
SKEW = timedelta(hours=1)
"""The other side's clock may be late."""


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM."""

    public: str
    _key: bytes

    def context(self) -> ssl.SSLContext:
        """For a server. OpenSSL reads files, so it has them for a moment."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with TemporaryDirectory() as folder:
            file = Path(folder) / "certificate"
            file.touch(mode=0o600)
            file.write_bytes(self._key + self.public.encode())
            context.load_cert_chain(file)
        return context


def self_signed(hosts: Iterable[str]) -> Certificate:
    """A certificate for these hosts (names or addresses) that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own: in a bundle of several, some clients look for the issuer by its name.
    number = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tidegate-webhook-{number:x}"[:64])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([_named(host) for host in sorted(hosts)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(made.public_bytes(serialization.Encoding.PEM).decode(), private)


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

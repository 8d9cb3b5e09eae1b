"""Certificates for tests that speak TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path


ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
"""The algorithm of a signature, as DER."""


@dataclass(frozen=True)
class Pair:
    """A certificate file and its key file."""

    certificate: Path
    key: Path

    def overwrite(self, other: Pair) -> None:
        """Take over another pair's files, each by a rename, the key last."""
        for mine, theirs in ((self.certificate, other.certificate), (self.key, other.key)):
            fresh = mine.with_suffix(".new")
            fresh.write_bytes(theirs.read_bytes())
            fresh.rename(mine)


class Authority:
    """A certificate authority of the tests' own, below a folder."""

    def __init__(self, folder: Path, name: str = "tests") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {name}")])
        self._issued = 0
        self.file = folder / f"{name}-authority.pem"
        builder = self._builder(self._subject, self._key.public_key(), timedelta(days=-1), timedelta(days=30))
        signed = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        ).add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                **dict.fromkeys(_OTHER_USES, False),
            ),
            critical=True,
        )
        self.file.write_bytes(signed.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(
        self,
        *names: str,
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=30),
        subject: str = "",
    ) -> Pair:
        """Issue a certificate for names and IP addresses, valid from now plus `begins` to now plus `ends`."""
        key = ec.generate_private_key(ec.SECP256R1())
        called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject or names[0])])
        builder = self._builder(called, key.public_key(), begins, ends)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        self._issued += 1
        pair = Pair(self._folder / f"{self._issued}.crt", self._folder / f"{self._issued}.key")
        pair.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair

    def issue_odd(self, *, subject: bytes = b"odd", names: bytes = b"\x30\x00") -> Pair:
        """Issue a certificate whose subject is a T61String of these bytes, and whose alternative names are this DER."""
        pair = self.issue(subject="x" * len(subject))
        found = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        public = found.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        builder = self._builder(found.subject, public, timedelta(days=-1), timedelta(days=30))
        made = builder.add_extension(
            x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names), critical=False
        ).sign(self._key, hashes.SHA256())
        utf8, t61 = bytes([0x0C, len(subject)]), bytes([0x14, len(subject)])
        content = made.tbs_certificate_bytes.replace(utf8 + b"x" * len(subject), t61 + subject)
        pair.certificate.write_text(self._signed(content))
        return pair

    def issue_twice(self, *names: str) -> Pair:
        """Issue a certificate for names that has an extension of nobody's twice, which OpenSSL does not mind."""
        pair = self.issue(*names)
        found = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        public = found.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        builder = self._builder(found.subject, public, timedelta(days=-1), timedelta(days=30)).add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        for kind in ("1.3.6.1.4.1.9999.1", "1.3.6.1.4.1.9999.2"):
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(kind), b"\x05\x00"), critical=False
            )
        made = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_text(
            self._signed(made.tbs_certificate_bytes.replace(b"\xce\x0f\x02", b"\xce\x0f\x01"))
        )
        return pair

    def _signed(self, content: bytes) -> str:
        """Sign the content of a certificate, and return it in PEM."""
        signature = self._key.sign(content, ec.ECDSA(hashes.SHA256()))
        rest = ECDSA_WITH_SHA256 + bytes([0x03, len(signature) + 1, 0]) + signature
        der = b"\x30\x82" + (len(content) + len(rest)).to_bytes(2, "big") + content + rest
        return ssl.DER_cert_to_PEM_cert(der)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, begins: timedelta, ends: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            # RFC 5280 wants both, and OpenSSL asks for them by default from Python 3.13 on.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )

    def server(self, *names: str, lowest: str = "1.2", clients: bool = False) -> ssl.SSLContext:
        """Make the context of a server with a certificate for `names`; with `clients` it demands one of its peers."""
        return self.serving(self.issue(*names), lowest=lowest, clients=clients)

    def serving(self, pair: Pair, *, lowest: str = "1.2", clients: bool = False) -> ssl.SSLContext:
        """Make the context of a server with a certificate that there is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if lowest == "1.3":
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def client(self, pair: Pair | None = None, *, highest: str = "1.3") -> ssl.SSLContext:
        """Make the context of a client that accepts this authority, and sends a certificate if one is given."""
        context = ssl.create_default_context(cafile=str(self.file))
        context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[highest]
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


_OTHER_USES = (
    *("content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "encipher_only", "decipher_only"),
)


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def self_signed(folder: Path, name: str = "elsewhere.example", address: str = "") -> tuple[Path, Path]:
    """A certificate that nobody but itself has signed, for `name` or for the IP address `address`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if address:
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    files = folder / "server.crt", folder / "server.key"
    files[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files

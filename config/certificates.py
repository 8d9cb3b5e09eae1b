"""Certificate file reader: names, validity and key of the PEM files that settings name, for checks and for reports.

Law: no text of a problem contains a byte of a key.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from config.files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class FileUnusable(Exception):
    """A certificate file or key file that cannot be used; the text begins with its path."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Server or client certificate: the first one of a PEM file.

    Attributes:
        names: The DNS names and IP addresses that it is valid for, in lower case.
        begins: POSIX seconds from which it is valid.
        expires: POSIX seconds at which its validity ends.
        public_key: Its public key, as DER.
    """

    names: tuple[str, ...]
    begins: float
    expires: float
    public_key: bytes

    def covers(self, host: str) -> bool:
        """Return whether it is valid for a host: a name, or an address with or without brackets."""
        wanted = host.strip("[]").lower().removesuffix(".")
        _, _, parent = wanted.partition(".")
        return wanted in self.names or (
            not _is_address(wanted) and bool(parent) and f"*.{parent}" in self.names
        )


def read_certificate(path: Path) -> Certificate:
    """Return the first certificate of a PEM file.

    Raises:
        FileUnusable: the file cannot be read, has no certificate, or one with names that cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd serial numbers and the like are for the peer to judge
            found = x509.load_pem_x509_certificate(_read(path))
            return Certificate(
                _names(found),
                found.not_valid_before_utc.timestamp(),
                found.not_valid_after_utc.timestamp(),
                found.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            )
    except x509.UnsupportedGeneralNameType as error:
        raise FileUnusable(f"{path} has a certificate with alternative names that cannot be read") from error
    except x509.DuplicateExtension as error:
        raise FileUnusable(f"{path} has a certificate that has an extension twice") from error
    except _UNREADABLE as error:
        raise FileUnusable(f"{path} has no certificate in PEM") from error


def client_identity(der: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the subject (RFC 4514) of a certificate that was verified, and its alternative names as ``DNS:name``.

    What is not printable ASCII is percent-encoded, and in names the comma and the space too: a list of them can be
    split at commas. A part that cannot be read is empty: OpenSSL accepts certificates that cannot be read here, with a
    T61String that is not UTF-8, alternative names of rare kinds, or an extension that occurs twice.
    """
    subject = ""
    found: Iterable[x509.GeneralName] = ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(*_UNREADABLE):
            certificate = x509.load_der_x509_certificate(der)
            with suppress(*_UNREADABLE):
                subject = quote(certificate.subject.rfc4514_string(), safe=_PRINTABLE + ", ")
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = [
        f"{label}:{quote(str(name.value), safe=_PRINTABLE)}"
        for label, kind in _KINDS
        for name in found
        if isinstance(name, kind)
    ]
    return subject, tuple(names)


_UNREADABLE: Final = (
    *(ValueError, UnsupportedAlgorithm, x509.InvalidVersion),
    *(x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What the library raises of a certificate, or of a part of one, that OpenSSL accepts."""
_PRINTABLE: Final = "!\"#$&'()*+-./:;<=>?@[\\]^_`{|}~"
_KINDS: Final = (
    ("DNS", x509.DNSName),
    ("URI", x509.UniformResourceIdentifier),
    ("email", x509.RFC822Name),
    ("IP", x509.IPAddress),
)


def check_authorities(path: Path) -> None:
    """Check that a file has at least one certificate, and nothing but certificates that can be read.

    Raises:
        FileUnusable: it cannot be read, or one of them cannot.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x509.load_pem_x509_certificates(_read(path))
    except _UNREADABLE as error:
        raise FileUnusable(f"{path} has no certificates in PEM, or one that cannot be read") from error


def check_key(path: Path, certificate: Certificate | None) -> None:
    """Check that a file has a private key without a password, and the one of `certificate` if that is given.

    Raises:
        FileUnusable: it cannot be read, has no such key, or another one.
    """
    try:
        key = load_pem_private_key(_read(path), None)
    except TypeError as error:
        raise FileUnusable(f"{path} has a key with a password; store it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FileUnusable(f"{path} has no private key in PEM") from error
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate is not None and public != certificate.public_key:
        raise FileUnusable(f"{path} has another key than the certificate's")


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}") from error


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = found.get_values_for_type(x509.DNSName)
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*(name.lower() for name in names), *(str(address) for address in addresses))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

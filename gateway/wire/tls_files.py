"""Certificate files of TLS contexts: loading them, with errors that name the file and what is wrong with it.

Law: OpenSSL's words, which name no file, are given only where the files have nothing wrong that is known here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from config.certificates import FileUnusable, check_authorities, check_key, read_certificate
from gateway.wire.faults import caused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate and its key.

    Raises:
        OSError: a file cannot be read, the two do not belong together, or the key has a password; it has the file.
    """
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")  # asked for on the terminal otherwise
    except OSError as error:
        _raise_named(error, lambda: check_key(Path(key), read_certificate(Path(certificate))))


def load_authorities(context: ssl.SSLContext, file: str) -> None:
    """Load the authorities of others' certificates.

    Raises:
        OSError: the file cannot be read; its text has the file.
    """
    try:
        context.load_verify_locations(file)
    except OSError as error:
        _raise_named(error, lambda: check_authorities(Path(file)))


def _raise_named(error: OSError, check: Callable[[], None]) -> NoReturn:
    """Raise an error with the words of `check`, which reads the files again, as OpenSSL's name no file.

    Raises:
        OSError: always.
    """
    try:
        check()
    except FileUnusable as unusable:
        raise caused(OSError(str(unusable)), error) from error
    raise error

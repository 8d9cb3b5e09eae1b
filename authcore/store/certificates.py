"""Check of the certificate files that a database URL names, so that an unreadable one is an error about TLS.

The driver raises a bare ``FileNotFoundError`` for such a file, the same as for a unix socket that does not exist.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from authcore.store.failures import CertificateUnreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def require_readable(parameters: Mapping[str, str]) -> None:
    """Check that the files of the parameters ``ssl…`` of a URL can be read.

    Raises:
        CertificateUnreadable: One cannot; the text has the parameter and the reason, and not the path.
    """
    for name in _NAMES:
        why = _unreadable(parameters[name]) if name in parameters else ""
        if why:
            raise CertificateUnreadable(f"the file of {name} cannot be read: {why}")


def _unreadable(path: str) -> str:
    """Return why a file cannot be read; empty if it can."""
    try:
        if stat.S_ISFIFO(Path(path).stat().st_mode):
            return (
                "it is a pipe, and is read more than once; name a file"  # opening it would wait for a writer
            )
        Path(path).open("rb").close()
    except OSError as error:
        return error.strerror or "it failed"
    except ValueError:
        return "its name has a NUL in it"
    return ""

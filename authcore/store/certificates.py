"""Check of the certificate files that a database URL names, so that an unreadable one is an error about TLS.

The driver raises a bare ``FileNotFoundError`` for such a file, the same as for a unix socket that does not exist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from authcore.store.failures import CertificateUnreadable

_NAMES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def require_readable(url: str) -> None:
    """Check that the files of the parameters ``ssl…`` in `url` can be read.

    Raises:
        CertificateUnreadable: One cannot; the text has the parameter and the reason, and not the path.
    """
    if "ssl" not in url:
        return
    query = parse_qs(urlsplit(url).query)
    for name in _NAMES:
        for path in query.get(name, ()):
            try:
                Path(path).open("rb").close()
            except (OSError, ValueError) as error:  # a ValueError for a NUL in the name
                why = error.strerror if isinstance(error, OSError) else "its name has a NUL in it"
                raise CertificateUnreadable(f"the file of {name} cannot be read: {why}") from error

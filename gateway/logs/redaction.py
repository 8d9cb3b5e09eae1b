"""Redaction: it masks credentials and query values in what is logged of a request.

Laws:

- Of a query the names are logged. The values are logged only if an operator asked for them, and never those of known
  credentials.
- A name that is as long as a secret, and anything without a ``=``, counts as a value.
- In any text, what looks like one of our credentials (an API key, a JWT) is masked: paths and errors may quote it.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"
_CREDENTIALS: Final = re.compile(r"whm_[0-9A-Za-z]{8,}|eyJ[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_=-]*){0,2}")
_SECRET: Final = re.compile(
    r"token|ticket|secret|passw|pwd|api.?key|credential|signature|session|authorization|jwt|otp|"
    r"\A(?:key|code|state|auth|sig|assertion|samlresponse|nonce)\Z",
    re.IGNORECASE,
)
"""Names of parameters whose values are credentials; ``code`` and ``state`` are those of OAuth."""
_LONGEST: Final = 48
_MOST: Final = 64


def masked(text: str) -> str:
    """Return `text` with everything masked that looks like a credential of ours."""
    if "whm_" not in text and "eyJ" not in text:  # a look costs a tenth of a search by the expression
        return text
    return _CREDENTIALS.sub(MASK, text)


def redacted_query(query: bytes, *, values: bool) -> str:
    """Return a query for a record: its names, and its `values` if asked for.

    Args:
        query: The text behind the ``?``.
        values: Include values, except those of known credentials.
    """
    parts = query.split(b"&", _MOST)
    pairs = [_redacted(part.decode("ascii", "replace"), values=values) for part in parts[:_MOST]]
    return "&".join([*pairs, *(["…"] if len(parts) > _MOST else [])])


def _redacted(part: str, *, values: bool) -> str:
    name, equals, value = part.partition("=")
    if not equals or len(name) > _LONGEST:
        return MASK if part else ""
    if values and not _SECRET.search(name):
        return f"{name}={value}"
    return f"{name}={MASK}" if value else f"{name}="

"""Redaction: it masks credentials and query values in what is logged of a request.

Laws:

- Of a query the names are logged. The values are logged only if an operator asked for them, and never those of known
  credentials.
- A credential is recognized by its name as a server reads it: decoded, without spaces and brackets. A value that
  contains such a name with a value of its own, or a URL with a password, is masked as a whole.
- A name that is as long as a secret, and anything without a ``=``, counts as a value.
- In any text, what looks like one of our credentials (an API key, a JWT) is masked: paths and errors may quote it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

MASK: Final = "***"
_CREDENTIALS: Final = re.compile(r"whm_[0-9A-Za-z]{8,}|eyJ[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_=-]*){0,2}")
_SECRET: Final = re.compile(
    r"token|ticket|secret|passw|passphrase|passcode|pwd|api.?key|credential|signature|session|authorization|jwt|otp|"
    r"\A(?:key|code|state|auth|sig|assertion|samlresponse|nonce|pass)\Z",
    re.IGNORECASE,
)
"""Names of parameters whose values are credentials; ``code`` and ``state`` are those of OAuth."""
_BRACKETS: Final = re.compile(r"[\[\].]+")
"""Separators of nested names in web frameworks: ``key[]``, ``user[pass]``, ``user.pass``."""
_NAMED: Final = re.compile(r"""(?<![^?&;#/\s=,{}"'])([^?&;#/\s=,{}"']++)(?:\s*+=|["']\s*+:)""")
"""A name within a value, up to the ``=`` or ``:`` before its own value. Matching takes linear time."""
_LOGIN: Final = re.compile(r"://[^/?#\s]*@")
_DECODINGS: Final = 8
"""Most times that a text is decoded; one that is encoded more often is masked. A URL in a URL in a URL needs three."""
_LONGEST: Final = 48
_MOST: Final = 64


def masked(text: str) -> str:
    """Return `text` with everything masked that looks like a credential of ours."""
    if "whm_" not in text and "eyJ" not in text:  # a look costs a tenth of a search by the expression
        return text
    return _CREDENTIALS.sub(MASK, text)


def quoted(text: str, most: int) -> str:
    """Return a client's `text` for an event: masked, cut to `most` characters, with escapes for what is not ASCII."""
    return masked(text)[:most].encode("ascii", "backslashreplace").decode("ascii")


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
    if values and ";" in part:  # some servers separate pairs by it
        return ";".join(_redacted(one, values=True) for one in part.split(";"))
    name, equals, value = part.partition("=")
    if not equals or len(name) > _LONGEST or masked(decoded := _decoded(name)) != decoded:
        return MASK if part else ""
    if values and not _is_secret(decoded) and not _holds_secret(_decoded(value)):
        return f"{name}={value}"
    return f"{name}={MASK}" if value else f"{name}="


def _decoded(text: str) -> str:
    """Return `text` without percent-encoding, however often it was encoded; a credential's name if too often."""
    for _ in range(_DECODINGS):
        before, text = text, unquote_plus(text)
        if text == before:
            return text
    return "secret="


def _is_secret(name: str) -> bool:
    """Return whether a decoded name, or a part of a nested one, is that of a credential."""
    return any(_SECRET.search(part.strip()) for part in (name, *_BRACKETS.split(name)))


def _holds_secret(value: str) -> bool:
    """Return whether a decoded value has a credential in it."""
    return (
        masked(value) != value
        or _LOGIN.search(value) is not None
        or any(_is_secret(match[1]) for match in _NAMED.finditer(value))
    )

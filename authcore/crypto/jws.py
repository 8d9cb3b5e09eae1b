"""JWS parser and verifier for compact tokens (RFC 7515). It does not interpret their claims.

Laws:

- A token is bounded before it is parsed: over 8 KiB (or what its reader allows), or not three
  base64url segments, is refused unread.
- No input raises anything but a ``TokenRejected``.
- A token with ``crit`` demands extensions that are not implemented here (RFC 7515 section 4.1.11), and is refused.
- A key verifies by its own algorithm alone. The header fields ``jwk``, ``jku``, ``x5u`` and ``x5c`` are ignored.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NoReturn

from jwt import InvalidTokenError, PyJWS
from jwt.utils import base64url_decode

from authcore.errors import TokenMalformed, TokenRejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authcore.crypto.keyring import Key

MAX_TOKEN_BYTES: Final = 8192
# RFC 7515 section 2: base64url *without* padding. If a signature could be spelled in two ways, one token would have two
# digests, and could be used twice.
_COMPACT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_JWS: Final = PyJWS()


def bounded(token: str | bytes, most: int = MAX_TOKEN_BYTES) -> bytes:
    """Return a token as bytes if it is small and well-formed enough to be parsed."""
    if isinstance(token, str):
        if len(token) > most or not token.isascii():
            raise TokenMalformed
        token = token.encode("ascii")
    if len(token) > most or _COMPACT.match(token) is None:
        raise TokenMalformed
    return token


def signing_digest(token: str | bytes) -> bytes:
    """Return the SHA-256 of a compact token's signing input, under which a store knows the token.

    The signature is left out: where an algorithm allows two signatures of one content, both are the same token, which
    could be used twice otherwise.
    """
    raw = token.encode("ascii") if isinstance(token, str) else token
    return sha256(raw.rpartition(b".")[0]).digest()


def sign(payload: Mapping[str, object], key: Key) -> str:
    """Sign `payload`. The header names the key if it has a ``kid``, and has no ``typ`` (RFC 7519 section 5.1)."""
    if key.private is None:
        raise RuntimeError("a public key is to sign")
    headers: dict[str, object] = {"typ": None} if key.kid is None else {"typ": None, "kid": key.kid}
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    return _JWS.encode(body, key.private, algorithm=key.algorithm, headers=headers)


def read_header(token: bytes) -> dict[str, object]:
    """Return the token's header, unverified: it may choose among keys, and proves nothing."""
    try:
        # PyJWT has json guess the encoding. RFC 7515 section 5.2 step 3: a JOSE header is UTF-8, and so without a mark.
        _object(base64url_decode(token.partition(b".")[0]))
        return dict(_JWS.get_unverified_header(token))
    except (InvalidTokenError, ValueError, RecursionError) as error:
        raise TokenMalformed from error


def is_demanding(header: Mapping[str, object]) -> bool:
    """Tell whether a header demands an extension that is not implemented here."""
    return "crit" in header or "b64" in header


def prove(token: bytes, keys: Iterable[Key]) -> dict[str, object]:
    """Return the payload of a token if one of `keys` made its signature."""
    for key in keys:
        try:
            return _object(bytes(_JWS.decode_complete(token, key.jwk)["payload"]))
        except InvalidTokenError:
            continue
    raise TokenRejected


def unproved(token: bytes) -> dict[str, object]:
    """Return a token's payload without verifying it: for display or to choose by, and never to act on."""
    try:
        parts = _JWS.decode_complete(token, options={"verify_signature": False})
    except (InvalidTokenError, ValueError, RecursionError) as error:
        raise TokenMalformed from error
    return _object(bytes(parts["payload"]))


def _object(body: bytes) -> dict[str, object]:
    try:
        # Given bytes, json would guess UTF-16. NaN and Infinity are Python's, not JSON's.
        content = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise TokenMalformed from error
    if not isinstance(content, dict):
        raise TokenMalformed
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)

"""JWS parser and verifier for compact tokens (RFC 7515). It does not interpret their claims.

Laws:

- A token is bounded before it is parsed: over 8 KiB (or what its reader allows), or not three
  base64url segments, is refused unread.
- No input raises anything but a ``TokenRejected``.
- A token with ``crit`` demands extensions that are not implemented here (RFC 7515 section 4.1.11), and is refused.
- A key verifies by its own algorithm alone. The header fields ``jwk``, ``jku``, ``x5u`` and ``x5c`` are ignored.
- Each segment has one spelling: padding, and bits past the last byte, are refused.

PyJWT has the algorithms and the keys. A token is split and decoded here: ``PyJWS`` looks at each byte in Python and
examines a shared secret anew for each token, so that one took 165 us instead of 42.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NoReturn

from jwt import PyJWS

from authcore.errors import TokenMalformed, TokenRejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from authcore.crypto.keyring import Key

MAX_TOKEN_BYTES: Final = 8192
# RFC 7515 section 2: base64url *without* padding. If a signature could be spelled in two ways, one token would have two
# digests, and could be used twice.
_COMPACT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_JWS: Final = PyJWS()
_SYNONYMS: Final = {"Ed25519": "EdDSA"}
"""RFC 9864 section 2.2 names EdDSA by its curve; of the curves of EdDSA, only this one is implemented here."""


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
    """Sign `payload`. The header names the key if it has a ``kid``, and has no ``typ`` (RFC 7519 section 5.1).

    Raises:
        RuntimeError: the key is a public one.
    """
    if key.private is None:
        raise RuntimeError("a public key is to sign")
    headers: dict[str, object] = {"typ": None} if key.kid is None else {"typ": None, "kid": key.kid}
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    return _JWS.encode(body, key.private, algorithm=key.algorithm, headers=headers)


def read_header(token: bytes) -> dict[str, object]:
    """Return the token's header, unverified: it may choose among keys, and proves nothing.

    Raises:
        TokenMalformed: it is no JSON object in UTF-8, or its ``kid`` is no text.
    """
    header = _object(_segment(token.partition(b".")[0]))
    if not isinstance(header.get("kid", ""), str):
        raise TokenMalformed
    return header


def algorithm_of(members: Mapping[str, object]) -> object:
    """Return what the ``alg`` of a header or a JWK names, under the one name by which keys have it."""
    named = members.get("alg")
    return canonical(named) if isinstance(named, str) else named


def canonical(algorithm: str) -> str:
    """Return the name by which keys have an algorithm: ``EdDSA`` for ``Ed25519``."""
    return _SYNONYMS.get(algorithm, algorithm)


def is_demanding(header: Mapping[str, object]) -> bool:
    """Return whether a header demands an extension that is not implemented here."""
    return "crit" in header or "b64" in header


def prove(token: bytes, header: Mapping[str, object], keys: Iterable[Key]) -> dict[str, object]:
    """Return the payload of a bounded token if one of `keys` made its signature, by the algorithm that it names.

    Args:
        token: The token, as :func:`bounded` returned it.
        header: Its header, as :func:`read_header` returned it: the keys were chosen by it.
        keys: The keys that may have made its signature.

    Raises:
        TokenMalformed: a segment is not base64url, or the payload is no JSON object.
        TokenRejected: none of the keys made the signature, or the header demands an extension.
    """
    signer(token, header, keys)
    return unproved(token)


def signer(token: bytes, header: Mapping[str, object], keys: Iterable[Key]) -> Key:
    """Return the key that made a bounded token's signature; arguments and errors are those of :func:`prove`."""
    signed, _, signature = token.rpartition(b".")
    if is_demanding(header):
        raise TokenRejected
    proof = _segment(signature)
    algorithm = algorithm_of(header)
    for key in keys:
        if key.algorithm == algorithm and key.verifies(signed, proof):
            return key
    raise TokenRejected


def unproved(token: bytes) -> dict[str, object]:
    """Return a token's payload without verifying it: for display or to choose by, and never to act on.

    Raises:
        TokenMalformed: it is no JSON object in UTF-8.
    """
    return _object(_segment(token.split(b".")[1]))


def _segment(text: bytes) -> bytes:
    """Decode a segment that :func:`bounded` has found to consist of letters of base64url."""
    try:
        content = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError as error:
        raise TokenMalformed from error
    if urlsafe_b64encode(content).rstrip(b"=") != text:  # RFC 4648 section 3.5
        raise TokenMalformed
    return content


def _object(body: bytes) -> dict[str, object]:
    try:
        # Given bytes, json would guess UTF-16. RFC 7515 section 5.2 step 3: it is UTF-8, and so without a mark.
        content = _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise TokenMalformed from error
    if not isinstance(content, dict):
        raise TokenMalformed
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse)  # NaN and Infinity are Python's, not JSON's

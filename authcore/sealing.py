"""Sealing what only the bearer of a token may read.

Laws:

- The key is derived (HKDF, RFC 5869) from the whole token, signature included: whoever has the database alone, which
  keeps a digest of another part of it, has neither token nor key.
- What does not open tells nothing: neither why, nor what it held.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"whatomate-gateway successor of a refresh token 1"


def seal(content: str, token: str) -> bytes:
    """Encrypt `content` for the bearer of `token`."""
    nonce = os.urandom(_NONCE_BYTES)  # two replicas may seal under one token at once
    return nonce + _cipher(token).encrypt(nonce, content.encode(), None)


def unseal(sealed: bytes, token: str) -> str | None:
    """Return what was sealed for the bearer of `token`; None when it was for another's."""
    try:
        return _cipher(token).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode()
    except (InvalidTag, ValueError):
        return None


def _cipher(token: str) -> ChaCha20Poly1305:
    derivation = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_PURPOSE)
    return ChaCha20Poly1305(derivation.derive(token.encode()))

"""Sealed box: it encrypts content that only the bearer of a token can decrypt (HKDF and ChaCha20-Poly1305).

Laws:

- The key is derived (HKDF, RFC 5869) from the whole token, signature included. The database stores only a digest of
  another part of it, so an attacker with the database alone has neither token nor key.
- A failed decryption reveals neither why it failed nor what the box held.
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
    # Two replicas may seal under one token at once, so the nonce must be random.
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(token).encrypt(nonce, content.encode(), None)


def unseal(sealed: bytes, token: str) -> str | None:
    """Decrypt what was sealed for the bearer of `token`; return None if it was sealed for another token."""
    try:
        return _cipher(token).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode()
    except (InvalidTag, ValueError):
        return None


def _cipher(token: str) -> ChaCha20Poly1305:
    derivation = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_PURPOSE)
    return ChaCha20Poly1305(derivation.derive(token.encode()))

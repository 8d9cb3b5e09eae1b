"""Reader of secrets that Whatomate stores encrypted (AES-256-GCM), such as the client secret of a provider.

The form is ``enc:`` and base64 of a nonce of 12 bytes, the ciphertext and its tag. The key is the bytes of Whatomate's
``app.encryption_key``, cut or padded with zeros to 32. A value without ``enc:`` is plain text: Whatomate writes it so
without that setting, and did in all rows until 2026-02-09.

Law: a failure reveals neither the key nor any of the content.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PREFIX: Final = "enc:"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class SecretUnreadable(ValueError):
    """A stored secret that cannot be decrypted; the text says what to do, and nothing of the secret."""


def read_secret(stored: str, key: bytes | None) -> str:
    """Return the secret of a stored value.

    Args:
        stored: The column's value.
        key: The bytes of Whatomate's ``app.encryption_key``; None if it is not known.

    Raises:
        SecretUnreadable: it is encrypted, and the key is missing or another.
    """
    if not stored.startswith(_PREFIX):
        return stored
    if not key:
        raise SecretUnreadable(
            "the secret is encrypted: set GATEWAY_PROVIDER_SECRET_KEY to app.encryption_key of Whatomate"
        )
    try:
        sealed = b64decode(stored.removeprefix(_PREFIX), validate=True)
        cipher = AESGCM(key[:_KEY_BYTES].ljust(_KEY_BYTES, b"\0"))
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode()
    except (NotBase64, InvalidTag, ValueError):
        raise SecretUnreadable(
            "the secret was encrypted with another key than GATEWAY_PROVIDER_SECRET_KEY"
        ) from None

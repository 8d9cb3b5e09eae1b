"""Secrets as Whatomate stores them."""

from __future__ import annotations

import os
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from authcore.crypto.whatomate_secrets import SecretUnreadable, read_secret


def stored(secret: str, key: bytes) -> str:
    """As Go's crypto/cipher seals it there: the nonce, then ciphertext and tag."""
    nonce = os.urandom(12)
    sealed = AESGCM(key[:32].ljust(32, b"\0")).encrypt(nonce, secret.encode(), None)
    return "enc:" + b64encode(nonce + sealed).decode()


@given(
    st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])), st.binary(min_size=1, max_size=80)
)
def test_a_secret_is_read_with_a_key_of_any_length(secret: str, key: bytes) -> None:
    assert read_secret(stored(secret, key), key) == secret


@pytest.mark.parametrize("plain", ["", "GOCSPX-abc", "encoded", "ENC:x", "a:enc:b"])
def test_plain_text_is_the_secret(plain: str) -> None:
    for key in (None, b"", b"a key"):
        assert read_secret(plain, key) == plain


@pytest.mark.parametrize("key", [None, b"", b"another key", b"a key "])
def test_without_its_key_a_secret_is_not_read_and_not_shown(key: bytes | None) -> None:
    for value in (
        stored("the secret of the client", b"a key"),
        "enc:",
        "enc:AAAA",
        "enc:%",
        "enc:" + "A" * 400,
    ):
        with pytest.raises(SecretUnreadable) as caught:
            read_secret(value, key)
        assert "the secret of the client" not in str(caught.value)
        assert caught.value.__cause__ is None

"""Signed identities: what the signer writes the verifier reads, and nothing else."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from authcore.crypto.pem import KeyUnusable, generate_pem, parse_pem
from authcore.principal import AuthMethod
from authcore.tokens.identity_signer import public_keys
from tests.support.identities import GRANTED, GRANTED_TEXT, NOW, SECRET, principal, sign, signer, verifier
from whatomate_identity import IdentityRejected

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def public_pem(private: bytes) -> bytes:
    key: Ed25519PublicKey = parse_pem(private).jwk.key
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_what_is_signed_is_read() -> None:
    who = principal(
        method=AuthMethod.API_KEY,
        key_id=uuid4(),
        is_super_admin=True,
        name="Zoë\r\nÅngström ",
        role_id=uuid4(),
    )
    read = verifier().verify(sign(who), "GET", "/api/x", NOW, permissions=GRANTED_TEXT)
    assert (read.user_id, read.organization_id) == (str(who.user_id), str(who.organization_id))
    assert (read.email, read.role, read.auth_method) == ("zoë@example.com", "agent", "api_key")
    assert (read.key_id, read.is_super_admin, read.request_id) == (str(who.key_id), True, "request-0001")
    assert (read.name, read.role_id) == ("Zoë  Ångström", str(who.role_id))  # as the headers have them
    assert read.permissions == GRANTED
    assert read.expires_at == int(NOW) + 60
    assert verifier().verify(sign(who), "GET", "/api/x", NOW).permissions is None


def test_a_signed_identity_is_a_jwt_like_any_other() -> None:
    """Put together from two encoded parts, it still is one JSON object under one signature."""
    for length in range(7):  # each remainder of three
        token = sign(principal(email="e" * length))
        claims = jwt.decode(
            token,
            SECRET,
            algorithms=["HS256"],
            audience="upstream",
            options={"verify_exp": False, "verify_iat": False},
        )
        assert claims["email"] == "e" * length
        assert "=" not in token
        assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "identity+jwt"}
    assert len(token) < 800


def test_an_ed25519_key_signs_and_its_public_half_verifies() -> None:
    pem = generate_pem("EdDSA")
    text = public_pem(pem)
    who = principal()
    token = sign(who, signer(algorithm="EdDSA", key=pem))
    assert verifier(text, algorithm="EdDSA").verify(token, "GET", "/api/x", NOW).user_id == str(who.user_id)
    older = public_pem(generate_pem("EdDSA"))
    both = verifier(older, text, algorithm="EdDSA")  # one takes another's place
    assert both.verify(token, "GET", "/api/x", NOW).user_id == str(who.user_id)


def test_a_token_names_the_key_that_is_published_for_it() -> None:
    made = signer(algorithm="EdDSA", key=generate_pem("EdDSA"))
    assert made.public is not None
    assert jwt.get_unverified_header(sign(principal(), made))["kid"] == made.public["kid"]
    assert set(made.public) == {"kty", "crv", "x", "kid", "alg", "use"}  # and nothing private
    assert signer().public is None


def test_public_keys_are_published_and_nothing_else_is_taken_for_one() -> None:
    private = generate_pem("EdDSA")
    ours, next_one = public_pem(private), public_pem(generate_pem("EdDSA"))
    found = public_keys((ours + b"\n" + next_one).decode())
    assert [key["kid"] for key in found] == [parse_pem(pem).kid for pem in (ours, next_one)]
    for text in (b"", b"nonsense", private, ours + private, ours + b"x", ours[:-10]):
        with pytest.raises(KeyUnusable) as caught:
            public_keys(text.decode())
        assert private.splitlines()[1].decode() not in str(caught.value)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_another_kind_of_key_does_not_sign(algorithm: str) -> None:
    for pem in (generate_pem(algorithm), b"nonsense", b""):
        with pytest.raises(KeyUnusable):
            signer(algorithm="EdDSA", key=pem)


@given(path=st.text(st.characters(codec="utf-8", exclude_characters="?\x00"), max_size=40))
def test_any_path_is_signed_as_it_is(path: str) -> None:
    """Quotes, escapes, whatever: the path cannot break out of its claim."""
    token = sign(principal(), path="/" + path)
    claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["path"] == "/" + path
    assert claims["request_id"] == "request-0001"


@given(
    token=st.one_of(
        st.text(max_size=200), st.from_regex(r"[\w-]{1,40}\.[\w-]{1,40}\.[\w-]{1,40}", fullmatch=True)
    )
)
def test_no_input_makes_the_verifier_raise_anything_but_a_rejection(token: str) -> None:
    with pytest.raises(IdentityRejected):
        verifier().verify(token, "GET", "/", NOW)


@given(place=st.integers(min_value=0), letter=st.sampled_from("ABCabc019-_."))
def test_no_change_to_a_signed_identity_goes_unnoticed(place: int, letter: str) -> None:
    token = sign(principal())
    place %= len(token)
    # The last letter of base64 holds bits that say nothing.
    if token[place] != letter and place < len(token) - 1:
        with pytest.raises(IdentityRejected):
            verifier().verify(token[:place] + letter + token[place + 1 :], "GET", "/api/x", NOW)


def test_no_secret_is_in_a_repr() -> None:
    for one in (signer(), verifier()):
        assert SECRET.decode() not in repr(one)
        assert SECRET.decode() not in str(one)

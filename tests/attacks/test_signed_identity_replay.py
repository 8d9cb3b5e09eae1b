"""A signed identity used for something else than the request it was made for; and tokens that only look like one."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from authcore.crypto.pem import generate_pem, parse_pem
from tests.support.identities import GRANTED_TEXT, NOW, SECRET, principal, sign, signer, verifier
from whatomate_identity import IdentityRejected


def refused(token: str, method: str = "GET", path: str = "/api/x", now: float = NOW, **more: Any) -> str:
    with pytest.raises(IdentityRejected) as caught:
        verifier(**more).verify(token, method, path, now, permissions=GRANTED_TEXT)
    assert token not in str(caught.value)
    return str(caught.value)


def test_a_signed_identity_is_good_for_one_method_and_one_path() -> None:
    token = sign(principal(), path="/api/café/a b")
    for path in (
        "/api/caf%C3%A9/a%20b",
        "/api/café/a b",
        "/api/caf%c3%a9/a%20b?x=1",
        "/api/caf%C3%A9/a%20b?/other",
    ):
        assert verifier().verify(token, "GET", path, NOW)
    for method in ("POST", "HEAD", "get", "", "GET "):
        assert "method" in refused(token, method, "/api/caf%C3%A9/a%20b")
    for path in (
        "/api/caf%C3%A9/a",
        "/api/caf%C3%A9/a%20b/",
        "/API/caf%C3%A9/a%20b",
        "/",
        "",
        "/api/caf%C3%A9/a%2520b",
        "//api/caf%C3%A9/a%20b",
    ):
        assert "path" in refused(token, "GET", path)


def test_a_signed_identity_is_good_for_a_minute() -> None:
    token = sign(principal())
    assert verifier().verify(token, "GET", "/api/x", int(NOW) + 59)
    for now in (int(NOW) + 60, int(NOW) + 61, NOW + 86_400):
        assert "expired" in refused(token, now=now)
    assert "future" in refused(token, now=NOW - 30)
    assert verifier(leeway_seconds=30).verify(token, "GET", "/api/x", NOW - 30)


def test_a_signed_identity_is_good_for_one_service_and_by_one_gateway() -> None:
    refused(sign(principal(), audience="billing"))
    refused(sign(principal(), signer(issuer="somebody")))
    refused(sign(principal(), signer(key=b"another-secret-of-the-same-length-or-more")))
    refused(sign(principal()), issuer="somebody")


def test_the_permissions_beside_it_are_those_that_were_signed() -> None:
    token = sign(principal())
    for told in ("", "chat:read", f"{GRANTED_TEXT},users:write", GRANTED_TEXT.replace(",", ", ")):
        with pytest.raises(IdentityRejected, match="permissions"):
            verifier().verify(token, "GET", "/api/x", NOW, permissions=told)


def forged(key: Any, algorithm: str | None, *, typ: str = "identity+jwt", **changes: Any) -> str:
    token = sign(principal())
    claims = jwt.decode(token, options={"verify_signature": False}) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"typ": typ})


def test_the_algorithm_is_not_the_tokens_to_choose() -> None:
    pem = generate_pem("EdDSA")
    public = parse_pem(pem).jwk.key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    refused(forged("", "none"))
    refused(forged(None, None))
    with pytest.raises(IdentityRejected):  # not even a stronger one of the same key
        verifier(SECRET * 2).verify(forged(SECRET * 2, "HS512"), "GET", "/api/x", NOW)
    refused(forged(pem, "EdDSA"))
    assert verifier(public, algorithm="EdDSA").verify(forged(pem, "EdDSA"), "GET", "/api/x", NOW)
    # The public key, which everybody has, as the secret of an HMAC.
    by_public = sign(principal(), signer(key=public))
    with pytest.raises(IdentityRejected):
        verifier(public, algorithm="EdDSA").verify(by_public, "GET", "/api/x", NOW)
    with pytest.raises(ValueError, match="PEM"):  # nor can it be configured as one
        verifier(public, algorithm="HS256")


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {name: None}
            for name in (
                "iss",
                "aud",
                "sub",
                "org",
                "exp",
                "iat",
                "method",
                "path",
                "request_id",
                "permissions",
            )
        ),
        *({name: 1} for name in ("sub", "method", "path", "email")),
        *({"exp": value} for value in ("9999999999", 1e300, True, list[str](), -1)),
        {"aud": ["billing"]},
        {"iat": "now"},
        {"path": "/api/y"},
        {"method": "POST"},
    ],
)
def test_a_claim_that_is_missing_or_wrong_is_refused_though_the_signature_is_good(
    changes: dict[str, Any],
) -> None:
    assert verifier().verify(forged(SECRET, "HS256"), "GET", "/api/x", NOW)
    refused(forged(SECRET, "HS256", **changes))


def test_another_token_of_the_same_key_is_no_identity() -> None:
    refused(forged(SECRET, "HS256", typ="JWT"))
    refused(forged(SECRET, "HS256", typ="at+jwt"))

"""Attack: an ID token that the issuer did not sign: without a signature, by a secret, by another key, by a bent one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.issuers import by_hmac, loaded, part
from tests.support.openid import SECRET, Traveller, enable, landed, sent_back, signing_key, vouch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

KEY = "key of the issuer"


def public_pem() -> bytes:
    private, _ = loaded(signing_key(KEY))
    return bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def embedded(claims: dict[str, Any]) -> str:
    """Sign with a key of the attacker's, which the token brings along."""
    private, described = loaded(signing_key("evil"))
    return jwt.encode(claims, private, "RS256", {"kid": KEY, "jwk": described.public})


FORGERIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "alg none": lambda claims: f"{part({'alg': 'none'})}.{part(claims)}.",
    "alg none with a signature": lambda claims: f"{part({'alg': 'none', 'kid': KEY})}.{part(claims)}.AAAA",
    "the public key as a secret": lambda claims: by_hmac({"alg": "HS256", "kid": KEY}, claims, public_pem()),
    "the client's secret": lambda claims: by_hmac({"alg": "HS256"}, claims, SECRET.encode()),
    "an empty secret": lambda claims: by_hmac({"alg": "HS256"}, claims, b""),
    "a key of the attacker's": lambda claims: jwt.encode(
        claims, loaded(signing_key("evil"))[0], "RS256", {"kid": KEY}
    ),
    "a key that the token brings along": embedded,
    "a key set of the attacker's": lambda claims: jwt.encode(
        claims, loaded(signing_key("evil"))[0], "RS256", {"kid": "evil", "jku": "http://127.0.0.1:1/jwks"}
    ),
    "a critical extension": lambda claims: jwt.encode(
        claims, loaded(signing_key(KEY))[0], "RS256", {"kid": KEY, "crit": ["b64"], "b64": True}
    ),
    "claims that were changed": lambda claims: ".".join(
        (
            jwt.encode(claims, loaded(signing_key(KEY))[0], "RS256", {"kid": KEY}).split(".")[0],
            part({**claims, "email": "root@example.com"}),
            jwt.encode(claims, loaded(signing_key(KEY))[0], "RS256", {"kid": KEY}).split(".")[2],
        )
    ),
    "no token": lambda _: "x",
    "two tokens": lambda claims: f"{by_hmac({'alg': 'HS256'}, claims, b'x')}.{part(claims)}",
    "a token that is too long": lambda claims: jwt.encode(
        {**claims, "x": "y" * 32_768}, loaded(signing_key(KEY))[0], "RS256", {"kid": KEY}
    ),
    "claims that are a list": lambda claims: jwt.api_jws.encode(
        json.dumps([claims]).encode(), loaded(signing_key(KEY))[0], "RS256", {"kid": KEY}
    ),
}


async def test_no_forged_id_token_signs_anybody_in(world: World, start: Start, idp: OpenId) -> None:
    loaded(signing_key("evil"))
    await enable(world, "custom")
    await vouch(world, "agent", "root")
    traveller = Traveller(await start(world.url, **idp.settings(cooldown_seconds=0.1)))
    for name, forge in FORGERIES.items():
        idp.token = forge
        words = sent_back(await traveller.sign_in(idp))
        assert words in {"Failed to get user information", "Failed to authenticate with provider"}, name
    assert await world.sql("SELECT FROM gateway_sessions") == []
    idp.token = None
    landed(await traveller.sign_in(idp))

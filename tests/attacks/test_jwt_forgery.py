"""Tokens that somebody else made, over the wire."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.calls import ask, bearer, get, is_refusal, whatomate_token
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: object, payload: object, secret: str = SECRET, algorithm: str = "sha256") -> str:
    """A token with a right signature over whatever it says."""
    content = f"{part(header)}.{part(payload)}"
    return f"{content}.{part(hmac.new(secret.encode(), content.encode(), algorithm).digest())}"


def forgeries(world: World) -> Iterator[tuple[str, str]]:
    claims = jwt.decode(whatomate_token(world.root, world.home), options={"verify_signature": False})
    good = {"alg": "HS256", "typ": "JWT"}
    algorithms: list[Any] = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        None,
        0,
        [],
        {},
        "HS256 ",
        "hs256",
        "HS512",
        "RS256",
    ]
    for alg in algorithms:
        header = {**good, "alg": alg}
        yield f"alg {alg!r}, unsigned", f"{part(header)}.{part(claims)}."
        yield f"alg {alg!r}, signed as HS256", signed(header, claims)
    yield "no alg", signed({"typ": "JWT"}, claims)
    yield "HS512 by its own right", signed({**good, "alg": "HS512"}, claims, algorithm="sha512")
    yield "two parts", f"{part(good)}.{part(claims)}"
    yield "four parts", whatomate_token(world.root, world.home) + ".x"
    yield "padded", whatomate_token(world.root, world.home) + "="
    yield "empty secret", signed(good, claims, "")
    yield "a known secret", signed(good, claims, "secret")
    yield "the secret's start", signed(good, claims, SECRET[:32])
    yield "the secret and more", signed(good, claims, SECRET + "x")
    yield from by_public_key(claims)
    keys: list[tuple[str, Any]] = [
        ("jwk", {"kty": "oct", "k": part(b"x" * 40)}),
        *(("jku", "http://127.0.0.1:1/keys"), ("x5u", "http://127.0.0.1:1/cert"), ("x5c", ["MIIB"])),
        *(("kid", "../../../../dev/null"), ("kid", "' UNION SELECT 'x"), ("kid", "|id")),
    ]
    for name, value in keys:
        yield f"{name} of the attacker's", signed({**good, name: value}, claims, "x" * 40)
    demands: list[tuple[str, Any]] = [("crit", ["exp"]), ("crit", []), ("b64", False), ("crit", "b64")]
    for name, value in demands:
        yield f"{name} {value!r}", signed({**good, name: value}, claims)
    now = int(time.time())
    wrong: dict[str, tuple[Any, ...]] = {
        "exp": (None, str(now + 60), True, [now + 60], {}, now - 1, -1, 1e300, 1 << 80, 0),
        "nbf": (now + 60, str(now), True),
        "iat": (str(now), [], True),
        "iss": (None, "", "Whatomate", "other", ["whatomate"], 7, {"a": 1}),
        "aud": ("whatomate", ["x"]),
        "user_id": (None, "", "7", 7, [str(world.root)], str(world.root).replace("-", ""), str(uuid4())),
        "organization_id": (None, "", "7", 7, str(uuid4()), str(world.other) + " "),
        "jti": (str(uuid4()), "", None, 7),
        "sub": ("ws",),
        "token_use": ("refresh", "ws", "ACCESS", "", None, 7, []),
    }
    for name, values in wrong.items():
        for value in values:
            yield f"{name} is {value!r}", signed(good, {**claims, name: value})
    yield "no exp", signed(good, {name: value for name, value in claims.items() if name != "exp"})
    for what, body in {
        "no object": b"[]",
        "no JSON": b"{",
        "not UTF-8": b'{"a":"\xff"}',
        "UTF-16": json.dumps(claims).encode("utf-16"),
        "NaN": json.dumps(claims).replace(str(claims["exp"]), "NaN").encode(),
        "infinite": json.dumps(claims).replace(str(claims["exp"]), "1e999").encode(),
        "deep": b'{"a":' * 900 + b"1" + b"}" * 900,
        "huge number": b'{"exp":' + b"9" * 4400 + b"}",
    }.items():
        yield what, signed(good, body)
    for what, encoding in (("a BOM", "utf-8-sig"), *((name, name) for name in ENCODINGS)):
        yield f"header with {what}", signed(json.dumps(good).encode(encoding), claims)
    yield "header not UTF-8", signed(b'{"alg":"HS256","x":"\xff"}', claims)
    yield "NaN in the header", signed(b'{"alg":"HS256","x":NaN}', claims)
    yield "deep header", signed(b'{"alg":' + b"[" * 2000 + b"]" * 2000 + b"}", claims)
    yield "header no object", signed([], claims)
    yield "long", signed({**good, "x": "x" * 12_000}, claims)
    for text in (
        "..",
        "...",
        "a.b.c",
        ".",
        "e30.e30.e30",
        "e30.e30.",
        f"{part(good)}..",
        "-._.~",
        "=",
        "a" * 9000,
    ):
        yield f"nonsense {text[:20]}", text


def by_public_key(claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """RS256 or ES256 by a key of the attacker's; and HS256 keyed by a public key, as if it were the secret."""
    for name, key in (
        ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ):
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        yield f"{name} by another's key", jwt.encode(claims, key, algorithm=name)
        yield f"HS256 keyed by the {name} public key", signed({"alg": "HS256"}, claims, public.decode())


async def test_no_forgery_opens_anything(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    tried = 0
    for what, token in forgeries(world):
        answer = await ask(gate, get("/api/x", bearer(token)))
        assert answer.status == 401, what
        is_refusal(answer, 401)
        tried += 1
    assert tried > 100
    assert upstream.seen == b""
    claims = jwt.decode(whatomate_token(world.root, world.home), options={"verify_signature": False})
    genuine = signed({"alg": "HS256", "typ": "JWT"}, claims)
    # So they failed by what they forge.
    assert (await ask(gate, get("/api/x", bearer(genuine)))).status == 200


async def test_a_bent_byte_anywhere_is_a_forgery(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    token = whatomate_token(world.root, world.home)
    for at in range(0, len(token), 7):
        bent = "A" if token[at] != "A" else "B"
        is_refusal(await ask(gate, get("/api/x", bearer(token[:at] + bent + token[at + 1 :]))), 401)
    assert upstream.seen == b""

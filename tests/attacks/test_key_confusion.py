"""Every way to make one key pass for another, against a ring that holds RSA, P-256, Ed25519 and a shared secret."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from authcore.crypto.pem import GENERATED, generate_pem, parse_pem
from tests.support.calls import ask, bearer, get, is_refusal, whatomate_token
from tests.support.issuers import by_hmac, part
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


OWN: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
"""The attacker's keys."""


def spellings(pem: bytes) -> Iterator[bytes]:
    """Yield all of a published key that a careless server might take for a secret."""
    public = serialization.load_pem_private_key(pem, None).public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    text = public.public_bytes(serialization.Encoding.PEM, kind)
    yield from (text, text.strip(), text.replace(b"\n", b"\r\n"), text + b"\0")
    yield public.public_bytes(serialization.Encoding.DER, kind)
    shown = parse_pem(pem).public or {}
    yield json.dumps(shown).encode()
    for value in shown.values():
        yield value.encode()
        if len(value) % 4 != 1:
            yield base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


def forgeries(pems: dict[str, bytes], claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kids = {algorithm: str(parse_pem(pem).kid) for algorithm, pem in pems.items()}
    yield from by_public_keys(pems, kids, claims)
    yield from by_own_keys(kids, claims)
    yield from by_other_headers(pems, kids, claims)


def by_public_keys(
    pems: dict[str, bytes], kids: dict[str, str], claims: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """A published key as if it were a secret."""
    for of, pem in pems.items():
        for number, secret in enumerate(spellings(pem)):
            for said in ("HS256", "HS512", of):
                header = {"alg": said, "typ": "JWT", "kid": kids[of]}
                hashed = "sha512" if said == "HS512" else "sha256"
                yield (
                    f"{said} keyed by spelling {number} of the {of} key",
                    by_hmac(header, claims, secret, hashed),
                )


def by_own_keys(kids: dict[str, str], claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of the attacker's, brought along or called like ours."""
    yield "no kid", jwt.encode(claims, OWN["RS256"], "RS256")
    for algorithm, key in OWN.items():
        shown = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
        for of, kid in kids.items():
            yield (
                f"{algorithm} by the attacker's key as {of}",
                jwt.encode(claims, key, algorithm, {"kid": kid}),
            )
            for name, value in {
                "jwk": {**shown, "kid": kid},
                "jku": "http://127.0.0.1:1/jwks.json",
                "x5u": "http://127.0.0.1:1/cert.pem",
                "x5c": [part(b"certificate")],
            }.items():
                headers = {"kid": kid, name: value}
                yield f"{name} of the attacker's {algorithm}", jwt.encode(claims, key, algorithm, headers)
    for kid in (
        "../a.pem",
        "/dev/null",
        "a.pem",
        "' OR '1'='1",
        "",
        "signing",
        "http://127.0.0.1:1/",
        "a\x00b",
        "*",
    ):
        for algorithm, key in OWN.items():
            yield f"kid {kid!r}", jwt.encode(claims, key, algorithm, {"kid": kid})
        yield f"kid {kid!r}, empty secret", by_hmac({"alg": "HS256", "kid": kid}, claims, b"")


def by_other_headers(
    pems: dict[str, bytes], kids: dict[str, str], claims: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """A genuine signature under another header."""
    for algorithm, pem in pems.items():
        key: Any = serialization.load_pem_private_key(pem, None)  # of the kinds of PyJWT, by the algorithm
        genuine = jwt.encode(claims, key, algorithm, {"kid": kids[algorithm]})
        head, payload, signature = genuine.split(".")
        for other, kid in kids.items():
            if other != algorithm:
                for header in (
                    {"alg": other, "kid": kid},
                    {"alg": algorithm, "kid": kid},
                    {"alg": other, "kid": kids[algorithm]},
                ):
                    yield f"{algorithm}'s signature under {header}", f"{part(header)}.{payload}.{signature}"
        for none in ("none", "None", "", None):
            yield f"alg {none!r}", f"{part({'alg': none, 'kid': kids[algorithm]})}.{payload}."
            yield (
                f"alg {none!r}, signed",
                f"{part({'alg': none, 'kid': kids[algorithm]})}.{payload}.{signature}",
            )
        raised = part({**claims, "is_super_admin": True})
        yield f"{algorithm} over other claims", f"{head}.{raised}.{signature}"
        yield f"{algorithm} with an empty signature", f"{head}.{payload}.AA"
        yield f"{algorithm} by zeros", f"{head}.{payload}.{part(bytes(64))}"  # CVE-2022-21449


async def test_no_key_passes_for_another(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    pems = {algorithm: generate_pem(algorithm) for algorithm in GENERATED}
    for algorithm, pem in pems.items():
        (tmp_path / f"{algorithm}.pem").write_bytes(pem)
    (tmp_path / "signing").write_text(str(parse_pem(pems["RS256"]).kid))
    gate = await start(world.url, jwt={"keys_dir": tmp_path})
    claims = jwt.decode(whatomate_token(world.root, world.home), options={"verify_signature": False})
    tried = 0
    for what, token in forgeries(pems, claims):
        answer = await ask(gate, get("/api/x", bearer(token)))
        assert answer.status == 401, what
        is_refusal(answer, 401)
        tried += 1
    assert tried > 150
    assert upstream.seen == b""
    for algorithm, pem in pems.items():  # so they failed by what they forge
        key = serialization.load_pem_private_key(pem, None)
        genuine = jwt.encode(claims, key, algorithm, {"kid": parse_pem(pem).kid})  # type: ignore[arg-type]
        assert (await ask(gate, get("/api/x", bearer(genuine)))).status == 200


async def test_with_the_secret_switched_off_the_secret_opens_nothing(
    world: World, start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "a.pem").write_bytes(generate_pem("EdDSA"))
    (tmp_path / "signing").write_text(str(parse_pem((tmp_path / "a.pem").read_bytes()).kid))
    gate = await start(world.url, jwt={"keys_dir": tmp_path, "secret_verifies": False})
    claims = jwt.decode(whatomate_token(world.root, world.home), options={"verify_signature": False})
    for token in (
        whatomate_token(world.root, world.home),
        by_hmac({"alg": "HS256"}, claims, SECRET.encode()),
    ):
        is_refusal(await ask(gate, get("/api/x", bearer(token))), 401)
    assert upstream.seen == b""

"""Tokens of a foreign issuer, whose key set is on a server of its own."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from authcore.crypto.pem import generate_pem
from tests.support.calls import ask, bearer, get, is_refusal, post
from tests.support.issuers import AUDIENCE, ISSUER, Provider, by_ed25519, by_hmac
from tests.support.peers import PATIENCE
from tests.support.sockets import FAILED, Far, auth, closed_by, frame, opened, saw_only_the_end
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def test_a_foreign_token_is_a_user_of_this_installation(
    world: World, start: Start, provider: Provider, upstream: Upstream
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    for email in ("agent@example.com", "Agent@Example.COM"):
        answer = await ask(gate, get("/api/x", bearer(provider.token(email=email))))
        assert answer.status == 200
    seen = upstream.requests[-1]
    assert seen.one("X-User-ID") == str(world.agent)
    assert seen.one("X-User-Email") == "agent@example.com"
    assert seen.one("X-Org-ID") == str(world.home)
    assert seen.one("X-User-Role") == "agent"
    assert seen.one("X-Auth-Method") == "jwt"
    assert (await ask(gate, get("/api/x", bearer(world.token(world.agent))))).status == 200  # ours as well
    token = provider.token()
    for _ in range(20):
        await ask(gate, get("/api/x", bearer(token)))
    assert provider.asked == 1


async def test_a_foreign_token_may_call_its_algorithm_ed25519(
    world: World, start: Start, provider: Provider, upstream: Upstream
) -> None:
    pem = provider.keys["newest"] = generate_pem("EdDSA")
    gate = await start(world.url, issuer=provider.settings())
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    token = by_ed25519({"alg": "Ed25519", "kid": "newest"}, claims, pem)
    assert (await ask(gate, get("/api/x", bearer(token)))).status == 200
    assert upstream.requests[-1].one("X-User-ID") == str(world.agent)


async def test_a_foreign_token_founds_nothing_that_outlives_it(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    line = bearer(provider.token(email="agent@example.com"))
    refused = "Not available with this credential (foreign)"
    is_refusal(
        await ask(gate, post("/api/auth/switch-org", {"organization_id": str(world.home)}, line)),
        403,
        refused,
    )
    for path in ("/api/auth/ws-token", "/api/auth/sessions"):
        is_refusal(await ask(gate, get(path, line)), 403, refused)
    assert await world.sql("SELECT FROM gateway_sessions") == []


async def test_a_token_to_call_with_is_taken_by_any_name_of_its_type(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    for typ in ("JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT", "Bearer", None):
        assert (await ask(gate, get("/api/x", bearer(provider.token(typ=typ))))).status == 200, typ


async def test_what_it_says_of_roles_is_not_believed(
    world: World, start: Start, provider: Provider, upstream: Upstream
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    says: dict[str, Any] = {
        "is_super_admin": True,
        "role_id": str(uuid4()),
        "organization_id": str(world.other),
        "user_id": str(world.root),
    }
    assert (await ask(gate, get("/api/x", bearer(provider.token(**says))))).status == 200
    seen = upstream.requests[-1]
    assert seen.one("X-User-ID") == str(world.agent)
    assert seen.one("X-User-Super-Admin") == "false"
    assert seen.one("X-Org-ID") == str(world.home)


async def test_claims_are_mapped_by_setting(
    world: World, start: Start, provider: Provider, upstream: Upstream
) -> None:
    mapped = {"claim_user_id": "https://example/user", "claim_organization": "org"}
    gate = await start(world.url, issuer=provider.settings(**mapped))
    says: dict[str, Any] = {"https://example/user": str(world.both), "org": str(world.other), "email": None}
    assert (await ask(gate, get("/api/x", bearer(provider.token(**says))))).status == 200
    seen = upstream.requests[-1]
    assert (seen.one("X-User-ID"), seen.one("X-Org-ID")) == (str(world.both), str(world.other))
    for wrong in (
        {**says, "https://example/user": str(world.agent)},  # no member of that organization
        {**says, "https://example/user": None},
        {**says, "https://example/user": "7"},
        {**says, "org": "7"},
    ):
        is_refusal(await ask(gate, get("/api/x", bearer(provider.token(**wrong)))), 401)


REFUSED: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "another"},
    "no audience": {"aud": None},
    "audiences of another kind": {"aud": [[AUDIENCE], {"a": AUDIENCE}, 7]},
    "an audience that begins like ours": {"aud": AUDIENCE + "-admin"},
    "another issuer": {"iss": ISSUER + "/"},
    "our own issuer": {"iss": "whatomate"},
    "expired": {"exp": 1_000_000_000},
    "no expiry": {"exp": None},
    "expiry as text": {"exp": "4102444800"},
    "not yet": {"nbf": 4_102_444_800},
    "nobody here": {"email": "stranger@example.com"},
    "no e-mail": {"email": None},
    "an empty e-mail": {"email": ""},
    "an e-mail that is none": {"email": ["agent@example.com"]},
    "an e-mail that nobody verified": {"email_verified": False},
    "an e-mail of which that is not said": {"email_verified": None},
    **{
        f"an e-mail verified as {word!r}": {"email_verified": word}
        for word in ("True", "TRUE", "1", 1, "yes", " true", ["true"], [True], {"true": True}, "false")
    },
    "an hour late": {"exp": int(time.time()) - 3600},
    "later than the leeway": {"exp": int(time.time()) - 61},
    "not yet by more than the leeway": {"nbf": int(time.time()) + 86_400},  # of the moment of import
    "a logout token by its claims": {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
    **{
        f"a token of the type {typ!r}": {"typ": typ}
        for typ in ("logout+jwt", "application/logout+jwt", "Secevent+JWT", "token-introspection+jwt", 7)
    },
    "an e-mail that folds onto another's": {"email": "bo\N{KELVIN SIGN}@example.com"},
}


async def test_what_does_not_hold_is_401(
    world: World, start: Start, provider: Provider, upstream: Upstream
) -> None:
    await world.sql("UPDATE users SET email = 'bok@example.com' WHERE id = $1", world.root)
    gate = await start(world.url, issuer=provider.settings())
    for what, changes in REFUSED.items():
        answer = await ask(gate, get("/api/x", bearer(provider.token(**changes))))
        assert answer.status == 401, what
        is_refusal(answer, 401, "Invalid or expired token")
    is_refusal(await ask(gate, get(f"/ws?token={provider.token()}")), 401)
    is_refusal(
        await ask(
            gate, get(f"/ws?token={provider.token(sub='ws')}", "Connection: Upgrade", "Upgrade: websocket")
        ),
        401,
    )
    assert upstream.seen == b""
    upstream.script = (far := Far()).script
    client = await opened(gate)
    await client.send(frame(auth(provider.token())))
    assert await closed_by(client) == FAILED
    await saw_only_the_end(far)
    upstream.script = None
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    is_refusal(await ask(gate, get("/api/x", bearer(provider.token()))), 401, "Account is disabled")


async def test_keys_of_neither_side_pass_for_the_others(
    world: World, start: Start, provider: Provider, upstream: Upstream
) -> None:
    """The provider's key signs nothing that says it is ours, our secret nothing that says it is the provider's."""
    gate = await start(world.url, issuer=provider.settings())
    ours = jwt.decode(world.token(world.root), options={"verify_signature": False})
    theirs = jwt.decode(provider.token(), options={"verify_signature": False})
    key: Any = serialization.load_pem_private_key(provider.keys["first"], None)
    secret = "a-secret-of-the-tests-and-of-nobody-else"
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    stolen = jwt.encode({"a": 1}, secret, "HS256").split(".")
    for token in (
        jwt.encode(ours, key, "RS256", {"kid": "first"}),
        jwt.encode({**ours, "aud": AUDIENCE}, key, "RS256", {"kid": "first"}),
        jwt.encode(theirs, secret, "HS256", {"kid": "first"}),
        jwt.encode(theirs, key, "RS512", {"kid": "first"}),
        jwt.encode(theirs, key, "PS256", {"kid": "first"}),
        jwt.encode(theirs, "", "none", {"kid": "first"}),
        ".".join((stolen[0], jwt.encode(theirs, "x" * 32, "HS256").split(".")[1], stolen[2])),
        jwt.encode(theirs, key, "RS256", {"kid": "first", "crit": ["exp"]}),
        by_hmac({"alg": "HS256", "kid": "first"}, theirs, public),
        by_hmac({"alg": "RS256", "kid": "first"}, theirs, public),
    ):
        is_refusal(await ask(gate, get("/api/x", bearer(token))), 401)
    assert upstream.seen == b""


async def test_a_new_key_is_found_and_an_old_one_forgotten(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    old = provider.token()
    assert (await ask(gate, get("/api/x", bearer(old)))).status == 200
    provider.keys = {"second": generate_pem("ES256")}
    new = provider.token("second")
    async with asyncio.timeout(PATIENCE):
        while (await ask(gate, get("/api/x", bearer(new)))).status != 200:
            await asyncio.sleep(0.05)
    is_refusal(await ask(gate, get("/api/x", bearer(old))), 401)


async def test_an_outage_of_the_provider_is_never_a_denial(
    world: World, start: Start, provider: Provider
) -> None:
    provider.answer = lambda: web.Response(status=500)
    gate = await start(world.url, issuer=provider.settings())
    is_refusal(await ask(gate, get("/api/x", bearer(provider.token()))), 503)
    assert (await ask(gate, get("/api/x", bearer(world.token(world.agent))))).status == 200
    provider.answer = provider.show
    async with asyncio.timeout(PATIENCE):
        while (await ask(gate, get("/api/x", bearer(provider.token())))).status != 200:
            await asyncio.sleep(0.2)
    provider.answer = lambda: web.Response(status=500)
    provider.keys["second"] = generate_pem("EdDSA")
    await asyncio.sleep(0.3)  # past the cooldown
    is_refusal(await ask(gate, get("/api/x", bearer(provider.token("second")))), 503)
    # By the last good set.
    assert (await ask(gate, get("/api/x", bearer(provider.token(iat=1))))).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=302, headers={"Location": "/jwks"}),
        lambda: web.Response(body=b"[" * 300_000),
        lambda: web.Response(text="<html>", content_type="text/html"),
        lambda: web.json_response({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "first"}]}),
    ],
    ids=["redirect", "too large", "no JSON", "secrets"],
)
async def test_an_answer_that_is_no_key_set_is_none(
    world: World, start: Start, provider: Provider, answer: Callable[[], web.Response]
) -> None:
    provider.answer = answer
    gate = await start(world.url, issuer=provider.settings())
    is_refusal(await ask(gate, get("/api/x", bearer(provider.token()))), 503)


async def test_without_a_foreign_issuer_its_tokens_are_nobodys(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url)
    is_refusal(await ask(gate, get("/api/x", bearer(provider.token()))), 401)
    assert provider.asked == 0


# -- what real providers send ---------------------------------------------------------------------------------------


async def test_true_as_a_text_is_true(world: World, start: Start, provider: Provider) -> None:
    """Apple and Cognito send it so."""
    gate = await start(world.url, issuer=provider.settings())
    assert (await ask(gate, get("/api/x", bearer(provider.token(email_verified="true"))))).status == 200


async def test_a_token_without_a_kid_is_taken_where_one_key_fits(
    world: World, start: Start, provider: Provider
) -> None:
    provider.keys["of another algorithm"] = generate_pem("ES256")
    gate = await start(world.url, issuer=provider.settings())
    assert (await ask(gate, get("/api/x", bearer(provider.token(named=False))))).status == 200
    crowded = await start(world.url, issuer=provider.settings())
    provider.keys["second"] = generate_pem("RS256")
    async with asyncio.timeout(PATIENCE):
        while (await ask(crowded, get("/api/x", bearer(provider.token("second"))))).status != 200:
            await asyncio.sleep(0.05)
    is_refusal(await ask(crowded, get("/api/x", bearer(provider.token(named=False)))), 401)
    assert (await ask(crowded, get("/api/x", bearer(provider.token())))).status == 200


async def test_a_new_key_is_found_by_a_token_without_a_kid_as_well(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings())
    assert (await ask(gate, get("/api/x", bearer(provider.token(named=False))))).status == 200
    provider.keys["first"] = generate_pem("RS256")
    async with asyncio.timeout(PATIENCE):
        while (await ask(gate, get("/api/x", bearer(provider.token(named=False))))).status != 200:
            await asyncio.sleep(0.05)


async def test_strangers_tokens_without_a_kid_have_the_keys_read_once_in_a_cooldown(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings(cooldown_seconds=600))
    assert (await ask(gate, get("/api/x", bearer(provider.token(named=False))))).status == 200
    stranger = Provider()
    for _ in range(20):
        is_refusal(await ask(gate, get("/api/x", bearer(stranger.token(named=False)))), 401)
    assert provider.asked == 1


async def test_a_token_may_be_as_large_as_the_setting_says(
    world: World, start: Start, provider: Provider
) -> None:
    """Providers list groups in them. Our own tokens have the bound that they had."""
    gate = await start(world.url, issuer=provider.settings())
    groups = [str(uuid4()) for _ in range(280)]
    token = provider.token(groups=groups)
    assert 14_000 < len(token) < 16_384
    assert (await ask(gate, get("/api/x", bearer(token)))).status == 200
    is_refusal(await ask(gate, get("/api/x", bearer(provider.token(groups=groups + groups[:60])))), 401)
    narrow = await start(world.url, issuer=provider.settings(token_bytes=8192))
    is_refusal(await ask(narrow, get("/api/x", bearer(token))), 401)
    ours = jwt.encode(
        {**jwt.decode(world.token(world.agent), options={"verify_signature": False}), "x": "x" * 9000},
        SECRET,
        "HS256",
    )
    is_refusal(await ask(gate, get("/api/x", bearer(ours))), 401)


async def test_clocks_may_differ_by_a_minute(world: World, start: Start, provider: Provider) -> None:
    gate = await start(world.url, issuer=provider.settings())
    now = int(time.time())
    early, late = provider.token(nbf=now + 40), provider.token(exp=now - 20)
    for token in (early, late):
        assert (await ask(gate, get("/api/x", bearer(token)))).status == 200
    strict = await start(world.url, issuer=provider.settings(leeway_seconds=0))
    for token in (early, late):
        is_refusal(await ask(strict, get("/api/x", bearer(token))), 401)
    ours = world.token(world.agent, now=now - 3600 - 20)
    is_refusal(await ask(gate, get("/api/x", bearer(ours))), 401)

"""Making, changing, reusing an invitation; and using one for what it is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jwt
import pytest

from tests.support.accounts import new_invitation, register_by
from tests.support.calls import ask, bearer, claims_of, get, granted, is_refusal, post, whatomate_token
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.worlds import Start, World


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, registration="invite")


def signed(secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode(
        {name: one for name, one in claims.items() if one is not None}, secret, algorithm="HS256"
    )


async def test_a_forger_with_the_shared_secret_cannot_invite(gate: Gateway, world: World) -> None:
    """Whatomate knows it too, and so does whoever has read its configuration."""
    real = claims_of(await new_invitation(gate, world))
    forged = signed(**{**real, "jti": str(uuid4())})
    is_refusal(await ask(gate, register_by(forged)), 403, "Invitation is not valid")


@pytest.mark.parametrize("change", ["org", "role", "email", "exp"])
async def test_nothing_of_an_invitation_can_be_changed(gate: Gateway, world: World, change: str) -> None:
    real = claims_of(await new_invitation(gate, world, email="somebody@example.com"))
    admin = await world.store.role_id(world.home, "admin")
    changes = {"org": str(world.other), "role": str(admin), "email": None, "exp": real["exp"] + 86_400}
    for forged in (signed(**{**real, change: changes[change]}), signed("x" * 32, **real)):
        answer = await ask(gate, register_by(forged))
        is_refusal(answer, 403)
        assert await world.sql("SELECT FROM users WHERE email = 'new@example.com'") == []


async def test_an_invitation_is_for_its_email_in_any_spelling_and_no_other(
    gate: Gateway, world: World
) -> None:
    token = await new_invitation(gate, world, email="Zoë@Example.com")
    for other in ("zoe@example.com", "zoë@example.org", "zoë@example.com.evil.test"):
        is_refusal(
            await ask(gate, register_by(token, email=other)),
            403,
            "Invitation is for another e-mail or organization",
        )
    await granted(gate, register_by(token, email="  zoË@EXAMPLE.com "))


async def test_an_invitation_is_for_its_organization(gate: Gateway, world: World) -> None:
    token = await new_invitation(gate, world)
    is_refusal(await ask(gate, register_by(token, organization_id=str(world.other))), 403)
    await granted(gate, register_by(token, organization_id=str(world.home)))


async def test_an_invitation_ends(gate: Gateway, world: World) -> None:
    _, token = await world.invitations.create(  # made long ago
        organization_id=world.home, now=time.time() - 1000, expires_at=time.time() - 10
    )
    is_refusal(await ask(gate, register_by(token)), 403, "Invitation has expired. Please ask for a new one.")


async def test_an_invitation_opens_nothing_else(gate: Gateway, world: World) -> None:
    token = await new_invitation(gate, world)
    is_refusal(await ask(gate, get("/api/contacts", bearer(token))), 401, "Invalid or expired token")
    is_refusal(await ask(gate, post("/api/auth/refresh", {"refresh_token": token})), 401)
    is_refusal(
        await ask(gate, post("/api/auth/switch-org", {"organization_id": str(world.home)}, bearer(token))),
        401,
    )
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: eA==",
    )
    is_refusal(await ask(gate, get(f"/ws?token={token}", *upgrade)), 401)


async def test_a_server_that_takes_any_genuine_token_finds_nobody_in_it(gate: Gateway, world: World) -> None:
    """Whatomate checks the signature and reads ``user_id`` and ``organization_id``: an invitation has neither."""
    assert set(claims_of(await new_invitation(gate, world, email="a@example.com"))) == {
        *("iss", "iat", "exp", "jti", "org", "role", "email", "token_use")
    }


async def test_no_other_token_is_an_invitation(gate: Gateway, world: World) -> None:
    pair = await granted(
        gate, post("/api/auth/login", {"email": "admin@example.com", "password": "correct horse battery"})
    )
    for token in (
        world.token(world.root),
        whatomate_token(world.root, world.home),
        pair["refresh_token"],
        world.tokens.issue_ticket(user_id=world.root, organization_id=world.home, now=time.time()),
        jwt.encode({"org": str(world.home), "token_use": "invitation"}, "", algorithm="none"),
        "a.b.c",
        "é",
        "x" * 8000,
    ):
        is_refusal(await ask(gate, register_by(token)), 403, "Invitation is not valid")


async def test_an_invitation_is_not_logged_nor_kept(gate: Gateway, world: World) -> None:
    token = await new_invitation(gate, world)
    rows = await world.sql("SELECT i::text FROM gateway_invitations i")
    assert token.rpartition(".")[2] not in rows[0]["i"]
    assert token.encode().hex() not in rows[0]["i"]

"""The contract of /api/auth: registering and signing in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import bcrypt
import pytest

from authcore import permissions
from tests.support.calls import ask, claims_of, granted, is_refusal, post
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


REGISTER, LOGIN = "/api/auth/register", "/api/auth/login"
USER_FIELDS = {
    *("id", "organization_id", "email", "full_name", "name", "role_id", "is_active", "is_available"),
    *("is_super_admin", "created_at", "updated_at", "settings", "role"),
}
IDENTITY = {"user_id", "organization_id", "email", "role_id", "is_super_admin", "exp", "iat", "iss"}


def newcomer(world: World, **changes: object) -> bytes:
    return post(
        REGISTER,
        {
            "email": "new@example.com",
            "password": "securepassword123",
            "full_name": "New Comer",
            "organization_id": str(world.home),
            **changes,
        },
    )


def login(email: str, password: str = PASSWORD) -> bytes:
    return post(LOGIN, {"email": email, "password": password})


# -- register ---------------------------------------------------------------------------------------------------


async def test_registering_makes_a_member_with_the_default_role_and_signs_them_in(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    answer = await ask(gate, newcomer(world))
    assert answer.status == 200
    assert answer.one("Cache-Control") == "no-store"
    content: Any = answer.json()["data"]
    user = content["user"]
    assert set(content) == {"user", "access_token", "refresh_token", "expires_in"}
    assert set(user) >= USER_FIELDS
    assert user["email"] == "new@example.com"
    assert user["full_name"] == user["name"] == "New Comer"
    assert user["organization_id"] == str(world.home)
    assert (user["is_active"], user["is_super_admin"]) == (True, False)
    assert set(user["role"]) == {"id", "name", "description", "is_system", "permissions"}
    assert user["role"]["name"] == "agent"
    assert user["role"]["id"] == user["role_id"]
    assert {"resource": "chat", "action": "read"} in user["role"]["permissions"]
    assert content["expires_in"] == 3600
    assert user["created_at"].endswith("Z")  # as Go writes UTC
    assert b"$2a$" not in answer.body
    assert b"password" not in answer.body
    stored = (await world.sql("SELECT * FROM users WHERE id = $1", UUID(user["id"])))[0]
    assert stored["password_hash"].startswith("$2a$")
    assert bcrypt.checkpw(b"securepassword123", stored["password_hash"].encode())
    assert upstream.seen == b""


async def test_issued_tokens_say_what_whatomate_reads(gate: Gateway, world: World) -> None:
    content = await granted(gate, newcomer(world))
    access, refresh = claims_of(content["access_token"]), claims_of(content["refresh_token"])
    # And above all no jti in the first one, which would make it a refresh token.
    assert set(access) == IDENTITY | {"s", "sid"}  # the second is claims_of's
    assert set(refresh) == IDENTITY | {"token_use", "sid", "jti"}
    assert access["sid"] == refresh["sid"]
    assert str(UUID(refresh["jti"])) == refresh["jti"]
    for claims, seconds in ((access, 3600), (refresh, 7 * 86_400)):
        assert claims["exp"] - claims["iat"] == seconds
        assert claims["iss"] == "whatomate"
        assert claims["user_id"] == content["user"]["id"]
        assert claims["organization_id"] == str(world.home)
        assert claims["email"] == "new@example.com"
        assert claims["role_id"] == content["user"]["role_id"]
        assert claims["is_super_admin"] is False


async def test_the_lifetimes_of_tokens_are_settings(world: World, start: Start) -> None:
    gate = await start(world.url, token={"access_seconds": 60, "refresh_seconds": 120})
    content = await granted(gate, login("agent@example.com"))
    assert content["expires_in"] == 60
    for name, seconds in (("access_token", 60), ("refresh_token", 120)):
        claims = claims_of(content[name])
        assert claims["exp"] - claims["iat"] == seconds


async def test_registering_where_nothing_is_refuses(gate: Gateway, world: World, upstream: Upstream) -> None:
    is_refusal(await ask(gate, newcomer(world, organization_id=str(uuid4()))), 404, "Organization not found")
    await world.sql("UPDATE organizations SET deleted_at = now() WHERE id = $1", world.other)
    is_refusal(
        await ask(gate, newcomer(world, organization_id=str(world.other))), 404, "Organization not found"
    )
    assert await world.sql("SELECT FROM users WHERE email = 'new@example.com'") == []
    assert upstream.seen == b""


@pytest.mark.parametrize("email", ["agent@example.com", "AGENT@Example.com"])
async def test_registering_a_taken_address_tells_by_password_what_is_wrong(
    gate: Gateway, world: World, email: str
) -> None:
    wrong = await ask(gate, newcomer(world, email=email, password="another password"))
    is_refusal(
        wrong,
        409,
        "An account with this email already exists. "
        "Please sign in and ask your organization admin to add you.",
    )
    member = await ask(gate, newcomer(world, email=email, password=PASSWORD))
    is_refusal(member, 409, "You are already a member of this organization")


async def test_a_user_who_registers_elsewhere_with_the_right_password_joins_with_the_default_role(
    gate: Gateway, world: World
) -> None:
    joining = newcomer(world, email="Admin@example.com", password=PASSWORD, organization_id=str(world.other))
    content = await granted(gate, joining)
    assert content["user"]["id"] == str(world.admin)
    assert content["user"]["email"] == "admin@example.com"
    assert content["user"]["full_name"] == "Admin"
    assert content["user"]["role"]["name"] == "agent"
    assert content["user"]["organization_id"] == str(world.other)
    assert claims_of(content["access_token"])["organization_id"] == str(world.other)
    is_refusal(await ask(gate, joining), 409, "You are already a member of this organization")


async def test_a_disabled_user_joins_nothing(gate: Gateway, world: World) -> None:
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.admin)
    joining = newcomer(world, email="admin@example.com", password=PASSWORD, organization_id=str(world.other))
    is_refusal(await ask(gate, joining), 401, "Account is disabled")
    rows = await world.sql(
        "SELECT FROM user_organizations WHERE user_id = $1 AND organization_id = $2", world.admin, world.other
    )
    assert rows == []


async def test_registrations_of_one_address_at_once_make_one_user(gate: Gateway, world: World) -> None:
    spellings = ("new@example.com", "New@Example.com", "NEW@EXAMPLE.COM", "new@Example.COM")
    answers = await asyncio.gather(*(ask(gate, newcomer(world, email=email)) for email in spellings))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    assert len(await world.sql("SELECT FROM users WHERE lower(email) = 'new@example.com'")) == 1
    assert (
        len(
            await world.sql(
                "SELECT FROM user_organizations m JOIN users u ON u.id = m.user_id "
                "WHERE lower(u.email) = 'new@example.com'"
            )
        )
        == 1
    )


async def test_an_address_is_kept_as_given_and_matched_in_any_case(gate: Gateway, world: World) -> None:
    await granted(gate, newcomer(world, email="New.Comer@Example.com"))
    content = await granted(gate, login("nEW.cOMER@eXAMPLE.COM", "securepassword123"))
    assert content["user"]["email"] == "New.Comer@Example.com"
    assert claims_of(content["access_token"])["email"] == "New.Comer@Example.com"


# -- login ------------------------------------------------------------------------------------------------------


async def test_signing_in_lands_in_the_home_organization(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    content = await granted(gate, login("Both@Example.COM"))
    assert set(content["user"]) >= USER_FIELDS
    assert content["user"]["id"] == str(world.both)
    assert content["user"]["organization_id"] == str(world.home)
    assert content["user"]["role"]["name"] == "agent"
    assert content["expires_in"] == 3600
    assert upstream.seen == b""


async def test_a_super_admin_is_told_every_permission(gate: Gateway, world: World) -> None:
    content = await granted(gate, login("root@example.com"))
    told = {f"{one['resource']}:{one['action']}" for one in content["user"]["role"]["permissions"]}
    assert told >= set(permissions.ALL)
    assert len(told) > 50
    assert content["user"]["is_super_admin"] is True
    assert claims_of(content["access_token"])["is_super_admin"] is True


async def test_a_user_without_a_role_has_no_role_claim(gate: Gateway, world: World) -> None:
    await world.sql("UPDATE users SET role_id = NULL WHERE id = $1", world.agent)
    await world.sql("UPDATE user_organizations SET role_id = NULL WHERE user_id = $1", world.agent)
    content = await granted(gate, login("agent@example.com"))
    assert content["user"]["role"] is None
    assert content["user"]["role_id"] is None
    assert "role_id" not in claims_of(content["access_token"])
    assert "role_id" not in claims_of(content["refresh_token"])


async def test_an_unknown_address_and_a_wrong_password_look_alike_and_cost_alike(
    gate: Gateway, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, compared = bcrypt.checkpw, []

    def counting(password: bytes, hashed: bytes) -> bool:
        compared.append(hashed[:7])
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    answers: list[Message] = []
    for email in ("agent@example.com", "nobody@example.com", "no address at all", "a\0b@example.com"):
        answers.append(await ask(gate, login(email, "wrong password")))
        is_refusal(answers[-1], 401, "Invalid credentials")
    assert len({answer.body for answer in answers}) == 1
    assert compared == [b"$2a$04$"] * 4  # one each, of the same cost


@pytest.mark.parametrize("password", ["p\0q", "é" * 37, "\ud83d\ude00" * 30])
async def test_a_password_that_nobody_can_have_is_only_a_wrong_one(gate: Gateway, password: str) -> None:
    is_refusal(await ask(gate, login("agent@example.com", password)), 401, "Invalid credentials")


async def test_a_disabled_user_is_told_so_if_the_password_is_right(gate: Gateway, world: World) -> None:
    await world.sql("UPDATE users SET is_active = false WHERE id = $1", world.agent)
    is_refusal(await ask(gate, login("agent@example.com")), 401, "Account is disabled")
    is_refusal(await ask(gate, login("agent@example.com", "wrong")), 401, "Invalid credentials")


async def test_a_deleted_user_does_not_exist(gate: Gateway, world: World) -> None:
    await world.sql("UPDATE users SET deleted_at = now() WHERE id = $1", world.agent)
    is_refusal(await ask(gate, login("agent@example.com")), 401, "Invalid credentials")


async def test_while_the_database_is_away_nobody_is_called_wrong(client: Any, upstream: Upstream) -> None:
    for raw in (
        login("agent@example.com"),
        post(
            REGISTER,
            {"email": "a@b.c", "password": PASSWORD, "full_name": "A", "organization_id": str(uuid4())},
        ),
    ):
        is_refusal(await client.exchange(raw), 503)
    assert upstream.seen == b""

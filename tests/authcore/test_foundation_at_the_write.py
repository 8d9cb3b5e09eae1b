"""Second look at the grounds of an SSO session, in the write: bcrypt takes a while after the first look."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from authcore.errors import ApiKeysExhausted, PermissionDenied, TokenRevoked
from authcore.granting import why_no_key
from authcore.store.rows import NewApiKey
from authcore.store.sso_rows import ProviderSession
from tests.support.domain import NOW

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.domain import World

ISSUER = "https://id.test/token"


async def signed_on(world: World, user: UUID, organization: UUID, *, is_bound: bool = True) -> UUID:
    """Begin a session of the user by a provider that a row of `organization` names, and return its id."""
    (provider,) = await world.sql(
        "INSERT INTO sso_providers (organization_id, provider, is_enabled, token_url) "
        "VALUES ($1, 'custom', true, $2) RETURNING id",
        organization,
        ISSUER,
    )
    await world.sql("UPDATE users SET sso_provider = 'custom', sso_provider_id = '7' WHERE id = $1", user)
    await world.sql(
        "INSERT INTO gateway_sso_identities (user_id, provider, issuer, account) VALUES ($1, 'custom', $2, '7')",
        user,
        ISSUER,
    )
    session = (await world.login()).tokens.session_id
    noted = ProviderSession(
        session_id=session,
        provider_id=provider["id"],
        issuer=ISSUER,
        subject="7",
        sid="",
        account="7",
        bound_to=organization if is_bound else None,
    )
    assert await world.store.note_sso_session(noted, [], datetime.fromtimestamp(NOW, UTC))
    return session


async def makes_a_key(world: World, user: UUID, organization: UUID, session: UUID) -> bool:
    key = NewApiKey(
        user_id=user,
        organization_id=organization,
        name="k",
        prefix="0123456789abcdef",
        key_hash="x",
        expires_at=None,
        session_id=session,
    )
    return await world.store.add_api_key(key) is not None


@pytest.mark.parametrize("is_bound", [True, False])
async def test_a_session_makes_keys_where_it_may_act_and_nowhere_else(world: World, is_bound: bool) -> None:
    home, other = await world.organization(), await world.organization("Other")
    user = await world.user(home)
    await world.sql("INSERT INTO user_organizations (user_id, organization_id) VALUES ($1, $2)", user, other)
    session = await signed_on(world, user, home, is_bound=is_bound)
    assert await makes_a_key(world, user, home, session)
    assert await makes_a_key(world, user, other, session) is not is_bound


async def test_a_key_is_stored_only_while_its_maker_may_make_it(world: World) -> None:
    home = await world.organization()
    admin, root = await world.user(home, role="admin"), await world.user(home, "r@b.c", is_super_admin=True)

    def new(user: UUID, permission: str | None) -> NewApiKey:
        key = {"name": "k", "prefix": "0123456789abcdef", "key_hash": "x", "expires_at": None}
        return NewApiKey(user_id=user, organization_id=home, permission=permission, **key)  # type: ignore[arg-type]

    assert await world.store.add_api_key(new(admin, "api_keys:write"))
    await world.sql(
        "DELETE FROM role_permissions USING permissions p "
        "WHERE p.id = permission_id AND p.resource = 'api_keys' AND p.action = 'write'"
    )
    key = new(admin, "api_keys:write")
    assert await world.store.add_api_key(key) is None
    assert isinstance(why_no_key(key, await world.store.subject(admin, home)), PermissionDenied)
    assert await world.store.add_api_key(new(admin, None)), "the operator's need no permission"
    assert await world.store.add_api_key(new(root, "api_keys:write"))


@pytest.mark.parametrize("ended", [0, 1])
async def test_a_key_is_stored_only_while_every_key_it_comes_of_is_good(world: World, ended: int) -> None:
    home = await world.organization()
    user = await world.user(home)

    async def made(parent: UUID | None) -> UUID | None:
        stored = await world.store.add_api_key(
            NewApiKey(
                user_id=user,
                organization_id=home,
                name="k",
                prefix="0123456789abcdef",
                key_hash="x",
                expires_at=None,
                parent_id=parent,
            )
        )
        return None if stored is None else stored.id

    first = await made(None)
    second = await made(first)
    assert await made(second) is not None
    await world.sql("UPDATE api_keys SET is_active = false WHERE id = $1", (first, second)[ended])
    assert await made(second) is None


async def test_keys_stored_at_the_same_time_do_not_pass_the_greatest_number(world: World) -> None:
    home = await world.organization()
    key = NewApiKey(
        user_id=await world.user(home),
        organization_id=home,
        name="k",
        prefix="0123456789abcdef",
        key_hash="x",
        expires_at=None,
        most=3,
    )
    writes = (world.store.add_api_key(key) for _ in range(10))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(one, ApiKeysExhausted) for one in results) == 7
    assert len(await world.sql("SELECT FROM api_keys")) == 3


@pytest.mark.parametrize(
    "meanwhile",
    [
        "SELECT",
        "UPDATE sso_providers SET is_enabled = false",
        "UPDATE sso_providers SET deleted_at = now()",
        "UPDATE sso_providers SET token_url = 'https://other.test/token'",
        "UPDATE users SET sso_provider_id = '8'",
        "UPDATE users SET is_super_admin = true",
        "UPDATE gateway_sessions SET revoked_at = now()",
        "DELETE FROM gateway_sessions",
    ],
)
async def test_a_session_without_what_founded_it_writes_nothing(world: World, meanwhile: str) -> None:
    home = await world.organization()
    user = await world.user(home)
    session = await signed_on(world, user, home)
    ((before,),) = await world.sql("SELECT password_hash FROM users WHERE id = $1", user)
    await world.sql(meanwhile)
    at = datetime.fromtimestamp(NOW, UTC)
    change = world.store.replace_password(user, before=before, after="new", but=session, at=at, over=at)
    if meanwhile == "SELECT":
        assert await makes_a_key(world, user, home, session)
        assert await change is not None
        return
    assert not await makes_a_key(world, user, home, session)
    with pytest.raises(TokenRevoked):
        await change
    assert await world.sql("SELECT FROM users WHERE password_hash = $1", before)

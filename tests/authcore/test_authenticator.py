"""Authenticator: tokens and keys against what the database says now, and the verdict cache in between."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from authcore.credentials import ApiKey, BearerToken, Ticket
from authcore.errors import (
    ApiKeyBound,
    ApiKeyExpired,
    ApiKeyOwnerDisabled,
    ApiKeyRejected,
    AuthError,
    NotAMember,
    OrganizationUnknown,
    SubjectUnknown,
    TicketUsed,
    TokenExpired,
    TokenRejected,
    TokenRevoked,
    TokenWrongKind,
    UserDisabled,
)
from authcore.permissions import ALL, ROLES
from authcore.principal import AuthMethod
from tests.support.domain import NOW, make_tokens

if TYPE_CHECKING:
    from authcore.credentials import Credential
    from authcore.identity.authenticator import Authenticator
    from authcore.principal import Principal
    from tests.support.domain import World


def bearer(world: World, user: UUID, organization: UUID, *, now: float = NOW) -> BearerToken:
    token = world.tokens.issue_access(
        user_id=user,
        organization_id=organization,
        email="claimed@example.com",
        role_id=None,
        is_super_admin=True,  # claimed by the token, and believed by nobody
        now=now,
    )
    return BearerToken(token.encode())


def recalled(
    authenticator: Authenticator, credential: Credential, organization: UUID | None, now: float
) -> Principal | None:
    """Return the verdict cache's answer, under the key of the credential."""
    key = authenticator.key_of(credential, organization)
    return None if key is None else authenticator.recall(key, now)


async def ask(
    world: World, credential: BearerToken | ApiKey | Ticket, organization: UUID | None = None
) -> Principal:
    """Authenticate with an empty memory: what the database says now."""
    return await world.new_authenticator().authenticate(credential, organization, NOW)


async def refused(
    world: World, credential: BearerToken | ApiKey | Ticket, organization: UUID | None = None
) -> type[AuthError]:
    with pytest.raises(AuthError) as refusal:
        await ask(world, credential, organization)
    return type(refusal.value)


async def test_a_token_stands_for_what_the_database_says_not_what_it_claims(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization, "User@Example.com", full_name="Ada Lovelace")
    principal = await ask(world, bearer(world, user, organization))
    assert principal.method is AuthMethod.JWT
    assert (principal.user_id, principal.organization_id) == (user, organization)
    assert (principal.email, principal.name, principal.role) == ("User@Example.com", "Ada Lovelace", "agent")
    assert principal.permissions == ROLES["agent"].permissions
    assert not principal.is_super_admin
    assert principal.key_id is None
    assert principal.expires_at == NOW + 3600


async def test_only_a_genuine_access_token_is_told_anything(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    signed_in = await world.login()
    assert await refused(world, BearerToken(signed_in.tokens.refresh_token.encode())) is TokenWrongKind
    ticket = world.tokens.issue_ticket(user_id=user, organization_id=organization, now=NOW)
    assert await refused(world, BearerToken(ticket.encode())) is TokenWrongKind
    assert await refused(world, bearer(world, user, organization, now=NOW - 3600)) is TokenExpired
    await world.sql("UPDATE users SET is_active = false")
    forged = make_tokens(b"another secret, thirty-two bytes").issue_access(
        user_id=user, organization_id=organization, email="", role_id=None, is_super_admin=False, now=NOW
    )
    assert await refused(world, BearerToken(forged.encode())) is TokenRejected


async def test_a_ticket_opens_its_organization_for_its_seconds(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    ticket = Ticket(world.tokens.issue_ticket(user_id=user, organization_id=organization, now=NOW).encode())
    authenticator = world.authenticator
    principal = await authenticator.authenticate(ticket, None, NOW)
    assert (principal.method, principal.user_id) == (AuthMethod.WS, user)
    assert principal.expires_at == NOW + 30
    assert recalled(authenticator, ticket, None, NOW + 20) is None
    for other in (authenticator, world.new_authenticator()):
        with pytest.raises(TicketUsed):
            await other.authenticate(ticket, None, NOW + 20)
    assert recalled(authenticator, BearerToken(ticket.secret), None, NOW) is None
    with pytest.raises(TokenExpired):
        await authenticator.authenticate(ticket, None, NOW + 30)
    assert ticket.secret.decode() not in repr(ticket)
    with pytest.raises(TokenWrongKind):
        await authenticator.authenticate(Ticket(bearer(world, user, organization).secret), None, NOW)


async def test_a_user_who_is_gone_off_or_removed_is_refused(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization)
    token = bearer(world, user, organization)
    assert await refused(world, bearer(world, uuid4(), organization)) is SubjectUnknown
    assert await refused(world, bearer(world, user, other)) is SubjectUnknown
    assert await refused(world, bearer(world, user, uuid4())) is SubjectUnknown
    for table in ("users", "organizations", "user_organizations"):
        await world.sql(f"UPDATE {table} SET deleted_at = now()")  # noqa: S608 - three known names
        assert await refused(world, token) is SubjectUnknown
        await world.sql(f"UPDATE {table} SET deleted_at = NULL")  # noqa: S608 - three known names
        await ask(world, token)
    await world.sql("UPDATE users SET is_active = false")
    assert await refused(world, token) is UserDisabled


async def test_a_user_without_a_membership_row_belongs_to_their_home_and_nowhere_else(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization, role="manager")
    await world.sql("DELETE FROM user_organizations")
    await world.sql("DELETE FROM gateway_former_memberships")  # as if there had never been one
    principal = await ask(world, bearer(world, user, organization))
    assert (principal.role, principal.permissions) == ("manager", ROLES["manager"].permissions)
    assert await refused(world, bearer(world, user, organization), other) is NotAMember


async def test_the_role_is_the_memberships_and_must_be_of_the_organization(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization, role="admin")
    await world.accounts.administration.add_member(user, other, "manager")
    token = bearer(world, user, organization)
    assert (await ask(world, token)).role == "admin"
    there = await ask(world, token, other)
    assert (there.organization_id, there.role) == (other, "manager")
    await world.sql(
        "UPDATE user_organizations SET role_id = (SELECT id FROM custom_roles WHERE organization_id = $1 "
        "AND name = 'admin') WHERE organization_id = $2",
        organization,
        other,
    )
    there = await ask(world, token, other)
    assert (there.role, there.permissions) == ("", frozenset())


async def test_deleted_roles_and_permissions_grant_nothing(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    token = bearer(world, user, organization)
    await world.sql("UPDATE permissions SET deleted_at = now() WHERE resource = 'chat'")
    assert (await ask(world, token)).permissions == ROLES["agent"].permissions - {"chat:read", "chat:write"}
    await world.sql("UPDATE custom_roles SET deleted_at = now()")
    principal = await ask(world, token)
    assert (principal.role, principal.role_id, principal.permissions) == ("", None, frozenset())


async def test_a_row_that_is_no_permission_grants_nothing(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    await world.sql(
        "UPDATE permissions SET action = E'read\\r\\nX-A: b' WHERE resource = 'tags' AND action = 'read'"
    )
    principal = await ask(world, bearer(world, user, organization))
    assert principal.permissions == ROLES["agent"].permissions - {"tags:read"}


async def test_a_super_admin_acts_anywhere_that_exists(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization, is_super_admin=True)
    token = bearer(world, user, organization)
    for asked in (None, other):
        principal = await ask(world, token, asked)
        assert principal.is_super_admin
        assert principal.organization_id == (asked or organization)
        assert principal.permissions == ALL
    assert await refused(world, token, uuid4()) is OrganizationUnknown
    await world.sql("UPDATE organizations SET deleted_at = now() WHERE id = $1", other)
    assert await refused(world, token, other) is OrganizationUnknown


async def test_another_organization_is_for_its_members(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization)
    token = bearer(world, user, organization)
    assert await refused(world, token, other) is NotAMember
    # Nor are they told which organizations there are.
    assert await refused(world, token, uuid4()) is NotAMember
    assert (await ask(world, token, organization)).organization_id == organization
    await world.accounts.administration.add_member(user, other)
    assert (await ask(world, token, other)).organization_id == other
    await world.sql("UPDATE user_organizations SET deleted_at = now() WHERE organization_id = $1", other)
    assert await refused(world, token, other) is NotAMember


async def test_a_user_removed_from_the_tokens_organization_does_not_get_elsewhere_with_it(
    world: World,
) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization)
    await world.accounts.administration.add_member(user, other)
    await world.sql(
        "UPDATE user_organizations SET deleted_at = now() WHERE organization_id = $1", organization
    )
    assert await refused(world, bearer(world, user, organization), other) is SubjectUnknown


async def test_a_key_acts_as_its_user_in_its_organization(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization)
    await world.accounts.administration.add_member(user, other, "manager")
    key, key_id = await world.key(user, other)
    principal = await ask(world, ApiKey(key))
    assert principal.method is AuthMethod.API_KEY
    assert (principal.user_id, principal.organization_id, principal.key_id) == (user, other, key_id)
    assert (principal.role, principal.expires_at) == ("manager", None)


async def test_a_key_is_as_good_as_its_owner(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    key, _ = await world.key(user, organization)
    await ask(world, ApiKey(key))
    await world.sql("UPDATE users SET is_active = false")
    assert await refused(world, ApiKey(key)) is ApiKeyOwnerDisabled
    await world.sql("UPDATE users SET is_active = true, deleted_at = now()")
    assert await refused(world, ApiKey(key)) is ApiKeyRejected
    await world.sql("UPDATE users SET deleted_at = NULL")
    for table in ("organizations", "user_organizations"):
        await world.sql(f"UPDATE {table} SET deleted_at = now()")  # noqa: S608 - two known names
        assert await refused(world, ApiKey(key)) is ApiKeyRejected
        await world.sql(f"UPDATE {table} SET deleted_at = NULL")  # noqa: S608 - two known names
    await ask(world, ApiKey(key))


async def test_every_refused_key_says_the_same_to_its_bearer(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    off, _ = await world.key(user, organization, is_active=False)
    old, _ = await world.key(user, organization, expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    for key in (off, old, b"nonsense", b"whm_" + b"0" * 32):
        with pytest.raises(ApiKeyRejected, match=r"^Invalid API key$"):
            await ask(world, ApiKey(key))


# -- memory -------------------------------------------------------------------------------------------------------


async def test_what_was_proved_is_recalled_for_its_time(world: World) -> None:
    organization = await world.organization()
    token = bearer(world, await world.user(organization), organization)
    authenticator = world.authenticator
    assert recalled(authenticator, token, None, NOW) is None
    principal = await authenticator.authenticate(token, None, NOW)
    assert recalled(authenticator, token, None, NOW + 26) is principal
    assert await authenticator.authenticate(token, None, NOW + 26) is principal
    assert recalled(authenticator, token, None, NOW + 30) is None
    await world.sql("UPDATE users SET is_active = false")
    with pytest.raises(UserDisabled):
        await authenticator.authenticate(token, None, NOW + 30)


async def test_recall_needs_no_database(world: World) -> None:
    organization = await world.organization()
    token = bearer(world, await world.user(organization), organization)
    principal = await world.authenticator.authenticate(token, None, NOW)
    await world.store.close()
    assert recalled(world.authenticator, token, None, NOW + 1) is principal


@pytest.mark.parametrize("left", [1, 5, 20])
async def test_a_token_is_never_recalled_past_its_end(world: World, left: int) -> None:
    organization = await world.organization()
    token = bearer(world, await world.user(organization), organization, now=NOW - 3600 + left)
    authenticator = world.authenticator
    await authenticator.authenticate(token, None, NOW)
    assert recalled(authenticator, token, None, NOW + left - 0.01) is not None
    assert recalled(authenticator, token, None, NOW + left) is None
    with pytest.raises(TokenExpired):
        await authenticator.authenticate(token, None, NOW + left)


async def test_a_key_is_never_recalled_past_its_end(world: World) -> None:
    organization = await world.organization()
    key, _ = await world.key(
        await world.user(organization), organization, expires_at=datetime.fromtimestamp(NOW + 5, UTC)
    )
    authenticator = world.authenticator
    assert (await authenticator.authenticate(ApiKey(key), None, NOW)).expires_at == NOW + 5
    assert recalled(authenticator, ApiKey(key), None, NOW + 4.99) is not None
    assert recalled(authenticator, ApiKey(key), None, NOW + 5) is None
    with pytest.raises(ApiKeyExpired):
        await authenticator.authenticate(ApiKey(key), None, NOW + 5)


async def test_memory_tells_organizations_credentials_and_kinds_apart(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization)
    await world.accounts.administration.add_member(user, other)
    token = bearer(world, user, organization)
    key, _ = await world.key(user, organization)
    authenticator = world.authenticator
    await authenticator.authenticate(token, None, NOW)
    await authenticator.authenticate(ApiKey(key), None, NOW)
    assert recalled(authenticator, token, other, NOW) is None
    assert recalled(authenticator, token, organization, NOW) is None
    assert recalled(authenticator, ApiKey(token.secret), None, NOW) is None
    assert recalled(authenticator, BearerToken(key), None, NOW) is None
    assert recalled(authenticator, BearerToken(token.secret + b"="), None, NOW) is None
    assert recalled(authenticator, BearerToken(other.bytes + token.secret), None, NOW) is None


def keys_of(authenticator: Authenticator) -> list[bytes]:
    return list(authenticator._memory._principals._entries)  # noqa: SLF001 - what is kept is the point


async def test_memory_holds_no_credential(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    token = bearer(world, user, organization)
    await world.authenticator.authenticate(token, None, NOW)
    await world.authenticator.authenticate(ApiKey((await world.key(user, organization))[0]), None, NOW)
    kept = keys_of(world.authenticator)
    assert [len(key) for key in kept] == [16, 16]
    again = world.new_authenticator()
    await again.authenticate(token, None, NOW)
    assert not set(keys_of(again)) & set(kept)  # another process, another digest


async def test_memory_is_bounded(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    authenticator = world.new_authenticator(entries=5)
    tokens = [bearer(world, user, organization, now=NOW - number) for number in range(20)]
    for token in tokens:
        await authenticator.authenticate(token, None, NOW)
    assert sum(recalled(authenticator, token, None, NOW) is not None for token in tokens) == 5


async def test_a_refusal_is_remembered_for_a_shorter_time(world: World) -> None:
    organization = await world.organization()
    token = bearer(world, await world.user(organization), organization)
    await world.sql("UPDATE users SET is_active = false")
    with pytest.raises(UserDisabled):
        await world.authenticator.authenticate(token, None, NOW)
    await world.sql("UPDATE users SET is_active = true")
    with pytest.raises(UserDisabled):
        recalled(world.authenticator, token, None, NOW + 4)
    await world.authenticator.authenticate(token, None, NOW + 5)


async def test_two_hundred_with_one_cold_key_run_bcrypt_once(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    key, key_id = await world.key(user, organization)
    before = world.passwords.pool.started
    principals = await asyncio.gather(
        *(
            world.authenticator.authenticate(ApiKey(key), (None, organization)[number % 2], NOW)
            for number in range(200)
        )
    )
    assert world.passwords.pool.started == before + 1
    assert {principal.key_id for principal in principals} == {key_id}
    assert len({id(principal) for principal in principals}) == 2
    assert await world.last_used.flush(NOW) == 1


async def test_a_key_acts_in_its_own_organization_only(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    member = await world.user(organization)
    await world.accounts.administration.add_member(member, other)
    root = await world.user(organization, "root@example.com", is_super_admin=True)
    for user in (member, root):
        key = ApiKey((await world.key(user, organization))[0])
        assert (await ask(world, key, organization)).organization_id == organization
        for elsewhere in (other, uuid4()):
            assert await refused(world, key, elsewhere) is ApiKeyBound
    unknown = ApiKey(b"whm_" + b"0" * 32)
    assert await refused(world, unknown, other) is ApiKeyRejected


async def test_a_token_is_good_while_its_session_is(world: World) -> None:
    organization = await world.organization()
    user, other = await world.user(organization), await world.user(organization, "other@example.com")
    session = (await world.login()).tokens
    token = BearerToken(session.access_token.encode())
    ticket = Ticket(
        world.tokens.issue_ticket(
            user_id=user, organization_id=organization, now=NOW, session_id=session.session_id
        ).encode()
    )
    for one in (token, ticket):
        assert (await ask(world, one)).session_id == session.session_id
    stranger = world.tokens.issue_access(
        user_id=other,
        organization_id=organization,
        email="",
        role_id=None,
        is_super_admin=False,
        now=NOW,
        session_id=session.session_id,
    )
    assert await refused(world, BearerToken(stranger.encode())) is TokenRevoked  # a session has one user
    await world.sql("UPDATE gateway_sessions SET revoked_at = now()")
    for one in (token, ticket):
        assert await refused(world, one) is TokenRevoked
    await world.sql("UPDATE users SET is_active = false")
    assert await refused(world, token) is TokenRevoked  # which tells nothing of the user
    await world.sql("DELETE FROM gateway_sessions")
    assert await refused(world, token) is TokenRevoked
    assert (
        await ask(world, bearer(world, await world.user(organization, "new@example.com"), organization))
    ).user_id


async def test_after_the_caches_time_a_key_is_read_again_without_bcrypt(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    key, _ = await world.key(user, organization)
    await world.authenticator.authenticate(ApiKey(key), None, NOW)
    before = world.passwords.pool.started
    await world.sql("UPDATE users SET full_name = 'New Name'")
    assert (await world.authenticator.authenticate(ApiKey(key), None, NOW + 31)).name == "New Name"
    assert world.passwords.pool.started == before


async def test_a_recalled_key_counts_as_used(world: World) -> None:
    organization = await world.organization()
    key, _ = await world.key(await world.user(organization), organization)
    await world.authenticator.authenticate(ApiKey(key), None, NOW)
    assert await world.last_used.flush(NOW) == 1
    assert recalled(world.authenticator, ApiKey(key), None, NOW + 1)
    assert await world.last_used.flush(NOW + 1) == 1

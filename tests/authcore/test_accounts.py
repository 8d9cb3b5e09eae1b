"""Registering, signing in, switching, and administration."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from authcore.accounts.texts import as_id
from authcore.credentials import PasswordLogin, RefreshToken
from authcore.errors import (
    AlreadyMember,
    AuthError,
    EmailTaken,
    EmailUnacceptable,
    InvitationRequired,
    LoginRejected,
    NameUnacceptable,
    NotAMember,
    OrganizationUnknown,
    PasswordUnacceptable,
    RoleUnknown,
    SlugTaken,
    SlugUnacceptable,
    SubjectUnknown,
    UserDisabled,
    UserUnknown,
)
from authcore.permissions import ROLES
from authcore.tokens.claims import AccessClaims
from tests.support.domain import NOW, PASSWORD, hashed

if TYPE_CHECKING:
    from authcore.accounts.accounts import SignedIn
    from tests.support.domain import World


async def register(
    world: World,
    organization: UUID,
    email: str = "new@example.com",
    password: str = PASSWORD,
    full_name: str = "New User",
) -> SignedIn:
    return await world.accounts.register(
        email=email,
        password=password,
        full_name=full_name,
        organization_id=organization,
        now=NOW,
    )


async def landed(world: World, signed_in: SignedIn) -> UUID:
    return world.tokens.verify(signed_in.tokens.access_token, AccessClaims, NOW).organization_id


# -- register -----------------------------------------------------------------------------------------------------


async def test_registering_makes_a_user_with_the_default_role_and_signs_them_in(world: World) -> None:
    organization = await world.organization()
    signed_in = await register(world, organization, "  New.User@Example.com ")
    user = signed_in.user
    assert (user.email, user.full_name, user.organization_id) == (
        "New.User@Example.com",
        "New User",
        organization,
    )
    assert (user.is_active, user.is_available, user.is_super_admin, user.settings) == (True, True, False, {})
    assert user.role is not None
    assert (user.role.id, user.role.name, user.role.is_system) == (user.role_id, "agent", True)
    assert {str(one) for one in user.role.permissions} == ROLES["agent"].permissions
    claims = world.tokens.verify(signed_in.tokens.access_token, AccessClaims, NOW)
    assert (claims.user_id, claims.organization_id, claims.email) == (user.id, organization, user.email)
    await world.sessions.refresh(RefreshToken(signed_in.tokens.refresh_token), NOW)
    (row,) = await world.sql("SELECT * FROM users")
    assert row["password_hash"].startswith("$2a$")
    (membership,) = await world.sql("SELECT * FROM user_organizations")
    assert (membership["user_id"], membership["role_id"], membership["is_default"]) == (
        user.id,
        user.role_id,
        True,
    )


async def test_the_default_role_is_the_organizations_choice(world: World) -> None:
    organization = await world.organization()
    await world.sql("UPDATE custom_roles SET is_default = (name = 'manager')")
    signed_in = await register(world, organization)
    assert signed_in.user.role is not None
    assert signed_in.user.role.name == "manager"


@pytest.mark.parametrize("deleted", [False, True])
async def test_registering_needs_an_organization_that_exists(world: World, deleted: bool) -> None:
    organization = await world.organization()
    if deleted:
        await world.sql("UPDATE organizations SET deleted_at = now()")
    with pytest.raises(OrganizationUnknown):
        await register(world, organization if deleted else uuid4(), password="short")
    assert await world.sql("SELECT FROM users") == []


async def test_unacceptable_values_are_refused_and_nothing_is_kept(world: World) -> None:
    organization = await world.organization()
    for password in ("short", "x" * 73, "nul\0nulnul"):
        with pytest.raises(PasswordUnacceptable):
            await register(world, organization, password=password)
    for email in (
        "",
        "nobody",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "a@b\r\nX-Admin: 1",
        "a@b\0",
        "\ud800@b",
        "x" * 255 + "@b",
        "\u200bquack@example.com",
        "quack@exam\u00adple.com",
        "x\u202egnp@example.com",
        "quack@example.com.",
        "quack@example.com\u2060",
        *(
            f"qu{mark}ack@example.com"
            for mark in "\u034f\u115f\u17b4\u180b\u2800\u3164\ufe0f\uffa0\U000e0100"
        ),
        "jose\u0301@example.com",
    ):
        with pytest.raises(EmailUnacceptable):
            await register(world, organization, email)
    for name in ("", "  ", "a\r\nX-Admin: 1", "a\0b", "\ud800", "x" * 256):
        with pytest.raises(NameUnacceptable):
            await register(world, organization, full_name=name)
    assert await world.sql("SELECT FROM users") == []


async def test_an_existing_email_with_another_password_is_taken_in_whatever_case(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    await world.user(organization, "User@Example.com")
    for email in ("User@Example.com", "user@example.com", " USER@EXAMPLE.COM "):
        with pytest.raises(EmailTaken, match="An account with this email already exists"):
            await register(world, other, email, "another password")
    assert len(await world.sql("SELECT FROM user_organizations")) == 1


async def test_an_existing_email_with_its_password_joins_once(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization, role="admin")
    with pytest.raises(AlreadyMember):
        await register(world, organization, "user@example.com")
    signed_in = await register(world, other, "USER@example.com", full_name="Someone Else")
    assert (signed_in.user.id, signed_in.user.full_name) == (user, "A User")
    assert signed_in.user.role is not None
    assert signed_in.user.role.name == "agent"
    assert await landed(world, signed_in) == other
    with pytest.raises(AlreadyMember):
        await register(world, other, "user@example.com")
    assert len(await world.sql("SELECT FROM users")) == 1
    assert await landed(world, await world.login()) == organization


async def test_a_home_without_a_membership_row_is_a_membership(world: World) -> None:
    organization = await world.organization()
    await world.user(organization)
    await world.sql("DELETE FROM user_organizations")
    await world.sql("DELETE FROM gateway_former_memberships")  # as if there had never been one
    with pytest.raises(AlreadyMember):
        await register(world, organization, "user@example.com")


async def test_an_administrator_adds_a_removed_member_again_even_under_a_unique_index(
    own_world: World,
) -> None:
    organization = await own_world.organization()
    user = await own_world.user(organization, role="admin")
    await own_world.sql(
        "CREATE UNIQUE INDEX IF NOT EXISTS idx_user_org ON user_organizations (user_id, organization_id)"
    )
    await own_world.sql("UPDATE user_organizations SET deleted_at = now()")
    with pytest.raises(InvitationRequired):
        await register(own_world, organization, "user@example.com")
    await own_world.accounts.administration.add_member(user, organization, "agent")
    subject = await own_world.store.subject(user, organization)
    assert subject is not None
    assert (subject.is_member, subject.role) == (True, "agent")
    with pytest.raises(AlreadyMember):
        await register(own_world, organization, "user@example.com")


async def test_a_disabled_user_is_told_so_for_the_right_password_only(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    await world.user(organization)
    await world.sql("UPDATE users SET is_active = false")
    with pytest.raises(UserDisabled):
        await register(world, other, "user@example.com")
    with pytest.raises(EmailTaken):
        await register(world, other, "user@example.com", "another password")


async def test_an_address_that_a_deleted_user_holds_is_taken_and_tells_nothing(world: World) -> None:
    organization = await world.organization()
    await world.user(organization)
    await world.sql("UPDATE users SET deleted_at = now()")
    with pytest.raises(EmailTaken):
        await register(world, organization, "user@example.com")


async def test_concurrent_registrations_of_one_email_make_one_user(world: World) -> None:
    organization = await world.organization()
    emails = ["race@example.com", "Race@example.com", "RACE@EXAMPLE.COM", "race@Example.com"] * 5
    outcomes = await asyncio.gather(
        *(register(world, organization, email) for email in emails), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in outcomes) == 1
    assert sum(isinstance(one, AlreadyMember) for one in outcomes) == 19
    assert len(await world.sql("SELECT FROM users")) == 1
    assert len(await world.sql("SELECT FROM user_organizations")) == 1


async def test_concurrent_joins_of_one_user_make_one_membership(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization)
    # Beneath Accounts, where bcrypt does not stagger them.
    joined = await asyncio.gather(*(world.store.add_member(user, other, None) for _ in range(10)))
    assert sorted(joined) == [False] * 9 + [True]
    assert len(await world.sql("SELECT FROM user_organizations WHERE organization_id = $1", other)) == 1


# -- login --------------------------------------------------------------------------------------------------------


async def test_login_takes_the_email_in_any_case_and_lands_at_home(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization, "User@Example.com")
    for email in ("User@Example.com", "user@example.com", " USER@EXAMPLE.COM\n"):
        signed_in = await world.login(email)
        assert (signed_in.user.id, signed_in.user.email) == (user, "User@Example.com")
        assert await landed(world, signed_in) == signed_in.user.organization_id == organization


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("user@example.com", "wrong password"),
        ("user@example.com", ""),
        ("user@example.com", "x" * 100),
        ("user@example.com", "\ud800"),
        ("nobody@example.com", PASSWORD),
        ("", PASSWORD),
        ("a\0b", PASSWORD),
        ("\ud800", PASSWORD),
        ("x" * 10_000, PASSWORD),
        ("user%", PASSWORD),
    ],
)
async def test_every_failed_login_says_the_same_and_costs_one_bcrypt(
    world: World, email: str, password: str
) -> None:
    await world.user(await world.organization())
    before = world.passwords.pool.started
    with pytest.raises(LoginRejected, match=r"^Invalid credentials$"):
        await world.login(email, password)
    assert world.passwords.pool.started == before + 1


async def test_a_deleted_user_and_one_without_a_password_cannot_sign_in(world: World) -> None:
    organization = await world.organization()
    await world.user(organization)
    for change in ("password_hash = ''", "password_hash = NULL", "password_hash = 'x'", "deleted_at = now()"):
        await world.sql(f"UPDATE users SET {change}")  # noqa: S608 - four known texts
        await world.sql("DELETE FROM gateway_sign_in_failures")
        for password in (PASSWORD, ""):
            before = world.passwords.pool.started
            with pytest.raises(LoginRejected):
                await world.login(password=password)
            assert world.passwords.pool.started == before + 1


async def test_a_disabled_user_is_told_so_after_the_right_password_only(world: World) -> None:
    await world.user(await world.organization())
    await world.sql("UPDATE users SET is_active = false")
    with pytest.raises(UserDisabled, match=r"^Account is disabled$"):
        await world.login()
    with pytest.raises(LoginRejected):
        await world.login(password="wrong password")


async def test_of_rows_that_differ_by_case_the_exact_spelling_signs_in_else_the_oldest(world: World) -> None:
    organization = await world.organization()
    first = await world.user(organization, "Twin@example.com")
    (second,) = await world.sql(
        "INSERT INTO users (organization_id, email, password_hash, full_name) VALUES ($1, $2, $3, 'Twin') RETURNING id",
        organization,
        "twin@example.com",
        hashed("second password"),
    )
    assert (await world.login("Twin@example.com")).user.id == first
    assert (await world.login("twin@example.com", "second password")).user.id == second["id"]
    assert (await world.login("TWIN@example.com")).user.id == first
    with pytest.raises(LoginRejected):
        await world.login("twin@example.com", PASSWORD)


async def test_login_lands_where_the_user_may_act(world: World) -> None:
    home, first, chosen = [await world.organization(name) for name in ("Home", "First", "Chosen")]
    user = await world.user(home)
    await world.accounts.administration.add_member(user, first)
    await world.accounts.administration.add_member(user, chosen)
    await world.sql("UPDATE user_organizations SET is_default = (organization_id = $1)", chosen)
    assert await landed(world, await world.login()) == home
    await world.sql("UPDATE organizations SET deleted_at = now() WHERE id = $1", home)
    assert await landed(world, await world.login()) == chosen
    await world.sql("UPDATE user_organizations SET deleted_at = now() WHERE organization_id = $1", chosen)
    assert await landed(world, await world.login()) == first
    await world.sql("UPDATE organizations SET deleted_at = now()")
    with pytest.raises(NotAMember):
        await world.login()


async def test_login_and_tokens_show_no_secret(world: World) -> None:
    await world.user(await world.organization())
    signed_in = await world.login()
    shown = (
        repr(signed_in)
        + repr(await world.store.logins("user@example.com"))
        + repr(PasswordLogin("a", "s3cr3t!"))
    )
    (row,) = await world.sql("SELECT password_hash FROM users")
    for secret in (row[0], signed_in.tokens.access_token, signed_in.tokens.refresh_token, "s3cr3t!"):
        assert secret not in shown


# -- switch -------------------------------------------------------------------------------------------------------


async def test_switching_is_for_members_and_super_admins(world: World) -> None:
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization, role="admin")
    root = await world.user(organization, "root@example.com", is_super_admin=True)
    with pytest.raises(NotAMember, match=r"^You are not a member of this organization$"):
        await world.accounts.switch(user, other, NOW)
    with pytest.raises(OrganizationUnknown):
        await world.accounts.switch(user, uuid4(), NOW)
    with pytest.raises(OrganizationUnknown):
        await world.accounts.switch(root, uuid4(), NOW)
    await world.accounts.administration.add_member(user, other, "manager")
    switched = await world.accounts.switch(user, other, NOW)
    assert (switched.user.organization_id, await landed(world, switched)) == (other, other)
    assert switched.user.role is not None
    assert switched.user.role.name == "manager"
    assert await landed(world, await world.accounts.switch(root, other, NOW)) == other
    await world.sql("UPDATE users SET is_active = false")
    with pytest.raises(UserDisabled):
        await world.accounts.switch(user, other, NOW)
    await world.sql("UPDATE users SET deleted_at = now()")
    with pytest.raises(SubjectUnknown):
        await world.accounts.switch(user, other, NOW)


# -- administration -----------------------------------------------------------------------------------------------


async def test_an_organization_starts_with_the_system_roles(world: World) -> None:
    organization = await world.organization("Ärger & Söhne")
    rows = await world.sql(
        "SELECT r.name, r.is_system, r.is_default, array_agg(p.resource || ':' || p.action) AS granted "
        "FROM custom_roles r JOIN role_permissions rp ON rp.custom_role_id = r.id "
        "JOIN permissions p ON p.id = rp.permission_id WHERE r.organization_id = $1 GROUP BY r.id",
        organization,
    )
    assert {row["name"]: frozenset(row["granted"]) for row in rows} == {
        name: role.permissions for name, role in ROLES.items()
    }
    assert all(row["is_system"] for row in rows)
    assert [row["name"] for row in rows if row["is_default"]] == ["agent"]


async def test_the_admin_of_a_new_organization_gets_every_permission_there_is(own_world: World) -> None:
    await own_world.sql(
        "INSERT INTO permissions (resource, action) VALUES ('loyalty', 'read'), ('gone', 'read')"
    )
    await own_world.sql("UPDATE permissions SET deleted_at = now() WHERE resource = 'gone'")
    organization = await own_world.organization()
    rows = await own_world.sql(
        "SELECT r.name, array_agg(p.resource || ':' || p.action) AS granted "
        "FROM custom_roles r JOIN role_permissions rp ON rp.custom_role_id = r.id "
        "JOIN permissions p ON p.id = rp.permission_id WHERE r.organization_id = $1 GROUP BY r.id",
        organization,
    )
    assert {row["name"]: frozenset(row["granted"]) for row in rows} == {
        **{name: role.permissions for name, role in ROLES.items()},
        "admin": ROLES["admin"].permissions | {"loyalty:read"},
    }


@pytest.mark.parametrize(
    "slug",
    [
        *("", " ", "Acme", "a b", "a/b", "..", "-a", "a-", "a--b", "a_b", "é", "a\n", "a\0", "a" * 101),
        *("00000000-0000-4000-8000-000000000001", "00000000000040008000000000000001"),
        "0000-0000-0000-0000-0000-0000-0000-0001",
    ],
)
async def test_a_slug_is_words_with_hyphens_between_and_no_id(world: World, slug: str) -> None:
    with pytest.raises(SlugUnacceptable):
        await world.accounts.administration.create_organization("Acme", slug)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("00000000-0000-4000-8000-000000000001", "organization-00000000-0000-4000-8000-000000000001"),
        ("Deadbeef deadbeef deadbeef deadbeef", "organization-deadbeef-deadbeef-deadbeef-deadbeef"),
        ("deadbeef deadbeef deadbeef", "deadbeef-deadbeef-deadbeef"),
    ],
)
async def test_no_slug_that_is_made_of_a_name_is_an_id(world: World, name: str, slug: str) -> None:
    for _ in range(2):  # the second has a mark behind it, of hexadecimal digits
        organization = await world.accounts.administration.create_organization(name)
        (row,) = await world.sql("SELECT slug FROM organizations WHERE id = $1", organization)
        assert slug.removeprefix("organization-") in row["slug"]
        assert as_id(row["slug"]) is None


async def test_slugs_are_made_unique_unless_chosen(world: World) -> None:
    for _ in range(2):
        await world.accounts.administration.create_organization("Acme Inc.")
    await world.accounts.administration.create_organization("x", "chosen")
    with pytest.raises(SlugTaken):
        await world.accounts.administration.create_organization("y", "chosen")
    await world.accounts.administration.create_organization("日本")
    await world.accounts.administration.create_organization("w" * 255)
    slugs = {row["slug"] for row in await world.sql("SELECT slug FROM organizations")}
    assert len(slugs) == 5
    assert {"acme-inc", "chosen", "organization"} < slugs
    with pytest.raises(NameUnacceptable):
        await world.accounts.administration.create_organization(" ")


async def test_administration_refuses_what_does_not_fit(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    refusals: list[tuple[type[AuthError], object]] = [
        (EmailTaken, world.user(organization, "USER@example.com")),
        (RoleUnknown, world.user(organization, "b@example.com", role="boss")),
        (OrganizationUnknown, world.user(uuid4(), "b@example.com")),
        (PasswordUnacceptable, world.user(organization, "b@example.com", password="short")),
        (AlreadyMember, world.accounts.administration.add_member(user, organization)),
        (UserUnknown, world.accounts.administration.add_member(uuid4(), organization)),
        (OrganizationUnknown, world.accounts.administration.add_member(user, uuid4())),
        (OrganizationUnknown, world.accounts.administration.list_api_keys(uuid4())),
        (UserUnknown, world.accounts.administration.find_user("nobody@example.com")),
    ]
    for error, work in refusals:
        with pytest.raises(error):
            await work  # type: ignore[misc]
    assert await world.accounts.administration.find_user(" USER@EXAMPLE.com") == user


async def test_a_password_changed_while_somebody_signs_in_by_the_old_one_ends_that_session_too(
    own_world: World,
) -> None:
    world = own_world
    user = await world.user(await world.organization())
    begin = world.store.open_session
    changed = False

    async def begin_late(*arguments: Any, **founded: Any) -> bool:
        nonlocal changed
        if not changed:
            changed = True
            await world.accounts.change_password(
                user_id=user, current=PASSWORD, new="an entirely new one", now=NOW
            )
        return await begin(*arguments, **founded)

    world.store.open_session = begin_late  # type: ignore[method-assign]  # the moment between proof and session
    with pytest.raises(LoginRejected):
        await world.login()
    assert await world.sql("SELECT FROM gateway_sessions WHERE revoked_at IS NULL") == []


@pytest.mark.parametrize("stored", ["both@example.com ", " both@example.com", "\tBoth@Example.com  "])
async def test_an_email_stored_with_spaces_signs_in_and_stays_one_account(world: World, stored: str) -> None:
    """Whatomate stores an e-mail as it was typed, and compares it as stored."""
    organization, other = await world.organization(), await world.organization("Other")
    user = await world.user(organization, "both@example.com")
    await world.sql("UPDATE users SET email = $1 WHERE id = $2", stored, user)
    for spelling in (stored, stored.strip(), stored.upper(), f"  {stored} ", f"{stored.strip()}\u00a0"):
        assert (await world.login(spelling)).user.id == user
        assert await world.accounts.administration.find_user(spelling) == user
    for spelling in (stored, stored.strip()):
        with pytest.raises(EmailTaken):
            await world.accounts.register(
                email=spelling, password="another one", full_name="X", organization_id=other, now=NOW
            )
        with pytest.raises(EmailTaken):
            await world.user(organization, spelling)
    joined = await world.accounts.register(
        email=stored, password=PASSWORD, full_name="X", organization_id=other, now=NOW
    )
    assert joined.user.id == user
    assert len(await world.sql("SELECT FROM users")) == 1


async def test_of_rows_that_differ_by_spaces_the_exact_spelling_signs_in(own_world: World) -> None:
    organization = await own_world.organization()
    rows = {}
    for number, spelling in enumerate(("x@example.com", "x@example.com ", " x@example.com")):
        rows[spelling] = await own_world.user(organization, f"{number}@example.com")
        await own_world.sql("UPDATE users SET email = $1 WHERE id = $2", spelling, rows[spelling])
    for spelling, user in rows.items():
        assert (await own_world.login(spelling)).user.id == user


async def test_failures_are_counted_together_however_spaces_stand(own_world: World) -> None:
    await own_world.user(await own_world.organization(), "x@example.com")
    for number, spelling in enumerate(
        (" x@example.com", "x@example.com ", "X@example.com", "x@example.com\u00a0")
    ):
        with pytest.raises(LoginRejected):
            await own_world.login(spelling, "wrong", address=f"192.0.2.{number}")
    counted = await own_world.sql(
        "SELECT round(level) AS level FROM gateway_sign_in_failures "
        "WHERE subject = sha256(convert_to('email x@example.com', 'UTF8'))"
    )
    assert [row["level"] for row in counted] == [4]

"""An outage is never a denial: whatever fails below, the store says that it is unavailable, and soon."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from authcore.accounts.sessions import Reuse
from authcore.credentials import ApiKey, BearerToken, PasswordLogin, RefreshToken
from authcore.errors import StoreUnavailable
from authcore.permissions import ROLES
from authcore.principal import ANONYMOUS
from authcore.quotas import Ask, Batch, Period, QuotaKey
from authcore.quotas import SubjectKind as Quoted
from authcore.store.attempt_rows import AttemptLimits, NewAttempt, Reserved
from authcore.store.directory_rows import UserFilter
from authcore.store.invitations import InvitationRow
from authcore.store.rows import Binding, NewApiKey, NewUser
from authcore.store.session_rows import NOWHERE as UNSEEN
from authcore.store.session_rows import Moments, NewRefreshToken, NewSession
from authcore.store.sso_rows import ProviderSession
from authcore.store.trail import TrailFilter
from authcore.trail import AuditRecord
from tests.support.databases import execute
from tests.support.domain import NOW, World, open_store
from tests.support.peers import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NOWHERE = "postgresql://nobody:s3cr3t@/nowhere?host=/nonexistent"
AT = datetime.fromtimestamp(NOW, UTC)
REFRESH = NewRefreshToken(digest=b"x" * 32, issued_at=AT, expires_at=AT)
SESSION = NewSession(id=uuid4(), user_id=uuid4(), organization_id=uuid4(), visit=UNSEEN)
MOMENTS = Moments(now=AT, raced_since=AT, token_over=AT, session_over=AT)
USER = NewUser(email="a@b", password_hash="", full_name="x", organization_id=uuid4(), role_id=None)
KEY = NewApiKey(user_id=uuid4(), organization_id=uuid4(), name="x", prefix="x", key_hash="x", expires_at=None)
ONE = uuid4()
ATTEMPT = NewAttempt(email="a", address="192.0.2.1", network="192.0.2.1", at=AT, known_since=AT)
INVITATION = InvitationRow(
    id=uuid4(),
    organization_id=uuid4(),
    role_id=None,
    email=None,
    invited_by=None,
    created_at=AT,
    expires_at=AT,
)
COUNT = QuotaKey(Quoted.API_KEY, ONE, Period.DAY, NOW)
BINDING = Binding(provider="google", issuer="https://a", account="1")
PROVIDER_SESSION = ProviderSession(
    session_id=ONE, provider_id=ONE, issuer="https://a", subject="1", sid="", account="1", bound_to=None
)
RESERVED = Reserved(b"a", b"b", b"b", b"c", b"d")

CALLS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "echo": lambda store: store.echo("a", "b"),
    "limits": lambda store: store.limits(),
    "ping": lambda store: store.ping(),
    "encoding": lambda store: store.encoding(),
    "most_connections": lambda store: store.most_connections(),
    "look_at_schema": lambda store: store.look_at_schema(),
    "look_at_triggers": lambda store: store.look_at_triggers(),
    "subject": lambda store: store.subject(ONE, ONE),
    "home": lambda store: store.home(ONE),
    "highest_password_cost": lambda store: store.highest_password_cost(),
    "api_key_candidates": lambda store: store.api_key_candidates(("a", "b"), b"a"),
    "logins": lambda store: store.logins("a"),
    "profile": lambda store: store.profile(ONE, ONE),
    "organizations": lambda store: store.organizations(),
    "organizations_named": lambda store: store.organizations_named("a"),
    "users_named": lambda store: store.users_named("a"),
    "roles_named": lambda store: store.roles_named(ONE, "a"),
    "user_exists": lambda store: store.user_exists(ONE),
    "users": lambda store: store.users(UserFilter()),
    "memberships": lambda store: store.memberships(ONE),
    "holdings": lambda store: store.holdings(ONE, AT, AT),
    "live_sessions": lambda store: store.live_sessions(None, None, AT, AT),
    "key_entries": lambda store: store.key_entries(None, None, None),
    "session_owner": lambda store: store.session_owner(ONE),
    "disable_user": lambda store: store.disable_user(ONE, AT, AT, even_last=False),
    "enable_user": lambda store: store.enable_user(ONE),
    "set_role": lambda store: store.set_role(ONE, ONE, ONE, even_last=False),
    "remove_member": lambda store: store.remove_member(ONE, ONE, even_last=False),
    "organization_exists": lambda store: store.organization_exists(ONE),
    "role_id": lambda store: store.role_id(ONE, None),
    "trim_sessions": lambda store: store.trim_sessions(ONE, 1, AT),
    "holders": lambda store: store.holders("a@b"),
    "vouch": lambda store: store.vouch(["a@b"]),
    "purge_api_key_links": lambda store: store.purge_api_key_links(),
    "add_user": lambda store: store.add_user(USER),
    "add_member": lambda store: store.add_member(ONE, ONE, None),
    "add_organization": lambda store: store.add_organization("a", "a", list(ROLES.values())),
    "add_api_key": lambda store: store.add_api_key(KEY),
    "api_keys": lambda store: store.api_keys(ONE),
    "has_api_keys": lambda store: store.has_api_keys(ONE, ONE, 1),
    "has_invitations": lambda store: store.has_invitations(ONE, 1, AT),
    "revoke_api_key": lambda store: store.revoke_api_key(ONE),
    "mark_used": lambda store: store.mark_used([ONE], AT),
    "open_session": lambda store: store.open_session(SESSION, REFRESH),
    "extend_session": lambda store: store.extend_session(SESSION, REFRESH),
    "use_forgotten_token": lambda store: store.use_forgotten_token(ONE, ONE, AT, AT),
    "rotate_refresh_token": lambda store: store.rotate_refresh_token(
        b"a", "logout", [[], [], [], []], MOMENTS
    ),
    "adopt_foreign_token": lambda store: store.adopt_foreign_token(SESSION, REFRESH, AT),
    "family": lambda store: store.family(b"a"),
    "end_session": lambda store: store.end_session(ONE, ONE, AT, AT),
    "end_sessions": lambda store: store.end_sessions(ONE, None, AT, AT),
    "is_live": lambda store: store.is_live(ONE, AT, AT),
    "sessions": lambda store: store.sessions(ONE, None, AT, AT),
    "forget_successors": lambda store: store.forget_successors(MOMENTS, Reuse.RETRY),
    "find_api_keys": lambda store: store.find_api_keys(ONE, "a", limit=1, offset=0),
    "api_key": lambda store: store.api_key(ONE, ONE),
    "switch_api_key": lambda store: store.switch_api_key(ONE, ONE, is_active=True),
    "delete_api_key": lambda store: store.delete_api_key(ONE, ONE),
    "add_api_key_digest": lambda store: store.add_api_key_digest(ONE, "a", b"a"),
    "purge_api_key_digests": lambda store: store.purge_api_key_digests(AT),
    "use_ticket": lambda store: store.use_ticket(b"a", AT),
    "purge_tickets": lambda store: store.purge_tickets(AT),
    "namesakes": lambda store: store.namesakes("a", "a"),
    "standings": lambda store: store.standings([ANONYMOUS], AT),
    "password_of": lambda store: store.password_of(ONE),
    "replace_password": lambda store: store.replace_password(
        ONE, before="a", after="b", but=None, at=AT, over=AT
    ),
    "note_passwords": lambda store: store.note_passwords(),
    "role_grants": lambda store: store.role_grants(ONE, ONE),
    "add_invitation": lambda store: store.add_invitation(INVITATION, b"a"),
    "find_invitation": lambda store: store.find_invitation(b"a", "a"),
    "open_invitations": lambda store: store.open_invitations(ONE, AT, None),
    "revoke_invitation": lambda store: store.revoke_invitation(ONE, ONE, AT),
    "purge_invitations": lambda store: store.purge_invitations(AT),
    "reserve_attempt": lambda store: store.reserve_attempt(ATTEMPT, AttemptLimits()),
    "return_attempt": lambda store: store.return_attempt(RESERVED, AT, AttemptLimits()),
    "forgive_attempts": lambda store: store.forgive_attempts(RESERVED, AT, AttemptLimits()),
    "forget_attempts": lambda store: store.forget_attempts("a"),
    "forget_attempts_from": lambda store: store.forget_attempts_from("192.0.2.1"),
    "waiting_attempts": lambda store: store.waiting_attempts(AT),
    "purge_attempts": lambda store: store.purge_attempts(AT, AT),
    "is_published": lambda store: store.is_published(b"a"),
    "mark_published": lambda store: store.mark_published(b"a", "a"),
    "was_used_elsewhere": lambda store: store.was_used_elsewhere(b"a", is_ours=True),
    "unused_successor": lambda store: store.unused_successor(b"a"),
    "supersede": lambda store: store.supersede(b"a", AT),
    "published_of": lambda store: store.published_of([ONE]),
    "purge_sessions": lambda store: store.purge_sessions(AT),
    "settle_quotas": lambda store: store.settle_quotas(ONE, Batch(1, (Ask(COUNT, 1, 1),)), {}),
    "quota_standings": lambda store: store.quota_standings([COUNT], {}),
    "set_quota": lambda store: store.set_quota(Quoted.API_KEY, ONE, Period.DAY, 1),
    "clear_quotas": lambda store: store.clear_quotas(Quoted.API_KEY, ONE, [Period.DAY]),
    "list_quotas": lambda store: store.list_quotas(None, 0, 0),
    "purge_quotas": lambda store: store.purge_quotas(1e9),
    "sso_providers": lambda store: store.sso_providers(),
    "sso_accounts": lambda store: store.sso_accounts("google", "1", "a@b"),
    "bind_account": lambda store: store.bind_account(ONE, BINDING),
    "note_sso_session": lambda store: store.note_sso_session(PROVIDER_SESSION, [b"a"], AT),
    "note_sso_logout": lambda store: store.note_sso_logout(b"a", AT),
    "sso_sessions": lambda store: store.sso_sessions("https://a", "1", ""),
    "end_sso_sessions": lambda store: store.end_sso_sessions("google", AT, AT),
    "sso_session": lambda store: store.sso_session(ONE),
    "purge_sso": lambda store: store.purge_sso(AT),
    "append_trail": lambda store: store.append_trail(ONE, 1, [AuditRecord(at=AT, event="a", outcome="b")]),
    "tidy_trail": lambda store: store.tidy_trail(0),
    "list_trail": lambda store: store.list_trail(TrailFilter(), 1),
    "check_trail": lambda store: store.check_trail(),
    "is_ticket_used": lambda store: store.is_ticket_used(b"a"),
}


async def test_every_public_call_of_the_store_is_tried_in_an_outage() -> None:
    store = await open_store(NOWHERE)
    public = {name for name in dir(store) if not name.startswith("_")} - {
        "connect",
        "clock",
        "is_read_only",
        "lacking",
        "close",
        "suspect",
        "recover",
        "figures",
        "histograms",
        "failing",
        "look",
        "server",
        "tell_moves",
    }
    assert public == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
async def test_with_no_database_every_call_says_unavailable(name: str) -> None:
    store = await open_store(NOWHERE)
    with pytest.raises(StoreUnavailable) as outage:
        await CALLS[name](store)
    assert outage.value.__cause__ is not None
    assert "s3cr3t" not in repr(outage.value) + repr(outage.value.__cause__) + repr(store)
    await store.close()


async def test_without_its_tables_every_call_says_unavailable(database_url: str) -> None:
    store = await open_store(database_url)
    for name in set(CALLS) - {
        "ping",
        "look_at_schema",
        "look_at_triggers",
        "echo",
        "encoding",
        "limits",
        "most_connections",
    }:
        with pytest.raises(StoreUnavailable):
            await CALLS[name](store)
    await store.close()


async def test_what_the_domain_asks_for_is_unavailable_too_and_not_denied(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    key, _ = await world.key(user, organization)
    pair = (await world.login()).tokens
    await world.store.close()
    for work in (
        world.authenticator.authenticate(BearerToken(pair.access_token.encode()), None, NOW),
        world.authenticator.authenticate(ApiKey(key), None, NOW),
        world.sessions.refresh(RefreshToken(pair.refresh_token), NOW),
        world.sessions.close(RefreshToken(pair.refresh_token), NOW),
        world.accounts.login(PasswordLogin("nobody@example.com", "x"), NOW),
        world.accounts.switch(user, organization, NOW),
        world.accounts.register(
            email="a@b",
            password="password",
            full_name="a",
            organization_id=organization,
            now=NOW,
        ),
    ):
        with pytest.raises(StoreUnavailable):
            await work


async def test_a_store_whose_database_comes_back_works_again(migrated_url: str, postgres_url: str) -> None:
    name = urlsplit(migrated_url).path.lstrip("/")
    down = (
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608
    )
    await execute(postgres_url, *down)
    store = await open_store(migrated_url, pool_min=1)  # down at its start, and no failure
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.ping()
    await execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await store.ping()
    await execute(postgres_url, *down)
    with pytest.raises(StoreUnavailable):
        await store.subject(ONE, ONE)
    await execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreUnavailable):
                assert await store.subject(ONE, ONE) is None
                break
            await asyncio.sleep(0.01)
    await store.close()


async def test_a_statement_that_hangs_is_unavailable_in_its_time(world: World) -> None:
    store = await open_store(world.url, statement_timeout_seconds=0.2)
    connection = await asyncpg.connect(world.url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE users")
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(StoreUnavailable):
                await store.subject(ONE, ONE)
    await connection.close()
    assert await store.subject(ONE, ONE) is None
    await store.close()


async def test_waiting_for_a_connection_is_bounded(world: World) -> None:
    store = await open_store(
        world.url, pool_max=1, acquire_timeout_seconds=0.2, statement_timeout_seconds=2 * PATIENCE
    )
    connection = await asyncpg.connect(world.url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE users")
        hanging = asyncio.ensure_future(store.subject(ONE, ONE))
        async with asyncio.timeout(PATIENCE):
            while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            with pytest.raises(StoreUnavailable):
                await store.ping()
        assert not hanging.done()
    assert await hanging is None
    await connection.close()
    await store.close()


async def test_a_server_that_accepts_and_says_nothing_is_unavailable() -> None:
    accepted = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = await open_store(f"postgresql://a@127.0.0.1:{port}/b", connect_timeout_seconds=0.2)
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*(store.ping() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in outcomes)
    assert accepted < len(outcomes), "each in its turn would be 4 seconds"
    await store.close()
    server.close()
    await server.wait_closed()


async def test_a_caller_that_gives_up_waiting_leaves_the_pool_whole(world: World) -> None:
    store = await open_store(world.url, pool_max=1)
    for _ in range(20):
        work = asyncio.ensure_future(store.subject(ONE, ONE))
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert await store.subject(ONE, ONE) is None
    await store.close()


async def test_a_mistake_of_ours_is_not_passed_off_as_an_outage(world: World) -> None:
    with pytest.raises(asyncpg.DataError):
        await world.store.subject("no uuid", "at all")  # type: ignore[arg-type]
    for url in ("mysql://x", "", "nonsense"):
        with pytest.raises(ValueError, match="postgresql://"):
            await open_store(url)

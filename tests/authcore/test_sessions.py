"""Sessions: one use for each refresh token, whoever issued it, however many try at once."""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.accounts.sessions import Reuse, Sessions
from authcore.credentials import BearerToken, RefreshToken
from authcore.errors import (
    AuthError,
    RefreshExpired,
    RefreshRejected,
    RefreshReused,
    RefreshRevoked,
    RefreshUserUnknown,
    RefreshWrongKind,
    StoreUnavailable,
    TokenRevoked,
    UserDisabled,
)
from authcore.moments import moment
from authcore.store.session_rows import Visit
from authcore.tokens.claims import AccessClaims, RefreshClaims
from tests.support.domain import NOW, SECRET

if TYPE_CHECKING:
    from authcore.accounts.token_pairs import TokenPair
    from tests.support.domain import World


async def begin(world: World) -> tuple[UUID, UUID, RefreshToken]:
    """A user with a session: (user, organization, refresh token)."""
    organization = await world.organization()
    user = await world.user(organization)
    return user, organization, RefreshToken((await world.login()).tokens.refresh_token)


def foreign(
    user: UUID, organization: UUID, *, expires_at: float = NOW + 86_400, issued_at: float = NOW - 60
) -> RefreshToken:
    """A refresh token as Whatomate issues it."""
    claims = {
        "user_id": str(user),
        "organization_id": str(organization),
        "email": "user@example.com",
        "is_super_admin": False,
        "jti": str(uuid4()),
        "iss": "whatomate",
        "iat": int(issued_at),
        "exp": expires_at,
    }
    return RefreshToken(jwt.encode(claims, SECRET, algorithm="HS256"))


LATER = NOW + 10
"""When a token that was used at NOW is no longer raced for by its own client."""


async def revoked(world: World, token: RefreshToken, now: float = LATER) -> bool:
    try:
        await world.sessions.refresh(token, now)
    except RefreshRevoked:
        return True
    return False


def successor(pair: TokenPair) -> RefreshToken:
    return RefreshToken(pair.refresh_token)


async def test_a_refresh_yields_a_new_pair_in_the_same_organization(world: World) -> None:
    user, _, _ = await begin(world)
    other = await world.organization("Other")
    await world.accounts.administration.add_member(user, other, "manager")
    switched = await world.accounts.switch(user, other, NOW)
    pair = await world.sessions.refresh(successor(switched.tokens), NOW + 10)
    access = world.tokens.verify(pair.access_token, AccessClaims, NOW + 10)
    assert (access.user_id, access.organization_id) == (user, other)
    assert access.role_id == (await world.store.role_id(other, "manager"))
    refresh = world.tokens.verify(pair.refresh_token, RefreshClaims, NOW + 10)
    assert refresh.organization_id == other
    assert pair.expires_in == 3600
    assert pair.refresh_token not in repr(pair)
    assert pair.access_token not in repr(pair)


async def test_a_chain_of_refreshes_goes_on(world: World) -> None:
    _, _, token = await begin(world)
    for step in range(5):
        token = successor(await world.sessions.refresh(token, NOW + step * 6 * 86_400))
    assert len(await world.sql("SELECT FROM gateway_sessions")) == 1


@pytest.mark.parametrize("issued_by", ["gateway", "whatomate"])
async def test_a_token_used_twice_ends_its_family(world: World, issued_by: str) -> None:
    user, organization, token = await begin(world)
    if issued_by == "whatomate":
        token = foreign(user, organization)
    pair = await world.sessions.refresh(token, NOW)
    with pytest.raises(RefreshRevoked, match="revoked"):
        await world.sessions.refresh(token, LATER)
    assert await revoked(world, successor(pair))


@pytest.mark.parametrize("issued_by", ["gateway", "whatomate"])
async def test_a_client_that_races_itself_gets_the_same_pair_again(world: World, issued_by: str) -> None:
    user, organization, token = await begin(world)
    if issued_by == "whatomate":
        token = foreign(user, organization)
    pair = await world.sessions.refresh(token, NOW)
    again = await world.sessions.refresh(token, NOW + 9.9)
    assert (again.access_token, again.refresh_token) == (pair.access_token, pair.refresh_token)
    assert again.session_id == pair.session_id
    assert (again.expires_in, again.refresh_expires_in) == (3600 - 9, 7 * 86_400 - 9)
    await world.sessions.refresh(successor(pair), NOW + 9.9)


async def test_another_session_of_the_user_is_not_touched(world: World) -> None:
    _, _, token = await begin(world)
    other = RefreshToken((await world.login()).tokens.refresh_token)
    await world.sessions.refresh(token, NOW)
    assert await revoked(world, token)
    assert not await revoked(world, other)


@pytest.mark.parametrize("issued_by", ["gateway", "whatomate"])
async def test_many_refreshes_at_once_get_one_and_the_same_pair(world: World, issued_by: str) -> None:
    user, organization, token = await begin(world)
    if issued_by == "whatomate":
        token = foreign(user, organization)
    before = len(await world.sql("SELECT FROM gateway_refresh_tokens"))
    outcomes = await asyncio.gather(*(world.sessions.refresh(token, NOW) for _ in range(20)))
    assert len({(pair.access_token, pair.refresh_token, pair.session_id) for pair in outcomes}) == 1
    entered = 2 if issued_by == "whatomate" else 1
    assert len(await world.sql("SELECT FROM gateway_refresh_tokens")) == before + entered


@pytest.mark.parametrize("issued_by", ["gateway", "whatomate"])
async def test_a_session_that_was_logged_out_is_over(world: World, issued_by: str) -> None:
    user, organization, token = await begin(world)
    if issued_by == "whatomate":
        token = foreign(user, organization)
    await world.sessions.close(token, NOW)
    await world.sessions.close(token, NOW)
    assert await revoked(world, token)


async def test_logging_out_with_an_old_token_ends_the_family_too(world: World) -> None:
    _, _, token = await begin(world)
    pair = await world.sessions.refresh(token, NOW)
    await world.sessions.close(token, NOW)
    assert await revoked(world, successor(pair))


async def test_logging_out_a_token_that_is_not_good_does_nothing(world: World) -> None:
    _, _, token = await begin(world)
    access = (await world.login()).tokens.access_token
    before = await world.sql("SELECT * FROM gateway_sessions ORDER BY id")
    for bad in ("", "x", "a.b.c", access, token.token[:-2] + "AA", "\ud800", "é" * 9000):
        await world.sessions.close(RefreshToken(bad), NOW)
    await world.sessions.close(token, NOW + 8 * 86_400)
    assert await world.sql("SELECT * FROM gateway_sessions ORDER BY id") == before


async def test_what_is_no_refresh_token_is_rejected_by_kind(world: World) -> None:
    user, organization, token = await begin(world)
    access = (await world.login()).tokens.access_token
    ticket = world.tokens.issue_ticket(user_id=user, organization_id=organization, now=NOW)
    for bad, error in (
        (access, RefreshWrongKind),
        (ticket, RefreshWrongKind),
        ("nonsense", RefreshRejected),
        ("\ud800", RefreshRejected),
        ("", RefreshRejected),
        (token.token[:-4] + "AAAA", RefreshRejected),
    ):
        with pytest.raises(RefreshRejected, match=r"^Invalid refresh token$") as refusal:
            await world.sessions.refresh(RefreshToken(bad), NOW)
        assert type(refusal.value) is error
    with pytest.raises(RefreshExpired, match=r"^Invalid refresh token$"):
        await world.sessions.refresh(token, NOW + 7 * 86_400)


async def test_a_user_who_is_gone_or_off_gets_no_new_pair_and_loses_no_token(world: World) -> None:
    _, _, token = await begin(world)
    await world.sql("UPDATE users SET is_active = false")
    with pytest.raises(UserDisabled):
        await world.sessions.refresh(token, NOW)
    await world.sql("UPDATE users SET deleted_at = now()")
    with pytest.raises(RefreshUserUnknown, match=r"^User not found$"):
        await world.sessions.refresh(token, NOW)
    await world.sql("UPDATE users SET is_active = true, deleted_at = NULL")
    await world.sessions.refresh(token, NOW)


async def test_a_user_removed_from_the_organization_lands_at_home(world: World) -> None:
    user, home, _ = await begin(world)
    other = await world.organization("Other")
    await world.accounts.administration.add_member(user, other)
    token = successor((await world.accounts.switch(user, other, NOW)).tokens)
    await world.sql("UPDATE user_organizations SET deleted_at = now() WHERE organization_id = $1", other)
    pair = await world.sessions.refresh(token, NOW)
    assert world.tokens.verify(pair.access_token, AccessClaims, NOW).organization_id == home
    await world.sql("UPDATE user_organizations SET deleted_at = now()")
    with pytest.raises(RefreshRejected):
        await world.sessions.refresh(successor(pair), NOW)


async def test_a_genuine_token_that_the_store_does_not_know_is_revoked(world: World) -> None:
    _, _, token = await begin(world)
    await world.sql("DELETE FROM gateway_sessions")
    assert await revoked(world, token)


async def test_the_store_keeps_digests_only(world: World) -> None:
    _, _, token = await begin(world)
    rows = await world.sql("SELECT * FROM gateway_refresh_tokens")
    assert [len(row["digest"]) for row in rows] == [32]
    shown = repr(rows) + repr(await world.sql("SELECT * FROM gateway_sessions")) + repr(token)
    assert not any(part in shown for part in token.token.split("."))


async def test_an_outage_consumes_nothing(own_world: World) -> None:
    _, _, token = await begin(own_world)
    for table in ("gateway_refresh_tokens", "gateway_sessions", "users"):
        await own_world.sql(f"ALTER TABLE {table} RENAME TO away")
        with pytest.raises(StoreUnavailable):
            await own_world.sessions.refresh(token, NOW)
        await own_world.sql(f"ALTER TABLE away RENAME TO {table}")
    await own_world.sessions.refresh(token, NOW)


async def test_a_failure_in_the_midst_of_rotation_consumes_nothing(own_world: World) -> None:
    _, _, token = await begin(own_world)
    await own_world.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$"
    )
    await own_world.sql(
        "CREATE TRIGGER fail BEFORE INSERT ON gateway_refresh_tokens FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    with pytest.raises(StoreUnavailable):
        await own_world.sessions.refresh(token, NOW)
    await own_world.sql("DROP TRIGGER fail ON gateway_refresh_tokens")
    await own_world.sessions.refresh(token, NOW)


async def test_a_logout_beats_a_refresh_that_runs_beside_it(world: World) -> None:
    for _ in range(5):
        token = RefreshToken((await world.login()).tokens.refresh_token) if _ else (await begin(world))[2]
        pair, _closed = await asyncio.gather(
            world.sessions.refresh(token, NOW), world.sessions.close(token, NOW), return_exceptions=True
        )
        if isinstance(pair, AuthError):
            assert isinstance(pair, RefreshRevoked)
        else:
            assert not isinstance(pair, BaseException)
            assert await revoked(world, successor(pair))


async def test_purging_forgets_the_ended_and_keeps_what_protects(world: World) -> None:
    user, organization, token = await begin(world)
    used = foreign(user, organization, expires_at=NOW + 30 * 86_400)
    await world.sessions.refresh(used, NOW)
    assert await world.sessions.purge(NOW + 7 * 86_400) == 0
    assert await world.sessions.purge(NOW + 9 * 86_400) == 1
    with pytest.raises(RefreshRevoked):
        await world.sessions.refresh(used, NOW + 29 * 86_400)
    assert await world.sessions.purge(NOW + 32 * 86_400) == 1
    assert await world.sql("SELECT FROM gateway_refresh_tokens") == []
    assert token.token


# -- the end by time ----------------------------------------------------------------------------------------------


async def test_no_token_outlives_its_session_and_no_session_its_lifetime(world: World) -> None:
    await begin(world)
    sessions = Sessions(world.store, world.tokens, session_seconds=9 * 86_400)
    subject = await world.store.subject(*(await world.sql("SELECT id, organization_id FROM users"))[0])
    assert subject is not None
    pair = await sessions.open(subject, NOW)
    assert (pair.expires_in, pair.refresh_expires_in) == (3600, 7 * 86_400)
    late = NOW + 7 * 86_400 - 1
    pair = await sessions.refresh(successor(pair), late)
    assert (pair.expires_in, pair.refresh_expires_in) == (3600, 2 * 86_400 + 1)
    last = NOW + 9 * 86_400 - 10
    pair = await sessions.refresh(successor(pair), last)
    assert (pair.expires_in, pair.refresh_expires_in) == (10, 10)
    access = world.tokens.verify(pair.access_token, AccessClaims, last)
    assert access.expires_at == NOW + 9 * 86_400
    with pytest.raises(RefreshExpired):
        await sessions.refresh(successor(pair), NOW + 9 * 86_400)


async def test_a_lifetime_that_was_shortened_holds_for_sessions_that_have_begun(world: World) -> None:
    _, _, token = await begin(world)
    shorter = Sessions(world.store, world.tokens, session_seconds=86_400)
    with pytest.raises(RefreshExpired, match=r"^Invalid refresh token$"):
        await shorter.refresh(token, NOW + 86_400)
    await world.sessions.refresh(token, NOW + 86_400)  # which has not used it up


async def test_purging_forgets_used_tokens_of_a_session_that_goes_on(world: World) -> None:
    _, _, token = await begin(world)
    for day in range(12):
        token = successor(await world.sessions.refresh(token, NOW + day * 86_400))
    assert await world.sessions.purge(NOW + 12 * 86_400) == 0
    assert len(await world.sql("SELECT FROM gateway_refresh_tokens")) == 8  # of seven days and one of grace
    await world.sessions.refresh(token, NOW + 12 * 86_400)
    await world.sessions.close_others((await world.sql("SELECT id FROM users"))[0]["id"], None, NOW)
    await world.sessions.purge(NOW + 399 * 86_400)
    assert len(await world.sql("SELECT FROM gateway_sign_outs")) == 1
    await world.sessions.purge(NOW + 402 * 86_400)
    assert await world.sql("SELECT FROM gateway_sign_outs") == []


async def test_purging_takes_more_than_one_batch(world: World) -> None:
    await world.sql(
        "INSERT INTO gateway_sessions (id, user_id, organization_id, created_at, expires_at) "
        "SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now(), 'epoch' FROM generate_series(1, 4500)"
    )
    assert await world.sessions.purge(NOW) == 4500


async def test_the_latest_used_token_that_lost_its_row_proves_theft_even_after_a_refresh_that_deletes_none(
    world: World,
) -> None:
    _, _, token = await begin(world)
    used = []
    for second in range(3):
        used.append(token)
        token = successor(await world.sessions.refresh(token, NOW + second))
    latest = used[-1]
    await world.sql("DELETE FROM gateway_refresh_tokens WHERE used_at IS NOT NULL")
    await world.sql("UPDATE gateway_sessions SET forgotten_until = $1", moment(NOW + 1))  # that of the latest
    pair = await world.sessions.refresh(token, NOW + 100)
    with pytest.raises(RefreshReused):
        await world.sessions.refresh(latest, NOW + 200)
    assert not await world.sessions.is_live(pair.session_id, NOW + 200)


# -- another organization -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["logged out", "another password", "another user"])
async def test_a_session_that_ended_since_its_user_was_read_gives_no_tokens(world: World, end: str) -> None:
    user, organization, _ = await begin(world)
    session = (await world.login()).tokens.session_id
    subject = await world.store.subject(user, organization, session)
    assert subject is not None
    if end == "logged out":
        await world.sessions.close_one(user, session, NOW)
    elif end == "another password":
        await world.sql("UPDATE users SET password_hash = 'another'")
    else:
        other = await world.user(organization, "other@example.com")
        subject = replace(subject, user_id=other)
    before = await world.sql("SELECT count(*) AS rows FROM gateway_refresh_tokens")
    with pytest.raises(TokenRevoked):
        await world.sessions.extend(subject, session, NOW)
    assert await world.sql("SELECT count(*) AS rows FROM gateway_refresh_tokens") == before


# -- the end by its user ------------------------------------------------------------------------------------------


async def test_ending_the_others_spares_the_one_and_what_came_since(world: World) -> None:
    user, organization, mine = await begin(world)
    others = [RefreshToken((await world.login()).tokens.refresh_token) for _ in range(3)]
    current = world.tokens.verify(mine.token, RefreshClaims, NOW).session_id
    assert await world.sessions.close_others(user, current, NOW + 1) == 3
    assert await world.sessions.close_others(user, current, NOW + 1) == 0
    for token in others:
        assert await revoked(world, token)
    assert not await revoked(world, mine)
    assert await revoked(world, foreign(user, organization))  # issued before then, entered after
    later = foreign(user, organization, issued_at=NOW + 2)
    assert not await revoked(world, later)
    assert (current is not None and await world.sessions.is_live(current, NOW)) is True


async def test_ending_the_others_spares_a_session_that_whatomates_token_began(world: World) -> None:
    user, organization, _ = await begin(world)
    token = foreign(user, organization)
    pair = await world.sessions.refresh(token, NOW)
    await world.sessions.close_others(user, pair.session_id, NOW)
    assert (await world.sessions.refresh(token, NOW + 1)).refresh_token == pair.refresh_token
    with pytest.raises(RefreshReused):  # and it is still watched
        await world.sessions.refresh(token, LATER)
    assert await revoked(world, successor(pair))


async def test_a_session_is_live_until_it_is_not(world: World) -> None:
    user, _, _ = await begin(world)
    session = (await world.login()).tokens.session_id
    assert await world.sessions.is_live(session, NOW)
    assert not await world.sessions.is_live(session, NOW + 7 * 86_400)
    assert not await world.sessions.is_live(uuid4(), NOW)
    await world.sessions.close_one(user, session, NOW)
    assert not await world.sessions.is_live(session, NOW)


async def test_whoever_ends_sessions_tells_which(world: World) -> None:
    user, organization, _ = await begin(world)
    told: list[UUID] = []
    sessions = Sessions(
        world.store, world.tokens, reuse=Reuse.STRICT, tell=lambda change: told.extend(change.rows)
    )
    pairs = [(await world.login()).tokens for _ in range(5)]
    ids = [pair.session_id for pair in pairs]
    await sessions.refresh(successor(pairs[0]), NOW)
    with pytest.raises(RefreshReused) as theft:
        await sessions.refresh(successor(pairs[0]), LATER)
    assert theft.value.session_id == ids[0]
    await sessions.close(successor(pairs[1]), NOW)
    await sessions.close_bearer(BearerToken(pairs[2].access_token.encode()), NOW)
    await sessions.close_one(user, ids[3], NOW)
    assert told == ids[:4]
    await sessions.close_others(user, ids[4], NOW)  # there is the one that `begin` began
    assert len(told) == 6
    assert user in told, "for tokens without a session"
    assert ids[4] not in told
    for nothing in (successor(pairs[0]), foreign(user, organization)):
        await sessions.close(nothing, NOW + 86_400)
    assert len(told) == 6  # what is over, or was never entered, is no news


# -- databases and tokens from before -----------------------------------------------------------------------------


async def test_a_token_from_before_tokens_named_their_session_goes_on_in_it(world: World) -> None:
    user, organization, _ = await begin(world)
    (before,) = await world.sql("SELECT id FROM gateway_sessions")
    old = RefreshToken(
        world.tokens.issue_refresh(
            user_id=user,
            organization_id=organization,
            email="",
            role_id=None,
            is_super_admin=False,
            now=NOW,
        )
    )
    await world.sql(
        "UPDATE gateway_refresh_tokens SET digest = $1",
        sha256(old.token.rpartition(".")[0].encode()).digest(),
    )
    await world.sql("UPDATE gateway_sessions SET last_used_at = NULL")
    pair = await world.sessions.refresh(old, NOW)
    assert pair.session_id == before["id"]
    assert await world.sessions.refresh(old, NOW) == pair
    with pytest.raises(RefreshReused):
        await world.sessions.refresh(old, LATER)


async def test_a_token_used_before_its_successors_were_kept_is_refused_within_the_grace(world: World) -> None:
    _, _, token = await begin(world)
    pair = await world.sessions.refresh(token, NOW)
    await world.sql("UPDATE gateway_refresh_tokens SET successor = NULL")
    assert await revoked(world, token, NOW + 1)
    assert not await revoked(world, successor(pair), NOW + 1)


@given(st.text(), st.text())
def test_what_a_client_says_of_itself_is_bounded_and_printable(device: str, address: str) -> None:
    visit = Visit.of(device, address)
    assert len(visit.device) <= 256
    assert len(visit.address) <= 64
    for text in (visit.device, visit.address):
        assert text == text.strip()
        assert not any(unicodedata.category(one) in {"Cc", "Cf", "Cs"} for one in text)
        text.encode()

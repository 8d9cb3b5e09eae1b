"""API keys: form, proof, state, and the record of their use."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from authcore.credentials import ApiKey
from authcore.errors import (
    ApiKeyExpired,
    ApiKeyMalformed,
    ApiKeyRejected,
    ApiKeyRevoked,
    ApiKeyUnknown,
    NotAMember,
    StoreUnavailable,
    UserUnknown,
)
from authcore.identity import api_keys
from authcore.identity.api_keys import LastUsed
from tests.support.domain import NOW, hashed

if TYPE_CHECKING:
    from authcore.identity.api_keys import ApiKeys
    from authcore.store.rows import ApiKeyRow
    from tests.support.domain import World


async def active(keys: ApiKeys, credential: ApiKey, now: float) -> ApiKeyRow:
    """Prove a key and require that it is active, as the resolver does."""
    row = await keys.prove(credential, now)
    api_keys.require_active(row, now)
    return row


def test_a_minted_key_has_the_form_and_is_new() -> None:
    keys = {api_keys.mint() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert api_keys.parse(key.encode()) == key.encode()
        assert api_keys.prefixes(key.encode()) == (key[4:20], key[4:12])


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"whm_",
        b"whm_" + b"a" * 31,
        b"whm_" + b"a" * 33,
        b"whm_" + b"A" * 32,
        b"WHM_" + b"a" * 32,
        b"whm_" + b"g" * 32,
        b"a" * 36,
        b"whm_" + b"a" * 32 + b"\n",
        b" whm_" + b"a" * 32,
        b"whm_" + "ä".encode() * 16,
        b"\xff" * 36,
        b"whm_" + b"a" * 1_000_000,
    ],
)
async def test_what_has_not_the_form_is_refused_unasked(world: World, key: bytes) -> None:
    with pytest.raises(ApiKeyMalformed):
        await active(world.new_api_keys(), ApiKey(key), NOW)
    assert world.passwords.pool.started == 0


async def test_a_created_key_proves_itself_and_is_kept_by_hash_only(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    row, key = await world.accounts.administration.create_api_key(user, organization, "integration")
    proved = await active(world.new_api_keys(), ApiKey(key.encode()), NOW)
    assert (proved.id, proved.user_id, proved.organization_id) == (row.id, user, organization)
    (stored,) = await world.sql("SELECT * FROM api_keys")
    assert stored["key_prefix"] == key[4:20]
    assert stored["key_hash"].startswith("$2a$10$")
    assert key not in repr(stored) + repr(row) + repr(proved) + repr(ApiKey(key.encode()))
    assert stored["key_hash"] not in repr(proved)


async def test_keys_of_both_prefix_widths_prove_themselves(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    proofs = world.new_api_keys()
    for length in (8, 16):
        key, key_id = await world.key(user, organization, prefix_length=length)
        assert (await active(proofs, ApiKey(key), NOW)).id == key_id


async def test_of_keys_with_one_prefix_each_proves_itself(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    first, second = "whm_" + "ab" * 4 + "1" * 24, "whm_" + "ab" * 4 + "2" * 24
    for key in (first, second):
        await world.sql(
            "INSERT INTO api_keys (organization_id, user_id, name, key_prefix, key_hash) VALUES ($1, $2, $3, $4, $5)",
            organization,
            user,
            key,
            key[4:12],
            hashed(key),
        )
    proofs = world.new_api_keys()
    ids = {(await active(proofs, ApiKey(key.encode()), NOW)).id for key in (first, second)}
    assert len(ids) == 2
    with pytest.raises(ApiKeyRejected):
        await active(proofs, ApiKey(b"whm_" + b"ab" * 4 + b"3" * 24), NOW)


async def test_a_key_that_is_off_expired_or_deleted_is_refused(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    proofs = world.new_api_keys()
    off, _ = await world.key(user, organization, is_active=False)
    with pytest.raises(ApiKeyRevoked):
        await active(proofs, ApiKey(off), NOW)
    ending, _ = await world.key(user, organization, expires_at=datetime.fromtimestamp(NOW, UTC))
    await active(proofs, ApiKey(ending), NOW - 0.01)
    with pytest.raises(ApiKeyExpired):
        await active(proofs, ApiKey(ending), NOW)
    deleted, key_id = await world.key(user, organization)
    await active(proofs, ApiKey(deleted), NOW)
    await world.sql("UPDATE api_keys SET deleted_at = now() WHERE id = $1", key_id)
    with pytest.raises(ApiKeyRejected):
        await active(proofs, ApiKey(deleted), NOW)


async def test_the_state_of_a_key_is_told_to_its_owner_only(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    off, _ = await world.key(user, organization, is_active=False)
    with pytest.raises(ApiKeyRejected) as refusal:
        await active(world.new_api_keys(), ApiKey(off[:-2] + b"00"), NOW)
    assert type(refusal.value) is ApiKeyRejected


async def test_bcrypt_proves_a_key_once_until_its_hash_changes(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    key, key_id = await world.key(user, organization)
    proofs = world.new_api_keys()
    before = world.passwords.pool.started
    for _ in range(5):
        await active(proofs, ApiKey(key), NOW)
    assert world.passwords.pool.started == before + 1
    await world.sql("UPDATE api_keys SET key_hash = $1 WHERE id = $2", hashed("another"), key_id)
    with pytest.raises(ApiKeyRejected):
        await active(proofs, ApiKey(key), NOW)


async def test_a_wrong_key_is_never_remembered_as_right(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    key, _ = await world.key(user, organization)
    wrong = key[:-1] + (b"0" if key[-1:] != b"0" else b"1")
    proofs = world.new_api_keys()
    for one in (wrong, key, wrong):
        if one is key:
            await active(proofs, ApiKey(one), NOW)
        else:
            with pytest.raises(ApiKeyRejected):
                await active(proofs, ApiKey(one), NOW)


async def test_a_row_that_holds_no_hash_proves_nothing(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    key, _ = await world.key(user, organization)
    for rubbish in ("", "x", "$2a$31$" + "." * 53, key.decode()):
        await world.sql("UPDATE api_keys SET key_hash = $1", rubbish)
        with pytest.raises(ApiKeyRejected):
            await active(world.new_api_keys(), ApiKey(key), NOW)


async def test_administration_lists_revokes_and_refuses_what_is_not_there(world: World) -> None:
    organization, elsewhere = await world.organization(), await world.organization("Other")
    user = await world.user(organization)
    row, key = await world.accounts.administration.create_api_key(
        user, organization, "one", datetime(2030, 1, 1, tzinfo=UTC)
    )
    assert [
        (one.id, one.name) for one in await world.accounts.administration.list_api_keys(organization)
    ] == [(row.id, "one")]
    assert list(await world.accounts.administration.list_api_keys(elsewhere)) == []
    await world.accounts.administration.revoke_api_key(row.id)
    with pytest.raises(ApiKeyRevoked):
        await active(world.new_api_keys(), ApiKey(key.encode()), NOW)
    with pytest.raises(ApiKeyUnknown):
        await world.accounts.administration.revoke_api_key(UUID(int=1))
    with pytest.raises(NotAMember):
        await world.accounts.administration.create_api_key(user, elsewhere, "x")
    with pytest.raises(UserUnknown):
        await world.accounts.administration.create_api_key(UUID(int=1), organization, "x")


async def test_uses_are_written_together_and_never_backwards(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    ids = [(await world.key(user, organization))[1] for _ in range(3)]
    used = LastUsed(world.store)
    assert await used.flush(NOW) == 0
    for key_id in (*ids[:2], ids[0]):
        used.add(key_id)
    assert await used.flush(NOW) == 2
    assert await used.flush(NOW + 5) == 0
    used.add(ids[0])
    await used.flush(NOW - 100)
    rows = await world.sql("SELECT id, last_used_at FROM api_keys")
    at = datetime.fromtimestamp(NOW, UTC)
    assert {row["id"]: row["last_used_at"] for row in rows} == {ids[0]: at, ids[1]: at, ids[2]: None}


async def test_uses_that_could_not_be_written_are_kept(own_world: World) -> None:
    organization = await own_world.organization()
    key_id = (await own_world.key(await own_world.user(organization), organization))[1]
    used = LastUsed(own_world.store)
    used.add(key_id)
    await own_world.sql("ALTER TABLE api_keys RENAME TO away")
    with pytest.raises(StoreUnavailable):
        await used.flush(NOW)
    await own_world.sql("ALTER TABLE away RENAME TO api_keys")
    assert await used.flush(NOW) == 1


async def test_uses_of_a_write_that_is_cancelled_are_kept(world: World) -> None:
    """A gateway that stops cancels the write that is under way, and then writes for the last time."""
    organization = await world.organization()
    used = LastUsed(world.store)
    used.add((await world.key(await world.user(organization), organization))[1])
    connection = await asyncpg.connect(world.url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE api_keys")
        flushing = asyncio.ensure_future(used.flush(NOW))
        await asyncio.sleep(0.1)
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
    await connection.close()
    assert await used.flush(NOW) == 1


async def test_a_use_during_a_write_belongs_to_the_next_one(world: World) -> None:
    organization = await world.organization()
    user = await world.user(organization)
    first, second = [(await world.key(user, organization))[1] for _ in range(2)]
    used = LastUsed(world.store)
    used.add(first)
    connection = await asyncpg.connect(world.url)
    async with connection.transaction():
        await connection.execute("LOCK TABLE api_keys")
        flushing = asyncio.ensure_future(used.flush(NOW))
        await asyncio.sleep(0.1)
        used.add(second)
    await connection.close()
    assert await flushing == 1
    assert await used.flush(NOW) == 1

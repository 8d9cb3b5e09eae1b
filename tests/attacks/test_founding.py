"""Making what lives on with a credential that somebody else will end: a leaked key, a token of the provider's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.accounts import KEYS, key_works
from tests.support.calls import ask, bearer, get, granted, is_refusal, post, put, request
from tests.support.processes import eventually
from tests.support.sockets import closed_by, echoing, opened

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.issuers import Provider
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


INVITATIONS = "/api/auth/invitations"


def by_key(key: str) -> str:
    return f"X-API-Key: {key}"


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, keys={"mint_keys": True})


async def child_of(gate: Gateway, key: str, **more: Any) -> dict[str, Any]:
    return await granted(gate, post(KEYS, {"name": "child", **more}, by_key(key)))


# -- by default ---------------------------------------------------------------------------------------------------


async def test_an_api_key_makes_no_keys_and_no_invitations(world: World, start: Start) -> None:
    gate = await start(world.url)
    for target in (KEYS, INVITATIONS):
        answer = await ask(gate, post(target, {"name": "persist"}, by_key(world.api_key)))
        is_refusal(answer, 403, "Not available with this credential (api_key)")
    assert len(await world.sql("SELECT FROM api_keys")) == 1
    assert await world.sql("SELECT FROM gateway_invitations") == []
    await granted(gate, get(KEYS, by_key(world.api_key)))


async def test_a_foreign_token_makes_no_keys_and_no_invitations(
    world: World, start: Start, provider: Provider
) -> None:
    gate = await start(world.url, issuer=provider.settings(), keys={"mint_keys": True})
    line = bearer(provider.token(email="admin@example.com"))
    for target in (KEYS, INVITATIONS):
        answer = await ask(gate, post(target, {"name": "f"}, line))
        is_refusal(answer, 403, "Not available with this credential (foreign)")
    assert len(await world.sql("SELECT FROM api_keys")) == 1
    assert await world.sql("SELECT FROM gateway_invitations") == []
    await granted(gate, get(KEYS, line))
    await granted(gate, get(INVITATIONS, line))


async def test_no_key_and_no_foreign_token_switches_a_key_on_again_and_both_may_end_one(
    world: World, start: Start, provider: Provider
) -> None:
    """A key that was switched off after a leak is as good as a new one to whoever still has it."""
    gate = await start(world.url, issuer=provider.settings())
    lines = [by_key(world.api_key), bearer(provider.token(email="admin@example.com"))]
    for line in lines:
        row, _ = await world.accounts.administration.create_api_key(world.admin, world.home, "leaked")
        one = f"{KEYS}/{row.id}"
        assert (await granted(gate, put(one, {"is_active": False}, line)))["is_active"] is False
        is_refusal(await ask(gate, put(one, {"is_active": True}, line)), 403)
        assert (await granted(gate, get(one, line)))["is_active"] is False
        await granted(gate, put(one, {"is_active": True}, bearer(world.token(world.admin))))
        await granted(gate, request("DELETE", one, line))


async def test_no_client_names_the_key_of_its_request(world: World, start: Start) -> None:
    gate = await start(world.url)
    row, _ = await world.accounts.administration.create_api_key(world.admin, world.home, "off")
    await granted(gate, put(f"{KEYS}/{row.id}", {"is_active": False}, bearer(world.token(world.admin))))
    for name in ("X-Auth-Credential", "x_auth_credential", "X-Auth-Credential-"):
        answer = await ask(
            gate, put(f"{KEYS}/{row.id}", {"is_active": True}, by_key(world.api_key), f"{name}: jwt")
        )
        is_refusal(answer, 403)


async def test_a_setting_lets_keys_mint_keys_and_no_invitations(gate: Gateway, world: World) -> None:
    made = await child_of(gate, world.api_key)
    assert await key_works(gate, made["key"])
    assert made["user_id"] == str(world.admin)
    is_refusal(await ask(gate, post(INVITATIONS, {}, by_key(world.api_key))), 403)


# -- a key that a key has made --------------------------------------------------------------------------------------

ENDS = {
    "switched off": "UPDATE api_keys SET is_active = false WHERE id = $1",
    "null, which is off": "UPDATE api_keys SET is_active = NULL WHERE id = $1",
    "deleted": "UPDATE api_keys SET deleted_at = now() WHERE id = $1",
    "deleted for good": "DELETE FROM api_keys WHERE id = $1",
    "past its time": "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1",
}


@pytest.mark.parametrize("end", ENDS)
async def test_keys_fall_with_what_made_them_at_any_depth_by_plain_sql(
    gate: Gateway, world: World, end: str
) -> None:
    keys = [world.api_key]
    for _ in range(5):
        keys.append((await child_of(gate, keys[-1]))["key"])
    assert all([await key_works(gate, key) for key in keys])
    (row,) = await world.sql(  # the second of the line: what came before it goes on
        "SELECT key_id FROM gateway_api_key_parents WHERE parent_id = $1", world.api_key_id
    )
    await world.sql(ENDS[end], row["key_id"])

    async def revoked_among() -> bool:
        return [await key_works(gate, key) for key in keys] == [True] + [False] * 5

    await eventually(revoked_among)


async def test_a_key_that_nobody_has_used_yet_falls_as_well(gate: Gateway, world: World) -> None:
    made = await child_of(gate, world.api_key)
    await world.sql(ENDS["switched off"], world.api_key_id)
    assert not await key_works(gate, made["key"])


@pytest.mark.parametrize("way", ["switch", "delete", "command"])
async def test_what_the_gateway_ends_is_ended_in_the_table_with_all_that_came_of_it(
    gate: Gateway, world: World, way: str
) -> None:
    """A Whatomate server reads the table, and knows of no parents."""
    child = await child_of(gate, world.api_key)
    grandchild = await child_of(gate, child["key"])
    row, stranger = await world.accounts.administration.create_api_key(world.admin, world.home, "of its own")
    one, admin = f"{KEYS}/{world.api_key_id}", bearer(world.token(world.admin))
    if way == "switch":
        await granted(gate, put(one, {"is_active": False}, admin))
    elif way == "delete":
        await granted(gate, request("DELETE", one, admin))
    else:
        await world.accounts.administration.revoke_api_key(world.api_key_id)
    active = await world.sql("SELECT id FROM api_keys WHERE is_active AND deleted_at IS NULL")
    assert [one["id"] for one in active] == [row.id]
    assert await key_works(gate, stranger)
    for made in (child, grandchild):
        assert not await key_works(gate, made["key"])
    if way == "switch":  # the parent comes back, what it had made does not
        await granted(gate, put(one, {"is_active": True}, admin))
        assert await key_works(gate, world.api_key)
        assert not await key_works(gate, grandchild["key"])


async def test_another_organizations_administrator_ends_nothing_here(gate: Gateway, world: World) -> None:
    made = await child_of(gate, world.api_key)
    elsewhere = bearer(world.token(world.root, world.other))
    one = f"{KEYS}/{world.api_key_id}"
    is_refusal(await ask(gate, put(one, {"is_active": False}, elsewhere)), 404)
    is_refusal(await ask(gate, request("DELETE", one, elsewhere)), 404)
    assert await key_works(gate, made["key"])


async def test_a_key_lives_no_longer_than_what_made_it(gate: Gateway, world: World) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    await world.sql("UPDATE api_keys SET expires_at = $2 WHERE id = $1", world.api_key_id, end)
    later, sooner = end + timedelta(days=1), end - timedelta(hours=1)
    for asked, given in ((None, end), (later, end), (sooner, sooner)):
        more = {} if asked is None else {"expires_at": asked.isoformat()}
        made = await child_of(gate, world.api_key, **more)
        assert datetime.fromisoformat(made["expires_at"]) == given
    # The time of what made its maker was cut since: what is made now has that time, and not the maker's own.
    between = await child_of(gate, world.api_key)
    await world.sql("UPDATE api_keys SET expires_at = $2 WHERE id = $1", world.api_key_id, sooner)
    assert datetime.fromisoformat((await child_of(gate, between["key"]))["expires_at"]) == sooner
    # Its parent's time is cut afterwards: the key has the old one in its row, and ends with the parent.
    await world.sql(ENDS["past its time"], world.api_key_id)
    assert not await key_works(gate, made["key"])


async def test_links_that_form_a_circle_end_the_reading_like_any_others(gate: Gateway, world: World) -> None:
    made = await child_of(gate, world.api_key)
    await world.sql("INSERT INTO gateway_api_key_parents VALUES ($1, $2)", world.api_key_id, made["id"])
    assert await key_works(gate, made["key"])
    await granted(gate, put(f"{KEYS}/{made['id']}", {"is_active": False}, bearer(world.token(world.admin))))

    async def revoked_among() -> bool:
        return not await key_works(gate, made["key"]) and not await key_works(gate, world.api_key)

    await eventually(revoked_among)


async def test_a_socket_of_a_key_falls_with_what_made_the_key(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    upstream.script = echoing()
    grandchild = await child_of(gate, (await child_of(gate, world.api_key))["key"])
    client = await opened(gate, by_key(grandchild["key"]))
    await world.sql(ENDS["switched off"], world.api_key_id)
    assert await closed_by(client) == (4401, "key revoked")

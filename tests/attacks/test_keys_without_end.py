"""Making API keys and invitations again and again, so that the rows of one account grow for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.admin import metrics
from tests.support.calls import ask, bearer, granted, is_refusal, post, request

if TYPE_CHECKING:
    from tests.support.worlds import Start, World


TOO_MANY_KEYS = "You have as many API keys as one may have; delete one, or try again tomorrow"
TOO_MANY_INVITATIONS = "You have made as many invitations as one may have; try again when some have expired"
KEYS, INVITATIONS = "/api/api-keys", "/api/auth/invitations"


async def test_a_key_too_many_is_refused_and_deleting_makes_no_room_for_a_day(
    world: World, start: Start
) -> None:
    gate = await start(world.url, keys={"per_user": 3})  # the admin has one already
    line = bearer(world.token(world.admin))
    made = [await granted(gate, post(KEYS, {"name": "x"}, line)) for _ in range(2)]
    is_refusal(await ask(gate, post(KEYS, {"name": "x"}, line)), 409, TOO_MANY_KEYS)
    assert (await ask(gate, request("DELETE", f"{KEYS}/{made[0]['id']}", line))).status == 200
    is_refusal(await ask(gate, post(KEYS, {"name": "x"}, line)), 409)
    (row,) = await world.sql("SELECT count(*) AS number FROM api_keys WHERE user_id = $1", world.admin)
    assert row["number"] == 3
    await world.sql("UPDATE api_keys SET created_at = now() - interval '25 hours'")
    await granted(gate, post(KEYS, {"name": "x"}, line))
    is_refusal(await ask(gate, post(KEYS, {"name": "x"}, line)), 409)
    # Of others nobody's keys count.
    await granted(gate, post(KEYS, {"name": "x"}, bearer(world.token(world.root))))


@pytest.mark.parametrize(("path", "body"), [(KEYS, {"name": "x"}), (INVITATIONS, {})])
async def test_concurrent_requests_for_keys_or_invitations_do_not_pass_the_greatest_number(
    world: World, start: Start, path: str, body: dict[str, str]
) -> None:
    gate = await start(world.url, keys={"per_user": 5}, invitation={"per_user": 5})
    line = bearer(world.token(world.root))
    answers = await asyncio.gather(*(ask(gate, post(path, body, line)) for _ in range(20)))
    assert Counter(one.status for one in answers) == {200: 5, 409: 15}


async def test_an_invitation_too_many_is_refused_and_taking_back_makes_no_room(
    world: World, start: Start
) -> None:
    gate = await start(world.url, invitation={"per_user": 2})
    line = bearer(world.token(world.admin))
    made = [await granted(gate, post(INVITATIONS, {}, line)) for _ in range(2)]
    is_refusal(await ask(gate, post(INVITATIONS, {}, line)), 409, TOO_MANY_INVITATIONS)
    assert (await ask(gate, request("DELETE", f"{INVITATIONS}/{made[0]['id']}", line))).status == 200
    is_refusal(await ask(gate, post(INVITATIONS, {}, line)), 409)
    await world.sql(
        "UPDATE gateway_invitations SET expires_at = now() - interval '1 second' WHERE id = $1", made[0]["id"]
    )
    await granted(gate, post(INVITATIONS, {}, line))
    refused = [one for one in (await metrics(gate))["gateway_requests"] if one.labels.get("status") == "409"]
    assert sum(one.value for one in refused) == 2

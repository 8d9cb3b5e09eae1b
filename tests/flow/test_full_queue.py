"""Full queue of bcrypt: newcomers are asked to come back; known callers notice nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.peers import Client

if TYPE_CHECKING:
    from tests.support.worlds import Start, World

COLD = 12


def asking(line: str) -> bytes:
    return f"GET /api/contacts HTTP/1.1\r\nHost: e\r\n{line}\r\n\r\n".encode()


async def test_a_full_bcrypt_queue_is_503_for_newcomers_and_nothing_to_the_known(
    world: World, start: Start
) -> None:
    keys = [
        (await world.accounts.administration.create_api_key(world.admin, world.home, f"cold {n}"))[1]
        for n in range(COLD)
    ]
    gateway = await start(world.url, password={"workers": 1, "queue": 1})
    known = asking(f"Authorization: Bearer {world.token(world.agent)}")

    async def newcomer(key: str) -> tuple[int, str | None]:
        async with Client(gateway.address) as client:
            answer = await client.exchange(asking(f"X-API-Key: {key}"))
            return answer.status, answer.one("Retry-After")

    async with Client(gateway.address) as client:
        assert (await client.exchange(known)).status == 200
        newcomers = asyncio.gather(*(newcomer(key) for key in keys))
        while not newcomers.done():
            assert (await client.exchange(known)).status == 200
        answers = await newcomers
    assert {status for status, _ in answers} == {200, 503}
    assert all(retry == "1" for status, retry in answers if status == 503)

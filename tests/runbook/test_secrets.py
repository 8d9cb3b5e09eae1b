"""The runbook's entries on the shared secret, on two gateways: in the page's order, and in wrong ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runbook.page import carried_out
from tests.runbook.people import CONTACTS, People
from tests.runbook.site import Refused
from tests.support.calls import bearer
from tests.support.worlds import SECRET

if TYPE_CHECKING:
    from tests.runbook.page import Step
    from tests.runbook.site import Sites
    from tests.support.worlds import World

ROTATE, LEAKED = "Rotate the shared secret", "The shared secret has leaked"
WAITS = "GATEWAY_TOKEN_REFRESH_SECONDS"
"""A step that names it begins when every token of before has expired."""


async def test_the_shared_secret_rotates_and_no_token_is_refused(world: World, site: Sites) -> None:
    one = await site(world.url)
    people = People(one, world)
    one.holds = people.everybody_is_known

    async def before(step: Step) -> None:
        if step.number == 5:  # Whatomate has the new secret
            await people.go_on_at_whatomate()
            one.variables["TOKEN"] = (await people.sign_in(one.up[1])).access
        if WAITS in step.text:
            await people.renew()

    await people.everybody_is_known()
    old = people.pairs[0]
    await one.carry_out(carried_out()[ROTATE], before)
    for replica in one.up:
        assert await people.status(replica, bearer(old.access)) == 401, "the old secret is forgotten"
        assert await people.status(replica, bearer(people.pairs[-1].access), CONTACTS) == 200


@pytest.mark.parametrize(
    ("order", "refusal"),
    [
        ([1, 3, 2, 4, 5, 6], "gateway-1: 401"),
        ([1, 2, 4, 3, 5, 6], "Whatomate refuses a token that was just issued"),
    ],
    ids=["signs before all verify", "Whatomate before any gateway"],
)
async def test_a_rotation_in_another_order_is_seen_to_refuse(
    world: World, site: Sites, order: list[int], refusal: str
) -> None:
    one = await site(world.url)
    people = People(one, world)
    one.holds = people.everybody_is_known

    async def before(step: Step) -> None:
        if step.number == 3 and one.whatomate.secret != SECRET:
            await people.go_on_at_whatomate()

    steps = {step.number: step for step in carried_out()[ROTATE]}
    await people.everybody_is_known()
    with pytest.raises(Refused, match=refusal):
        await one.carry_out([steps[number] for number in order], before)


async def test_a_leaked_secret_proves_nothing_afterwards(world: World, site: Sites) -> None:
    one = await site(world.url)
    people = People(one, world)
    await people.everybody_is_known()
    leaked = [bearer(pair.access) for pair in people.pairs] + [bearer(people.of_whatomate())]
    await one.carry_out(carried_out()[LEAKED])
    await people.are_refused(leaked)
    people.forget()
    await people.everybody_is_known()
    for pair in people.pairs:
        assert await people.status(pair.at, bearer(pair.access), CONTACTS) == 200

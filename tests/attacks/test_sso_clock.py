"""Attack: tokens and states of another time: old ones kept, young ones of a clock that is ahead, none at all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from authcore.accounts.sso.states import SignInStates
from authcore.errors import SsoStateRejected
from tests.support.openid import Traveller, enable, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.worlds import Start, World

HOUR = 3600


MOVED: tuple[dict[str, object], ...] = (
    {"exp": -HOUR},
    {"exp": None},
    {"iat": None},
    {"iat": HOUR},
    {"iat": -HOUR},
    {"iat": -370},
    {"nbf": HOUR},
    {"exp": "4102444800"},
    {"iat": True},
)


async def test_a_token_of_another_time_is_refused(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    now = int(time.time())
    for moved in MOVED:
        idp.id_token = {
            name: now + by if isinstance(by, int) and not isinstance(by, bool) else by
            for name, by in moved.items()
        }
        assert sent_back(await traveller.sign_in(idp)) == "Failed to get user information", moved


async def test_a_clock_that_is_a_little_off_is_forgiven(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings(leeway_seconds=120)))
    now = int(time.time())
    for claims in ({"exp": now - 30}, {"iat": now - 60}, {"iat": now + 60, "nbf": now + 60}):
        idp.id_token = dict(claims)
        landed(await traveller.sign_in(idp))


async def test_a_token_that_is_dated_five_minutes_back_signs_in(
    world: World, start: Start, idp: OpenId
) -> None:
    """Microsoft's are: ``iat`` and ``nbf`` are 300 seconds before the moment at which it makes the token."""
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    early = int(time.time()) - 300
    idp.id_token = {"iat": early, "nbf": early, "exp": early + 300 + HOUR}
    landed(await traveller.sign_in(idp))


def test_a_state_is_good_for_ten_minutes_and_not_a_moment_longer() -> None:
    states, row = SignInStates([b"secret"]), uuid4()
    binding, callback = states.new_binding(), "https://gateway.test/callback"
    begun = states.begin(binding, row, callback, 1000.0)
    for now in (1000.0, 1599.9, 0.0):  # a clock that went back costs nobody the sign-in
        assert states.read(begun.state, [binding], callback, now) == begun
    for now in (1600.0, 1e9):
        with pytest.raises(SsoStateRejected):
            states.read(begun.state, [binding], callback, now)

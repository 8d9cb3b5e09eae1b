"""A protected path spelled so that the gateway and the upstream read two different ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal
from tests.support.spellings import AMBIGUOUS, ANOTHER_SPELLING

if TYPE_CHECKING:
    from tests.support.peers import Client, Upstream
    from tests.support.worlds import Start, World


@pytest.mark.parametrize("target", AMBIGUOUS)
async def test_a_target_with_two_readings_reaches_nobody(
    client: Client, upstream: Upstream, target: str
) -> None:
    is_refusal(await client.exchange(get(target)), 400)
    assert upstream.seen == b""


async def test_a_target_with_two_readings_reaches_nobody_with_a_credential_either(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    for target in AMBIGUOUS:
        is_refusal(await ask(gate, get(target, bearer(world.token(world.root)))), 400)
    assert upstream.seen == b""


@pytest.mark.parametrize("target", ANOTHER_SPELLING)
async def test_no_spelling_of_a_protected_path_is_public(
    client: Client, upstream: Upstream, target: str
) -> None:
    is_refusal(await client.exchange(get(target)), 401, "Missing authorization")
    assert upstream.seen == b""


@pytest.mark.parametrize("target", ["/%2561pi/users", "/%252561pi", "/%25%36%31pi"])
async def test_a_path_that_is_protected_once_decoded_twice_is_not_public(
    client: Client, upstream: Upstream, target: str
) -> None:
    answer = await client.exchange(get(target))
    assert answer.status in (400, 401)
    is_refusal(answer, answer.status)
    assert upstream.seen == b""


async def test_what_was_matched_is_what_is_sent(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url)
    for target in (
        "/api/x%20y?a=%2F..%2F&b=//",
        "/%61pi/users",
        "/api/caf%C3%A9",
        "/api/a+b:c@d,e!$&'()*=~_.-",
    ):
        assert (await ask(gate, get(target, bearer(world.token(world.agent))))).status == 200
        assert upstream.requests[-1].start == f"GET {target} HTTP/1.1".encode()


@pytest.mark.parametrize("target", ["/ws/", "/ws/x", "/ws/?token=x"])
async def test_what_is_below_a_protected_path_is_protected(
    client: Client, upstream: Upstream, target: str
) -> None:
    """A server that redirects or ignores a trailing slash reads the protected path there."""
    is_refusal(await client.exchange(get(target)), 401)
    assert upstream.seen == b""

"""A protected path spelled so that the gateway and the upstream read two different ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.calls import ask, bearer, get, is_refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.app import Gateway
    from tests.flow.conftest import World
    from tests.flow.peers import Client, Upstream

    Start = Callable[..., Awaitable[Gateway]]

AMBIGUOUS = [
    *("/health/../api/users", "/health/./../api/users", "/./api/users", "/../api/users", "/api/../api/users"),
    *("/health/%2e%2e/api/users", "/health/%2E./api/users", "/health/.%2e/api/users", "/%2e/api/users"),
    *("/health/%252e%252e/api/users", "/health/%25252e%25252e/api/users", "/health%252f..%252fapi/users"),
    *("/health%2f..%2fapi/users", "/health/..%2fapi/users", "/api%2fusers", "/api%2Fusers", "/%2fapi/users"),
    *("/api%5cusers", "/health\\..\\api\\users", "/health/..\\api/users", "/%5capi/users", "/\\api/users"),
    *("//api/users", "///api/users", "/health//api/users", "//gateway.test/api/users", "/api//users"),
    *("/health;/../api/users", "/;x/api/users", "/api;x/users", "/health/..;/api/users", "/api%3bx/users"),
    *("/api%00/users", "/%00/api/users", "/health%00/../api/users", "/api/users%00.js", "/api/users%0d%0a"),
    *(
        "/health#/../api/users",
        "/health%23/api/users",
        "/health?a#/api/users",
        "/api%09/users",
        "/%0aapi/users",
    ),
    *("/api%/users", "/api%2", "/api%zz/users", "/%u0061pi/users", "/%c0%af../api/users", "/%c0%aeapi/users"),
    *("/health%3f/../api/users", "/health%3fx/api/users", "/api%3fx", "/ws%3ftoken=x", "/ws%253ftoken=x"),
    *("http://other.test/api/users", "http://gateway.test@other.test/api/users", "http:///api/users"),
    *("http://gateway.test//api/users", "http://gateway.test/../api/users", "http://gateway.test\\api/users"),
    *(
        "ftp://gateway.test/api/users",
        "api/users",
        "*",
        "gateway.test:80",
        "javascript:x",
        "?/api/users",
        "health",
    ),
]

ANOTHER_SPELLING = [
    *(
        "/api/users",
        "/API/users",
        "/Api/Users",
        "/aPi",
        "/api",
        "/api/",
        "/api?x",
        "/api?/../health",
        "/api/users?;",
    ),
    *("/%61pi/users", "/%41PI/users", "/ap%69/users", "/%61%70%69", "/ap%49/users"),
    *("/ws", "/WS", "/%77s", "/w%53", "/ws?x=token"),
    *("http://gateway.test/api/users", "HTTP://GATEWAY.TEST/api/users", "http://gateway.test/%61pi"),
    *("/api/health", "/api/webhook/x", "/api/users.js", "/api/.well-known/x", "/api/x%20y", "/api/%E2%82%AC"),
]


@pytest.mark.parametrize("target", AMBIGUOUS)
async def test_a_target_with_two_readings_reaches_nobody(
    client: Client, upstream: Upstream, target: str
) -> None:
    is_refusal(await client.exchange(get(target)), 400)
    assert upstream.seen == b""


async def test_nor_does_it_with_a_credential(world: World, start: Start, upstream: Upstream) -> None:
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

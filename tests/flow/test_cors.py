"""Pages of other origins: off by default; with a policy, preflights and answers are the gateway's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, post, request
from tests.support.peers import Client, read_head
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    import asyncio

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


APP = "https://app.example.com"
ORIGIN, EVIL = f"Origin: {APP}", "Origin: https://evil.example"
CORS = {"origins": (APP, "https://*.example.org"), "credentials": True, "max_age_seconds": 60}


def preflight(target: str, origin: str = ORIGIN, method: str = "PUT") -> bytes:
    return request("OPTIONS", target, origin, f"Access-Control-Request-Method: {method}")


def told(answer: Message) -> list[str]:
    return [name.decode().lower() for name, _ in answer.lines if name.lower().startswith(b"access-control-")]


def grants(answer: Message, origin: str = APP) -> None:
    """The answer may be read by a page of `origin`, with its cookies; and says nothing twice."""
    assert answer.one("Access-Control-Allow-Origin") == origin
    assert answer.one("Access-Control-Allow-Credentials") == "true"
    assert "Origin" in ", ".join(answer.all("Vary")).split(", ")


@pytest.fixture
async def gate(start: Start) -> Gateway:
    return await start(cors=CORS)


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An upstream that lets everybody in."""
    while True:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://evil.example\r\n"
            b"access-control-allow-credentials: true\r\nAccess-Control-Expose-Headers: X-Secret\r\n"
            b"Vary: Accept\r\nContent-Length: 2\r\n\r\nok"
        )
        await writer.drain()


# -- off ----------------------------------------------------------------------------------------------------------


async def test_without_a_policy_preflights_and_cors_are_the_upstreams(
    client: Client, upstream: Upstream
) -> None:
    assert (await client.exchange(preflight("/api/contacts"))).status == 200
    assert upstream.requests[0].start == b"OPTIONS /api/contacts HTTP/1.1"
    refusal = await client.exchange(get("/api/contacts", ORIGIN))
    is_refusal(refusal, 401)
    assert told(refusal) == []
    assert refusal.all("Vary") == []


async def test_without_a_policy_the_upstreams_fields_pass(client: Client, upstream: Upstream) -> None:
    upstream.script = answering
    answer = await client.exchange(get("/x", ORIGIN))
    assert answer.one("Access-Control-Allow-Origin") == "https://evil.example"
    assert answer.one("Access-Control-Expose-Headers") == "X-Secret"


# -- preflights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/api/contacts", "/api/auth/login", "/api/nothing", "/", "/ws"])
async def test_a_preflight_is_answered_without_a_credential_and_without_the_upstream(
    gate: Gateway, upstream: Upstream, target: str
) -> None:
    answer = await ask(gate, preflight(target))
    assert (answer.status, answer.body) == (204, b"")
    grants(answer)
    assert "PUT" in str(answer.one("Access-Control-Allow-Methods")).split(", ")
    assert "X-CSRF-Token" in str(answer.one("Access-Control-Allow-Headers")).split(", ")
    assert answer.one("Access-Control-Max-Age") == "60"
    assert answer.one("X-Request-ID")
    assert upstream.raw == []


async def test_of_an_origin_that_may_not_call_it_is_refused(gate: Gateway, upstream: Upstream) -> None:
    for origin in (EVIL, "Origin: null", f"{ORIGIN}\r\n{ORIGIN}"):
        refusal = await ask(gate, preflight("/api/contacts", origin))
        is_refusal(refusal, 403)
        assert told(refusal) == []
    assert upstream.raw == []


async def test_an_options_that_is_no_preflight_needs_what_any_request_needs(gate: Gateway) -> None:
    refusal = await ask(gate, request("OPTIONS", "/api/contacts", ORIGIN))
    is_refusal(refusal, 401)
    grants(refusal)


async def test_a_connection_goes_on_after_a_preflight(gate: Gateway, upstream: Upstream) -> None:
    async with Client(gate.address) as client:
        for _ in range(3):
            assert (await client.exchange(preflight("/api/contacts"))).status == 204
            assert (await client.exchange(get("/health", ORIGIN))).status == 200
    assert len(upstream.requests) == 3


# -- answers ------------------------------------------------------------------------------------------------------


async def test_every_answer_says_who_may_read_it(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url, cors=CORS)
    login = {"email": "agent@example.com", "password": "wrong horse battery"}
    by_token = bearer(world.token(world.agent))
    for raw, status in (
        (get("/api/contacts", ORIGIN, by_token), 200),  # the upstream's
        (get("/api/contacts", ORIGIN), 401),  # the gateway's own
        (get("/a//b", ORIGIN), 400),  # before there is a route
        (post("/api/auth/switch-org", {}, ORIGIN), 401),
        (post("/api/auth/login", login, ORIGIN), 401),  # the hosted application's
        (get("/api/auth/login", ORIGIN), 405),
    ):
        answer = await ask(gate, raw)
        assert answer.status == status
        grants(answer)
        assert "X-Request-ID" in str(answer.one("Access-Control-Expose-Headers"))
        assert not told(await ask(gate, raw.replace(ORIGIN.encode(), EVIL.encode())))
    assert len(upstream.requests) == 2


async def test_an_upstream_that_fails_is_told_to_the_page(start: Start) -> None:
    gate = await start(cors=CORS, upstream={"url": "http://127.0.0.1:1"})
    answer = await ask(gate, get("/x", ORIGIN))
    is_refusal(answer, 502)
    grants(answer)


async def test_the_upstreams_own_fields_give_way_whoever_asks(gate: Gateway, upstream: Upstream) -> None:
    upstream.script = answering
    answer = await ask(gate, get("/x", ORIGIN))
    grants(answer)
    assert answer.one("Access-Control-Expose-Headers") != "X-Secret"
    assert answer.all("Vary") == ["Accept, Origin"]
    # A cache must not give this answer to a page that may read it, nor the reverse.
    for line in (
        EVIL,
        "X-None: of",
    ):
        answer = await ask(gate, get("/x", line))
        assert told(answer) == []
        assert answer.all("Vary") == ["Accept, Origin"]


async def test_repeated_requests_are_told_apart_by_their_origin(gate: Gateway, upstream: Upstream) -> None:
    upstream.script = answering
    async with Client(gate.address) as client:
        for origin in (ORIGIN, EVIL, "Origin: https://a.example.org", ORIGIN, EVIL):
            answer = await client.exchange(get("/x", origin))
            allowed = answer.one("Access-Control-Allow-Origin")
            assert allowed == (None if origin == EVIL else origin.removeprefix("Origin: "))


# -- which setting is missing -------------------------------------------------------------------------------------


async def test_a_page_that_may_not_sign_in_is_told_which_setting_it_lacks(world: World, start: Start) -> None:
    listed, stranger = "GATEWAY_CORS_CREDENTIALS is off", "see GATEWAY_CORS_ORIGINS"
    gate = await start(world.url, cookies=True, cors={"origins": (APP,)})
    form = {"email": "agent@example.com", "password": PASSWORD}
    for lines, missing in (
        ((ORIGIN,), listed),
        ((ORIGIN, "Sec-Fetch-Site: cross-site"), listed),
        ((EVIL,), stranger),
        ((ORIGIN, ORIGIN), stranger),
        (("Origin: null",), stranger),
    ):
        refusal = await ask(gate, post("/api/auth/login", form, *lines))
        is_refusal(refusal, 403)
        assert missing in refusal.json()["message"], lines
    gate = await start(world.url, cookies=True, cors={"origins": (APP,), "credentials": True})
    assert (await ask(gate, post("/api/auth/login", form, ORIGIN))).status == 200
    is_refusal(await ask(gate, post("/api/auth/login", form, EVIL)), 403)

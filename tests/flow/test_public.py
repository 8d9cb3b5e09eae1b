"""Requests without a credential, and requests while the database is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.peers import Client
from tests.support.processes import eventually

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


PATH = "/api/contacts?page=2"
BAD_TOKEN, BAD_KEY = "Invalid or expired token", "Invalid API key"


def key(text: str) -> str:
    return f"X-API-Key: {text}"


# -- without a credential -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *(
            ("GET", path)
            for path in ("/", "/health", "/ready", "/login", "/assets/app.js?v=1", "/apiary", "/wss")
        ),
        *(
            ("GET", path)
            for path in ("/api/auth/sso/google/callback?code=x", "/api/custom-actions/redirect/abc")
        ),
        *((method, "/api/webhook?hub.mode=subscribe") for method in ("GET", "HEAD")),
    ],
)
async def test_a_public_path_needs_neither_credential_nor_database(
    client: Client, upstream: Upstream, method: str, target: str
) -> None:
    await client.send(request(method, target))
    assert (await client.response(head_only=method == "HEAD")).status == 200
    assert upstream.requests[0].start == f"{method} {target} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *(
            ("GET", path)
            for path in ("/api", "/api/", "/api/contacts", "/api/webhooks", "/api/auth/me", "/ws")
        ),
        *((method, "/api/webhook") for method in ("PUT", "DELETE", "PATCH", "OPTIONS")),
        *(
            ("GET", path)
            for path in ("/api/webhook/", "/api/webhook/x", "/api/health", "/api/custom-actions")
        ),
    ],
)
async def test_every_other_path_needs_a_credential(
    client: Client, upstream: Upstream, method: str, target: str
) -> None:
    is_refusal(await client.exchange(request(method, target)), 401, "Missing authorization")
    assert upstream.seen == b""


async def test_a_webhook_passes_byte_for_byte(client: Client, upstream: Upstream) -> None:
    body = bytes(range(256)) * 3
    raw = request(
        "POST", "/api/webhook", "Content-Type: application/json", "X-Hub-Signature-256: sha256=ab", body=body
    )
    assert (await client.exchange(raw)).status == 200
    assert upstream.requests[0].body == body
    assert upstream.requests[0].one("X-Hub-Signature-256") == "sha256=ab"


async def test_an_anonymous_caller_has_no_identity_not_even_their_own(
    client: Client, upstream: Upstream
) -> None:
    lines = ("X-User-ID: 1", "x-org-id: 2", "X_User_Role: admin", "X-Auth-Method: jwt", "X-User-Anything: 3")
    assert (await client.exchange(get("/health", *lines, bearer("not.a.token")))).status == 200
    told = upstream.requests[0]
    assert not [
        name for name, _ in told.lines if name.lower().startswith((b"x-user", b"x_user", b"x-org", b"x-auth"))
    ]
    assert told.one("Authorization") == "Bearer not.a.token"  # nobody checked it, and nobody says so


async def test_a_preflight_carries_no_credential(client: Client, upstream: Upstream) -> None:
    lines = ("Origin: https://app.example.com", "Access-Control-Request-Method: PUT")
    assert (await client.exchange(request("OPTIONS", "/api/contacts", *lines))).status == 200
    assert (await client.exchange(request("OPTIONS", "/api/auth/login", *lines))).status == 200
    assert len(upstream.requests) == 2
    for told in upstream.requests:
        assert told.one("X-User-ID") is None


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("OPTIONS", ()),
        ("OPTIONS", ("Origin: https://app.example.com",)),
        ("OPTIONS", ("Access-Control-Request-Method: PUT",)),
        ("OPTIONS", ("Origin: https://x", "Access_Control_Request_Method: PUT")),
        ("GET", ("Origin: https://x", "Access-Control-Request-Method: PUT")),
        ("POST", ("Origin: https://x", "Access-Control-Request-Method: PUT")),
        (
            "POST",
            ("Origin: https://x", "Access-Control-Request-Method: PUT", "X-HTTP-Method-Override: OPTIONS"),
        ),
    ],
)
async def test_what_only_resembles_a_preflight_needs_a_credential(
    client: Client, upstream: Upstream, method: str, lines: tuple[str, ...]
) -> None:
    is_refusal(await client.exchange(request(method, "/api/contacts", *lines)), 401, "Missing authorization")
    assert upstream.seen == b""


# -- an outage ----------------------------------------------------------------------------------------------------


async def test_an_outage_is_nobodys_fault(client: Client, world: World, upstream: Upstream) -> None:
    for line in (bearer(world.token(world.agent)), key(world.api_key)):
        answer = await client.exchange(get(PATH, line))  # `client` is at a gateway without a database
        is_refusal(answer, 503)
        assert answer.one("WWW-Authenticate") is None
    is_refusal(await client.exchange(get(PATH, bearer("a.b.c"))), 401)  # no database would make it better
    assert upstream.seen == b""


async def test_a_known_caller_is_served_through_a_short_outage_and_a_stranger_is_asked_to_wait(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    known, stranger = (get(PATH, bearer(world.token(user))) for user in (world.agent, world.both))
    assert (await ask(gate, known)).status == 200
    await world.sql("ALTER TABLE users RENAME TO users_gone")
    assert (await ask(gate, known)).status == 200
    is_refusal(await ask(gate, stranger), 503)
    await world.sql("ALTER TABLE users_gone RENAME TO users")

    async def is_served() -> bool:
        return (await ask(gate, stranger)).status == 200

    await eventually(is_served)  # a chore that failed meanwhile may hold statements up for a moment
    assert len(upstream.requests) == 3


async def test_one_connection_may_carry_many_callers(gate: Gateway, world: World, upstream: Upstream) -> None:
    async with Client(gate.address) as client:
        for user in (world.agent, world.admin, world.both):
            assert (await client.exchange(get(PATH, bearer(world.token(user))))).status == 200
            assert upstream.requests[-1].one("X-User-ID") == str(user)
        is_refusal(await client.exchange(get(PATH)), 401)
        assert (await client.exchange(get("/health"))).status == 200
    assert upstream.requests[-1].one("X-User-ID") is None

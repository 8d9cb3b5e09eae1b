"""Another proxy describes a request and is told whether it may pass, by the phases of a request that is forwarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.calls import ask, bearer, get, is_refusal, request
from tests.support.peers import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    Dialect = Callable[..., bytes]
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


ON: dict[str, Any] = {"decision": {"path": "/decisions"}, "trusted_proxies": ["127.0.0.0/8"]}
IDENTITY = (
    *("X-User-ID", "X-User-Email", "X-User-Name", "X-User-Role", "X-User-Role-ID", "X-User-Permissions"),
    *("X-User-Super-Admin", "X-Org-ID", "X-Auth-Method", "X-Auth-Key-ID"),
)


def nginx(method: str, target: str, *lines: str) -> bytes:
    described = (f"X-Original-Method: {method}", f"X-Original-URI: {target}")
    return get("/decisions/nginx", *described, *lines)


def forward(method: str, target: str, *lines: str) -> bytes:
    described = (
        f"X-Forwarded-Method: {method}",
        f"X-Forwarded-Uri: {target}",
        "X-Forwarded-Host: app.test",
        "X-Forwarded-Proto: https",
    )
    return get("/decisions/forward", *described, *lines)


def envoy(method: str, target: str, *lines: str) -> bytes:
    return request(method, f"/decisions/envoy{target}", *lines)


DIALECTS = pytest.mark.parametrize("dialect", [nginx, forward, envoy])


def identity(answer: Message) -> dict[str, str]:
    told = {name: answer.one(name) for name in IDENTITY}
    return {name: value for name, value in told.items() if value is not None}


@DIALECTS
async def test_a_permitted_caller_is_answered_with_the_headers_an_upstream_would_get(
    world: World, start: Start, upstream: Upstream, dialect: Dialect
) -> None:
    gate = await start(world.url, **ON)
    for credential in (bearer(world.token(world.agent)), f"X-API-Key: {world.api_key}"):
        answer = await ask(gate, dialect("POST", "/api/contacts?page=2", credential))
        assert (answer.status, answer.body) == (200, b"")
        assert answer.one("Cache-Control") == "no-store"
        assert upstream.seen == b""
        await ask(gate, request("POST", "/api/contacts?page=2", credential))
        assert identity(answer) == identity(upstream.requests.pop())
        assert len(identity(answer)) >= 9
        upstream.raw.clear()


@DIALECTS
async def test_the_answers_are_200_401_403_and_503(
    world: World, start: Start, upstream: Upstream, dialect: Dialect
) -> None:
    gate = await start(world.url, **ON)
    token = bearer(world.token(world.agent))
    is_refusal(await ask(gate, dialect("GET", "/api/contacts")), 401, "Missing authorization")
    is_refusal(await ask(gate, dialect("GET", "/api/contacts", bearer("x.y.z"))), 401)
    # The agent's role lacks api_keys:read.
    is_refusal(await ask(gate, dialect("GET", "/api/api-keys", token)), 403)
    is_refusal(await ask(gate, dialect("GET", "/api//contacts", token)), 403)  # 400 to a client of ours
    is_refusal(await ask(gate, dialect("GET", "/api/contacts", token, token)), 403)  # likewise
    is_refusal(await ask(gate, dialect("PATCH", "/api/auth/login")), 403)  # 405
    is_refusal(await ask(gate, dialect("GET", "/API/auth/login", token)), 403)  # 404
    is_refusal(await ask(gate, dialect("OPTIONS", "*", token)), 403)
    assert (await ask(gate, dialect("POST", "/api/auth/login"))).status == 200  # public, and nobody
    public = await ask(gate, dialect("GET", "/assets/app.js", token))
    assert (public.status, identity(public)) == (200, {})
    assert upstream.seen == b""


@DIALECTS
async def test_an_outage_is_503_and_never_a_denial(start: Start, dialect: Dialect) -> None:
    gate = await start(**ON)
    for credential in ("X-API-Key: whm_0123456789abcdef0123456789abcdef",):
        is_refusal(await ask(gate, dialect("GET", "/api/contacts", credential)), 503)


@DIALECTS
async def test_the_method_described_counts_and_not_the_questions(
    world: World, start: Start, dialect: Dialect
) -> None:
    gate = await start(world.url, **ON)
    key = f"X-API-Key: {world.api_key}"
    assert (await ask(gate, dialect("GET", "/api/api-keys", key))).status == 200
    is_refusal(await ask(gate, dialect("PUT", "/api/api-keys", key)), 403, "Method not allowed")
    assert (await ask(gate, dialect("GET", "/api/webhook"))).status == 200
    assert (await ask(gate, dialect("HEAD", "/api/webhook"))).status == 200
    is_refusal(await ask(gate, dialect("DELETE", "/api/webhook")), 401)


@DIALECTS
async def test_the_organization_asked_for_counts(world: World, start: Start, dialect: Dialect) -> None:
    gate = await start(world.url, **ON)
    token = bearer(world.token(world.both))
    answer = await ask(gate, dialect("GET", "/api/x", token, f"X-Organization-ID: {world.other}"))
    assert (answer.one("X-Org-ID"), answer.one("X-User-Role")) == (str(world.other), "manager")
    agent = bearer(world.token(world.agent))
    is_refusal(await ask(gate, dialect("GET", "/api/x", agent, f"X-Organization-ID: {world.other}")), 403)


async def test_envoy_is_told_what_to_remove(world: World, start: Start) -> None:
    """A field of the client's that the answer does not set would pass."""
    gate = await start(world.url, **ON)
    name = "X-Envoy-Auth-Headers-To-Remove"
    answer = await ask(gate, envoy("GET", "/api/x", bearer(world.token(world.agent))))
    assert (answer.one(name) or "").split(",") == ["x-auth-key-id", "x-identity"]
    public = await ask(gate, envoy("GET", "/", bearer(world.token(world.agent))))
    assert set((public.one(name) or "").split(",")) >= {name.lower() for name in IDENTITY}


async def test_decisions_are_warm_on_one_connection(world: World, start: Start) -> None:
    """The parsed values are stored with their field lines. The described request is read anew."""
    gate = await start(world.url, **ON)
    token = bearer(world.token(world.agent))
    async with Client(gate.address) as client:
        for _ in range(3):
            for method, path, status in (
                ("GET", "/api/x", 200),
                ("GET", "/api/api-keys", 403),
                ("GET", "/x", 200),
                ("DELETE", "/api/x", 200),
            ):
                for dialect in (nginx, forward, envoy):
                    assert (await client.exchange(dialect(method, path, token))).status == status


@DIALECTS
async def test_no_decision_is_answered_until_that_is_switched_on(
    world: World, start: Start, upstream: Upstream, dialect: Dialect
) -> None:
    gate = await start(world.url, trusted_proxies=["127.0.0.0/8"])
    await ask(gate, dialect("GET", "/api/x"))
    assert len(upstream.requests) == 1  # a path like any other


async def test_an_unknown_endpoint_says_which_there_are(start: Start) -> None:
    gate = await start(**ON)
    for target in (
        "/decisions/",
        "/decisions/apache",
        "/decisions/nginx/",
        "/decisions/forward/x",
        "/decisions/nginx/organization/",
        "/decisions/organization",
    ):
        is_refusal(
            await ask(gate, get(target)),
            403,
            "No such decision endpoint: there are nginx, forward and envoy",
        )


async def test_a_preflight_passes_without_a_credential(world: World, start: Start) -> None:
    gate = await start(world.url, **ON)
    marks = ("Origin: https://app.test", "Access-Control-Request-Method: DELETE")
    for dialect in (nginx, forward, envoy):
        assert (await ask(gate, dialect("OPTIONS", "/api/x", *marks))).status == 200
        is_refusal(await ask(gate, dialect("OPTIONS", "/api/x")), 401)
        is_refusal(await ask(gate, dialect("DELETE", "/api/x", *marks)), 401)

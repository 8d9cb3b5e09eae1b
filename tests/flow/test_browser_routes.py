"""Cookies and CORS on the routes of a route file: each with a policy of its own, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import signed_in
from tests.support.calls import ask, get, is_refusal, post, request

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


ROUTES = """
routes:
  - {name: house, auth: public, match: {path: /house/*}}
  - {name: read, auth: public, match: {path: /own, methods: [GET]}, cors: {origins: ["https://read.example"]}}
  - {name: write, auth: public, match: {path: /own, methods: [PUT]},
     cors: {origins: ["https://write.example"], credentials: true, methods: [PUT], max_age_seconds: 5}}
  - {name: theirs, auth: public, match: {path: /theirs}, cors: {}}
  - {name: strict, auth: required, credential: strip, match: {path: /strict}}
  - {name: may, auth: optional, match: {path: /may}}
  - {name: tried, auth: required, require: ["users:write"], shadow: true, match: {path: /tried}}
"""


@pytest.fixture
async def gate(world: World, start: Start, tmp_path: Path) -> Gateway:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES, encoding="utf-8")
    return await start(world.url, routes=path, cookies=True, cors={"origins": ("https://house.example",)})


async def preflight(gate: Gateway, target: str, origin: str, method: str) -> Message:
    lines = (f"Origin: https://{origin}.example", f"Access-Control-Request-Method: {method}")
    return await ask(gate, request("OPTIONS", target, *lines))


async def test_a_preflight_is_answered_by_the_policy_of_the_route_it_asks_about(
    gate: Gateway, upstream: Upstream
) -> None:
    for target, origin, method, status in (
        ("/house/x", "house", "PUT", 204),
        ("/house/x", "read", "PUT", 403),
        ("/own", "read", "GET", 204),
        ("/own", "read", "PUT", 403),
        ("/own", "write", "PUT", 204),
        ("/own", "house", "GET", 403),
        ("/own", "house", "DELETE", 204),  # no route takes it: the answer to the request itself will say so
        ("/nothing", "house", "GET", 204),
        ("/nothing", "read", "GET", 403),
        ("/api/auth/login", "house", "POST", 204),
    ):
        answer = await preflight(gate, target, origin, method)
        assert answer.status == status, (target, origin, method)
        assert (answer.one("Access-Control-Allow-Origin") is not None) == (status == 204)
    own = await preflight(gate, "/own", "write", "PUT")
    assert own.one("Access-Control-Allow-Methods") == "PUT"
    assert own.one("Access-Control-Allow-Credentials") == "true"
    assert own.one("Access-Control-Max-Age") == "5"
    assert upstream.seen == b""


async def test_a_route_may_leave_it_to_its_upstream(gate: Gateway, upstream: Upstream) -> None:
    assert (await preflight(gate, "/theirs", "house", "GET")).status == 200
    assert upstream.requests[0].start == b"OPTIONS /theirs HTTP/1.1"
    assert (await ask(gate, get("/theirs", "Origin: https://house.example"))).all("Vary") == []


async def test_answers_are_for_the_policys_pages(gate: Gateway) -> None:
    for target, origin, allowed in (
        ("/house/x", "house", True),
        ("/own", "house", False),
        ("/own", "read", True),
        ("/nothing", "house", True),  # its 404, that is
    ):
        answer = await ask(gate, get(target, f"Origin: https://{origin}.example"))
        assert (answer.one("Access-Control-Allow-Origin") is not None) == allowed, target


async def test_where_the_credential_is_stripped_the_token_of_a_cookie_is_too(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    jar = await signed_in(gate)
    cookie = f"Cookie: whm_access={jar.values['whm_access']}; a=1"
    assert (await ask(gate, get("/strict", cookie))).status == 200
    told = upstream.requests[0]
    assert told.one("X-User-ID") == str(world.agent)
    assert (told.all("Authorization"), told.all("Cookie")) == ([], ["a=1"])


async def test_an_optional_cookie_counts_like_any_other(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    jar = await signed_in(gate)
    access, csrf = (f"{name}={jar.values[name]}" for name in ("whm_access", "whm_csrf"))
    assert (await ask(gate, post("/may", {}))).status == 200
    assert upstream.requests[0].one("X-User-ID") is None
    is_refusal(await ask(gate, post("/may", {}, f"Cookie: {access}; {csrf}")), 403)
    is_refusal(await ask(gate, get("/may", "Cookie: whm_access=x")), 401)
    assert (await ask(gate, post("/may", {}, f"Cookie: {access}; {csrf}", jar.csrf))).status == 200
    assert upstream.requests[1].one("X-User-ID") == str(world.agent)


async def test_in_shadow_a_forged_request_goes_on_as_nobodys(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    jar = await signed_in(gate)
    cookie = f"Cookie: whm_access={jar.values['whm_access']}; whm_csrf={jar.values['whm_csrf']}"
    assert (await ask(gate, post("/tried", {}, cookie))).status == 200
    assert (await ask(gate, post("/tried", {}, cookie, jar.csrf))).status == 200
    forged, meant = upstream.requests
    assert forged.one("X-User-ID") is None
    assert meant.one("X-User-ID") == str(world.agent)
    assert forged.all("Authorization") == forged.all("Cookie") == []

"""Cross-site request forgery: the browser sends the cookie by itself, and the user meant none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.browsing import LOGIN, LOGOUT, REFRESH, SWITCH, Jar, signed_in
from tests.support.calls import ask, bearer, get, is_refusal, post, request
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from gateway.app import Gateway
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


CREDENTIALS = {"email": "agent@example.com", "password": PASSWORD}
APP = "https://app.example.com"


@pytest.fixture
async def gate(world: World, start: Start) -> Gateway:
    return await start(world.url, cookies=True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE", "PROPFIND"])
async def test_an_unsafe_method_needs_the_sessions_token(
    gate: Gateway, upstream: Upstream, method: str
) -> None:
    jar, other = await signed_in(gate), await signed_in(gate, "admin")
    cookie, token = jar.sent_to("/api/x"), jar.values["whm_csrf"]
    without = "; ".join(f"{name}={jar.values[name]}" for name in ("whm_access",))
    for lines in (
        (cookie,),
        (cookie, "X-CSRF-Token:"),
        (cookie, f"X-CSRF-Token: {token}x"),
        (cookie, f"X-CSRF-Token: {token[:-1]}"),
        (cookie, f"X-CSRF-Token: {token}", f"X-CSRF-Token: {token}"),
        (cookie, "X-CSRF-Token: wrong", f"X-CSRF-Token: {token}"),
        (cookie, f"X_CSRF_Token: {token}"),
        (cookie, f"X-CSRFToken: {token}"),
        (cookie, f"X-XSRF-Token: {token}"),
        (cookie, f"Cookie: X-CSRF-Token={token}"),
        (cookie, other.csrf),
        (f"Cookie: {without}", f"X-CSRF-Token: {token}"),
        (f"Cookie: {without}; whm_csrf=", "X-CSRF-Token:"),
        (f"Cookie: {without}; whm_csrf", "X-CSRF-Token:"),
    ):
        refusal = await ask(gate, request(method, f"/api/x?X-CSRF-Token={token}&whm_csrf={token}", *lines))
        is_refusal(refusal, 403)
        assert refusal.json()["message"].startswith("CSRF token mismatch: ")
        assert token.encode() not in refusal.body
    assert upstream.seen == b""
    assert (await ask(gate, request(method, "/api/x", cookie, jar.csrf))).status == 200


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_a_safe_method_needs_none(gate: Gateway, upstream: Upstream, method: str) -> None:
    jar = await signed_in(gate)
    assert (await ask(gate, request(method, "/api/x", jar.sent_to("/api/x")))).status == 200
    assert upstream.requests[0].start.startswith(method.encode())


async def test_what_the_gateway_hosts_needs_it_as_well(gate: Gateway, world: World) -> None:
    jar = await signed_in(gate, "admin")
    for path, body in ((SWITCH, {"organization_id": str(world.other)}), ("/api/api-keys", {"name": "x"})):
        is_refusal(await ask(gate, post(path, body, jar.sent_to(path))), 403)
    assert (
        await ask(gate, post("/api/api-keys", {"name": "x"}, jar.sent_to("/api/x"), jar.csrf))
    ).status == 200
    is_refusal(await ask(gate, post(REFRESH, {}, jar.sent_to(REFRESH))), 403)
    is_refusal(await ask(gate, post(REFRESH, {}, jar.sent_to(REFRESH), "X-CSRF-Token: x")), 403)
    assert (await jar.post(gate, REFRESH, {}, jar.csrf)).status == 200  # nothing of it was consumed


async def test_a_refusal_of_the_cookie_comes_before_that_of_the_token(gate: Gateway) -> None:
    is_refusal(await ask(gate, post("/api/x", {}, "Cookie: whm_access=x; whm_csrf=y")), 401)


async def test_no_page_elsewhere_signs_a_browser_in_or_out(gate: Gateway) -> None:
    jar = await signed_in(gate)
    for lines in (
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Origin: https://gateway.test.evil.example",),
        ("Origin: https://gateway.test:8443",),
        ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site"),
        ("Origin: https://gateway.test", "Sec-Fetch-Site: same-site"),
        ("Sec-Fetch-Site: cross-site",),
        ("Origin: https://gateway.test", "Origin: https://gateway.test"),
        ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
    ):
        for raw in (
            post(LOGIN, CREDENTIALS, *lines),
            post(LOGOUT, {}, jar.sent_to(LOGOUT), *lines),
            post(REFRESH, {}, jar.sent_to(REFRESH), jar.csrf, *lines),
        ):
            refusal = await ask(gate, raw)
            is_refusal(refusal, 403)
            assert refusal.all("Set-Cookie") == []
    assert (await jar.post(gate, REFRESH, {}, jar.csrf)).status == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 400),
        ("multipart/form-data; boundary=x", 415),
    ],
)
async def test_no_json_sent_as_a_form_signs_a_browser_in(
    gate: Gateway, content_type: str, status: int
) -> None:
    body = b'{"email": "agent@example.com", "password": "' + PASSWORD.encode() + b'", "x": "="}'
    refusal = await ask(gate, request("POST", LOGIN, f"Content-Type: {content_type}", body=body))
    is_refusal(refusal, status)
    assert refusal.all("Set-Cookie") == []


async def test_pages_of_this_origin_and_of_permitted_ones_sign_in_and_so_do_programs(
    world: World, start: Start
) -> None:
    gate = await start(world.url, cookies=True, cors={"origins": (APP,), "credentials": True})
    for lines in (
        (),
        ("Origin: https://gateway.test",),
        ("Origin: http://gateway.test",),
        ("Origin: https://gateway.test", "Sec-Fetch-Site: same-origin"),
        (f"Origin: {APP}",),
        (f"Origin: {APP}", "Sec-Fetch-Site: cross-site"),
    ):
        assert (await ask(gate, post(LOGIN, CREDENTIALS, *lines))).status == 200
    without_credentials = await start(world.url, cookies=True, cors={"origins": (APP,)})
    is_refusal(await ask(without_credentials, post(LOGIN, CREDENTIALS, f"Origin: {APP}")), 403)


async def test_the_host_behind_a_trusted_proxy_is_the_one_it_tells(world: World, start: Start) -> None:
    lines = ("X-Forwarded-Host: shop.example", "Origin: https://shop.example")
    gate = await start(world.url, cookies=True)
    is_refusal(await ask(gate, post(LOGIN, CREDENTIALS, *lines)), 403)
    behind = await start(world.url, cookies=True, trusted_proxies=["127.0.0.1/32"])
    assert (await ask(behind, post(LOGIN, CREDENTIALS, *lines))).status == 200


async def test_where_cookies_are_off_nobody_is_asked_where_they_come_from(world: World, start: Start) -> None:
    gate = await start(world.url)
    assert (await ask(gate, post(LOGIN, CREDENTIALS, "Origin: https://evil.example"))).status == 200
    by_token = bearer(world.token(world.agent))
    assert (await ask(gate, post("/api/x", {}, by_token, "Origin: https://evil.example"))).status == 200


async def test_a_session_that_whatomate_began_is_no_way_around(
    gate: Gateway, world: World, upstream: Upstream
) -> None:
    """The gateway's own session keeps its own token, though of Whatomate's sessions equality is all it can ask."""
    jar = await signed_in(gate)
    planted = Jar({**jar.values, "whm_csrf": "planted"}, jar.attributes)
    is_refusal(await ask(gate, post("/api/x", {}, planted.sent_to("/api/x"), planted.csrf)), 403)
    is_refusal(await ask(gate, post(REFRESH, {}, planted.sent_to(REFRESH), planted.csrf)), 403)
    is_refusal(await ask(gate, get("/api/auth/refresh", planted.sent_to(REFRESH))), 405)
    assert upstream.seen == b""


async def test_a_request_that_another_proxy_describes_is_held_to_its_own_method(
    world: World, start: Start
) -> None:
    gate = await start(
        world.url, cookies=True, decision={"path": "/decisions"}, trusted_proxies=["127.0.0.1/32"]
    )
    jar = await signed_in(gate)
    cookie = jar.sent_to("/api/x")
    for method, lines, status in (
        ("GET", (), 200),
        ("POST", (), 403),
        ("POST", ("X-CSRF-Token: x",), 403),
        ("POST", (jar.csrf,), 200),
        ("GET", ("Sec-WebSocket-Key: x", "Origin: https://evil.example"), 403),
        ("GET", ("Sec-WebSocket-Key: x", "Origin: https://gateway.test"), 200),
    ):
        described = (f"X-Original-Method: {method}", "X-Original-URI: /api/x")
        answer = await ask(gate, get("/decisions/nginx", cookie, *described, *lines))
        assert answer.status == status, (method, lines)


HERE = "Origin: https://gateway.test"
SAME = "Sec-Fetch-Site: same-origin"


@pytest.mark.parametrize(
    "proof",
    [
        (SAME,),
        (HERE,),
        (HERE, SAME),
        (HERE, "Host: gateway.test:443"),
        (f"Origin: {APP}",),
        (f"Origin: {APP}", "Sec-Fetch-Site: same-site"),
        (f"Origin: {APP}", "Sec-Fetch-Site: cross-site"),
    ],
)
async def test_a_page_that_is_proven_to_be_of_this_host_refreshes_without_the_token(
    world: World, start: Start, proof: tuple[str, ...]
) -> None:
    """Whatomate's clients send none: its server asks for it only beside an access cookie, which has just run out."""
    gate = await start(world.url, cookies=True, cors={"origins": (APP,), "credentials": True})
    jar = await signed_in(gate)
    for csrf in ((), ("X-CSRF-Token: of-another-tab",), (jar.csrf,)):
        raw = post(REFRESH, {}, jar.sent_to(REFRESH), *proof, *csrf)
        if any(line.startswith("Host:") for line in proof):
            raw = raw.replace(b"Host: gateway.test\r\n", b"", 1)
        answer = await ask(gate, raw)
        assert answer.status == 200, answer.body
        jar.take(answer)
    # Nothing else is excused by it.
    is_refusal(await ask(gate, post("/api/x", {}, jar.sent_to("/api/x"), *proof[:1])), 403)


@pytest.mark.parametrize(
    "proof",
    [
        (),
        ("Sec-Fetch-Site: none",),
        ("Sec-Fetch-Site: Same-Origin",),
        ("Sec-Fetch-Site:",),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: cross-site",),
        (SAME, SAME),
        (SAME, "Sec-Fetch-Site: cross-site"),
        (HERE, HERE),
        (HERE, HERE, SAME),
        (HERE, "Sec-Fetch-Site: none"),
        (HERE, "Sec-Fetch-Site: cross-site"),
        (HERE, "Sec-Fetch-Site: same-site"),
        ("Origin: null",),
        ("Origin: null", SAME),
        ("Origin:", SAME),
        ("Origin: https://evil.example", SAME),
        ("Origin: https://gateway.test.evil.example",),
        ("Origin: https://gateway.test:8443",),
        ("Origin: gateway.test",),
        (f"Origin: {APP}",),
        ("Sec_Fetch_Site: same-origin",),
        ("X-Auth-Own-Page: true",),
        ("X_Auth_Own_Page: true",),
        ("Referer: https://gateway.test/",),
    ],
)
async def test_what_proves_no_page_of_this_host_needs_the_token(
    world: World, start: Start, proof: tuple[str, ...]
) -> None:
    gate = await start(world.url, cookies=True, cors={"origins": (APP,)})  # which may not use cookies
    jar = await signed_in(gate)
    before = dict(jar.values)
    refusal = await jar.post(gate, REFRESH, {}, *proof)
    is_refusal(refusal, 403)
    assert refusal.all("Set-Cookie") == []
    assert jar.values == before
    assert (await jar.post(gate, REFRESH, {}, jar.csrf)).status == 200

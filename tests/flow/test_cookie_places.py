"""A browser that has cookies of our names in every place they were ever set at goes on, and is left with ours alone."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.calls import claims_of, is_refusal, whatomate_token
from tests.support.jars import Jar
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    import asyncio

    from gateway.app import Gateway
    from tests.support.peers import Message, Upstream
    from tests.support.worlds import Start, World


LOGIN, REFRESH, LOGOUT, SWITCH = (
    f"/api/auth/{name}" for name in ("login", "refresh", "logout", "switch-org")
)
SSO = "/api/auth/sso/google/callback"
CREDENTIALS = json.dumps({"email": "agent@example.com", "password": PASSWORD}).encode()
HOST = "chat.example.test"
SCOPES = (None, "chat.example.test", "example.test")
PLACES = (
    ("whm_access", "/api"),
    ("whm_refresh", "/api/auth"),
    ("whm_refresh", "/api/auth/refresh"),
    ("whm_csrf", "/"),
)

both_storages = pytest.mark.parametrize("bis", [True, False], ids=["rfc6265bis", "rfc6265"])
both_ways = pytest.mark.parametrize(
    ("before", "after"),
    [(None, "example.test"), ("example.test", None), ("example.test", HOST), (HOST, None)],
)


def ours(domain: str | None) -> set[tuple[str, str, str]]:
    at = HOST if domain is None else f".{domain}"
    return {("whm_access", at, "/api"), ("whm_refresh", at, "/api/auth"), ("whm_csrf", at, "/")}


def fill(jar: Jar, **values: str) -> None:
    """Put a cookie into every place there is."""
    for name, path in PLACES:
        for scope in SCOPES:
            domain = f"; Domain={scope}" if scope else ""
            jar.set(f"{name}={values.get(name, f'stale-{name}-{path}-{scope}')}; Path={path}{domain}")


async def sign_in(jar: Jar, gate: Gateway) -> None:
    assert (await jar.ask(gate, "POST", LOGIN, body=CREDENTIALS)).status == 200


async def goes_on(jar: Jar, gate: Gateway) -> None:
    """Assert that everything that a page does all day is let in."""
    assert (await jar.ask(gate, "GET", "/api/contacts")).status == 200
    assert (await jar.ask(gate, "POST", "/api/contacts", jar.csrf(), body=b"{}")).status == 200
    assert (await jar.ask(gate, "POST", REFRESH, body=b"{}")).status == 200
    assert (await jar.ask(gate, "POST", "/api/contacts", jar.csrf(), body=b"{}")).status == 200


def whatomate_sets(user: Any, organization: Any, domain: str = "") -> list[str]:
    """Return the cookies that the callback of Whatomate's single sign-on sets."""
    attributes = f"; SameSite=Lax{domain}"
    access = whatomate_token(user, organization, seconds=900)
    refresh = whatomate_token(user, organization, seconds=86_400, jti=str(uuid4()))
    return [
        f"whm_access={access}; max-age=900; Path=/api; HttpOnly{attributes}",
        f"whm_refresh={refresh}; max-age=86400; path=/api/auth/refresh; HttpOnly{attributes}",
        f"whm_csrf=9CNmhCZEm_random-of-whatomates; max-age=86400; path=/{attributes}",
    ]


def redirects(upstream: Upstream, *set_cookie: str) -> None:
    """Let the upstream answer its next connection as Whatomate's callback does, and the others as ever."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.script = None
        await reader.readuntil(b"\r\n\r\n")
        lines = "".join(f"Set-Cookie: {line}\r\n" for line in set_cookie)
        writer.write(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://chat.example.test/auth/sso/callback\r\n"
            f"{lines}Set-Cookie: theirs=1; Path=/x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        await writer.drain()

    upstream.script = answer


# -- all places at once -------------------------------------------------------------------------------------------


@both_storages
@pytest.mark.parametrize("domain", SCOPES)
async def test_signing_in_leaves_ours_alone_whatever_was_there(
    world: World, start: Start, bis: bool, domain: str | None
) -> None:
    gate = await start(world.url, cookies=True, cookie={"domain": domain})
    jar = Jar(HOST, bis=bis)
    fill(jar)
    await sign_in(jar, gate)
    assert jar.places == ours(domain)
    await goes_on(jar, gate)
    assert jar.places == ours(domain)


@both_storages
@pytest.mark.parametrize("domain", SCOPES)
async def test_a_session_among_stale_cookies_in_every_other_place_goes_on(
    world: World, start: Start, bis: bool, domain: str | None
) -> None:
    gate = await start(world.url, cookies=True, cookie={"domain": domain})
    jar = Jar(HOST, bis=bis)
    await sign_in(jar, gate)
    good = dict(jar.cookies)
    fill(jar)
    jar.cookies |= good
    if not bis:  # there, one for the host and one for a domain of its name are the same cookie
        for place in good:
            jar.cookies.pop((*place[:3], not place[3]), None)
    await goes_on(jar, gate)
    assert jar.places == ours(domain)


@both_storages
@pytest.mark.parametrize("domain", SCOPES)
async def test_logging_out_leaves_nothing_and_ends_the_session(
    world: World, start: Start, bis: bool, domain: str | None
) -> None:
    gate = await start(world.url, cookies=True, cookie={"domain": domain})
    jar = Jar(HOST, bis=bis)
    await sign_in(jar, gate)
    before = Jar(HOST, bis, dict(jar.cookies))
    fill(jar, whm_refresh="x")
    jar.cookies |= before.cookies
    assert (await jar.ask(gate, "POST", LOGOUT)).status == 200
    assert jar.cookies == {}
    is_refusal(await before.ask(gate, "GET", "/api/contacts"), 401)
    is_refusal(await before.ask(gate, "POST", REFRESH, body=b"{}"), 401)


async def test_where_every_cookie_is_stale_it_is_the_login_page_and_not_a_dead_end(
    world: World, start: Start
) -> None:
    gate = await start(world.url, cookies=True)
    jar = Jar(HOST)
    fill(jar)
    is_refusal(await jar.ask(gate, "GET", "/api/contacts"), 401, "Invalid or expired token")
    is_refusal(await jar.ask(gate, "POST", REFRESH, body=b"{}"), 401, "Invalid refresh token")
    assert jar.cookies == {}


# -- the setting changes ------------------------------------------------------------------------------------------


@both_storages
@both_ways
async def test_a_changed_domain_costs_nobody_the_session(
    world: World, start: Start, bis: bool, before: str | None, after: str | None
) -> None:
    old = await start(world.url, cookies=True, cookie={"domain": before})
    new = await start(world.url, cookies=True, cookie={"domain": after})
    jar = Jar(HOST, bis=bis)
    await sign_in(jar, old)
    session = claims_of(
        next(cookie.value for place, cookie in jar.cookies.items() if place[0] == "whm_access")
    )["sid"]
    await goes_on(jar, new)
    assert jar.places == ours(after)
    access = next(cookie.value for place, cookie in jar.cookies.items() if place[0] == "whm_access")
    assert claims_of(access)["sid"] == session
    await goes_on(jar, old)  # and back
    assert jar.places == ours(before)


@both_ways
async def test_switching_the_organization_leaves_none_of_the_old_ones(
    world: World, start: Start, before: str | None, after: str | None
) -> None:
    old = await start(world.url, cookies=True, cookie={"domain": before})
    new = await start(world.url, cookies=True, cookie={"domain": after})
    jar = Jar(HOST)
    body = json.dumps({"email": "both@example.com", "password": PASSWORD}).encode()
    assert (await jar.ask(old, "POST", LOGIN, body=body)).status == 200
    body = json.dumps({"organization_id": str(world.other)}).encode()
    assert (await jar.ask(new, "POST", SWITCH, jar.csrf(), body=body)).status == 200
    assert jar.places == ours(after)


async def test_below_a_base_path_cookies_are_for_it_and_those_from_before_go(
    world: World, start: Start
) -> None:
    plain = await start(world.url, cookies=True)
    gate = await start(world.url, cookies=True, cookie={"base_path": "/wa"})
    jar = Jar(HOST)
    await sign_in(jar, plain)
    jar.set("whm_refresh=x; Path=/wa/api/auth/refresh")
    await sign_in(jar, gate)
    assert {(name, path) for name, _, path in jar.places} == {
        ("whm_access", "/wa/api"),
        ("whm_refresh", "/wa/api/auth"),
        ("whm_csrf", "/wa/"),
        ("whm_access", "/api"),  # which nothing below /wa is sent
        ("whm_refresh", "/api/auth"),
    }


# -- the upstream signs in ----------------------------------------------------------------------------------------


@both_storages
@pytest.mark.parametrize("domain", SCOPES)
@pytest.mark.parametrize("theirs", ["", "; Domain=example.test", "; domain=.chat.example.test"])
async def test_what_the_callback_of_single_sign_on_sets_is_moved_to_our_place(
    world: World, start: Start, upstream: Upstream, bis: bool, domain: str | None, theirs: str
) -> None:
    gate = await start(world.url, cookies=True, cookie={"domain": domain}, public_paths=("/*", SSO))
    jar = Jar(HOST, bis=bis)
    fill(jar)
    lines = whatomate_sets(world.agent, world.home, theirs)
    redirects(upstream, *lines)
    answer = await jar.ask(gate, "GET", f"{SSO}?code=1&state=2")
    assert answer.status == 307
    assert answer.one("Location") == "http://chat.example.test/auth/sso/callback"
    assert jar.places - ours(domain) == {("theirs", HOST, "/x")}
    values = {place[0]: cookie.value for place, cookie in jar.cookies.items()}
    assert [f"{name}={values[name]}" for name in ("whm_access", "whm_refresh", "whm_csrf")] == [
        line.partition(";")[0] for line in lines
    ]
    for _ in range(3):
        await goes_on(jar, gate)
    assert jar.places - {("theirs", HOST, "/x")} == ours(domain)


async def test_ours_keep_value_and_lifetime_and_get_our_attributes(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, cookies=True, cookie={"domain": "example.test"})
    redirects(
        upstream,
        "whm_refresh= a.b=c ; Secure;PATH=/api/auth/refresh; Max-Age=5 ;expires=Fri, 01 Jan 2100 00:00:00 GMT; "
        "SameSite=None; Partitioned",
        "whm_csrf=y",
    )
    answer = await Jar(HOST).ask(gate, "GET", "/auth/anything")
    sets = [line for line in answer.all("Set-Cookie") if "Max-Age=0" not in line]
    until = "expires=Fri, 01 Jan 2100 00:00:00 GMT"
    assert sets == [
        f"whm_refresh=a.b=c; Path=/api/auth; HttpOnly; Max-Age=5; {until}; Domain=example.test; Secure; SameSite=Lax",
        "whm_csrf=y; Path=/; Domain=example.test; Secure; SameSite=Lax",
        "theirs=1; Path=/x",
    ]
    assert not [line for line in answer.all("Set-Cookie") if line.startswith("whm_access=")]


async def test_where_cookies_are_off_they_pass_as_they_came(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url)
    lines = whatomate_sets(world.agent, world.home)
    redirects(upstream, *lines)
    answer = await Jar(HOST).ask(gate, "GET", "/auth/anything")
    assert answer.all("Set-Cookie") == [*lines, "theirs=1; Path=/x"]


async def test_what_only_resembles_ours_passes_as_it_came(
    world: World, start: Start, upstream: Upstream
) -> None:
    gate = await start(world.url, cookies=True)
    lines = (
        "WHM_ACCESS=1; Path=/api",
        "whm_accessory=1; Domain=example.test",
        "__Host-whm_access=1; Path=/; Secure",
        "whm_access; Path=/api",
        "=whm_access=1",
        '"whm_access"=1',
        "a=whm_access=1; whm_access=2",
        "",
    )
    redirects(upstream, *lines)
    answer = await Jar(HOST).ask(gate, "GET", "/auth/anything")
    assert answer.all("Set-Cookie") == [*lines, "theirs=1; Path=/x"]


async def test_an_upstream_that_signs_out_clears_ours(world: World, start: Start, upstream: Upstream) -> None:
    gate = await start(world.url, cookies=True)
    jar = Jar(HOST)
    await sign_in(jar, gate)
    redirects(upstream, *(f"{name}=; max-age=0; path={path}" for name, path in PLACES if path != "/api/auth"))
    await jar.ask(gate, "GET", "/auth/anything")
    assert jar.places == {("theirs", HOST, "/x")}
    await sign_in(jar, gate)
    new = whatomate_sets(world.agent, world.home)
    redirects(upstream, *new, "whm_refresh=; max-age=0; path=/old", "whm_csrf=; max-age=0; path=/old")
    await jar.ask(gate, "GET", "/auth/anything")
    assert jar.places == ours(None) | {("theirs", HOST, "/x")}


# -- heads stay small ---------------------------------------------------------------------------------------------


def set_cookie_bytes(answer: Message, *, expiring: bool) -> int:
    return sum(
        len(f"Set-Cookie: {line}\r\n")
        for line in answer.all("Set-Cookie")
        if ("Max-Age=0" in line) is expiring
    )


async def test_expiring_costs_an_answer_no_more_than_a_kibibyte(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True)
    jar = Jar(HOST)
    first = await jar.ask(gate, "POST", LOGIN, body=CREDENTIALS)
    assert set_cookie_bytes(first, expiring=True) <= 300  # it shows no cookie: one place cannot be seen
    again = await jar.ask(gate, "POST", REFRESH, body=b"{}")
    assert set_cookie_bytes(again, expiring=True) <= 1024
    deep = Jar(".".join("abcdefghij") + ".example.test")
    await sign_in(deep, gate)
    answer = await deep.ask(gate, "POST", REFRESH, body=b"{}")
    assert set_cookie_bytes(answer, expiring=True) <= 2560
    out = await deep.ask(gate, "POST", LOGOUT)
    assert len(out.all("Set-Cookie")) <= 4 * 6


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "localhost", "x" * 64, "a..b", "-.-", "a.b."],
)
async def test_what_is_no_name_with_a_domain_has_none(world: World, start: Start, host: str) -> None:
    gate = await start(world.url, cookies=True)
    for path in (LOGIN, LOGOUT):
        answer = await Jar(host).ask(gate, "POST", path, body=CREDENTIALS)
        assert not [line for line in answer.all("Set-Cookie") if "Domain" in line]


async def test_a_retry_within_the_second_does_not_take_the_used_one(
    world: World, start: Start, upstream: Upstream
) -> None:
    """Both say the same second; the one that stands where Whatomate puts it is the older one, and used."""
    gate = await start(world.url, cookies=True)
    jar = Jar(HOST)
    now = int(time.time())
    theirs = whatomate_token(world.agent, world.home, seconds=86_400, jti=str(uuid4()), iat=now + 5)
    jar.set(f"whm_refresh={theirs}; Path=/api/auth/refresh")
    assert (await jar.ask(gate, "POST", REFRESH, body=b"{}")).status == 200
    token = next(cookie.value for place, cookie in jar.cookies.items() if place[0] == "whm_refresh")
    same = whatomate_token(
        world.agent, world.home, seconds=86_400, jti=str(uuid4()), iat=claims_of(token)["iat"]
    )
    jar.set(f"whm_refresh={same}; Path=/api/auth/refresh")
    assert (await jar.ask(gate, "POST", REFRESH, body=b"{}")).status == 200
    successor = next(cookie.value for place, cookie in jar.cookies.items() if place[0] == "whm_refresh")
    assert claims_of(successor)["sid"] == claims_of(token)["sid"]

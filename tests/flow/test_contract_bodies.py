"""The contract of /api/auth: what a body may be, and by which method it comes."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.calls import ask, bearer, granted, is_refusal, post, request

if TYPE_CHECKING:
    from tests.support.peers import Client, Message, Upstream
    from tests.support.worlds import Start, World


REGISTER, LOGIN, REFRESH = "/api/auth/register", "/api/auth/login", "/api/auth/refresh"
SWITCH, LOGOUT = "/api/auth/switch-org", "/api/auth/logout"
JSON = "Content-Type: application/json"

GOOD: dict[str, dict[str, object]] = {
    REGISTER: {
        "email": "new@example.com",
        "password": "securepassword123",
        "full_name": "New Comer",
        "organization_id": str(uuid4()),
    },
    LOGIN: {"email": "new@example.com", "password": "securepassword123"},
    REFRESH: {"refresh_token": "x.y.z"},
}
FORM = "Content-Type: application/x-www-form-urlencoded"
FIELDS = [(path, name) for path, content in GOOD.items() for name in content]


def unread(answer: Message, path: str) -> None:
    if path == REFRESH:
        is_refusal(answer, 401, "Missing refresh token")
    else:
        is_refusal(answer, 400, "Invalid request body")


@pytest.mark.parametrize("path", GOOD)
async def test_what_is_no_json_object_is_refused(client: Client, upstream: Upstream, path: str) -> None:
    for body in (
        *(
            b"",
            b"{",
            b"nonsense",
            b"null",
            b"7",
            b'"text"',
            b"[]",
            b'[{"email": "a"}]',
            b"{}{}",
            b"{'email': 1}",
        ),
        *(
            b"\xff\xfe{\x00}\x00",
            b'\xef\xbb\xbf{"email": "a"}',
            b'{"email": "\xff"}',
            b'{"email": "\\ud800"}',
        ),
        *(b'{"email": NaN}', b"[" * 30_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    ):
        answer = await client.exchange(request("POST", path, JSON, body=body))
        unread(answer, path)
    assert upstream.seen == b""


@pytest.mark.parametrize(("path", "name"), FIELDS)
async def test_a_field_that_is_missing_or_of_the_wrong_type_is_named(
    client: Client, path: str, name: str
) -> None:
    wrong: tuple[object, ...] = (None, True, 7, 1.5, ["a"], {"a": "b"}, "")
    contents = [{key: told for key, told in GOOD[path].items() if key != name}]
    contents += [{**GOOD[path], name: one} for one in wrong]
    for content in contents:
        answer = await client.exchange(post(path, content))
        if path == REFRESH:
            is_refusal(answer, 401, "Missing refresh token")
            continue
        is_refusal(answer, 400)
        assert str(answer.json()["message"]).startswith(f"{name} "), content


async def test_an_organization_is_a_uuid(client: Client) -> None:
    for text in ("7", "not-a-uuid", "../../etc/passwd", str(uuid4())[:-1]):
        answer = await client.exchange(post(REGISTER, {**GOOD[REGISTER], "organization_id": text}))
        is_refusal(answer, 400, "organization_id must be a UUID")


async def test_a_refused_body_is_not_repeated(client: Client) -> None:
    for content in (
        {**GOOD[REGISTER], "password": ["hunter2-hunter2"]},
        {**GOOD[REGISTER], "organization_id": "hunter2-hunter2"},
        {**GOOD[REGISTER], "email": {"hunter2-hunter2": 1}},
    ):
        answer = await client.exchange(post(REGISTER, content))
        is_refusal(answer, 400)
        assert b"hunter2" not in answer.body


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/jsonp", "multipart/form-data", "x", ""],
)
async def test_another_content_type_is_415(client: Client, upstream: Upstream, path: str, kind: str) -> None:
    body = json.dumps(GOOD[path]).encode()
    answer = await client.exchange(request("POST", path, f"Content-Type: {kind}", body=body))
    is_refusal(answer, 401 if path == REFRESH else 415)  # refreshing: what cannot be read is no token
    assert upstream.seen == b""


async def test_a_form_is_read_as_json_is(world: World, start: Start) -> None:
    gate = await start(world.url)

    def form(path: str, body: bytes, *lines: str) -> bytes:
        return request("POST", path, FORM, *lines, body=body)

    pair = await granted(gate, form(LOGIN, b"email=agent%40example.com&password=correct+horse%20battery"))
    pair = await granted(gate, form(REFRESH, f"refresh_token={pair['refresh_token']}".encode()))
    who = bearer(world.token(world.both))
    await granted(gate, form(SWITCH, f"organization_id={world.other}".encode(), who))
    content = f"email=f%40example.com&password={'p' * 12}&full_name=J%C3%B6&organization_id={world.home}"
    assert (await granted(gate, form(REGISTER, content.encode())))["user"]["full_name"] == "Jö"
    await granted(gate, form(LOGOUT, f"refresh_token={pair['refresh_token']}".encode()))
    is_refusal(await ask(gate, form(REFRESH, f"refresh_token={pair['refresh_token']}".encode())), 401)
    is_refusal(await ask(gate, form(LOGIN, b"email=agent%40example.com&email=x&password=wrong")), 401)
    is_refusal(await ask(gate, form(LOGIN, b"password=x")), 400, "email is required")
    for body in (b"email=%ff&password=x", b"email=\xff&password=x", b"&a=" * 200):
        is_refusal(await ask(gate, form(LOGIN, body)), 400, "Invalid request body")


async def test_a_form_of_another_origins_page_signs_nobody_in(world: World, start: Start) -> None:
    """A page can send a form anywhere: signed in as somebody else, a user would work in their account."""
    gate = await start(world.url, cookies=True)
    body = b"email=agent%40example.com&password=correct+horse+battery"
    for lines in (("Origin: https://evil.test",), ("Sec-Fetch-Site: cross-site",), ("Origin: null",)):
        answer = await ask(gate, request("POST", LOGIN, FORM, *lines, body=body))
        is_refusal(answer, 403)
        assert answer.all("Set-Cookie") == []


@pytest.mark.parametrize(
    "lines",
    [(JSON,), ("Content-Type: Application/JSON; charset=utf-8",), ("content-type:application/json",), ()],
)
async def test_json_is_read_by_any_of_its_names_or_none(client: Client, lines: tuple[str, ...]) -> None:
    is_refusal(await client.exchange(request("POST", LOGIN, *lines, body=b"[]")), 400, "Invalid request body")


# -- size -------------------------------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    content = json.dumps({**GOOD[REFRESH], "unknown": ""}).encode()
    return content.replace(b'""', b'"' + b"x" * (size - len(content)) + b'"')


async def test_64_kib_is_the_most(client: Client, upstream: Upstream) -> None:
    answer = await client.exchange(request("POST", REFRESH, JSON, body=padded(65_536)))
    is_refusal(answer, 401, "Invalid refresh token")  # it was read
    is_refusal(await client.exchange(request("POST", REFRESH, JSON, body=padded(65_537))), 413)
    assert upstream.seen == b""


async def test_a_length_over_64_kib_is_refused_before_the_body_comes(client: Client) -> None:
    await client.send(request("POST", LOGIN, JSON, "Content-Length: 10000000000", "Expect: 100-continue"))
    answer = await client.response(interim=True)
    is_refusal(answer, 413)
    assert answer.one("Connection") == "close"


async def test_a_client_that_waits_for_100_gets_one_of_it(client: Client) -> None:
    body = padded(1000)
    await client.send(request("POST", REFRESH, JSON, f"Content-Length: {len(body)}", "Expect: 100-continue"))
    assert (await client.response(interim=True)).status == 100
    await client.send(body)
    is_refusal(await client.response(interim=True), 401, "Invalid refresh token")


@pytest.mark.parametrize("size", [1, 100, 60_000, 70_000])
async def test_chunks_over_64_kib_are_413(client: Client, upstream: Upstream, size: int) -> None:
    body = padded(65_537)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    await client.send(request("POST", REFRESH, JSON, "Transfer-Encoding: chunked") + chunked)
    is_refusal(await client.response(), 413)
    assert upstream.seen == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-gzip", "unknown"])
async def test_a_compressed_body_is_415_and_never_unpacked(
    client: Client, upstream: Upstream, coding: str
) -> None:
    bomb = gzip.compress(b"{" + b" " * 40_000_000)
    assert len(bomb) < 65_536
    for body in (bomb, b"not compressed by anything"):
        raw = request("POST", LOGIN, JSON, f"Content-Encoding: {coding}", body=body)
        is_refusal(await client.exchange(raw), 415)
    assert upstream.seen == b""


async def test_the_identity_coding_is_no_coding(client: Client) -> None:
    raw = request("POST", LOGIN, JSON, "Content-Encoding: identity", body=b"[]")
    is_refusal(await client.exchange(raw), 400, "Invalid request body")


# -- values -----------------------------------------------------------------------------------------------------


async def test_unknown_fields_are_ignored(world: World, start: Start) -> None:
    gate = await start(world.url)
    content = {
        **GOOD[REGISTER],
        "organization_id": str(world.home),
        "is_super_admin": True,
        "role_id": str(uuid4()),
        "id": "7",
        "nested": {"a": [1]},
    }
    user = (await granted(gate, post(REGISTER, content)))["user"]
    assert user["is_super_admin"] is False
    assert user["role"]["name"] == "agent"


async def test_what_would_break_a_header_or_the_database_is_never_stored(world: World, start: Start) -> None:
    gate = await start(world.url)
    controls = "\0\r\n\t\x01\x1b\x7f\x85"
    emails = [f"a{one}b@example.com" for one in controls]
    emails += [
        "no-address",
        "@example.com",
        "a@",
        "a b@example.com",
        "a@b@c.d",
        f"{'a' * 250}@example.com",
        " ",
    ]
    names = [f"A{one}B" for one in controls] + ["", "  ", "A\u2028B", "x" * 256]
    for change in [{"email": email} for email in emails] + [{"full_name": name} for name in names]:
        content = {**GOOD[REGISTER], "organization_id": str(world.home), **change}
        answer = await ask(gate, post(REGISTER, content))
        assert answer.status == 400, change
        is_refusal(answer, 400)
    assert await world.sql("SELECT FROM users WHERE email LIKE 'new%' OR email LIKE 'a%b@%'") == []


async def test_a_new_password_has_8_characters_and_72_bytes(world: World, start: Start) -> None:
    gate = await start(world.url)

    def registering(number: int, password: str) -> bytes:
        content = {**GOOD[REGISTER], "email": f"n{number}@example.com", "password": password}
        return post(REGISTER, {**content, "organization_id": str(world.home)})

    for number, password in enumerate(["x" * 7, "x" * 73, "é" * 37, "pass\0word", "\ud83d\ude00" * 7]):
        is_refusal(await ask(gate, registering(number, password)), 400)
    for number, password in enumerate(["x" * 8, "x" * 72, "é" * 36], 100):
        await granted(gate, registering(number, password))
        await granted(gate, post(LOGIN, {"email": f"n{number}@example.com", "password": password}))
    # And no byte of a password is decoration.
    is_refusal(await ask(gate, post(LOGIN, {"email": "n101@example.com", "password": "x" * 71})), 401)
    is_refusal(await ask(gate, post(LOGIN, {"email": "n101@example.com", "password": "x" * 73})), 401)


async def test_the_password_minimum_is_a_setting(world: World, start: Start) -> None:
    gate = await start(world.url, password={"min_length": 12})
    content = {**GOOD[REGISTER], "organization_id": str(world.home), "password": "eleven char"}
    is_refusal(await ask(gate, post(REGISTER, content)), 400)
    await granted(gate, post(REGISTER, {**content, "password": "twelve chars"}))


async def test_switching_validates_its_body_too(world: World, start: Start) -> None:
    gate = await start(world.url)
    who = bearer(world.token(world.both))
    is_refusal(await ask(gate, request("POST", SWITCH, JSON, who, body=b"[]")), 400, "Invalid request body")
    is_refusal(await ask(gate, post(SWITCH, {}, who)), 400, "organization_id is required")
    is_refusal(
        await ask(gate, post(SWITCH, {"organization_id": 7}, who)), 400, "organization_id must be a UUID"
    )
    is_refusal(await ask(gate, request("POST", SWITCH, "Content-Type: text/html", who, body=b"{}")), 415)


# -- method and target ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*GOOD, SWITCH, LOGOUT])
async def test_another_method_is_405_and_told_which(client: Client, upstream: Upstream, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await client.exchange(request(method, path))
        is_refusal(answer, 405)
        assert answer.one("Allow") == "POST"
    await client.send(request("HEAD", path))
    answer = await client.response(head_only=True)
    assert (answer.status, answer.one("Allow")) == (405, "POST")
    assert upstream.seen == b""


@pytest.mark.parametrize(
    "target",
    [
        "/api/auth/%6cogin",
        "/%61pi/auth/login",
        "/api/auth/login?next=%2F..%2F&x=%zz",
        "http://gateway.test/api/auth/login",
    ],
)
async def test_every_spelling_of_a_hosted_path_is_answered_here(
    client: Client, upstream: Upstream, target: str
) -> None:
    is_refusal(await client.exchange(post(target, [])), 400, "Invalid request body")
    assert upstream.seen == b""


async def test_a_spelling_in_another_case_is_nobodys(client: Client, upstream: Upstream) -> None:
    for path in ("/api/auth/LOGIN", "/API/auth/login"):
        is_refusal(await client.exchange(post(path, {})), 404)
    assert upstream.seen == b""


async def test_a_head_that_the_gateway_takes_its_endpoints_take(client: Client) -> None:
    for lines in (
        (f"Cookie: {'c' * 20_000}",),
        tuple(f"X-Field-{number}: x" for number in range(90)),
        ("X-Bytes: \xe9\xff",),
        ("Accept-Encoding: br;q=abc,,;", "If-Modified-Since: nonsense", "Range: bytes=9-1"),
    ):
        raw = post(LOGIN, [], *lines)
        is_refusal(await client.exchange(raw), 400, "Invalid request body")
    is_refusal(await client.exchange(post(f"{LOGIN}?{'q' * 8000}", [])), 400, "Invalid request body")
    odd_host = post(LOGIN, []).replace(b"Host: gateway.test", b"Host: gateway.test:99999")
    is_refusal(await client.exchange(odd_host), 400, "Invalid request body")


async def test_the_gateway_does_not_tell_what_it_is_made_of(client: Client) -> None:
    answer = await client.exchange(post(LOGIN, []))
    assert answer.one("Server") is None
    assert answer.one("Content-Type") == "application/json"

"""Middleware between a server's view of a request and an application's: what passes, and what the application sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from whatomate_identity import KeySet, Verifier, aiohttp, asgi, utf8_of_latin1, wsgi
from whatomate_identity.testing import SigningGateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whatomate_identity import Identity

    Ask = Callable[..., Any]

GATEWAY = SigningGateway(audience="billing")
OPTIONS: Any = {"optional": ["/healthz"]}


def unreachable() -> bytes:
    raise ConnectionRefusedError("nobody listens")


def verifier(*, is_reachable: bool = True) -> Verifier:
    if is_reachable:
        return GATEWAY.verifier()
    return Verifier(KeySet("http://gateway/keys", fetch=unreachable), audience="billing")


def described(identity: Identity | None, headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return {
        "name": None if identity is None else identity.name,
        "may": identity is not None and identity.may("chat:read"),
        "plain": {name.lower(): value for name, value in headers if name.lower().startswith("x-user")},
    }


async def by_asgi(path: str, headers: dict[str, str], guard: Verifier) -> tuple[int, Any]:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen = described(asgi.identity_of(scope), [(n.decode(), v.decode()) for n, v in scope["headers"]])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": lines}
    await asgi.IdentityMiddleware(app, guard, **OPTIONS)(scope, send, send)  # type: ignore[arg-type] # nothing is read
    return sent[0]["status"], json.loads(sent[1]["body"])


async def by_wsgi(path: str, headers: dict[str, str], guard: Verifier) -> tuple[int, Any]:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        lines = [
            (name.removeprefix("HTTP_").replace("_", "-"), utf8_of_latin1(value))
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        start_response("200 OK", [])
        return [json.dumps(described(wsgi.identity_of(environ), lines)).encode()]

    statuses: list[str] = []
    fields = {
        f"HTTP_{name.upper().replace('-', '_')}": value.encode().decode("latin-1")
        for name, value in headers.items()
    }
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        **fields,
    }
    answer = wsgi.IdentityMiddleware(app, guard, **OPTIONS)(
        environ, lambda status, _: statuses.append(status)
    )
    return int(statuses[0].split()[0]), json.loads(b"".join(answer))


async def by_aiohttp(path: str, headers: dict[str, str], guard: Verifier) -> tuple[int, Any]:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(described(aiohttp.identity_of(request), request.headers.items()))

    app = web.Application(middlewares=[aiohttp.identity_middleware(guard, **OPTIONS)])
    app.router.add_get("/{path:.*}", handler)
    async with (
        TestClient(TestServer(app)) as client,
        client.get(path, headers=headers, skip_auto_headers=["User-Agent"]) as response,
    ):
        return response.status, await response.json(content_type=None)


@pytest.fixture(params=[by_asgi, by_wsgi, by_aiohttp])
def ask(request: pytest.FixtureRequest) -> Ask:
    ask: Ask = request.param
    return ask


async def test_an_application_knows_who_asks_and_sees_plain_headers_as_they_were_signed(ask: Ask) -> None:
    headers = GATEWAY.headers("GET", "/café", name="Zoë 李", permissions=["chat:read"])
    lies = {"X-User-Name": "Mallory", "X-User-Shoe-Size": "7"}
    status, seen = await ask("/café", {**headers, **lies}, verifier())
    assert status == 200
    assert (seen["name"], seen["may"]) == ("Zoë 李", True)
    assert seen["plain"]["x-user-name"] == "Zoë 李"
    assert seen["plain"]["x-user-permissions"] == "chat:read"
    assert "x-user-shoe-size" not in seen["plain"]


async def test_what_is_not_signed_is_401_and_says_why(ask: Ask) -> None:
    headers = GATEWAY.headers("GET", "/bills")
    for sent, said in (
        ({}, "no signed identity"),
        ({"X-User-ID": "somebody"}, "no signed identity"),
        (SigningGateway(audience="billing").headers("GET", "/bills"), "none of the keys"),
        (GATEWAY.headers("GET", "/other"), "another path"),
        ({**headers, "X-Identity": headers["X-Identity"] + "," + headers["X-Identity"]}, "twice"),
    ):
        status, seen = await ask("/bills", sent, verifier())
        assert status == 401
        assert said in seen["message"]


async def test_a_path_that_needs_none_is_served_with_nobody_and_without_their_headers(ask: Ask) -> None:
    status, seen = await ask("/healthz", {"X-User-ID": "somebody", "X-User-Name": "Mallory"}, verifier())
    assert (status, seen) == (200, {"name": None, "may": False, "plain": {}})
    status, _ = await ask("/healthz", {"X-Identity": "forged"}, verifier())
    assert status == 401
    status, seen = await ask("/healthz", GATEWAY.headers("GET", "/healthz", name="Zoë"), verifier())
    assert (status, seen["name"]) == (200, "Zoë")


async def test_keys_that_cannot_be_fetched_are_503(ask: Ask) -> None:
    status, seen = await ask("/bills", GATEWAY.headers("GET", "/bills"), verifier(is_reachable=False))
    assert status == 503
    assert "keys" in seen["message"]
    status, _ = await ask("/bills", {}, verifier(is_reachable=False))
    assert status == 401  # nothing has to be fetched to know that


def test_a_refused_head_has_no_body_under_wsgi() -> None:
    def app(_environ: Any, _start_response: Any) -> list[bytes]:
        raise AssertionError("it is not called")

    guarded = wsgi.IdentityMiddleware(app, verifier())
    started: list[Any] = []
    lengths: dict[str, tuple[str, int]] = {}
    for method in ("GET", "HEAD"):
        environ = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": "/bills"}
        body = b"".join(guarded(environ, lambda *given: started.extend(given)))
        lengths[method] = (dict(started[-1])["Content-Length"], len(body))
    declared, sent = lengths["GET"]
    assert declared == str(sent)
    assert lengths["HEAD"] == (declared, 0)


async def test_a_websocket_that_is_not_signed_is_closed_before_it_is_accepted() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    guarded = asgi.IdentityMiddleware(app, verifier())
    for headers, extensions, expected in (
        ({}, {}, "websocket.close"),
        ({}, {"websocket.http.response": {}}, "websocket.http.response.start"),
        (GATEWAY.headers("GET", "/ws"), {}, "websocket.accept"),
    ):
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        lines = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "websocket",
            "path": "/ws",
            "raw_path": b"/ws",
            "headers": lines,
            "extensions": extensions,
        }
        await guarded(scope, send, send)  # type: ignore[arg-type] # nothing is read
        assert sent[0]["type"] == expected


async def test_lifespan_passes() -> None:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> None: ...

    await asgi.IdentityMiddleware(app, verifier())({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]
    assert seen == [{"type": "lifespan"}]


def test_text_that_a_framework_decoded_as_latin1_is_read_as_utf8() -> None:
    assert utf8_of_latin1("ZoÃ«") == "Zoë"
    for whole in ("Zoë", "Zoe", "", "李"):
        assert utf8_of_latin1(whole) == whole

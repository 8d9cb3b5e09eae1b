"""The description of what is hosted: valid, complete both ways, and true of real answers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
from openapi_spec_validator import validate

from authcore.principal import AuthMethod
from gateway.endpoints.page import render
from tests.support.calls import ask, bearer, get, is_refusal, post, request
from tests.support.operations import (
    DOCUMENT,
    PAGE,
    Caller,
    administer,
    described,
    holds,
    hosted,
    look_at_sessions,
    operations,
    walk_through_sign_in,
)
from tests.support.peers import Client
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from tests.support.worlds import Start, World


ALL: Final[dict[str, Any]] = {"cookies": True, "cookie": {"secure": False}, "quotas": True}
"""With everything on."""


# -- complete -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [{}, ALL, {"keys": {"hosted": False}}], ids=["default", "all", "no keys"])
async def test_the_description_is_valid(start: Start, groups: dict[str, Any]) -> None:
    answer = await ask(await start(**groups), get(DOCUMENT))
    assert answer.status == 200
    assert answer.one("Content-Type") == "application/json"
    document: Any = answer.json()
    assert document["openapi"].startswith("3.1")
    validate(document)


@pytest.mark.parametrize("groups", [{}, ALL, {"keys": {"hosted": False}}], ids=["default", "all", "no keys"])
async def test_every_hosted_route_is_described_and_nothing_else(start: Start, groups: dict[str, Any]) -> None:
    gate = await start(**groups)
    routed = {(method, path) for method, path, _ in hosted(gate)}
    assert set(operations(await described(gate))) == routed
    assert {("POST", "/api/auth/login"), ("GET", DOCUMENT), ("GET", PAGE)} <= routed


async def test_decisions_are_described_where_they_are_made(world: World, start: Start) -> None:
    gate = await start(world.url, decision={"path": "/decide"}, trusted_proxies=["127.0.0.1/32"])
    document = await described(gate)
    validate(document)
    told = {path for _, path in operations(document) if path.startswith("/decide")}
    assert told == {"/decide/nginx", "/decide/forward", "/decide/envoy"}
    for line in ("X-Nothing: here", bearer(world.token(world.agent)), bearer("x.y.z")):
        question = get("/decide/nginx", "X-Original-Method: GET", "X-Original-URI: /api/contacts", line)
        answer = await ask(gate, question)
        responses = document["paths"]["/decide/nginx"]["get"]["responses"]
        assert str(answer.status) in responses


async def test_the_credentials_described_are_those_that_routes_take(start: Start) -> None:
    gate = await start(**ALL)
    told = operations(await described(gate))
    for method, path, requirement in hosted(gate):
        operation = told[method, path]
        schemes = {scheme for way in operation["security"] for scheme in way}
        if requirement.public:
            expected: set[str] = set()
        elif requirement.methods is None:
            expected = {"token", "cookie", "apiKey"}
        else:
            names = {AuthMethod.JWT: "token", AuthMethod.COOKIE: "cookie", AuthMethod.API_KEY: "apiKey"}
            expected = {names[one] for one in requirement.methods}
        assert schemes == expected, (method, path)
        assert operation.get("x-permission") == next(iter(requirement.all_of), None), (method, path)


async def test_without_cookies_none_are_described(start: Start) -> None:
    document = await described(await start())
    assert set(document["components"]["securitySchemes"]) == {"token", "apiKey"}


# -- true ---------------------------------------------------------------------------------------------------------


async def test_every_operation_answers_as_described(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    # A schema that forbids what it does not name tells whether it names everything.
    for schema in document["components"]["schemas"].values():
        schema["additionalProperties"] = False
    call = Caller(gate, document)
    await look_at_sessions(call, await walk_through_sign_in(call, world))
    await administer(call, bearer(world.token(world.admin)), bearer(world.token(world.agent)))
    for path in (DOCUMENT, PAGE, "/.well-known/jwks.json"):
        await call(f"GET {path}")
    assert call.succeeded == set(operations(document)), (
        "call what is missing here in one of the stories above"
    )


async def test_with_tokens_in_cookies_alone_the_description_holds(world: World, start: Start) -> None:
    gate = await start(world.url, cookies=True, cookie={"secure": False, "only": True})
    call = Caller(gate, await described(gate))
    content = await call("POST /api/auth/login", content={"email": "agent@example.com", "password": PASSWORD})
    assert set(content) == {"user", "expires_in"}
    cookie = f"Cookie: whm_access={world.token(world.agent)}"
    refused = request("POST", "/api/auth/refresh", "Cookie: whm_refresh=x")
    holds(await described(gate), "POST", "/api/auth/refresh", await ask(gate, refused))
    for unsafe in ("PUT /api/auth/password", "POST /api/auth/invitations", "DELETE /api/auth/sessions/{id}"):
        await call(unsafe, cookie, one=uuid4())  # without the CSRF token
    elsewhere = f"X-Organization-ID: {world.other}"
    for path in ("/api/auth/invitations", "/api/auth/ws-token", "/api/auth/whoami"):
        answer = await ask(gate, get(path, bearer(world.token(world.admin)), elsewhere))
        is_refusal(answer, 403, "You are not a member of this organization")
        holds(await described(gate), "GET", path, answer)


async def test_a_refusal_that_everybody_meets_is_described_everywhere(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    await world.sql("ALTER TABLE users RENAME TO users_away")
    for (method, path), operation in operations(document).items():
        target = path.replace("{id}", str(uuid4()))
        if operation["security"]:
            for line in ("X-Nothing: here", "Authorization: Basic x", "Authorization: Bearer x"):
                holds(document, method, path, await ask(gate, request(method, target, line)))
            token = bearer(world.token(uuid4()))
            unavailable = await ask(gate, request(method, target, token))
            is_refusal(unavailable, 503)
            holds(document, method, path, unavailable)


async def test_bodies_are_refused_as_described(world: World, start: Start) -> None:
    gate = await start(world.url)
    document = await described(gate)
    token = bearer(world.token(world.root))
    for (method, path), operation in operations(document).items():
        if "requestBody" not in operation or not operation["requestBody"]["required"]:
            continue
        target = path.replace("{id}", str(uuid4()))
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        contents: list[object] = ["not an object", {}, {name: [] for name in schema["properties"]}]
        for content in contents:
            if content == {} and not schema.get("required"):
                continue
            answer = await ask(gate, post(target, content, token).replace(b"POST", method.encode(), 1))
            is_refusal(answer, 400)
            holds(document, method, path, answer)
        typed = request(method, target, token, "Content-Type: text/plain", body=b"{}")
        holds(document, method, path, await ask(gate, typed))


async def test_every_field_that_is_required_is_described_so(world: World, start: Start) -> None:
    schema = (await described(await start()))["components"]["schemas"]["RegisterBody"]
    assert schema["required"] == ["email", "password", "full_name"]
    assert schema["properties"]["full_name"]["maxLength"] == 255


# -- the page -----------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_tells_everything_and_loads_nothing(start: Start) -> None:
    gate = await start(**ALL)
    answer = await ask(gate, get(PAGE))
    assert answer.status == 200
    assert answer.one("Content-Type") == "text/html; charset=utf-8"
    policy = answer.one("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.one("X-Content-Type-Options") == "nosniff"
    elements = Elements()
    elements.feed(answer.body.decode())
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(elements.tags)
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "style"]
    targets = [value for name, value in elements.attributes if name in ("href", "src")]
    ids = {value for name, value in elements.attributes if name == "id"}
    assert [one for one in targets if one != "openapi.json" and one.removeprefix("#") not in ids] == []
    document = await described(gate)
    for (_, path), operation in operations(document).items():
        assert path in elements.text
        assert operation["summary"] in elements.text
    for name in document["components"]["schemas"]:
        assert name in elements.text


async def test_the_page_escapes_what_it_is_given(start: Start) -> None:
    document = await described(await start())
    evil = '<script>alert("1")</script>`<b>`'

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: poisoned(one) for name, one in value.items()}
        if isinstance(value, list):
            return [poisoned(one) for one in value]
        return value + evil if isinstance(value, str) and not value.startswith("#/") else value

    document["info"] = poisoned(document["info"])
    for methods in document["paths"].values():
        for operation in methods.values():
            operation.update(summary=evil, description=evil, operationId=f'"{evil}')
    document["components"]["schemas"] = poisoned(document["components"]["schemas"])
    page = render(document)
    assert "<script" not in page
    assert not re.search(r"<b>", page)


async def test_the_description_and_its_page_hold_nothing_of_the_caller(world: World, start: Start) -> None:
    gate = await start(world.url)
    for path in (DOCUMENT, PAGE):
        anonymous = await ask(gate, get(path))
        known = await ask(gate, get(path, bearer(world.token(world.admin)), "X-Forwarded-Host: evil.test"))
        assert anonymous.body == known.body
        assert anonymous.one("Cache-Control") == "public, max-age=300"


async def test_head_tells_the_same_without_a_body(start: Start) -> None:
    gate = await start()
    async with Client(gate.address) as client:
        await client.send(request("HEAD", DOCUMENT))
        head = await client.response(head_only=True)
    assert head.status == 200
